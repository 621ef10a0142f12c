"""The golden clip: written, read back, followed again; and what agreement means for identities."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import Command
from numpy.typing import NDArray
from test_golden import strips
from tiny_bundle import MANIFEST, make, snapshot

from sam3_edge import Bundle, load
from sam3_edge.agreement import Agreement
from sam3_edge.errors import CheckError
from sam3_edge.export.examples import FRAMES, SIDE, example_clip
from sam3_edge.golden_clip import (
    ANSWERS,
    CLICKED,
    GoldenClip,
    Seen,
    compare_seen,
    follow,
    read_clip,
    replay_clip,
    write_clip,
)
from sam3_edge.session import Value
from sam3_edge.staging import seal


@pytest.fixture(scope="module")
def golden() -> GoldenClip:
    """What the built-in model sees."""
    clip = example_clip()
    with load(threads=1) as model:
        return GoldenClip(clip, follow(model, clip))


def sealed(folder: Path, golden: GoldenClip) -> Bundle:
    """A bundle with a clip."""
    make(folder)
    write_clip(folder, golden)
    seal(folder, MANIFEST)
    return Bundle.open(folder)


def seen(masks: NDArray[np.bool_], *ids: int, presence: float = 0.9) -> Seen:
    return Seen(ids, masks, (presence,) * len(ids))


def test_the_clip_is_small_and_shows_what_it_asks_for() -> None:
    clip = example_clip()
    assert len(clip.frames) == FRAMES and {frame.shape for frame in clip.frames} == {(SIDE, SIDE, 3)}
    assert clip.drawn.sum() > 100 and clip.phrase.split()[-1].rstrip("s") == "star"
    again = example_clip(["a", "b"])
    assert again.phrase == "a"
    assert all(np.array_equal(a, b) for a, b in zip(clip.frames, again.frames, strict=True))


def test_every_graph_of_the_tracker_has_its_part(golden: GoldenClip) -> None:
    ran: set[str] = set()
    with load(threads=1) as model:
        run = model.session.run

        def listening(graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
            ran.add(graph)
            return run(graph, feeds)

        model.session.run = listening  # type: ignore[method-assign]
        again = replay_clip(model, golden)
        assert ran == set(model.session.specs)  # type: ignore[attr-defined]
    assert (again.missing, again.extra, again.min_iou) == (0, 0, 1.0)
    assert golden.seen[0].ids == (0,) and len({id for frame in golden.seen for id in frame.ids}) >= 3
    assert golden.seen[0].masks[0].sum() > 100 and len(golden.seen[CLICKED].ids) >= 2


def test_another_identity_is_another_object() -> None:
    want = [seen(strips((0, 4), (6, 9)), 3, 5)] * 2
    assert compare_seen(want, want) == Agreement(4, 0, 0, 1.0, 1.0, 0, 0.0)
    swapped = [want[0], seen(strips((6, 9), (0, 4)), 3, 5)]
    got = compare_seen(want, swapped)
    assert (got.missing, got.extra, got.min_iou) == (0, 0, 0.0)
    got = compare_seen(want, [want[0], seen(strips((0, 4), (6, 9)), 3, 6)])
    assert (got.missing, got.extra, got.min_iou) == (1, 1, 1.0)


def test_a_few_pixels_are_none_and_no_more() -> None:
    want = seen(strips((0, 4)), 0, presence=0.9)
    near, far = want.masks.copy(), want.masks.copy()
    near[0, 0, :4], far[0, 0, :5] = False, False
    got = compare_seen([want], [seen(near, 0, presence=0.7)])
    assert replace(got, score=0.0) == Agreement(1, 0, 0, 1.0, 1.0, 4, 0.0)
    assert got.score == pytest.approx(0.2)
    assert compare_seen([want], [seen(far, 0)]).min_iou == 35 / 40


def test_what_is_written_is_read_back(tmp_path: Path, golden: GoldenClip) -> None:
    read = read_clip(sealed(tmp_path / "one", golden))
    assert (
        read is not None and read.clip.phrase == golden.clip.phrase and read.clip.click == golden.clip.click
    )
    assert np.array_equal(read.clip.drawn, golden.clip.drawn)
    assert all(np.array_equal(a, b) for a, b in zip(read.clip.frames, golden.clip.frames, strict=True))
    assert compare_seen(golden.seen, read.seen).score == 0
    assert compare_seen(read.seen, golden.seen).min_iou == 1
    sealed(tmp_path / "two", golden)
    files = snapshot(tmp_path / "one")
    assert files == snapshot(tmp_path / "two")
    assert sum(len(data) for name, data in files.items() if "clip" in name) < 40_000
    assert read_clip(make(tmp_path / "without")) is None


@pytest.mark.parametrize("text", ["no json", "{}", '{"size": [1, 1], "frames": [], "drawn": []}', "[3]"])
def test_a_damaged_clip(tmp_path: Path, golden: GoldenClip, text: str) -> None:
    sealed(tmp_path / "bundle", golden)
    (tmp_path / "bundle" / ANSWERS).write_text(text)
    seal(tmp_path / "bundle", MANIFEST)
    with pytest.raises(CheckError, match=r"golden/clip\.json is not readable \(.*\); export again"):
        read_clip(Bundle.open(tmp_path / "bundle"))


def test_verify_follows_it_again(exported: Path, command: Command) -> None:
    done = command("verify", exported, "--replay", "--json")
    assert done.code == 0 and done.document["clip"]["objects"] >= FRAMES
    assert "golden clip: all" in done.err
    report = json.loads(Bundle.open(exported).file("report.json").read_bytes())
    assert report["parity"]["clip"]["missing"] == report["parity"]["clip"]["extra"] == 0
