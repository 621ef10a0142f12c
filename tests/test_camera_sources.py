"""Live sources from real servers: frames, secrets, kills and returns. Needs ffmpeg and GStreamer."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from camera_rig import Rtsp, descendants, free_port, until, write_pictures
from numpy.typing import NDArray
from PIL import Image

from sam3_edge.benchmarks.http_camera import Camera, pictures
from sam3_edge.camera.address import parse_address
from sam3_edge.camera.capture import Capture, Source
from sam3_edge.camera.program import Wish, program_for
from sam3_edge.camera.slot import CameraFrame, Slot
from sam3_edge.camera.stream import FrameStream, Silence
from sam3_edge.errors import SourceError, UsageError

LOGIN = ("anna", "s3cret w@rt")
HIDDEN = ("anna", "s3cret", "s3cret%20w%40rt")


@contextmanager
def capturing(source: Source, *, keeps: bool = False) -> Iterator[tuple[Capture, list[str]]]:
    """A running capture, and what it notes."""
    notes: list[str] = []
    capture = Capture(source, Slot(keeps=keeps), note=lambda text: notes.append(str(text)))
    capture.start()
    try:
        yield capture, notes
    finally:
        capture.stop()
        capture.join(10)
        assert not capture.is_alive()


def newest(capture: Capture, *, after: int = -1) -> CameraFrame:
    """A frame behind a number."""

    def look() -> CameraFrame | None:
        assert capture.failure is None, capture.failure
        frame = capture.slot.take()
        return frame if frame is not None and frame.index > after else None

    frame: CameraFrame = until(look)
    return frame


def test_a_slot_holds_the_newest_and_counts_what_nobody_took() -> None:
    slot, pixels = Slot(keeps=False), np.zeros((1, 1, 3), np.uint8)
    for index in range(5):
        assert slot.put(CameraFrame(index, pixels, 0.0, 0.0))
    frame = slot.take()
    assert frame is not None and (frame.index, frame.dropped, slot.dropped) == (4, 4, 4)
    assert slot.take() is None
    slot.put(CameraFrame(5, pixels, 0.0, 0.0))
    frame = slot.take()
    assert frame is not None and (frame.index, frame.dropped, slot.dropped) == (5, 0, 4)
    slot.end()
    assert not slot.put(CameraFrame(6, pixels, 0.0, 0.0))


def test_a_slot_of_a_file_drops_nothing() -> None:
    slot, pixels, taken = Slot(keeps=True), np.zeros((1, 1, 3), np.uint8), []

    def fill() -> None:
        for index in range(20):
            slot.put(CameraFrame(index, pixels, 0.0, 0.0))
        slot.end()

    thread = threading.Thread(target=fill)
    thread.start()
    while not (slot.ended and slot.frame is None):
        if (frame := slot.take()) is not None:
            taken.append((frame.index, frame.dropped))
    thread.join()
    assert taken == [(index, 0) for index in range(20)]


def piped(data: bytes, size: tuple[int, int] | None = None, *, open_end: bool = False) -> FrameStream:
    """A stream of bytes; its other end stays open with `open_end`."""
    out, into = os.pipe()
    os.write(into, data)
    if not open_end:
        os.close(into)
    return FrameStream(out, size)


def test_pictures_of_changing_size_come_out_of_a_pipe() -> None:
    def ppm(value: int, height: int, width: int, comment: bytes = b"") -> bytes:
        return b"P6\n%b%d %d\n255\n" % (comment, width, height) + bytes([value]) * (height * width * 3)

    stream = piped(ppm(1, 2, 3, b"# captured 12.5\n") + ppm(2, 1, 1) + ppm(3, 30, 20))
    found = [stream.read(1) for _ in range(3)]
    assert [None if p is None else (p.pixels.shape, p.pixels.min(), p.pixels.max()) for p in found] == [
        ((2, 3, 3), 1, 1),
        ((1, 1, 3), 2, 2),
        ((30, 20, 3), 3, 3),
    ]
    assert found[0] is not None and found[0].captured == 12.5
    assert stream.read(1) is None
    bare = piped(bytes(range(12)) * 2, (2, 2))
    assert [bare.read(1) is None for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize(
    "data", [b"P5\n1 1\n255\n...", b"x" * 200, b"P6\n-1 1\n255\n", b"P6\n99999 99999\n255\n"]
)
def test_what_is_no_picture_is_told(data: bytes) -> None:
    with pytest.raises(SourceError):
        piped(data).read(1)


def test_a_frame_that_does_not_come_is_silence_and_half_a_frame_is_the_end() -> None:
    with pytest.raises(Silence):
        piped(b"P6\n2 2\n255\n123", open_end=True).read(0.05)
    assert piped(b"P6\n2 2\n255\n123").read(1) is None


def alike(pixels: NDArray[np.uint8]) -> bool:
    """Whether it shows the clip: its colours, on the whole, are those of one of the pictures."""
    means = [np.asarray(Image.open(BytesIO(data))).mean((0, 1)) for data in pictures()]
    return bool(min(np.abs(pixels.mean((0, 1)) - mean).max() for mean in means) < 3)


@pytest.mark.parametrize("reader", ["opencv", "ffmpeg"])
def test_an_http_camera_with_a_password(reader: str) -> None:
    before = descendants(os.getpid())  # what other tests left running, multiprocessing's own tracker
    camera = Camera(pictures(), rate=20, login=":".join(LOGIN)).start()
    url = camera.url.replace("http://", "http://anna:s3cret%20w%40rt@")
    with capturing(Source(parse_address(url), reader=reader)) as (capture, notes):
        first = newest(capture)
        second = newest(capture, after=first.index)
        assert first.pixels.shape == (224, 224, 3) and alike(first.pixels)
        assert second.captured > first.captured and abs(second.wall - time.time()) < 60
        lines = descendants(os.getpid()).values()
        assert any("sam3_edge.camera.child" in line or "ffmpeg" in line for line in lines)
        assert not any(word in line for line in lines for word in HIDDEN), lines
    camera.stop()
    wrong = Source(parse_address(camera.url.replace("//", "//anna:wr0ngword@")), reader=reader)
    camera = Camera(pictures(), rate=20, port=camera.port, login=":".join(LOGIN)).start()
    with capturing(wrong) as (capture, notes):
        until(lambda: notes)
        assert not any(word in note for note in notes for word in ("wr0ng", "anna")), notes
    camera.stop()
    assert not descendants(os.getpid()).keys() - before.keys()


@pytest.mark.parametrize("reader", ["opencv", "ffmpeg"])
def test_an_rtsp_camera_with_a_password(reader: str, tmp_path: Path) -> None:
    """Digest authentication by a real server."""
    server = Rtsp(write_pictures(tmp_path / "clip"), rate=25, login=LOGIN).start()
    url = server.url.replace("//", "//anna:s3cret%20w%40rt@")
    try:
        with capturing(Source(parse_address(url), Wish((96, 128)), reader)) as (capture, _):
            frame = newest(capture)
            assert frame.pixels.shape == (96, 128, 3)
            lines = [line for line in descendants(os.getpid()).values() if "rtsp_server" not in line]
            assert lines and not any(word in line for line in lines for word in HIDDEN), lines
    finally:
        server.kill()


def test_an_rtsp_camera_that_is_killed_comes_back(tmp_path: Path) -> None:
    """Five kills; after each return there is a picture within 5 s."""
    server = Rtsp(write_pictures(tmp_path / "clip"), rate=25).start()
    try:
        with capturing(Source(parse_address(server.url))) as (capture, notes):
            newest(capture)
            for kill in range(5):
                server.kill()
                until(lambda: capture.state == "waiting", patience=10)
                server.start()
                began = time.monotonic()
                frame = newest(capture, after=capture.count - 1)
                assert capture.restarts >= frame.run > kill
                assert time.monotonic() - began <= 5
            assert len(notes) >= 5 and all(server.url in note for note in notes)
    finally:
        server.kill()


@pytest.mark.parametrize("way", ["stopped", "same time"])
def test_a_camera_that_freezes_is_noticed(way: str, tmp_path: Path) -> None:
    """Within 2 s: the server's process stands still, or sends frames whose time does."""
    server = Rtsp(write_pictures(tmp_path / "clip"), rate=25).start()
    number = signal.SIGSTOP if way == "stopped" else signal.SIGUSR1
    try:
        with capturing(Source(parse_address(server.url))) as (capture, notes):
            newest(capture)
            server.signal(number)
            until(lambda: notes)
            assert "no new frame for 2 s" in notes[0]
            assert capture.lost is not None
            server.signal(signal.SIGCONT if way == "stopped" else number)
            newest(capture, after=capture.count)
    finally:
        server.kill()


