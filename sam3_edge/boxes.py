"""Exemplar boxes: what a user draws, and what the `exemplar` graph reads of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam3_edge.errors import UsageError

FORM = "x0,y0,x1,y1[:neg]"
FARTHEST = 1000  # in pictures; float32 still tells a thousandth of a grid cell there


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the picture, x to the right and y down, edges included as real numbers.

    `positive`: things like this one; otherwise things unlike it. Raises `UsageError` when inverted, empty or
    not finite.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    positive: bool = True

    def __post_init__(self) -> None:
        if not all(math.isfinite(edge) for edge in self.edges):
            raise UsageError(f"box {self}: want four finite numbers, {FORM} in pixels")
        for axis, low, high in (("x", self.x0, self.x1), ("y", self.y0, self.y1)):
            if high <= low:
                fact = "empty" if high == low else "inverted"
                raise UsageError(
                    f"box {self} is {fact}: {axis}1 = {high:g} must be above {axis}0 = {low:g} "
                    f"({FORM}: left, top, right, bottom)"
                )

    def __str__(self) -> str:
        return ",".join(f"{edge:g}" for edge in self.edges) + ("" if self.positive else ":neg")

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom, in pixels."""
        return self.x0, self.y0, self.x1, self.y1

    @classmethod
    def of(cls, edges: Sequence[float], *, positive: bool = True) -> Box:
        """From left, top, right, bottom in one sequence."""
        x0, y0, x1, y1 = (float(edge) for edge in edges)
        return cls(x0, y0, x1, y1, positive)

    @classmethod
    def parse(cls, text: str) -> Box:
        """`x0,y0,x1,y1`, with `:neg` (or `:pos`) behind it. Raises `UsageError`."""
        numbers, _, label = text.partition(":")
        try:
            edges = [float(number) for number in numbers.split(",")]
        except ValueError as error:
            raise UsageError(f"box {text!r}: want {FORM}, four numbers in pixels") from error
        if len(edges) != 4 or label not in ("", "pos", "neg"):
            raise UsageError(f"box {text!r}: want {FORM}, four numbers in pixels")
        x0, y0, x1, y1 = edges
        return cls(x0, y0, x1, y1, positive=label != "neg")

    def relative(self, height: int, width: int) -> NDArray[np.float32]:
        """cxcywh as fractions of the picture, [4].

        A box that reaches over the picture's edge is taken as drawn: the reference does not clip it, and
        clipping would change its centre. Raises `UsageError` for a box wholly outside.
        """
        if self.x1 <= 0 or self.y1 <= 0 or self.x0 >= width or self.y0 >= height:
            raise UsageError(
                f"box {self} is outside the picture of {width} x {height} pixels: "
                f"want x in 0..{width}, y in 0..{height}"
            )
        corners = np.array(self.edges) / (width, height, width, height)
        if np.abs(corners).max() > FARTHEST:
            raise UsageError(
                f"box {self} reaches over {FARTHEST} pictures far: want x in 0..{width}, y in 0..{height}"
            )
        centre, size = (corners[:2] + corners[2:]) / 2, corners[2:] - corners[:2]
        return np.concatenate((centre, size)).astype(np.float32)


def pooling_matrices(
    boxes: NDArray[np.float32], grid: int, size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """RoIAlign of boxes [K, 4] (cxcywh, 0 to 1) on a map [grid, grid]: `pool_y @ map @ pool_x.T`.

    Returns pool_y and pool_x [K, size, grid]. Equal to the operator with `aligned=False`, adaptive sampling
    (`sampling_ratio=-1`) and boxes scaled to the grid: what a sample weighs depends on x and y apart, and the
    mean over a bin's samples is the product of the means over its rows and over its columns.
    """
    # In float32 and in the operator's order, to the end: a bin of 2.0000002 cells has three samples, one of
    # 2.0 two, and in a box centred on the picture's edge a sample lies on the last place that counts.
    boxes = np.asarray(boxes, np.float32)
    low = (boxes[:, :2] - np.float32(0.5) * boxes[:, 2:]) * np.float32(grid)
    high = (boxes[:, :2] + np.float32(0.5) * boxes[:, 2:]) * np.float32(grid)
    bins = np.maximum(high - low, np.float32(1)) / np.float32(size)
    pooled = np.zeros((2, len(boxes), size, grid), np.float32)
    for box, axis, index in np.ndindex(len(boxes), 2, size):
        start, width = np.float32(low[box, axis]), np.float32(bins[box, axis])
        pooled[axis, box, index] = pooling_row(start, width, index=index, grid=grid)
    return pooled[1], pooled[0]


def pooling_row(start: np.float32, width: np.float32, *, index: int, grid: int) -> NDArray[np.float64]:
    """One bin along one axis: of bins `width` cells wide from `start` on, what each cell weighs: [grid]."""
    row, samples = np.zeros(grid), math.ceil(width)
    first = start + np.float32(index) * width
    # Samples beyond the map weigh nothing, and only those within reach are visited: a box may reach far out.
    reach = (np.array([-1, grid]) - float(first)) * samples / float(width)
    low, high = max(math.floor(reach[0]) - 1, 0), min(math.ceil(reach[1]) + 1, samples)
    steps = np.arange(low, high, dtype=np.float32) + np.float32(0.5)
    place = first + steps * width / np.float32(samples)
    place = np.clip(place[(place >= -1) & (place <= grid)], 0, grid - 1)
    cell = place.astype(np.int64)
    np.add.at(row, cell, 1 - (place - cell))
    np.add.at(row, np.minimum(cell + 1, grid - 1), place - cell)
    return row / samples
