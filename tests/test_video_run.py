"""A run on a video: what it writes, and that what it writes is the same whatever happened on the way."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filmed import film, model, plan, restless
from numpy.typing import NDArray
from PIL import Image
from scenes import SIZE, A, B, see

from sam3_edge.errors import CheckError, SourceError, UsageError
from sam3_edge.judge.davis import read_clip
from sam3_edge.loop.events import FrameResult
from sam3_edge.loop.settings import Settings
from sam3_edge.video import running
from sam3_edge.video.asking import parse_ask
from sam3_edge.video.backward import backwards
from sam3_edge.video.frames import Span, Video, VideoFrame
from sam3_edge.video.masks import numbered, palette_png
from sam3_edge.video.outputs import NAMES
from sam3_edge.video.reading import open_video
from sam3_edge.video.results import read_results
from sam3_edge.video.running import Plan, run_video

COUNT = 40


def go(todo: Plan, video: Video | None = None, **more: Any) -> dict[str, Any]:
    return run_video(model(restless()), video or film(), todo, **more)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def shown(folder: Path) -> dict[int, list[int]]:
    """Ids of every frame."""
    return {line["frame"]: [it["id"] for it in line["objects"]] for line in lines(folder)[1:]}


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the summary, which tells the time."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "run.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing came between."""
    go(plan(tmp_path_factory.mktemp("whole") / "out"))
    return tmp_path_factory.getbasetemp() / "whole0" / "out"


def test_a_header_and_a_line_a_frame(whole: Path) -> None:
    header, *frames = lines(whole)
    assert header["schema"] == 1 and header["bundle"] == "0" * 64 and header["policy"] == "offline"
    assert header["source"] == {"name": "film.mp4", "width": SIZE[1], "height": SIZE[0], "fps": 25}
    assert header["ask"] == {"prompts": ["cat"], "boxes": [], "points": []}
    assert header["settings"] == Settings().to_json()
    assert [line["frame"] for line in frames] == list(range(COUNT))
    assert frames[5]["time"] == 0.2
    assert shown(whole)[0] == [0]  # object 1 is retracted on frame 8, so it was never there
    assert shown(whole)[39] == [0, 2]
    assert {"kind": "birth", "id": 2, "about": [1], "concept": "cat"} in frames[1]["events"]


def test_results_read_back(whole: Path) -> None:
    results = list(read_results(whole / "results.jsonl"))
    assert [result.index for result in results] == list(range(COUNT))
    first = results[1]
    assert first.concepts == ("cat", "cat") and first.masks.shape == (2, *SIZE)
    rows, columns = np.nonzero(first.masks[0])
    assert first.boxes[0].tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert first.events[0].kind == "match"


def test_masks_are_a_davis_clip_that_says_what_the_lines_say(whole: Path) -> None:
    clip = read_clip(whole / "masks")
    assert (clip.size, clip.frames) == (SIZE, COUNT) and set(clip.objects) == {1, 3}
    for result in read_results(whole / "results.jsonl"):
        with Image.open(whole / "masks" / f"{result.index:05}.png") as image:
            assert image.mode == "P" and (image.getpalette() or [])[3:9] == [128, 0, 0, 0, 128, 0]
            values = np.asarray(image)
        for id, mask in zip(result.ids, result.masks, strict=True):
            np.testing.assert_array_equal(values == id + 1, mask)


def painted(ids: list[int], presence: list[float]) -> NDArray[np.uint8]:
    """Objects in a row, each over the half of the next."""
    masks = np.zeros((len(ids), 4, 8), np.bool_)
    for place, mask in enumerate(masks):
        mask[:, 2 * place : 2 * place + 4] = True
    many = len(ids)
    floats = np.array(presence, np.float32)
    result = FrameResult(
        0, np.array(ids), (None,) * many, masks, np.zeros((many, 4), np.float32), floats, floats, ()
    )
    return numbered(result)


def test_where_masks_overlap_the_surer_object_has_the_pixel_and_the_first_of_equals() -> None:
    assert painted([0, 1, 2], [0.5, 0.9, 0.9])[0].tolist() == [1, 1, 2, 2, 2, 2, 3, 3]


def test_objects_without_a_colour_are_left_out() -> None:
    assert painted([253, 254], [0.5, 0.9])[0].tolist() == [254, 254, 254, 254, 0, 0, 0, 0]
    with Image.open(io.BytesIO(palette_png(painted([253], [1])))) as image:
        assert np.asarray(image).max() == 254