def test_gstreamer_reads_in_a_child_of_its_own() -> None:
    """By gst-launch-1.0: the way of a Jetson's camera, with a test picture in its place."""
    address = parse_address("gst://videotestsrc is-live=true pattern=red")
    with capturing(Source(address, Wish((48, 64), 20.0))) as (capture, _):
        frame = newest(capture)
        assert frame.pixels.shape == (48, 64, 3)
        assert frame.pixels[..., 0].min() > 200 and frame.pixels[..., 1:].max() < 60
    csi = program_for(parse_address("csi://1"), Wish((720, 1280), 60.0))
    line = " ".join(csi.words)
    assert "nvarguscamerasrc sensor-id=1" in line and "framerate=60/1" in line and csi.size == (720, 1280)
    with pytest.raises(UsageError, match="width that 4 divides"):
        program_for(address, Wish((48, 62)))


def test_a_usb_camera_is_asked_for_what_is_wished() -> None:
    """No such device here: what is checked is how it is asked for, and that a missing one is told."""
    words = program_for(parse_address("/dev/video7"), Wish((480, 640), 15.0, "mjpeg"), "ffmpeg").words
    line = " ".join(words)
    assert "-f v4l2 -video_size 640x480 -framerate 15 -input_format mjpeg -i /dev/video7" in line
    assert '"codec": "MJPG"' in program_for(parse_address("/dev/video7"), Wish(codec="mjpeg")).told
    for reader in ("opencv", "ffmpeg"):
        with capturing(Source(parse_address("/dev/video77"), reader=reader)) as (_, notes):
            until(lambda: notes)
            assert notes[0].startswith("/dev/video77: ")


