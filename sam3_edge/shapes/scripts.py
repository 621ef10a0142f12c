"""What happens in the clips of `shapes`: things cross, hide, leave, come back, grow; twins; a moving camera.

Every event holds by construction; what is random follows from the generator that is passed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np

from sam3_edge.shapes.clips import STAGE, Actor, Path, Script
from sam3_edge.shapes.scenes import look
from sam3_edge.shapes.sprites import Look, make_bar, make_ground, make_sprite


@dataclass(frozen=True)
class Stage:
    """How far from the middle things stay in sight, and how far out they are gone, at any time."""

    reach: float
    gone: float
    withheld: Collection[tuple[str, str]]


STILL, MOVING = (85.0, 122.0), (56.0, 178.0)  # reach and gone of a stage


def cast(rng: np.random.Generator, drawn: Look, path: Path, *events: str) -> Actor:
    """An actor of a look."""
    return Actor(frozenset(drawn), make_sprite(rng, drawn), path, frozenset(events))


def other_look(rng: np.random.Generator, drawn: Look, stage: Stage, *, near: bool = False) -> Look:
    """A look that no phrase shares in full: `near` keeps the shape or the colour, not both."""
    while True:
        found = look(rng, stage.withheld)
        same = (found[0] == drawn[0]) + (found[1] == drawn[1])
        if same == 1 if near else same < 2:
            return found


def turning(rng: np.random.Generator, points: list[tuple[float, float]], radii: list[float]) -> Path:
    """Keys at points, turning at a steady random pace."""
    start, spin = float(rng.uniform(0, 2 * math.pi)), float(rng.uniform(-0.7, 0.7))
    return tuple(
        (x, y, radius, start + spin * i) for i, ((x, y), radius) in enumerate(zip(points, radii, strict=True))
    )


def wander(rng: np.random.Generator, radii: list[float], reach: float) -> Path:
    """Keys anywhere within reach, each not far from the one before."""
    x, y = (float(v) for v in rng.uniform(-reach, reach, 2))
    points = []
    for _ in radii:
        points.append((x, y))
        x, y = (min(max(v + float(rng.uniform(-45, 45)), -reach), reach) for v in (x, y))
    return turning(rng, points, radii)


def straight(
    rng: np.random.Generator, *, angle: float, length: float, radius: float, aside: float = 0.0
) -> Path:
    """Four keys on a line through the middle, or `aside` of it, from -length to +length along an angle."""
    cosine, sine = math.cos(angle), math.sin(angle)
    points = [
        (part * length * cosine - aside * sine, part * length * sine + aside * cosine)
        for part in (-1, -1 / 3, 1 / 3, 1)
    ]
    return turning(rng, points, [radius] * 4)


def beside(actor: Actor, angle: float) -> Actor:
    """A twin that keeps its distance, about 2.3 radii, in a direction that slowly turns."""
    path = tuple(
        (
            x + 2.3 * radius * math.cos(angle + 0.15 * i),
            y + 2.3 * radius * math.sin(angle + 0.15 * i),
            radius,
            turn + 1.0,
        )
        for i, (x, y, radius, turn) in enumerate(actor.path)
    )
    return replace(actor, path=path)


def cross(rng: np.random.Generator, drawn: Look, stage: Stage, twins: bool) -> list[Actor]:
    """Two change sides and pass over each other in the middle."""
    angle, radius = (float(v) for v in rng.uniform((0, 19), (2 * math.pi, 28)))
    length, aside = stage.reach, float(rng.uniform(-5, 5))
    first = cast(rng, drawn, straight(rng, angle=angle, length=length, radius=radius), "crossing")
    path = straight(rng, angle=angle + math.pi, length=length, radius=0.95 * radius, aside=aside)
    if twins:
        return [first, replace(first, path=path)]
    return [first, cast(rng, other_look(rng, drawn, stage), path, "crossing")]


def hide(rng: np.random.Generator, drawn: Look, stage: Stage, twins: bool) -> list[Actor]:
    """One goes behind a bar, or behind a larger shape that comes the other way, and comes out again."""
    angle, bar = float(rng.uniform(0, 2 * math.pi)), rng.random() < 0.6
    radius = float(rng.uniform(13, 19) if bar else rng.uniform(12, 14))
    path = straight(rng, angle=angle, length=max(stage.reach, 62.0), radius=radius)
    hidden = [cast(rng, drawn, path, "occlusion")]
    if twins:
        hidden.append(beside(hidden[0], angle + math.pi / 2))
    if bar:  # its width lies along the way
        return [*hidden, Actor(frozenset(), make_bar(rng), ((0.0, 0.0, 75.0, angle),))]
    while (large := other_look(rng, drawn, stage))[0] not in ("circle", "square"):
        pass  # the others have gaps to look through
    return [*hidden, cast(rng, large, straight(rng, angle=angle + math.pi / 2, length=45, radius=40))]


def leave(rng: np.random.Generator, drawn: Look, stage: Stage, twins: bool) -> list[Actor]:
    """One leaves the frame over one of its sides and comes back."""
    angle = float(rng.integers(4)) * math.pi / 2
    radius = float(rng.uniform(16, 24))
    far, near, start, end = (
        stage.gone + 1.2 * radius,
        *(float(v) for v in rng.uniform(-0.5, 0.5, 3) * stage.reach),
    )
    ways = [
        (0.1 * far, start),
        (0.5 * far, near),
        (far, near),
        (far, near),
        (0.5 * far, near),
        (0.1 * far, end),
    ]
    cosine, sine = math.cos(angle), math.sin(angle)
    points = [(a * cosine - b * sine, a * sine + b * cosine) for a, b in ways]
    gone = cast(rng, drawn, turning(rng, points, [radius] * 6), "leaving")
    return [gone, beside(gone, angle + math.pi / 2)] if twins else [gone]


def grow(rng: np.random.Generator, drawn: Look, stage: Stage, twins: bool) -> list[Actor]:
    """One grows, or shrinks, by a factor of 2.5 and more."""
    radius, factor = (float(v) for v in rng.uniform((11, 2.5), (14, 2.9)))
    radii = [radius * factor**part for part in (0, 1 / 3, 2 / 3, 1)]
    path = wander(rng, radii if rng.random() < 0.5 else radii[::-1], 0.6 * stage.reach)
    grown = cast(rng, drawn, path, "scale")
    return [grown, beside(grown, float(rng.uniform(0, 2 * math.pi)))] if twins else [grown]


def stroll(rng: np.random.Generator, drawn: Look, stage: Stage, twins: bool) -> list[Actor]:
    """One wanders; twins go together."""
    radius = float(rng.uniform(16, 24))
    path = wander(rng, [radius] * 4, (0.6 if twins else 0.9) * stage.reach)
    alone = cast(rng, drawn, path)
    return [alone, beside(alone, float(rng.uniform(0, 2 * math.pi)))] if twins else [alone]


PLAYS: dict[str, Callable[[np.random.Generator, Look, Stage, bool], list[Actor]]] = {
    "crossing": cross,
    "occlusion": hide,
    "leaving": leave,
    "scale": grow,
}
KINDS = (*PLAYS, "look-alikes", "camera")


def pan(rng: np.random.Generator) -> Path:
    """The camera from one side to the other by 76 px, with a slow zoom."""
    angle, first, last = (float(v) for v in rng.uniform((0, 0.95, 0.95), (2 * math.pi, 1.1, 1.1)))
    x, y = 38 * math.cos(angle), 38 * math.sin(angle)
    bend_x, bend_y = (float(v) for v in rng.uniform(-8, 8, 2))
    return ((-x, -y, first), (bend_x, bend_y, (first + last) / 2), (x, y, last))


def write_script(
    rng: np.random.Generator,
    kinds: Collection[str],
    *,
    size: int = STAGE,
    frames: int = 64,
    withheld: Collection[tuple[str, str]] = (),
) -> Script:
    """A clip with events of `KINDS`, each happening to the first actors of the front, among bystanders.

    `look-alikes` gives the first event's actor a twin. `withheld` pairs of shape and colour are not drawn.
    """
    moving = "camera" in kinds
    stage = Stage(*(MOVING if moving else STILL), withheld)
    plays = [PLAYS[kind] for kind in PLAYS if kind in kinds] or [stroll]
    front: list[Actor] = []
    lead = look(rng, withheld)
    for i, play in enumerate(plays):
        drawn = other_look(rng, lead, stage) if i else lead
        twins = "look-alikes" in kinds and not i
        group = play(rng, drawn, stage, twins)
        front += [
            replace(a, events=a.events | {"look-alikes"}) if twins and a.words == frozenset(drawn) else a
            for a in group
        ]
    return film(rng, [*bystanders(rng, lead, stage), *front], size=size, frames=frames, moving=moving)


def bystanders(rng: np.random.Generator, lead: Look, stage: Stage) -> list[Actor]:
    """Two or three others: the first shares the shape or the colour with whom the clip is about."""
    looks = [other_look(rng, lead, stage, near=not i) for i in range(int(rng.integers(2, 4)))]
    return [cast(rng, drawn, wander(rng, [float(rng.uniform(14, 28))] * 4, stage.reach)) for drawn in looks]


def film(rng: np.random.Generator, actors: list[Actor], *, size: int, frames: int, moving: bool) -> Script:
    """Set actors before a ground, under a light and a camera."""
    return Script(
        size=size,
        frames=frames,
        actors=tuple(actors),
        ground=make_ground(rng, size),
        camera=pan(rng) if moving else ((0.0, 0.0, 1.0),),
        light=int(rng.integers(218, 282)),
        grain=int(rng.integers(2, 15)),
        seed=int(rng.integers(1 << 31)),
    )
