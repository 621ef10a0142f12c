"""What a run writes of every frame: its line, its masks, its picture in the overlay."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np

from sam3_edge.loop.events import FrameResult
from sam3_edge.overlay import draw_frame
from sam3_edge.video.frames import VideoFrame
from sam3_edge.video.masks import MOST, numbered, palette_png
from sam3_edge.video.movie import Movie
from sam3_edge.video.outputs import MASKS, OVERLAY, RESULTS, Lines
from sam3_edge.video.results import as_line, frame_line
from sam3_edge.writing import write_file


class Recording:
    """The growing files of a run in `folder`: the lines, and of "masks" and "video" what `save` names."""

    def __init__(self, folder: Path, save: frozenset[str], *, fps: float, kept: int = 0) -> None:
        """`kept`: the bytes of the lines that stay of an earlier run."""
        self.folder, self.save = folder, save
        self.lines = Lines(folder / RESULTS, size=kept)
        self.movie = Movie(folder / OVERLAY, fps) if "video" in save else None
        self.frames = 0
        self.ids: dict[int, str | None] = {}

    def add(self, frame: VideoFrame, result: FrameResult) -> None:
        """A frame. Its line comes last: where there is one, the mask is there too."""
        self.draw(frame, result, overwrite=True)
        self.lines.add(as_line(frame_line(frame, result)))

    def draw(self, frame: VideoFrame, result: FrameResult, *, overwrite: bool) -> None:
        """All but the line: for a frame whose line is there already. Masks that are there stay then."""
        self.frames += 1
        self.ids |= dict(zip(result.ids.tolist(), result.concepts, strict=True))
        path = self.folder / MASKS / f"{frame.index:05}.png"
        if "masks" in self.save and (overwrite or not path.exists()):
            write_file(path, palette_png(numbered(result)), overwrite=True)
        if self.movie is not None:
            self.movie.add(np.asarray(draw_frame(frame.pixels, result)))

    @property
    def unpainted(self) -> int:
        """Objects for which a palette has no colour."""
        return sum(id >= MOST for id in self.ids) if "masks" in self.save else 0

    def finish(self) -> None:
        """The overlay gets its name. Raises `ResourceError` if it is not whole."""
        self.lines.close()
        if self.movie is not None:
            self.movie.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lines.close()
        if self.movie is not None:
            self.movie.discard()