def test_a_folder_is_played_again_and_again_at_its_rate_and_nothing_is_dropped(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "clip")
    source = Source(parse_address(str(folder)), Wish(rate=500.0), flip="90", loop=True)
    with capturing(source, keeps=True) as (capture, _):
        frames = [newest(capture, after=index - 1) for index in range(2 * len(pictures()) + 1)]
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert {frame.dropped for frame in frames} == {0} and frames[-1].run == 2
    (again,) = {frame.time for frame in frames if frame.index in (3, 3 + len(pictures()))}
    assert again == pytest.approx(3 / 500)
    plain = Source(parse_address(str(folder)), Wish(rate=500.0))
    with capturing(plain, keeps=True) as (capture, _):
        turned = np.rot90(newest(capture).pixels, -1)
        until(lambda: capture.slot.take() is None and capture.slot.ended)
    np.testing.assert_array_equal(frames[0].pixels, turned)
    with pytest.raises(UsageError, match="cannot begin again"):
        Source(parse_address("rtsp://h/"), loop=True)


def test_raw_frames_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    out, into = os.pipe()
    with os.fdopen(into, "wb") as end:
        end.write(bytes(range(24)) * 3)
    with os.fdopen(out, "rb") as file:
        monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": file, "isatty": lambda: False}))
        with capturing(Source(parse_address("-"), Wish((2, 4), 1.0)), keeps=True) as (capture, _):
            frames = [newest(capture, after=index - 1) for index in range(3)]
    assert [frame.pixels.tobytes() for frame in frames] == [bytes(range(24))] * 3


def test_the_child_ends_with_its_parent_and_a_missing_program_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed without a chance to clean up."""
    code = (
        "import time; from sam3_edge.camera import process, program;"
        "c = process.Child(program.Program(('/bin/sleep', '1000'))); print(c.process.pid, flush=True);"
        "time.sleep(1000)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    child = int(parent.stdout.readline())
    until(lambda: descendants(parent.pid).get(child, "").startswith("/bin/sleep 1000"))
    parent.kill()
    parent.communicate()
    until(lambda: not Path(f"/proc/{child}").exists() or "Z" in state_of(child))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with capturing(Source(parse_address(f"http://127.0.0.1:{free_port()}/"), reader="ffmpeg")) as (
        capture,
        notes,
    ):
        until(lambda: notes)
        assert notes == ["ffmpeg is not installed: apt install ffmpeg"] and capture.state == "ended"


def state_of(number: int) -> str:
    """A process's state, empty if it is gone."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
