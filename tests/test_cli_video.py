"""`sam3-edge run` on videos, from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from commands import ROOT, Command, sam3_edge
from PIL import Image
from test_video_reading import CLIPS, Stdin

from sam3_edge.video.reading import open_video

PLAIN = CLIPS / "plain.mp4"


def interrupted(*_: object, **__: object) -> None:
    """Ctrl-C."""
    raise KeyboardInterrupt


def test_a_video_from_end_to_end(
    command: Command, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("run", PLAIN, "--bundle", exported, "--prompt", "red shape", "--max-objects", "3")
    done = command(*words, "--save", "masks,video", "-o", tmp_path / "out")
    assert done.code == 0 and not done.err
    counted, *paths = done.out.splitlines()
    assert counted.startswith("10 frames, ") and counted.endswith(" x red shape")
    names = ("results.jsonl", "masks", "overlay.mp4", "run.json")
    assert [Path(path) for path in paths] == [tmp_path / "out" / name for name in names]
    assert open_video(tmp_path / "out" / "overlay.mp4").count == 10
    summary = json.loads((tmp_path / "out" / "run.json").read_text())
    assert summary["settings"]["max_objects"] == 3 and summary["complete"]
    header, *frames = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    assert json.loads(header)["bundle"] == json.loads(command("inspect", exported, "--json").out)["hash"]
    counts = [len(json.loads(line)["objects"]) for line in frames]
    assert len(counts) == 10 and 0 < max(counts) <= 3

    again = command(*words, "-o", tmp_path / "out")
    assert again.code == 2 and again.error.endswith("exists: pass --overwrite, --resume or another -o")
    again = command(*words, "--json", "--overwrite", "--detect-every", "4", "-o", tmp_path / "out")
    assert again.code == 0 and again.document["settings"]["detect_every"] == 4
    assert not (tmp_path / "out" / "masks").exists()  # of the earlier run

    monkeypatch.setattr("sam3_edge.video.running.follow", interrupted)
    stopped = command(*words, "-o", tmp_path / "stopped")
    assert stopped.code == 130 and not stopped.err.strip()
    summary = json.loads((tmp_path / "stopped" / "run.json").read_text())
    assert (summary["complete"], summary["error"], summary["frames"]) == (False, "KeyboardInterrupt", 0)


def test_the_same_frames_from_a_pipe_and_from_a_folder(exported: Path, tmp_path: Path) -> None:
    """Raw frames on standard input, pictures in a folder, the file itself: one answer."""
    folder = tmp_path / "frames"
    folder.mkdir()
    data = b""
    for frame in open_video(PLAIN).frames():
        Image.fromarray(frame.pixels).save(folder / f"{frame.index}.png")
        data += frame.pixels.tobytes()
    (tmp_path / "raw").write_bytes(data)
    words = ("--bundle", exported, "--prompt", "red shape", "--max-objects", "3", "--save", "json")
    pipe = f"import os; os.dup2(os.open({str(tmp_path / 'raw')!r}, os.O_RDONLY), 0)"
    runs = {
        "file": sam3_edge("run", PLAIN, *words, "-o", tmp_path / "file"),
        "folder": sam3_edge("run", folder, "--video", "--fps", "10", *words, "-o", tmp_path / "folder"),
        "pipe": sam3_edge(
            *("run", "-", "--size", "64x48", "--fps", "10", *words, "-o", tmp_path / "pipe"), before=pipe
        ),
    }
    assert [(done.returncode, done.stderr) for done in runs.values()] == [(0, "")] * 3
    frames = [(tmp_path / name / "results.jsonl").read_text().splitlines()[1:] for name in runs]
    assert frames[0] == frames[1] == frames[2] and len(frames[0]) == 10


@pytest.mark.parametrize(
    ("words", "code", "fact"),
    [
        ((PLAIN,), 2, "nothing to look for"),
        ((PLAIN, PLAIN, "--prompt", "x"), 2, "2 videos: run one at a time"),
        ((PLAIN, "--prompt", "x", "--polygons"), 2, "--polygons is for pictures"),
        ((PLAIN, "--prompt", "x", "--save", "gif"), 2, "--save 'gif': choose from json, masks, video"),
        ((PLAIN, "--prompt", "x", "--start", "5", "--end", "5"), 2, "the end must be above the start"),
        ((PLAIN, "--prompt", "x", "--overwrite", "--resume"), 2, "give one of them"),
        ((PLAIN, "--prompt", "x", "--size", "64x48"), 2, "--size is of raw frames on standard input"),
        (("-", "--prompt", "x", "--size", "64"), 2, "--size '64': want WIDTHxHEIGHT"),
        (("-", "--prompt", "x", "--size", "0x48"), 2, "--size '0x48': want WIDTHxHEIGHT"),
        ((PLAIN, "--point", "1"), 2, "point '1': want FRAME:x,y[:neg][@ID]"),
        ((PLAIN, "--point", "a:1,2"), 2, "'a:1,2': want a frame's number before the colon"),
        ((PLAIN, "--point", "1:1,2@x"), 2, "point '1,2@x': want"),
        ((PLAIN, "--point", "1:1,nan"), 2, "want two finite numbers"),
        ((PLAIN, "--point", "1:1,2:neg"), 2, "the first clicks are all negative"),
        ((PLAIN, "--box", "1:1,2,3"), 2, "box '1,2,3': want x0,y0,x1,y1[:neg]"),
        ((PLAIN, "--box", "1:1,2,3,4:neg"), 2, "negative boxes alone name nothing"),
        ((PLAIN, "--prompt", "a", "--prompt", "b", "--box", "1:1,2,3,4"), 2, "--box with several --prompt"),
        (("absent.mp4", "--prompt", "x"), 3, "video absent.mp4: no such file or folder"),
        ((CLIPS / "sound.mp4", "--prompt", "x"), 3, "is no video that OpenCV can read"),
        ((CLIPS, "--prompt", "x", "--stride", "2"), 2, "--stride is for videos: name one, or pass --video"),
        ((CLIPS, "--prompt", "x", "--start", "0"), 2, "--start is for videos"),
        ((CLIPS, "--video", "--prompt", "x"), 3, "no pictures in this folder"),
    ],
)
def test_a_wrong_question(
    command: Command, tmp_path: Path, words: tuple[str | Path, ...], code: int, fact: str
) -> None:
    done = command("run", *words, "-o", tmp_path / "out")
    assert (done.code, done.out) == (code, "") and fact in done.error
    assert not (tmp_path / "out").exists()


def test_standard_input_that_is_a_terminal(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Stdin(b"", terminal=True))
    assert "nothing is piped into standard input" in command("run", "-", "--prompt", "x").error


def test_without_opencv(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    done = command("run", PLAIN, "--prompt", "x", "-o", tmp_path / "out")
    assert done.code == 4 and "pip install 'sam3-edge[video]'" in done.error


def test_what_a_device_without_torch_needs(exported: Path, tmp_path: Path) -> None:
    words = (
        "run",
        PLAIN,
        "--bundle",
        exported,
        "--prompt",
        "red shape",
        "--end",
        "3",
        "-o",
        tmp_path / "out",
    )
    done = sam3_edge(*words, before="sys.modules['torch'] = sys.modules['transformers'] = None")
    assert (done.returncode, done.stderr) == (0, "") and (ROOT / "sam3_edge").is_dir()
    assert len((tmp_path / "out" / "results.jsonl").read_text().splitlines()) == 4
