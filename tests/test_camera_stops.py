"""How live runs end: by signals at any moment, by their own limits, and with what exit code."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from camera_rig import free_port, until
from commands import Command
from live_command import LiveCommand
from stop_runs import stop_runs

from sam3_edge.benchmarks.http_camera import Camera, pictures
from sam3_edge.video.results import read_results


def test_runs_that_are_stopped_at_random_moments_leave_nothing_behind(tmp_path: Path) -> None:
    """A hundred of them: `cd tests && python -m stop_runs`."""
    assert len(stop_runs(6, 1, tmp_path / "runs")) == 6


def test_a_live_run_ends_well_by_ctrl_c_and_its_summary_is_one_document(tmp_path: Path) -> None:
    camera = Camera(pictures(), rate=8).start()
    live = LiveCommand(
        tmp_path / "run",
        *(
            "http://anna:s3cret@" + camera.url.removeprefix("http://"),
            "--prompt",
            "red circle",
            "--view",
            "none",
        ),
        *("--json", "-o", "out", "--health", "health.json", "--threads", "1"),
    )
    try:
        line = Path(f"/proc/{live.process.pid}/cmdline")
        results = tmp_path / "run" / "out" / "results.jsonl"
        until(lambda: results.exists() and results.read_bytes().count(b"\n") > 4)
        assert b"s3cret" not in line.read_bytes() and b"anna" not in line.read_bytes()
        assert live.stop(signal.SIGINT) == 0
        assert live.process.stdout
        told = json.loads(live.process.stdout.read())
        assert told["feeds"][0]["source"] == camera.url and told["feeds"][0]["seen"] > 3
        assert sum(1 for _ in read_results(results)) == told["recording"]["lines"]
        for path in tmp_path.rglob("*"):
            assert not path.is_file() or b"s3cret" not in path.read_bytes(), path
    finally:
        live.close()
        camera.stop()


def test_a_live_run_ends_by_its_own_limits(command: Command, tmp_path: Path) -> None:
    camera = Camera(pictures(), rate=8).start()
    words = ("run", camera.url, "--prompt", "red circle", "-o", tmp_path / "out", "--save", "none")
    done = command(*words, "--duration", "2")
    assert done.code == 0 and done.out.startswith(f"{camera.url}: ") and not (tmp_path / "out").exists()
    done = command(*words, "--max-memory", "1")
    assert done.code == 6 and "--max-memory allows 1" in done.err
    camera.stop()


@pytest.mark.parametrize(
    ("words", "code", "fact"),
    [
        (["csi://front"], 2, "want the sensor's number"),
        (["missing.mp4", "--view", "none"], 3, "no such file or folder"),
        (["http://127.0.0.1:9/", "--resume"], 2, "--resume is for files, not for live runs"),
        (["http://127.0.0.1:9/", "--box", "0:1,2,3,4"], 2, "--box is for files"),
        (["http://127.0.0.1:9/", "--save", "video"], 2, "json or none"),
        (["http://127.0.0.1:9/", "--snapshot-on", "party"], 2, "choose from birth"),
        (["http://127.0.0.1:9/", "--push", "rtsp://h/"], 2, "want an address that begins with http"),
        (["http://127.0.0.1:9/", "--loop", "--reader", "gstreamer"], 2, "gst-launch-1.0 does not read"),
        (["http://127.0.0.1:9/", "--credentials", "missing"], 3, "want a file with user:password"),
        (["clip.mp4", "--duration", "3"], 2, "--duration is for live runs"),
        (["picture.png", "--push", "http://h/"], 2, "--push is for live runs"),
    ],
)
def test_what_cannot_be_run_is_told_before_anything_starts(
    command: Command, tmp_path: Path, words: list[str], code: int, fact: str
) -> None:
    done = command("run", *words, "--prompt", "cat", "-o", tmp_path / "out")
    assert (done.code, fact in done.error) == (code, True), done.err
    assert not (tmp_path / "out").exists()


def test_a_folder_runs_live_until_it_is_over(command: Command, tmp_path: Path) -> None:
    """Without a camera: exit code 0 at its end; 3 for one that holds nothing."""
    from camera_rig import write_pictures

    folder = write_pictures(tmp_path / "clip")
    done = command(
        "run", folder, "--view", "none", "--fps", "100", "--prompt", "red circle", "-o", tmp_path / "out"
    )
    assert done.code == 0 and done.out == f"{folder}: {len(pictures())} frames, 0 dropped, 0 restarts\n"
    (tmp_path / "empty").mkdir()
    done = command("run", tmp_path / "empty", "--view", "none", "--prompt", "x", "-o", tmp_path / "no")
    assert done.code == 3 and "no pictures in this folder" in done.err


def test_a_window_without_a_screen_is_refused(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    done = command("run", "http://127.0.0.1:9/", "--view", "window", "--prompt", "x", "-o", tmp_path / "out")
    assert done.code == 4 and "there is no screen" in done.err


def test_a_port_that_is_taken_is_told(command: Command, tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        port = taken.getsockname()[1]
        words = ("--prompt", "x", "--view", "web", "--port", str(port), "-o", tmp_path / "out")
        done = command("run", "http://127.0.0.1:9/", *words)
    assert done.code == 2 and "cannot be listened on" in done.err
