"""A `coreml` bundle of some tiny graphs, made or changed again, and what a graph should answer."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tiny_export import CONFIG, tiny_model

from sam3_edge import Bundle
from sam3_edge.export import to_coreml
from sam3_edge.export.eager import Call, EagerSession
from sam3_edge.export.model import Sam3, fold
from sam3_edge.export.parity import Trial, compare_graph
from sam3_edge.manifest import GraphFile, Manifest, Source
from sam3_edge.spec import MASKED, TensorSpec, graph_specs
from sam3_edge.staging import seal

GRAPHS = ("backbone", "detector_features", "text", "memorize")  # two seconds each
FIELDS = ("source", "config", "target", "scheme", "graphs", "tools", "report", "licence")
GATE = to_coreml.GATES["fp16"]


def make(folder: Path) -> Path:
    """The bundle, sealed but not measured."""
    model, specs = fold(tiny_model()), graph_specs(CONFIG)
    graphs = {}
    for name in GRAPHS:
        place = folder / "graphs" / name
        place.mkdir(parents=True)
        package = place / to_coreml.lower(model.graph(name), specs[name], place)
        graphs[name] = GraphFile(f"graphs/{name}/{package.name}", to_coreml.function(package))
    kind: dict[str, Any] = {"target": "coreml", "scheme": "fp16", "licence": "Apache-2.0"}
    source, tools = Source("tiny"), to_coreml.tools()
    seal(folder, Manifest(source=source, config=CONFIG, graphs=graphs, tools=tools, report={}, **kind))
    return folder


def feed(tensor: TensorSpec, objects: int, rng: np.random.Generator) -> NDArray[Any]:
    """Something that may stand there; half of what can be hidden is."""
    shape = tensor.sized(objects)
    if tensor.dtype == "int32":
        return rng.integers(0, 200 if tensor.name == "token_ids" else 3, shape).astype(np.int32)
    if tensor.name.endswith("_bias"):
        bias = np.where(rng.random(shape) < 0.5, MASKED, 0).astype(np.float32)
        bias[:, 0] = 0
        return bias
    if tensor.name in ("present", "hard", "has_previous"):
        return rng.integers(0, 2, shape).astype(np.float32)
    return rng.standard_normal(shape, np.float32)


def asked(model: Sam3, graph: str, objects: int = 1) -> Call:
    """One run of a graph in PyTorch."""
    eager, rng = EagerSession(model, keep=1), np.random.default_rng(5)
    feeds = {t.name: feed(t, objects, rng) for t in graph_specs(CONFIG)[graph].inputs}
    eager.run(graph, feeds)
    return eager.calls[graph][0]


def resealed(folder: Path, manifest: Bundle) -> Bundle:
    """The bundle after a change, with what it said before the change."""
    seal(folder, Manifest(**{field: getattr(manifest, field) for field in FIELDS}))
    return Bundle.open(folder)


def remade(bundle: Path, place: Path, model: Sam3, graph: str, **options: Any) -> Bundle:
    """A copy of the bundle with one graph lowered again."""
    copy = shutil.copytree(bundle, place)
    shutil.rmtree(copy / "graphs" / graph / to_coreml.PACKAGE)
    folder = copy / "graphs" / graph
    package = folder / to_coreml.lower(model.graph(graph), graph_specs(CONFIG)[graph], folder, **options)
    found = Bundle.open(bundle)
    file = GraphFile(f"graphs/{graph}/{package.name}", to_coreml.function(package))
    return resealed(copy, replace(found, graphs={**found.graphs, graph: file}))


def relative(bundle: Bundle, call: Call) -> float:
    """How far a graph of one output is from its answer, every value rounded."""
    (row,) = compare_graph(bundle, [call], Trial(to_coreml.open_session, GATE, 1))
    return row.relative
