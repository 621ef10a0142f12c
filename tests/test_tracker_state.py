"""A session's state on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scenes import SIDE, A, B, C, Moment, Scene, disc, see

from sam3_edge.boxes import Box
from sam3_edge.concept import Concept
from sam3_edge.errors import CheckError, SourceError
from sam3_edge.loop.settings import Settings


def restless() -> list[Moment]:
    """Births, a retraction, an absence, reconditionings."""
    moments = [see((0.9, A), (0.9, B)), *[see((0.9, A), (0.8, C))] * 11]
    moments += [see((0.9, A), tracked={2: np.full((SIDE, SIDE), -1024, np.float32)}, scores={2: -1})] * 4
    return moments + [see((0.9, A), (0.85, disc(16, 23)))] * 8


def test_a_saved_state_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    whole = Scene(restless())
    whole.step(24)
    for stop in (1, 9, 13, 23):
        first = Scene(restless())
        first.step(stop)
        first.tracker.add(Concept("dog", (Box(0, 0, 5, 5),)))
        first.tracker.remove("dog")
        first.tracker.save(tmp_path / "state.npz")
        second = Scene(restless()[stop:], concepts=("owl",))
        second.tracker.restore(tmp_path / "state.npz")
        for want in whole.results[stop:]:
            got = second.step()
            assert (got.index, got.ids.tolist(), got.events) == (want.index, want.ids.tolist(), want.events)
            np.testing.assert_array_equal(got.masks, want.masks)
            np.testing.assert_array_equal(got.scores, want.scores)
        tracks = zip(whole.tracker.tracks, second.tracker.tracks, strict=True)
        assert all(a.history.to_json() == b.history.to_json() for a, b in tracks)


def test_states_that_do_not_fit(tmp_path: Path) -> None:
    scene, path = Scene(restless()), tmp_path / "state.npz"
    scene.step(3)
    scene.tracker.save(path)
    other = Scene([], settings=Settings(speck=0))
    with pytest.raises(CheckError, match=r"settings \(speck\)"):
        other.tracker.restore(path)
    with pytest.raises(SourceError, match="cannot be read"):
        scene.tracker.restore(tmp_path / "missing.npz")
    arrays = dict(np.load(path))
    for name, array in (("memory", arrays["memory"][1:]), ("pointers", arrays["pointers"][:, 1:])):
        np.savez(tmp_path / "cut.npz", **{**arrays, name: array})
        with pytest.raises(CheckError, match="save the state again"):
            scene.tracker.restore(tmp_path / "cut.npz")
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(CheckError, match="not a saved state"):
        scene.tracker.restore(tmp_path / "text.npz")
    assert scene.step().ids.tolist() == [0, 1, 2]  # as it was
