"""The frozen clips: the pinned content, and every event measured in masks and pixels."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from sam3_edge.judge import frozen_clips
from sam3_edge.judge.case import ClipCase, Masklet, Masks
from sam3_edge.judge.frozen_clips import FrozenClip, clip, clips, content_hash
from sam3_edge.shapes.clips import LEAST, draw_clip, draw_frame
from sam3_edge.shapes.scenes import UNSEEN
from sam3_edge.shapes.scripts import KINDS

SINGULAR = {f"{word}s": word for word in ("circle", "square", "triangle", "star", "shape")} | {
    "crosses": "cross"
}


@dataclass(frozen=True)
class Frozen:
    clips: tuple[FrozenClip, ...]
    hash: str

    def of(self, tag: str) -> Iterator[tuple[FrozenClip, ClipCase]]:
        """The cases with a tag."""
        found = [(one, case) for one in self.clips for case in one.cases if tag in case.tags]
        assert len(found) >= 8, tag
        yield from found


@pytest.fixture(scope="module")
def frozen() -> Frozen:
    """All pixels are drawn once and hashed; the clips remember their masks alone."""
    drawn: list[FrozenClip] = []

    def remembered() -> Iterator[FrozenClip]:
        for one in clips():
            drawn.append(one)
            yield one

    digest = content_hash(remembered())
    return Frozen(tuple(drawn), digest)


def masks(masklet: Masklet) -> NDArray[np.bool_]:
    """[T, S, S]."""
    nothing = np.zeros((224, 224), bool)
    seen = Masks((224, 224), tuple(runs for runs in masklet if runs)).decode()
    decoded = iter(seen)
    return np.array([next(decoded) if runs else nothing for runs in masklet])


def boxes(masklet: Masklet) -> NDArray[np.float64]:
    """xyxy of every frame [T, 4], with exclusive ends; NaN where nothing is seen."""
    found = np.full((len(masklet), 4), np.nan)
    for frame, mask in enumerate(masks(masklet)):
        if mask.any():
            rows, columns = np.nonzero(mask)
            found[frame] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return found


def middles(masklet: Masklet) -> NDArray[np.float64]:
    """Centres of the boxes [T, 2]."""
    found = boxes(masklet)
    return (found[:, :2] + found[:, 2:]) / 2


def gaps(masklet: Masklet) -> list[tuple[int, int]]:
    """First and last frame unseen, of every time that it was seen before and after."""
    seen = [frame for frame, runs in enumerate(masklet) if runs]
    return [(a + 1, b - 1) for a, b in pairwise(seen) if b > a + 1]


def at_the_border(box: NDArray[np.float64]) -> bool:
    return bool(min(box[:2]) == 0 or max(box[2:]) == 224)


def playing(one: FrozenClip, event: str) -> list[int]:
    return [i for i, actor in enumerate(one.script.actors) if event in actor.events]


def test_the_content_is_pinned(frozen: Frozen) -> None:
    assert frozen.hash == frozen_clips.HASH


def test_there_is_enough_of_everything(frozen: Frozen) -> None:
    assert len(frozen.clips) >= 64 and len({one.name for one in frozen.clips}) == len(frozen.clips)
    assert all(one.script.frames >= 60 and len(one.cases) == 2 for one in frozen.clips)
    assert min(Counter(kind for one in frozen.clips for kind in one.kinds)[kind] for kind in KINDS) >= 8
    keys = [case.key for one in frozen.clips for case in one.cases]
    assert len(set(keys)) == len(keys) and all("\t" in key for key in keys)
    assert sum({"crossing", "look-alikes"} <= case.tags for one in frozen.clips for case in one.cases) >= 8


def test_one_pixel_or_one_mask_changes_the_hash() -> None:
    class Touched(FrozenClip):
        @property
        def frames(self) -> NDArray[np.uint8]:
            pixels = super().frames
            pixels[17, 100, 100, 1] ^= 1
            return pixels

    one = replace(clip(0), script=replace(clip(0).script, frames=20))
    first = content_hash([one])
    assert content_hash([replace(one)]) == first
    assert content_hash([Touched(one.name, one.kinds, one.script, one.phrases)]) != first
    remasked = replace(one)
    case = one.cases[0]
    number, masklet = next(iter(case.truth.objects.items()))
    short = replace(case, truth=replace(case.truth, objects={number: (None, *masklet[1:])}))
    remasked.__dict__["cases"] = (short, *one.cases[1:])
    assert content_hash([remasked]) != first


def test_another_process_without_vector_instructions_draws_the_same() -> None:
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    code = (
        "from sam3_edge.judge.frozen_clips import clip, content_hash\n"
        "print(content_hash([clip(0), clip(15)]))"
    )
    environment = os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(found)}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == content_hash([clip(0), clip(15)])


def test_crossing_objects_meet_and_change_sides(frozen: Frozen) -> None:
    for one, case in frozen.of("crossing"):
        first, second = playing(one, "crossing")
        assert {first, second} & set(case.truth.objects), case.key
        a, b = boxes(one.masklets[first]), boxes(one.masklets[second])
        overlap = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
        assert (overlap > 0).all(1).sum() >= 8, case.key
        apart = middles(one.masklets[second]) - middles(one.masklets[first])
        before, *_, after = apart[np.isfinite(apart).all(1)]
        assert float(before @ after) < -0.8 * np.linalg.norm(before) * np.linalg.norm(after), case.key
        assert min(np.linalg.norm(before), np.linalg.norm(after)) > 50


def test_hidden_objects_vanish_within_the_frame_and_come_back(frozen: Frozen) -> None:
    for one, case in frozen.of("occlusion"):
        hidden = set(playing(one, "occlusion")) & set(case.truth.objects)
        assert hidden, case.key
        for number in hidden:
            masklet = case.truth.objects[number]
            first, last = max(gaps(masklet), key=lambda gap: gap[1] - gap[0])
            assert last - first >= 3, case.key
            found = boxes(masklet)
            assert not at_the_border(found[first - 1]) and not at_the_border(found[last + 1]), case.key


def test_leaving_objects_go_over_the_border_and_come_back(frozen: Frozen) -> None:
    for one, case in frozen.of("leaving"):
        gone = set(playing(one, "leaving")) & set(case.truth.objects)
        assert gone, case.key
        for number in gone:
            masklet = case.truth.objects[number]
            first, last = max(gaps(masklet), key=lambda gap: gap[1] - gap[0])
            assert last - first >= 3, case.key
            found = boxes(masklet)
            assert at_the_border(found[first - 1]) and at_the_border(found[last + 1]), case.key


def test_sizes_change_by_two_and_more(frozen: Frozen) -> None:
    for one, case in frozen.of("scale"):
        number = min(set(playing(one, "scale")) & set(case.truth.objects))
        areas = masks(case.truth.objects[number]).sum((1, 2))
        ratio = areas[-3:].max() / areas[:3].max()
        assert max(ratio, 1 / ratio) >= 4, (case.key, ratio)


def test_look_alikes_are_alike_and_close(frozen: Frozen) -> None:
    for one, case in frozen.of("look-alikes"):
        first, second = playing(one, "look-alikes")
        assert {first, second} <= set(case.truth.objects), case.key
        a, b = one.masklets[first], one.masklets[second]
        apart = np.linalg.norm(middles(a) - middles(b), axis=1)
        size = np.linalg.norm(boxes(a)[:, 2:] - boxes(a)[:, :2], axis=1)
        assert (apart < 1.5 * size).sum() >= 8, case.key
        frame = next(t for t in range(64) if a[t] and b[t])
        drawn = draw_frame(one.script, frame)
        colours = [drawn.picture[drawn.masks[n]].mean(0) for n in (first, second)]
        assert abs(colours[0] - colours[1]).max() < 12, case.key


def shift(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float64]:
    """By how many pixels (y, x) a picture moved: the peak of the phase correlation."""
    window = np.hanning(before.shape[0])[:, None] * np.hanning(before.shape[1])
    first, second = (np.fft.fft2((p.mean(2) - p.mean()) * window) for p in (before, after))
    product = second * np.conj(first)
    peaks = np.fft.ifft2(product / (abs(product) + 1e-9)).real
    place = np.array(np.unravel_index(int(peaks.argmax()), peaks.shape), float)
    return np.where(place > 112, place - 224, place)


def test_only_the_camera_clips_move_their_ground(frozen: Frozen) -> None:
    for one in frozen.clips:
        bare = replace(one.script, actors=())
        pictures = [draw_frame(bare, index).picture for index in range(0, 64, 9)]
        way = sum(shift(a, b) for a, b in pairwise(pictures))
        length = np.linalg.norm(way)
        # Grain on a soft ground may move the peak by a pixel or two.
        assert length > 40 if "camera" in one.kinds else length < 5, (one.name, way)


def test_phrases_are_true_of_the_objects_and_of_no_other(frozen: Frozen) -> None:
    alone = 0
    for one in frozen.clips:
        for case in one.cases:
            words = {SINGULAR.get(word, word) for word in case.key.split("\t")[1].split()} - {"shape"}
            true = {i for i, actor in enumerate(one.script.actors) if words <= actor.words}
            assert words and set(case.truth.objects) == {i for i in true if any(one.masklets[i])} != set()
            assert all(case.truth.objects[i] == one.masklets[i] for i in case.truth.objects)
            alone += len(case.truth.objects) < sum(bool(actor.words) for actor in one.script.actors)
    assert alone > 100  # of 128: there is someone to take for someone else


def test_masks_are_disjoint_and_never_tiny(frozen: Frozen) -> None:
    for one in frozen.clips[::8]:
        stacked = np.array([masks(masklet) for masklet in one.masklets])
        assert stacked.sum(0).max() == 1
        areas = stacked.sum((2, 3))
        assert areas[areas > 0].min() >= LEAST
        for frame, drawn in enumerate(draw_clip(replace(one.script, frames=2))):
            assert np.array_equal(drawn.masks, stacked[:, 63 * frame])


def test_an_identity_is_one_thing_throughout(frozen: Frozen) -> None:
    compared = 0
    for one in frozen.clips[::4]:
        plain = [i for i, actor in enumerate(one.script.actors) if "plain" in actor.words]
        frames = [draw_frame(one.script, index) for index in (0, 21, 42, 63)]
        for i in plain:
            seen = [frame for frame in frames if frame.masks[i].sum() > 100]
            colours = np.array([frame.picture[frame.masks[i]].mean(0) for frame in seen])
            assert len(seen) == 0 or np.ptp(colours, axis=0).max() < 15, (one.name, i)
            compared += len(seen) > 1
    assert compared > 20


def test_no_pair_that_training_never_sees(frozen: Frozen) -> None:
    words = [actor.words for one in frozen.clips for actor in one.script.actors]
    assert not any({shape, colour} <= look for look in words for shape, colour in UNSEEN)
