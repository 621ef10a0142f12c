"""The gate as NNCF's validation function: what harms most goes back to floating point until the rest passes.

Graph after graph in the order of the bundle, each beside those before it as they are compressed: all of them
together use no more than the gate allows.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sam3_edge import registry
from sam3_edge.bundle import Bundle

from .mixed import Reference, seal_graph, share

# The share of what is allowed that an ONNX model uses, once `finish` has rewritten its file.
Check = Callable[[Any, Callable[[Path], Any]], float]


class Control:
    """The graphs that are compressed already, in `folder`, and what another beside them uses of the gate."""

    def __init__(self, reference: Reference, folder: Path) -> None:
        self.reference, self.folder = reference, folder
        self.done: dict[str, Bundle] = {}

    def key(self) -> str:
        """What decides: the questions and the thresholds."""
        return f"{self.reference.questions.about}: {self.reference.thresholds}"

    def of(self, graph: str) -> Check:
        """The check of a graph."""
        return partial(self.check, graph)

    def check(self, graph: str, model: Any, finish: Callable[[Path], Any]) -> float:
        """The share of what the gate allows that is used with this model, once its file is finished."""
        bundle = self.reference.bundle
        folder = bundle.graphs[graph].folder
        with tempfile.TemporaryDirectory() as scratch:
            shutil.copytree(bundle.path / folder, Path(scratch) / folder)
            path = Path(scratch) / bundle.graph(graph).relative_to(bundle.path)
            registry.load_module("quantize", "onnx_parts").write(model, path)
            finish(path)
            candidate = {graph: seal_graph(bundle, graph, Path(scratch))}
            return share(self.reference.judge({**self.done, **candidate}, f"{graph}: accuracy control"))

    def keep(self, graph: str, folder: Path) -> None:
        """Those after it are judged beside the graph as it lies in `folder`."""
        place = self.folder / graph
        shutil.copytree(folder, place / self.reference.bundle.graphs[graph].folder)
        self.done[graph] = seal_graph(self.reference.bundle, graph, place)
