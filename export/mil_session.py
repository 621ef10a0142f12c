"""A session that evaluates the packages of a `coreml` bundle with torch, on any machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from sam3_edge.bundle import Bundle
from sam3_edge.errors import CheckError, UsageError
from sam3_edge.session import HostValues, Value, check_feeds
from sam3_edge.spec import GraphSpec, graph_specs

from .mil_evaluate import Evaluator
from .mil_program import Function, read_program


class MilSession(HostValues):
    """One evaluator per graph, made when the graph is first run. Values are host arrays in fp32."""

    def __init__(self, bundle: Bundle, *, rounded: bool = True, threads: int | None = None) -> None:
        self.bundle, self.rounded = bundle, rounded
        self.specs = graph_specs(bundle.config)
        self.evaluators: dict[str, Evaluator] = {}
        self.threads = threads

    def evaluator(self, graph: str) -> Evaluator:
        """The evaluator of one graph, checked against the spec."""
        if graph not in self.specs:
            raise UsageError(f"there is no graph {graph!r}: choose from {', '.join(self.specs)}")
        if graph not in self.evaluators:
            path = self.bundle.graph(graph)
            function = read_program(path).function(self.bundle.graphs[graph].function)
            check_edges(self.specs[graph], function)
            self.evaluators[graph] = Evaluator.of(function, rounded=self.rounded)
        return self.evaluators[graph]

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        evaluator = self.evaluator(graph)
        spec = self.specs[graph]
        check_feeds(spec, feeds)
        tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in feeds.items()}
        objects = next((len(tensors[t.name]) for t in spec.inputs if t.per_object), 1)
        with torch.inference_mode(), use_threads(self.threads):
            answers = [evaluator.run(one_object(spec, tensors, row)) for row in range(objects)]
        return {
            t.name: torch.cat([answer[t.name] for answer in answers]).numpy()
            if t.per_object
            else answers[0][t.name].numpy()
            for t in spec.outputs
        }

    def close(self) -> None:
        self.evaluators.clear()


@contextmanager
def use_threads(count: int | None) -> Iterator[None]:
    """Torch's threads are the process's: what else runs in it keeps its own number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def one_object(spec: GraphSpec, tensors: Mapping[str, Tensor], row: int) -> dict[str, Tensor]:
    """The feeds of one object: the packages have no axis of any length."""
    return {t.name: tensors[t.name][row : row + 1] if t.per_object else tensors[t.name] for t in spec.inputs}


def check_edges(spec: GraphSpec, function: Function) -> None:
    """Raises `CheckError` for a package whose inputs or outputs are not those of the spec."""
    kinds = function.kinds()
    for what, tensors, names in (
        ("inputs", spec.inputs, tuple(function.inputs)),
        ("outputs", spec.outputs, function.outputs),
    ):
        want = {tensor.name: tensor.sized() for tensor in tensors}
        found = {name: kinds[name].shape if name in kinds else () for name in names}
        if want != found:
            raise CheckError(f"graph {spec.name}: {what} are {found}, want {want}: export again")
