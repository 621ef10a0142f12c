"""A session that evaluates the packages of a `coreml` bundle with torch, on any machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sam3_edge.buckets import Arrays, find_buckets, joined, part_feeds, parts
from sam3_edge.bundle import Bundle
from sam3_edge.errors import CheckError, UsageError
from sam3_edge.manifest import GraphFile
from sam3_edge.picture import to_pixels
from sam3_edge.session import HostValues, Value, check_feeds
from sam3_edge.spec import GraphSpec, graph_specs

from .mil_evaluate import Evaluator
from .mil_program import Function, read_program
from .threads import use_threads


class MilSession(HostValues):
    """The evaluators of a graph are made when it is first run. Values are host arrays in fp32."""

    def __init__(self, bundle: Bundle, *, rounded: bool = True, threads: int | None = None) -> None:
        self.bundle, self.rounded = bundle, rounded
        self.specs = graph_specs(bundle.config)
        self.evaluators: dict[str, dict[int, Evaluator]] = {}
        self.threads = threads

    def buckets(self, graph: str) -> dict[int, Evaluator]:
        """The evaluators of one graph, by how many objects each is for, checked against the spec."""
        if graph not in self.specs:
            raise UsageError(f"there is no graph {graph!r}: choose from {', '.join(self.specs)}")
        if graph not in self.evaluators:
            self.bundle.graph(graph)  # hashes all files of the graph
            self.evaluators[graph] = {
                count: self.evaluator(graph, file, count)
                for count, file in find_buckets(self.bundle, graph, self.functions).items()
            }
        return self.evaluators[graph]

    def functions(self, path: str) -> Iterable[str]:
        """The names of a package's functions."""
        return read_program(self.bundle.path / path).functions

    def evaluator(self, graph: str, file: GraphFile, objects: int) -> Evaluator:
        """The evaluator of one function for so many objects."""
        program = read_program(self.bundle.path / file.path)
        function = program.function(file.function)
        check_edges(self.specs[graph], function, objects)
        return Evaluator.of(function, rounded=self.rounded)

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        buckets, spec = self.buckets(graph), self.specs[graph]
        check_feeds(spec, feeds)
        objects = next((len(feeds[t.name]) for t in spec.inputs if t.per_object), 1)
        cut = parts(objects, tuple(buckets))
        with torch.inference_mode(), use_threads(self.threads):
            answers = [evaluated(buckets[part.count], part_feeds(spec, feeds, part)) for part in cut]
        return dict(joined(spec, answers, cut))

    def close(self) -> None:
        self.evaluators.clear()


def evaluated(evaluator: Evaluator, feeds: Arrays) -> dict[str, NDArray[Any]]:
    """One run; a picture goes in as the pixels it was where the function takes pixels."""
    pictures = evaluator.function.pictures
    tensors = {
        name: torch.from_numpy(np.ascontiguousarray(to_pixels(value) if name in pictures else value))
        for name, value in feeds.items()
    }
    return {name: value.numpy() for name, value in evaluator.run(tensors).items()}


def check_edges(spec: GraphSpec, function: Function, objects: int) -> None:
    """Raises `CheckError` for a package whose inputs or outputs are not those of the spec."""
    kinds = function.kinds()
    for what, tensors, names in (
        ("inputs", spec.inputs, tuple(function.inputs)),
        ("outputs", spec.outputs, function.outputs),
    ):
        want = {tensor.name: tensor.sized(objects) for tensor in tensors}
        found = {name: kinds[name].shape if name in kinds else () for name in names}
        if want != found:
            raise CheckError(f"graph {spec.name}: {what} are {found}, want {want}: export again")
