"""JSON of others, read with suspicion: every field is checked before a number is made of it."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sam3_edge.errors import CheckError, SourceError
from sam3_edge.judge.case import Size

T = TypeVar("T")
AGAIN = "write the file again"


def read_json(path: Path) -> Any:
    """The document in a file.

    Raises `SourceError` if it cannot be read or is not JSON, `CheckError` if an object has a name twice.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror}): name a file that is there") from error
    try:
        return json.loads(data, object_pairs_hook=lambda pairs: unique(pairs, path))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path} is not JSON ({str(error)[:80]}): {AGAIN}") from error


def unique(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    """A JSON object. The usual reader keeps the last of two entries and says nothing."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise CheckError(
            f"{path}: {twice(name for name, _ in pairs)!r:.80} occurs twice in one object: {AGAIN}"
        )
    return made


def twice(names: Iterable[str]) -> str | None:
    """The first name that occurs more than once."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


def take(row: Any, name: str, kind: type[T], *, where: str) -> T:
    """The field `name` of an object, which must be of a kind. Raises `CheckError`."""
    if not isinstance(row, dict) or name not in row:
        raise CheckError(f"{where} has no {name!r}: {AGAIN}")
    value = row[name]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise CheckError(f"{where}: {name} is {value!r:.60}, want {kind.__name__}: {AGAIN}")
    return value


def identity(row: Any, name: str, *, where: str) -> str:
    """An id as text: some programs number their pictures, others name them."""
    if isinstance(row, dict) and isinstance(row.get(name), str):
        return take(row, name, str, where=where)
    return str(take(row, name, int, where=where))


def size_of(row: Any, *, where: str) -> Size:
    """Height and width of a picture or clip, at least one pixel."""
    height, width = take(row, "height", int, where=where), take(row, "width", int, where=where)
    if height < 1 or width < 1:
        raise CheckError(f"{where} is of {width} x {height} pixels: {AGAIN}")
    return height, width


def score_of(row: Any, *, where: str) -> float:
    """How sure a program is, 0 to 1. Raises `CheckError` for anything else: a logit has no 0.5."""
    value = row.get("score") if isinstance(row, dict) else None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise CheckError(f"{where}: score is {value!r:.60}, want a number from 0 to 1: {AGAIN}")
    if not math.isfinite(value) or not 0 <= value <= 1:
        raise CheckError(f"{where}: score is {value}, want 0 to 1: {AGAIN}")
    return float(value)


def runs_of(shape: Any, size: Size, *, where: str) -> bytes:
    """A COCO segmentation (run lengths, packed or not, or polygons) as packed run lengths of a mask.

    Raises `CheckError`. pycocotools itself trusts what it gets and reads beyond the picture if that lies.
    """
    from pycocotools import mask as rle

    height, width = size
    if isinstance(shape, list):
        check_polygons(shape, where=where)
        counts: bytes = rle.merge(rle.frPyObjects(shape, height, width))["counts"]
        return counts
    told = take(shape, "size", list, where=f"{where}, segmentation")
    if told != [height, width]:
        raise CheckError(
            f"{where}: the mask is of {told!s:.40} pixels, the picture of [{height}, {width}]: {AGAIN}"
        )
    packed = shape.get("counts")
    if isinstance(packed, list):
        check_runs(packed, size, where=where)
        counts = rle.frPyObjects(shape, height, width)["counts"]
        return counts
    if not isinstance(packed, str) or not packed.isascii():
        raise CheckError(f"{where}: run lengths are {packed!r:.60}, want text or numbers: {AGAIN}")
    check_runs(unpack(packed.encode(), where=where).tolist(), size, where=where)
    return packed.encode()


def check_polygons(rings: list[Any], *, where: str) -> None:
    """At least one ring, each of three corners or more."""
    for ring in rings:
        numbers = isinstance(ring, list) and all(
            isinstance(v, (int, float)) and math.isfinite(v) for v in ring
        )
        if not numbers or len(ring) < 6 or len(ring) % 2:
            raise CheckError(f"{where}: polygon {ring!r:.60}, want x, y of three corners or more: {AGAIN}")
    if not rings:
        raise CheckError(f"{where}: a segmentation without polygons: {AGAIN}")


def check_runs(runs: list[Any], size: Size, *, where: str) -> None:
    """None negative, together as many as there are pixels."""
    if not all(isinstance(run, int) and run >= 0 for run in runs) or sum(runs) != size[0] * size[1]:
        raise CheckError(f"{where}: run lengths do not fill {size[1]} x {size[0]} pixels: {AGAIN}")


def unpack(packed: bytes, *, where: str) -> NDArray[np.int64]:
    """COCO's packed run lengths: five bits a letter, the sixth says that more follow, from the third on as
    differences from the run before the last.
    """
    letters = np.frombuffer(packed, np.uint8).astype(np.int64) - 48
    if not len(letters) or letters.min() < 0 or letters.max() > 63 or letters[-1] & 32:
        raise CheckError(f"{where}: run lengths {packed[:40]!r} are damaged: {AGAIN}")
    last = np.flatnonzero(letters & 32 == 0)
    first = np.concatenate(([0], last[:-1] + 1))
    length = last - first + 1
    if length.max() > 12:  # 60 bits: no run of a picture is that long, and the sum would wrap
        raise CheckError(f"{where}: run lengths {packed[:40]!r} are damaged: {AGAIN}")
    place = np.arange(len(letters)) - np.repeat(first, length)
    runs = np.add.reduceat((letters & 31) << (5 * place), first)
    runs = np.where(letters[last] & 16, runs - (np.int64(1) << (5 * length)), runs)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs
