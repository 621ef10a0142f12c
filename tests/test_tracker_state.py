"""A session's state on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scenes import CONFIG, SIDE, A, B, C, Moment, Scene, disc, see

from sam3_edge.boxes import Box
from sam3_edge.concept import Concept
from sam3_edge.errors import CheckError, SourceError, UsageError
from sam3_edge.loop.events import Event
from sam3_edge.loop.settings import Settings
from sam3_edge.phrases import Phrases


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


@pytest.mark.parametrize(
    ("field", "value"),
    [("size", [64]), ("size", 64), ("tracks", [{}]), ("concepts", {"cat": {}}), ("pending", [{"kind": 1}])],
)
def test_states_with_a_wrong_value(field: str, value: Any, tmp_path: Path) -> None:
    scene, path = Scene(restless()), tmp_path / "state.npz"
    scene.step(3)
    arrays = dict(np.load(scene.tracker.save(path)))
    document = json.loads(arrays["state"].tobytes()) | {field: value}
    np.savez(path, **{**arrays, "state": np.frombuffer(json.dumps(document).encode(), np.uint8)})
    with pytest.raises(CheckError, match="save the state again"):
        scene.tracker.restore(path)
    assert scene.step().ids.tolist() == [0, 1, 2]


def test_numbers_of_numpy_are_saved(tmp_path: Path) -> None:
    scene = Scene(restless())
    seen = scene.step()
    corners: Any = np.array([1, 2, 3, 4.5], np.float32)
    scene.tracker.show(Concept("cat", (Box(corners[0], corners[1], corners[2], corners[3]),)))
    scene.tracker.remove_object(seen.ids[1])
    before = dict(scene.tracker.concepts)
    scene.tracker.restore(scene.tracker.save(tmp_path / "state.npz"))
    assert scene.tracker.concepts == before and scene.step().events[0] == Event("removal", 1, concept="cat")


def test_a_phrase_that_is_not_known_here_is_refused(tmp_path: Path) -> None:
    path = Scene(restless()).tracker.save(tmp_path / "state.npz")
    other = Scene(restless(), concepts=())
    other.tracker.phrases = Phrases(other.session, length=CONFIG.text_length, pack={})
    with pytest.raises(UsageError, match="no text encoder"):
        other.tracker.restore(path)
    assert not other.tracker.concepts


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
    more = np.concatenate([arrays["memory"], arrays["memory"][:1]])
    np.savez(tmp_path / "more.npz", **{**arrays, "memory": more})
    with pytest.raises(CheckError, match="more in memory"):
        scene.tracker.restore(tmp_path / "more.npz")
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(CheckError, match="not a saved state"):
        scene.tracker.restore(tmp_path / "text.npz")
    assert scene.step().ids.tolist() == [0, 1, 2]  # as it was
