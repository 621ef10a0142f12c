"""The PyTorch model as a session: the reference for every lowered graph, behind the same host code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sam3_edge.session import HostValues, Value, check_feeds
from sam3_edge.spec import graph_specs

from .model import Sam3

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Call:
    """One run of a graph: what went in and what came out."""

    graph: str
    feeds: Arrays
    answers: Arrays


class EagerSession(HostValues):
    """Runs the modules as they are, and keeps the first `keep` calls of each graph."""

    def __init__(self, model: Sam3, *, keep: int = 0) -> None:
        self.model, self.keep = model.eval(), keep
        self.specs = graph_specs(model.config)
        self.calls: dict[str, list[Call]] = {name: [] for name in self.specs}

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        spec = self.specs[graph]
        check_feeds(spec, feeds)
        with torch.inference_mode():
            out = self.model.graph(graph)(*(torch.from_numpy(feeds[t.name]) for t in spec.inputs))
        tensors = out if isinstance(out, tuple) else (out,)
        answers = {t.name: x.numpy() for t, x in zip(spec.outputs, tensors, strict=True)}
        if len(self.calls[graph]) < self.keep:
            # Copies: an arena's rows are views, and change.
            fed = {name: np.array(value) for name, value in feeds.items()}
            self.calls[graph].append(Call(graph, fed, answers))
        return answers

    def close(self) -> None:
        self.calls.clear()
