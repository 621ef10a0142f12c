"""Generated clips: textures stay on their objects, and a script is the same clip at every size."""

from __future__ import annotations

import numpy as np

from sam3_edge.shapes.clips import Actor, Script, draw_clip, draw_frame
from sam3_edge.shapes.scripts import write_script
from sam3_edge.shapes.sprites import make_sprite


def still(path: tuple[tuple[float, ...], ...], *, size: int = 224) -> Script:
    """A striped square on a path, on a black ground, without grain."""
    sprite = make_sprite(np.random.default_rng(3), ("square", "blue", "striped"))
    ground = np.zeros((400, 400, 3), np.uint8)
    actors = (Actor(frozenset({"square"}), sprite, path),)
    return Script(size, len(path), actors, ground, ((0.0, 0.0, 1.0),), light=256, grain=0, seed=0)


def test_texture_moves_and_turns_with_its_object() -> None:
    poses = ((-20.0, 0.0, 30.0, 0.0), (21.0, 10.0, 30.0, 0.0), (-20.0, 0.0, 30.0, np.pi / 2))
    here, moved, turned = (draw_frame(still((pose,)), 0) for pose in poses)
    shifted = np.roll(here.picture, (10, 41), (0, 1)).astype(int)
    assert abs(shifted - moved.picture).max() <= 2  # places are in 1/65536 of a texel
    quarter = np.rot90(here.picture[72:152, 52:132], -1)
    assert abs(quarter.astype(int) - turned.picture[72:152, 52:132]).max() <= 4
    assert abs(quarter.astype(int) - here.picture[72:152, 52:132]).max() > 100
    assert (here.masks[0] == (here.picture.max(2) > 20)).mean() > 0.99


def test_a_script_follows_from_its_seed_at_every_size() -> None:
    kinds = ("occlusion", "camera")

    def write(seed: int, size: int = 224, frames: int = 6) -> Script:
        return write_script(np.random.default_rng(seed), kinds, size=size, frames=frames)

    large, again, other = (list(draw_clip(write(seed))) for seed in (1, 1, 2))
    assert all(np.array_equal(a.picture, b.picture) for a, b in zip(large, again, strict=True))
    assert not np.array_equal(large[0].picture, other[0].picture)
    script = write(1, size=112, frames=3)
    small = list(draw_clip(script))
    assert len(small) == 3 and small[0].picture.shape == (112, 112, 3)
    assert small[0].masks.shape == (len(script.actors), 112, 112)
    share = small[0].masks.mean((1, 2))
    assert abs(share - large[0].masks.mean((1, 2))).max() < 0.05
