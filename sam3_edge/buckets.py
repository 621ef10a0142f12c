"""Graphs of fixed shapes for several objects: a bucket for each count, and how a call is cut into buckets.

A bundle says it by name: `objects_4` is for four objects, a function of a package (iOS 18) or a package of
its own beside the others (iOS 17). What has no such name is for one object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge.bundle import Bundle
from sam3_edge.manifest import GraphFile
from sam3_edge.tensors import GraphSpec

COUNTS = (1, 4)  # each more is a second to load on a device, and what does not fill a bucket is padded
NAME = re.compile(r"objects_(\d+)")
Arrays = Mapping[str, NDArray[Any]]


def bucket_name(count: int) -> str:
    """What the bucket for so many objects is called."""
    return f"objects_{count}"


def find_buckets(
    bundle: Bundle, graph: str, functions: Callable[[str], Iterable[str]]
) -> dict[int, GraphFile]:
    """Every bucket of a graph, rising. `functions` names those of the package at a path in the bundle."""
    file = bundle.graphs[graph]
    if file.function is not None:
        found = {name: GraphFile(file.path, name) for name in functions(file.path)}
    else:
        inside = (PurePosixPath(record.path).parts[:3] for record in bundle.files)
        packages = {"/".join(parts) for parts in inside if "/".join(parts).startswith(file.folder)}
        found = {PurePosixPath(path).stem: GraphFile(path) for path in packages}
    counted = {int(match[1]): at for name, at in found.items() if (match := NAME.fullmatch(name))}
    return dict(sorted(counted.items())) or {1: file}


@dataclass(frozen=True)
class Part:
    """Objects `start` to `stop` of a call, run in the bucket for `count`."""

    start: int
    stop: int
    count: int


def parts(objects: int, counts: Sequence[int]) -> list[Part]:
    """The smallest bucket that takes all, after as many of the largest as are full."""
    largest = max(counts)
    found = [Part(start, start + largest, largest) for start in range(0, objects - largest + 1, largest)]
    if rest := objects % largest:
        found.append(Part(objects - rest, objects, min(count for count in counts if count >= rest)))
    return found


def part_feeds(spec: GraphSpec, feeds: Arrays, part: Part) -> dict[str, NDArray[Any]]:
    """What one part is fed; its last object again until the bucket is full."""
    return {t.name: rows(feeds[t.name], part) if t.per_object else feeds[t.name] for t in spec.inputs}


def rows(value: NDArray[Any], part: Part) -> NDArray[Any]:
    """The part's rows; without a copy where they fill it."""
    own = value[part.start : part.stop]
    missing = part.count - len(own)
    return own if not missing else np.concatenate([own, np.repeat(own[-1:], missing, axis=0)])


def joined(spec: GraphSpec, answers: Sequence[Arrays], cut: Sequence[Part]) -> dict[str, NDArray[Any]]:
    """The answers of all parts, without those for padding; without a copy for one full part."""
    made = {}
    for t in spec.outputs:
        each = [
            answer[t.name][: part.stop - part.start] if t.per_object else answer[t.name]
            for answer, part in zip(answers, cut, strict=True)
        ]
        made[t.name] = np.concatenate(each) if t.per_object and len(each) > 1 else each[0]
    return made
