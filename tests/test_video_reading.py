"""Frames from files, folders and pipes: as they are meant to be seen, or an error that names the file."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import ROOT
from numpy.typing import NDArray
from PIL import Image

from sam3_edge.errors import BackendError, EdgeError, SourceError, UsageError
from sam3_edge.video.frames import Span, Video
from sam3_edge.video.reading import open_video

CLIPS = ROOT / "tests" / "fixtures" / "videos"
FLIPS = 200


def pixels(name: str) -> NDArray[np.int64]:
    """All frames of a clip, as numbers that can be subtracted."""
    return np.stack([frame.pixels for frame in open_video(CLIPS / name).frames()]).astype(np.int64)


def test_frames_of_a_file() -> None:
    video = open_video(CLIPS / "plain.mp4")
    frames = list(video.frames())
    assert (video.fps, video.count, video.again, video.length()) == (10, 10, True, 10)
    assert [frame.index for frame in frames] == list(range(10))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(10) / 10)
    assert all(frame.pixels.shape == (48, 64, 3) and frame.pixels.dtype == np.uint8 for frame in frames)
    blue, red = frames[0].pixels[8, 28], frames[0].pixels[8, 48]  # bars of the test picture
    assert red[0] > 200 > 60 > red[2] and blue[2] > 200 > 60 > blue[0]


@pytest.mark.parametrize(("turn", "quarters"), [(90, 1), (180, 2), (270, 3)])
def test_a_file_that_asks_to_be_turned_is_turned(turn: int, quarters: int) -> None:
    want = np.rot90(pixels("plain.mp4"), quarters, axes=(1, 2))
    np.testing.assert_array_equal(pixels(f"turned{turn}.mp4"), want)


def test_uneven_times_are_the_containers() -> None:
    frames = list(open_video(CLIPS / "uneven.mp4").frames())
    np.testing.assert_allclose([frame.time for frame in frames], [0, 0.2, 0.3, 0.5, 0.6, 0.8, 0.9])
    steady = list(open_video(CLIPS / "uneven.mp4", fps=5).frames())
    np.testing.assert_allclose([frame.time for frame in steady], np.arange(7) / 5)


@pytest.mark.parametrize("name", ["ten_bit.mp4", "alpha.mov", "small.ts"])
def test_depth_and_alpha_are_brought_to_eight_bits_of_rgb(name: str) -> None:
    """Alpha is dropped, not composited: three quarters transparent, and the colours are the same."""
    assert np.abs(pixels(name) - pixels("plain.mp4")).mean() < 12


def test_grey_is_repeated() -> None:
    grey = pixels("grey.mkv")
    assert (grey[..., 0] == grey[..., 1]).all() and (grey[..., 0] == grey[..., 2]).all()
    assert grey.std() > 20


def test_a_stream_whose_size_changes_is_brought_to_the_first() -> None:
    assert pixels("two_sizes.ts").shape[1:] == (48, 64, 3)


@pytest.mark.parametrize(
    ("span", "want"),
    [
        (Span(3), [3, 4, 5, 6, 7, 8, 9]),
        (Span(1, 8, 3), [1, 4, 7]),
        (Span(9, 10), [9]),
        (Span(0, 99, 4), [0, 4, 8]),
    ],
)
def test_spans(span: Span, want: list[int]) -> None:
    video = open_video(CLIPS / "plain.mp4")
    assert [frame.index for frame in video.frames(span)] == want
    assert span.count(10) == len(want)


@pytest.mark.parametrize("wrong", [(-1, None, 1), (0, 5, 0), (5, 5, 1), (5, 3, 1)])
def test_spans_that_are_none(wrong: tuple[int, int | None, int]) -> None:
    with pytest.raises(UsageError, match="frames"):
        Span(*wrong)


def test_a_start_past_the_end() -> None:
    with pytest.raises(UsageError, match=r"frame 10 is past the end: .*plain.mp4 has 10 frames"):
        list(open_video(CLIPS / "plain.mp4").frames(Span(10)))


def damaged(place: Path, kind: str) -> Path:
    """A file that is no sound video."""
    whole = (CLIPS / "index_first.mp4").read_bytes()
    data = {
        "empty.mp4": b"",
        "text.mp4": b"no video at all\n" * 40,
        "index_lost.mp4": (CLIPS / "plain.mp4").read_bytes()[:3000],
        "head.mp4": whole[:1600],
        "sound.mp4": (CLIPS / "sound.mp4").read_bytes(),
    }
    (place / kind).write_bytes(data[kind])
    return place / kind


@pytest.mark.parametrize("kind", ["empty.mp4", "text.mp4", "index_lost.mp4", "head.mp4", "sound.mp4"])
def test_files_without_a_frame(tmp_path: Path, kind: str) -> None:
    path = damaged(tmp_path, kind)
    with pytest.raises(SourceError, match=kind):
        list(open_video(path).frames())


def test_a_file_that_is_cut_gives_what_is_left_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "cut.mkv").write_bytes((CLIPS / "grey.mkv").read_bytes()[:-1500])
    notes: list[str] = []
    frames = list(open_video(tmp_path / "cut.mkv", note=notes.append).frames())
    assert len(frames) == 5
    assert len(notes) == 1 and "says it has 10 frames, 5 could be decoded" in notes[0]


@pytest.mark.parametrize("name", ["plain.mp4", "index_first.mp4", "small.ts", "grey.mkv"])
def test_flipped_bits_give_frames_or_an_error(tmp_path: Path, name: str) -> None:
    data, path = (CLIPS / name).read_bytes(), tmp_path / name
    lengths: set[int] = set()
    other: list[EdgeError] = []
    for seed in range(FLIPS // 4):
        rng, flipped = np.random.default_rng(seed), np.frombuffer(data, np.uint8).copy()
        for place in rng.integers(len(data), size=rng.integers(1, 6)):
            flipped[place] ^= 1 << rng.integers(8)
        path.write_bytes(flipped.tobytes())
        try:
            frames = list(open_video(path).frames())
        except EdgeError as error:
            other += [] if isinstance(error, SourceError) and str(path) in str(error) else [error]
            continue
        lengths.add(len(frames))
        assert len({frame.pixels.shape for frame in frames}) == 1
    assert 10 in lengths and not other


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        Image.new("RGB", (8, 6), (number, 0, 0)).save(tmp_path / f"frame{number}.png")
    video = open_video(tmp_path, fps=2)
    assert [(f.index, f.time, int(f.pixels[0, 0, 0])) for f in video.frames()] == [
        (0, 0, 1),
        (1, 0.5, 2),
        (2, 1, 10),
    ]
    assert (video.count, video.length()) == (3, 3)
    Image.new("RGB", (9, 6)).save(tmp_path / "frame11.png")
    with pytest.raises(SourceError, match=r"frame11.png is of 9 x 6 pixels, unlike the frames before"):
        list(video.frames()) and list(open_video(tmp_path).frames())
    (tmp_path / "frame11.png").write_bytes(b"\x89PNG")
    with pytest.raises(SourceError, match=r"frame11\.png"):
        list(open_video(tmp_path).frames())


class Stdin:
    """Standard input that holds these bytes."""

    def __init__(self, data: bytes, *, terminal: bool = False) -> None:
        self.buffer, self.terminal = io.BytesIO(data), terminal

    def isatty(self) -> bool:
        return self.terminal


def test_raw_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.arange(3 * 4 * 5 * 3, dtype=np.uint8).reshape(3, 4, 5, 3)
    monkeypatch.setattr(sys, "stdin", Stdin(whole.tobytes()))
    video = open_video("-", size=(4, 5), fps=8)
    assert (video.name, video.fps, video.count, video.again) == ("-", 8, None, False)
    frames = list(video.frames(Span(1)))
    assert [(frame.index, frame.time) for frame in frames] == [(1, 0.125), (2, 0.25)]
    np.testing.assert_array_equal([frame.pixels for frame in frames], whole[1:])
    monkeypatch.setattr(sys, "stdin", Stdin(whole.tobytes()[:-1]))
    with pytest.raises(SourceError, match="ends within frame 2, after 59 of its 60 bytes"):
        list(open_video("-", size=(4, 5)).frames())
    monkeypatch.setattr(sys, "stdin", Stdin(b""))
    with pytest.raises(SourceError, match="no frame in it can be decoded"):
        list(open_video("-", size=(4, 5)).frames())
    monkeypatch.setattr(sys, "stdin", Stdin(b"", terminal=True))
    with pytest.raises(UsageError, match="nothing is piped in"):
        open_video("-")


def test_an_encoded_stream_on_standard_input() -> None:
    code = (
        "from sam3_edge.video.reading import open_video\n"
        "print([frame.index for frame in open_video('-').frames()], flush=True)"
    )
    with (CLIPS / "small.ts").open("rb") as file:
        done = subprocess.run([sys.executable, "-c", code], stdin=file, capture_output=True, text=True)
    assert done.stdout == f"{list(range(10))}\n" and not done.stderr
    code = code.replace("print", "from sam3_edge.errors import SourceError\ntry: print").replace(
        ", flush=True)", ")\nexcept SourceError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], input="no video", capture_output=True, text=True)
    assert "standard input is no video that OpenCV can read" in done.stdout and not done.stderr


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or folder"):
        open_video(tmp_path / "absent.mp4")
    with pytest.raises(SourceError, match="no pictures in this folder"):
        open_video(tmp_path)
    with pytest.raises(UsageError, match="--size is of raw frames on standard input"):
        open_video(CLIPS / "plain.mp4", size=(4, 5))
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="frames a second"):
            open_video(CLIPS / "plain.mp4", fps=rate)


def test_names_that_mean_something_to_a_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No protocol and no pattern: a path is a path."""
    monkeypatch.chdir(tmp_path)
    for name in ("pipe:0", "concat:a|b.mp4", "%03d.mp4", "-i.mp4"):
        Path(name).write_bytes((CLIPS / "plain.mp4").read_bytes())
        assert len(list(open_video(name).frames())) == 10


def test_without_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(BackendError, match=r"pip install 'sam3-edge\[video\]'.*apt install python3-opencv"):
        open_video(CLIPS / "plain.mp4")


class Broken:
    """A capture that raises, as OpenCV does on sizes it cannot allocate."""

    def __init__(self, error: type[Exception]) -> None:
        self.error = error

    def grab(self) -> bool:
        return True

    def get(self, what: int) -> float:
        return 0.0

    def retrieve(self) -> Any:
        raise self.error("insufficient memory")

    def release(self) -> None:
        pass


def test_what_opencv_raises_names_the_video(monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    open_capture: Callable[..., Any] = lambda place, name: Broken(cv2.error)  # noqa: E731
    video = open_video(CLIPS / "plain.mp4")
    monkeypatch.setattr("sam3_edge.video.reading.open_capture", open_capture)
    assert isinstance(video, Video)
    with pytest.raises(SourceError, match=r"plain.mp4: frame 0 cannot be decoded"):
        list(video.frames())
