"""Antialiased bilinear resize of floats: masks that are given by hand, on their way into memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Taps:
    """One axis: output i is the sum over j of `weights[i, j] * x[start[i] + j]`."""

    start: NDArray[np.int64]  # [m]
    weights: Floats  # [m, taps], 0 past the end of the filter


def taps(source: int, target: int) -> Taps:
    """The triangle filter, in float32 as the reference has it."""
    scale = np.float32(source / target)
    support, narrow = max(scale, np.float32(1)), np.float32(1) / max(scale, np.float32(1))
    centre = scale * (np.arange(target, dtype=np.float32) + np.float32(0.5))
    start = np.maximum((centre - support + np.float32(0.5)).astype(np.int64), 0)
    stop = np.minimum((centre + support + np.float32(0.5)).astype(np.int64), source)
    tap = np.arange(int((stop - start).max()))
    distance = ((tap + start[:, None]).astype(np.float32) - centre[:, None] + np.float32(0.5)) * narrow
    weights = np.maximum(np.float32(1) - np.abs(distance), 0).astype(np.float32)
    weights *= tap < (stop - start)[:, None]
    total = np.zeros(target, np.float32)
    for column in weights.T:
        total += column
    return Taps(start, weights / total[:, None])


def across(x: Floats, filter: Taps) -> Floats:
    """Filter the last axis of x [n, size]: [n, m]. Rows of one value stay that value and cost nothing."""
    out = np.repeat(x[:, :1], len(filter.start), axis=1)
    busy = np.flatnonzero((x != x[:, :1]).any(1))
    some, sums = x[busy], np.zeros((len(busy), len(filter.start)), np.float32)
    for j, weight in enumerate(filter.weights.T):
        sums += some[:, np.minimum(filter.start + j, x.shape[1] - 1)] * weight
    out[busy] = sums
    return out


def resample(x: Floats, height: int, width: int) -> Floats:
    """[h, w] -> [height, width]: along x first, then along y; the same values if the size is the same.

    Equal to `torch.nn.functional.interpolate(mode="bilinear", antialias=True)` of float32 to a rounding.
    """
    if x.shape[1] != width:
        x = across(x, taps(x.shape[1], width))
    if x.shape[0] != height:
        x = np.ascontiguousarray(across(np.ascontiguousarray(x.T), taps(x.shape[0], height)).T)
    return x