def test_the_overlay_has_every_frame_with_its_objects(tmp_path: Path) -> None:
    summary = go(plan(tmp_path, save="video"))
    assert summary["saved"] == ["video"] and not (tmp_path / "masks").exists()
    video = open_video(tmp_path / "overlay.mp4")
    frames = list(video.frames())
    assert (len(frames), video.fps) == (COUNT, 25)
    assert frames[0].pixels.shape == (320, 480, 3)  # enlarged, so that labels can be read
    for frame, result in zip(frames, read_results(tmp_path / "results.jsonl"), strict=True):
        plain = np.abs(frame.pixels.astype(int) - 4 * frame.index).max(2) < 40
        mask = np.repeat(np.repeat(result.masks.any(0), 5, 0), 5, 1)
        assert not plain[mask].mean() > 0.1 and plain[200:, :60].all()


def test_the_summary(tmp_path: Path) -> None:
    summary = go(plan(tmp_path))
    assert summary == json.loads((tmp_path / "run.json").read_text())
    assert summary["complete"] is True and summary["error"] is None
    assert (summary["frames"], summary["objects"], summary["without_colour"]) == (COUNT, {"cat": 2}, 0)
    assert summary["seconds"] > 0 and summary["versions"]["numpy"] == np.__version__


def test_ten_runs_are_the_same_to_the_byte(whole: Path, tmp_path: Path) -> None:
    for run in range(10):
        go(plan(tmp_path / str(run)))
        assert contents(tmp_path / str(run)) == contents(whole)


def test_live_shows_at_once_and_takes_back(tmp_path: Path) -> None:
    seen: list[int] = []
    go(plan(tmp_path, live=True), advance=seen.append)
    assert shown(tmp_path)[7] == [0, 1, 2] and shown(tmp_path)[8] == [0, 2]
    assert any(event["kind"] == "retraction" and event["id"] == 1 for event in lines(tmp_path)[9]["events"])
    assert len(seen) == COUNT


def test_stride_start_and_end(tmp_path: Path) -> None:
    machine = model(restless())
    run_video(machine, film(), plan(tmp_path, span=Span(5, 30, 4)))
    assert machine.session.shown == [5, 9, 13, 17, 21, 25, 29]  # type: ignore[attr-defined]
    assert list(shown(tmp_path)) == [5, 9, 13, 17, 21, 25, 29]
    assert {path.name for path in (tmp_path / "masks").iterdir()} == {f"{n:05}.png" for n in shown(tmp_path)}


def test_nothing_that_matches_is_a_result(tmp_path: Path) -> None:
    ask = parse_ask([], ["30:1,1,9,9"], [])
    moments = [moment.__class__() for moment in restless()]
    summary = run_video(model(moments), film(), plan(tmp_path, ask))
    assert summary["complete"] and summary["objects"] == {}
    assert all(not ids for ids in shown(tmp_path).values()) and len(shown(tmp_path)) == COUNT
    with Image.open(tmp_path / "masks" / "00007.png") as image:
        assert not np.asarray(image).any()


def test_boxes_and_clicks_come_in_on_their_frames(tmp_path: Path) -> None:
    ask = parse_ask(["cat"], ["6:1,1,9,9", "6:20,20,40,40:neg"], ["12:80,10", "20:82,12:neg", "25:5,5@0"])
    go(plan(tmp_path, ask))
    births = [
        (n, e["id"])
        for n, line in enumerate(lines(tmp_path)[1:])
        for e in line["events"]
        if e["kind"] == "birth"
    ]
    assert births == [(0, 0), (1, 2), (12, 3)]
    corrected = [
        (n, e["id"])
        for n, line in enumerate(lines(tmp_path)[1:])
        for e in line["events"]
        if e["kind"] == "correction"
    ]
    assert corrected == [(20, 3), (25, 0)]
    assert lines(tmp_path)[0]["ask"]["boxes"] == ["6:1,1,9,9", "6:20,20,40,40:neg"]
    assert [it["concept"] for it in lines(tmp_path)[31]["objects"]] == ["cat", "cat", None]


