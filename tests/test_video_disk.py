"""The disk fills up, or the process is killed: what is there is whole, and the run goes on from it."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import ROOT
from disk import Disk
from filmed import film, model, plan, restless
from PIL import Image
from test_video_run import contents

from sam3_edge.errors import ResourceError
from sam3_edge.video.reading import open_video
from sam3_edge.video.running import run_video

COUNT, POINTS = 30, 200
ASKED: dict[str, Any] = {"every": 4}


def go(output: Path, **more: Any) -> dict[str, Any]:
    return run_video(model(restless()), film(COUNT), plan(output, **ASKED, **more))


def is_whole(folder: Path, want: dict[str, bytes]) -> int:
    """How many lines there are. Every file is a beginning of what it should be, in whole parts."""
    got = contents(folder)
    lines = got.pop("results.jsonl", b"")
    assert want["results.jsonl"].startswith(lines) and (not lines or lines.endswith(b"\n"))
    for name, data in got.items():
        if not name.startswith(".states"):
            assert not Path(name).name.startswith("."), name
            assert data == want[name], name
    assert sum(name.startswith("masks/") for name in got) >= lines.count(b"\n") - 1  # masks come first
    if lines:
        json.loads((folder / "run.json").read_bytes())
    return lines.count(b"\n")


def test_the_disk_fills_up_at_any_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing there before: what was whole stays, and the run goes on from it."""
    disk = Disk(monkeypatch)
    go(tmp_path / "whole")
    want, writes = contents(tmp_path / "whole"), disk.writes
    points = [(room, torn) for room in range(writes) for torn in (False, True)][: POINTS // 2 + 40]
    assert len(points) >= POINTS // 2
    resumed = 0
    for room, torn in points:
        out = tmp_path / f"{room}{torn}"
        disk.fill(room, torn=torn)
        with pytest.raises(ResourceError, match="No space left on device"):
            go(out)
        disk.fill(None)
        lines = is_whole(out, want) if out.exists() else 0
        if room % 10 == 0:
            go(out, resume=True)
            assert contents(out) == want
            resumed += lines > 1
    assert resumed > 5


def test_the_disk_fills_up_over_an_earlier_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The earlier run is there again, to the byte."""
    disk, out = Disk(monkeypatch), tmp_path / "out"
    go(out, live=True)
    before = contents(out) | {"run.json": (out / "run.json").read_bytes()}
    disk.fill(None)
    go(tmp_path / "other")
    writes = disk.writes
    for room in range(writes):
        disk.fill(room, torn=bool(room % 2))
        with pytest.raises(ResourceError, match="No space left on device"):
            go(out, overwrite=True)
        disk.fill(None)
        assert contents(out) | {"run.json": (out / "run.json").read_bytes()} == before
    assert writes >= 60


@pytest.mark.parametrize("room", [0, 3_000, 30_000])
def test_an_overlay_that_does_not_fit_is_not_kept(tmp_path: Path, room: int) -> None:
    """The encoder says nothing of it. The limit is the process's own, on the size of any file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    run_video(model(restless()), film(), plan(tmp_path / "whole", save="video"))
    size = (tmp_path / "whole" / "overlay.mp4").stat().st_size
    lines = (tmp_path / "whole" / "results.jsonl").stat().st_size
    assert lines < room or room < 30_000 < size
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(ResourceError):
            run_video(model(restless()), film(), plan(tmp_path / "out", save="video"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "out" / "overlay.mp4").exists()
    assert not list((tmp_path / "out").glob(".overlay*"))


def test_killed_at_random_instants(tmp_path: Path) -> None:
    """100 processes, killed while they write: lines, pictures and overlay are whole as far as they go."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "killed.py"), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["killed"] == 100 and len(told["lines"]) == 100
    assert len(set(told["lines"])) > 10  # they were killed here and there
    want = contents(tmp_path / "whole")
    want.pop("overlay.mp4")
    for trial in range(100):
        out = tmp_path / str(trial)
        got = contents(out) if out.exists() else {}
        lines = got.pop("results.jsonl", b"")
        assert want["results.jsonl"].startswith(lines)
        for name in [name for name in got if not Path(name).name.startswith(".")]:
            if name == "overlay.mp4":
                assert open_video(out / name).count == told["frames"]
            elif name.endswith(".png"):
                assert got[name] == want[name]
        if (out / "run.json").exists():
            json.loads((out / "run.json").read_bytes())
    assert told["resumed"] == 5
    with Image.open(tmp_path / "0" / "masks" / "00000.png") as image:
        assert image.size == (96, 64)
