"""The graphs of a frame, each run once in every round, so that what is compared ran side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from sam3_edge import registry
from sam3_edge.spec import GraphSpec, ModelConfig, graph_specs
from sam3_edge.timing.ratio import interval

from .paired import CLOCKS, Times, clock

PICTURE = ("detector_features", "exemplar", "detector", "masks")  # and a trunk; a phrase is encoded once
FRAME = (*PICTURE, "tracker_features", "tracker_step", "memorize")  # of one tracked object
SEED = 3

Rounds = Mapping[str, Sequence[Mapping[str, float]]]  # by graph: the seconds of each round


def feeds_of(spec: GraphSpec) -> dict[str, Any]:
    """Noise of a graph's shapes, and zeros for what counts; biases 0: everything is there."""
    rng = np.random.default_rng(SEED)

    def made(name: str, shape: tuple[int, ...], dtype: str) -> Any:
        if dtype != "float32" or "bias" in name:
            return np.zeros(shape, dtype)
        return rng.normal(0, 0.5, shape).astype(dtype)

    return {t.name: made(t.name, t.sized(1), t.dtype) for t in spec.inputs}


def spend(config: ModelConfig, sizes: Mapping[str, int], folder: Path, rounds: int) -> Rounds:
    """Time all trunks (`sizes`: the pixels that each sees) and all heads below `folder`, one thread each.

    Every second round goes the other way round. A first round warms up and is not kept.
    """
    start, specs = registry.load("runtime", "onnx").start, graph_specs(config)
    calls = {}
    for name, size in sizes.items():
        session = start(str(folder / "trunks" / name / "model.onnx"), name=name, threads=1)
        image = np.random.default_rng(SEED).uniform(-1, 1, (1, 3, size, size)).astype(np.float32)
        calls[name] = partial(session.run, None, {"image": image})
    for name in FRAME:
        session = start(str(folder / "heads" / name / "model.onnx"), name=name, threads=1)
        calls[name] = partial(session.run, None, feeds_of(specs[name]))
    found: dict[str, list[dict[str, float]]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name in reversed(calls) if number % 2 else calls:
            spent = vars(clock(calls[name]))
            if number:
                found[name].append(spent)
    return found


def summed(times: Rounds, graphs: Sequence[str]) -> list[Times]:
    """By round: the seconds of all these graphs."""
    by_round = zip(*(times[name] for name in graphs), strict=True)
    return [Times(*(sum(spent[kind] for spent in row) for kind in CLOCKS)) for row in by_round]


def total(times: Rounds, graphs: Sequence[str]) -> dict[str, float]:
    """The median round's seconds of all these graphs together, by clock."""
    rows = summed(times, graphs)
    return {kind: round(median(getattr(row, kind) for row in rows), 4) for kind in CLOCKS}


def ratio_to(times: Rounds, teacher: str, student: str) -> dict[str, dict[str, float]]:
    """How many times faster a picture is, round by round, with its 95 % interval, by clock."""
    a, b = (summed(times, [name, *PICTURE]) for name in (teacher, student))
    found = {}
    for kind in CLOCKS:
        ratios = np.array([getattr(x, kind) / getattr(y, kind) for x, y in zip(a, b, strict=True)])
        found[kind] = {name: round(value, 3) for name, value in vars(interval(ratios)).items()}
    return found