@pytest.mark.parametrize(
    ("boxes", "points", "span", "fact"),
    [
        ([], ["3:1,1", "99:1,1"], Span(), "frame 99, past the end: the last frame is 39"),
        (["40:1,1,9,9"], [], Span(), "frame 40, past the end: the last frame is 39"),
        (["3:1,1,9,9"], [], Span(stride=2), "frame 3, which is not looked at"),
        ([], ["30:1,1"], Span(0, 30), "frame 30, which is not looked at"),
        (["3:900,1,990,9"], [], Span(), "outside the picture of 96 x 64"),
        ([], ["3:5,99"], Span(), "point 5,99 is outside the picture: want x in 0..96, y in 0..64"),
        ([], [], Span(40), "frame 40 is past the end: film.mp4 has 40 frames"),
        (["3:1,1,9,9"] * 3, [], Span(), "3 boxes for 'cat': this bundle takes 2 at most"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_touched(
    tmp_path: Path, boxes: list[str], points: list[str], span: Span, fact: str
) -> None:
    (tmp_path / "results.jsonl").write_text("mine")
    with pytest.raises(UsageError) as caught:
        go(plan(tmp_path, parse_ask(["cat"], boxes, points), span=span, overwrite=True))
    assert fact in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["results.jsonl"]


def test_a_container_that_promises_less_is_not_believed(tmp_path: Path) -> None:
    """What is drawn on a frame past the promised end is looked for before the run, not taken for wrong."""
    told = film()
    short = Video(told.name, told.fps, 10, True, told.read, told.note)
    go(plan(tmp_path, parse_ask([], [], ["39:5,5"])), short)
    assert shown(tmp_path)[39] == [0]


def test_an_object_to_correct_that_is_not_there_stops_the_run_and_keeps_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="9"):
        go(plan(tmp_path, parse_ask(["cat"], [], ["30:5,5@9"])))
    summary = json.loads((tmp_path / "run.json").read_text())
    assert summary["complete"] is False and "9" in summary["error"]
    assert len(shown(tmp_path)) == 30 - 14 == summary["frames"]


def test_an_earlier_run_is_kept_or_replaced_as_a_whole(whole: Path, tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).write_text("mine")
        with pytest.raises(UsageError, match=f"{name} exists: pass --overwrite, --resume or another -o"):
            go(plan(tmp_path))
        (tmp_path / name).unlink()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "overlay.mp4").write_text("mine")
    go(plan(tmp_path, overwrite=True))
    assert contents(tmp_path) == contents(whole) | {"notes.txt": b"mine"}


class Stopped(Exception):
    """Something that nobody foresaw."""


def stopping(at: int, error: BaseException) -> Video:
    """A film that ends with an error after some frames."""
    told = film()

    def read(span: Span) -> Any:
        for item in told.read(span):
            if isinstance(item, VideoFrame) and item.index == at:
                raise error
            yield item

    return Video(told.name, told.fps, told.count, True, read, told.note)


@pytest.mark.parametrize("error", [SourceError("gone"), Stopped("gone"), UsageError("gone")])
def test_what_goes_wrong_puts_the_earlier_run_back(tmp_path: Path, error: Exception) -> None:
    go(plan(tmp_path), advance=lambda count: None)
    before = contents(tmp_path), (tmp_path / "run.json").read_bytes()
    for at in (0, 3, 30):
        with pytest.raises(type(error)):
            go(plan(tmp_path, live=True, overwrite=True), stopping(at, error))
        assert (contents(tmp_path), (tmp_path / "run.json").read_bytes()) == before


@pytest.mark.parametrize(
    ("live", "stops"), [(False, (1, 4, 9, 17, 39)), (True, (1, 4, 9, 16)), (False, (31,)), (True, (31,))]
)
def test_interrupted_and_resumed_is_as_if_nothing_had_been(
    tmp_path: Path, live: bool, stops: tuple[int, ...]
) -> None:
    """Ctrl-C at any frame leaves whole files, and the rest comes out the same, overlay and all."""
    ask = parse_ask(["cat"], ["6:1,1,9,9"], ["12:80,10", "20:82,12:neg"])
    todo: dict[str, Any] = {"ask": ask, "live": live, "every": 5}
    todo["save"] = "json,masks" if len(stops) > 1 else "json,video"
    go(plan(tmp_path / "whole", **todo))
    want = contents(tmp_path / "whole")
    want.pop("overlay.mp4", None)
    for at in stops:
        out = tmp_path / str(at)
        with pytest.raises(KeyboardInterrupt):
            go(plan(out, **todo), stopping(at, KeyboardInterrupt()))
        summary = json.loads((out / "run.json").read_text())
        told = max(at if live else at - 14, 0)
        assert (summary["complete"], summary["error"], summary["frames"]) == (
            False,
            "KeyboardInterrupt",
            told,
        )
        assert len(shown(out)) == told
        assert (out / "overlay.mp4").exists() == ("video" in todo["save"])
        machine = model(restless())
        summary = run_video(machine, film(), plan(out, resume=True, **todo))
        assert summary["complete"] and summary["frames"] == COUNT
        assert len(machine.session.shown) == COUNT - told // 5 * 5  # type: ignore[attr-defined]
        got = contents(out)
        if "overlay.mp4" in got:
            assert open_video(out / "overlay.mp4").length() == COUNT
            got.pop("overlay.mp4")
        assert got == want


def test_a_complete_run_is_not_run_again(whole: Path) -> None:
    before = contents(whole)
    summary = run_video(model([]), film(), plan(whole, resume=True))  # the model would fail
    assert summary["frames"] == COUNT and contents(whole) == before


def test_another_run_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        go(plan(tmp_path), stopping(30, KeyboardInterrupt()))
    before = contents(tmp_path)
    for other in (
        plan(tmp_path, parse_ask(["dog"], [], []), resume=True),
        plan(tmp_path, live=True, resume=True),
        plan(tmp_path, settings=Settings(detect_every=2), resume=True),
        plan(tmp_path, span=Span(1), resume=True),
    ):
        with pytest.raises(UsageError, match="is of another bundle, video or question"):
            go(other)
    assert contents(tmp_path) == before
    (tmp_path / "results.jsonl").write_text("no header\n")
    with pytest.raises(CheckError, match="its first line is no header"):
        go(plan(tmp_path, resume=True))


def test_resume_without_anything_to_resume_begins(whole: Path, tmp_path: Path) -> None:
    go(plan(tmp_path, resume=True))
    assert contents(tmp_path) == contents(whole)


def test_a_run_that_told_nothing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise SourceError("gone")

    monkeypatch.setattr(running, "follow", fail)
    with pytest.raises(SourceError):
        go(plan(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_backward_from_a_frame_that_is_drawn_on(tmp_path: Path) -> None:
    """What is clicked has one identity on both sides, what is found on one side only has its own."""
    ask = parse_ask(["cat"], [], ["20:80,10", "30:82,10"])
    machine = model(restless())
    summary = run_video(machine, film(), plan(tmp_path / "out", ask, backward=True))
    order = machine.session.shown  # type: ignore[attr-defined]
    assert order == [*range(20, -1, -1), *range(20, COUNT)]
    assert list(shown(tmp_path / "out")) == list(range(COUNT)) and summary["frames"] == COUNT
    ids = shown(tmp_path / "out")
    forward = go(plan(tmp_path / "forward", ask, span=Span(20)))
    assert forward["complete"] and shown(tmp_path / "forward")[20] == ids[20]
    born = {
        e["id"]: line["frame"]
        for line in lines(tmp_path / "out")[1:]
        for e in line["events"]
        if e["kind"] == "birth"
    }
    clicked = max(ids[20])
    assert born[clicked] == 20 and all(clicked in ids[frame] for frame in range(COUNT))
    assert born[max(ids[0])] == 0 and max(ids[0]) > clicked  # object B, which only the first frame shows
    assert {path.name for path in (tmp_path / "out" / "masks").iterdir()} == {
        f"{n:05}.png" for n in range(COUNT)
    }
    with pytest.raises(KeyboardInterrupt):
        go(plan(tmp_path / "cut", ask, backward=True), stopping(39, KeyboardInterrupt()))
    go(plan(tmp_path / "cut", ask, backward=True, resume=True))
    assert contents(tmp_path / "cut") == contents(tmp_path / "out")


def test_what_comes_after_the_turn_has_other_ids_than_what_was_before(tmp_path: Path) -> None:
    late = [
        see((0.9, A), (0.9, B), tracked={1: B}) if n == 0 or n >= 30 else one
        for n, one in enumerate(restless())
    ]
    run_video(model(late), film(), plan(tmp_path, parse_ask(["cat"], [], ["20:80,10"]), backward=True))
    births = [e["id"] for line in lines(tmp_path)[1:] for e in line["events"] if e["kind"] == "birth"]
    assert len(births) >= 4 and len(set(births)) == len(births)
    assert max(shown(tmp_path)[0]) < max(shown(tmp_path)[30])


@pytest.mark.parametrize("held", [1, 3 * 64 * 96 * 3, 10**9])
def test_frames_backwards(held: int) -> None:
    got = [frame.index for frame in backwards(film(), Span(2, 30, 3), held=held)]
    assert got == list(range(2, 30, 3))[::-1]


@pytest.mark.parametrize(
    ("points", "more", "fact"),
    [
        ([], {}, "--backward starts where something is drawn"),
        (["9:5,5"], {"live": True}, "--backward and --live"),
    ],
)
def test_no_way_back(tmp_path: Path, points: list[str], more: dict[str, Any], fact: str) -> None:
    with pytest.raises(UsageError, match=fact):
        go(plan(tmp_path, parse_ask(["cat"], [], points), backward=True, **more))
    pipe = Video("-", 25, None, False, film().read, print)
    with pytest.raises(UsageError, match="standard input cannot"):
        go(plan(tmp_path, parse_ask([], [], ["9:5,5"]), backward=True), pipe)
