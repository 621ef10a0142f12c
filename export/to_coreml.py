"""Target `coreml`: one ML Program package per graph, in half precision unless asked otherwise.

Shapes are fixed. A graph of the tracker is for one object; the session runs it once for each.
"""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sam3_edge import session
from sam3_edge.bundle import Bundle
from sam3_edge.errors import CheckError, UsageError
from sam3_edge.session import Session
from sam3_edge.spec import GraphSpec, TensorSpec

from . import coreml_fixes
from .ane_lint import least_megabytes, lint
from .bc1s import bc1s
from .coreml_package import normalise
from .coreml_precision import Precision
from .coreml_tools import coremltools
from .eager import Call
from .mil_program import read_program
from .mil_session import MilSession
from .parity import Gate

PACKAGE = "model.mlpackage"
SCHEMES = ("fp16", "fp32")
SETTINGS = frozenset({"scheme", "ios", "strict_ane", "layout"})
# `exact` sees the rounding of the weights alone. That costs up to 1.2e-3 for random weights, less for the
# built-in model's, which are in half precision already; rounding every value costs twice as much.
GATES = {"fp16": Gate(5e-3, 0.995, 0.98, exact=2e-3), "fp32": Gate(1e-4, 0.99, 0.99)}
LAYOUTS = ("plain", "bc1s")
TARGETS = {17: coremltools.target.iOS17, 18: coremltools.target.iOS18}
ON_NEURAL_ENGINE = frozenset({"backbone", "text"})  # those that have a layout for it
# Half precision steps by half a pixel at 1008 px.
PLACES = frozenset({"boxes", "points", "logits", "presence"})


def lower(
    module: nn.Module,
    spec: GraphSpec,
    folder: Path,
    *,
    scheme: str = "fp16",
    ios: int = 18,
    layout: str = "plain",
    strict_ane: bool = False,
) -> str:
    """Write one graph into `folder` and return the name of its package. The same module gives the same bytes.

    `ios`: the oldest system that is to run it, 17 or 18; 18 has attention as one operator. `layout`:
    `plain`, or `bc1s` for the trunk and the text encoder as the Neural Engine wants them. `strict_ane`: raise
    `CheckError` if something keeps a graph off the Neural Engine that is meant to run there.
    """
    if ios not in TARGETS:
        raise UsageError(f"iOS {ios}: want {' or '.join(map(str, TARGETS))}")
    if layout not in LAYOUTS:
        raise UsageError(f"layout {layout!r}: want {' or '.join(LAYOUTS)}")
    package, half = folder / PACKAGE, scheme == "fp16"
    coreml_fixes.register()
    halving = coremltools.transform.FP16ComputePrecision(Precision(spec).halved)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):  # its progress bars
        warnings.simplefilter("ignore")
        coremltools.convert(
            captured(bc1s(module) if layout == "bc1s" else module, spec),
            convert_to="mlprogram",
            inputs=[edge(tensor, half=half) for tensor in spec.inputs],
            outputs=[edge(tensor, half=half) for tensor in spec.outputs],
            minimum_deployment_target=TARGETS[ios],
            compute_precision=halving if half else coremltools.precision.FLOAT32,
            skip_model_load=True,
            package_dir=str(package),
        )
    normalise(package)
    if strict_ane and spec.name in ON_NEURAL_ENGINE:
        refuse_off_neural_engine(spec.name, package)
    return PACKAGE


def captured(module: nn.Module, spec: GraphSpec) -> torch.export.ExportedProgram:
    """The module's operators, for one object where it is per object."""
    example = tuple(torch.zeros(t.sized(), dtype=getattr(torch, t.dtype)) for t in spec.inputs)
    with torch.no_grad():
        return torch.export.export(module.eval(), example).run_decompositions({})


def refuse_off_neural_engine(graph: str, package: Path) -> None:
    """Raises `CheckError` for a graph that breaks a rule of the Neural Engine."""
    if found := lint(read_program(package).function()):
        facts = "; ".join(f"{each.rule}: {each.count}, first {each.first}" for each in found)
        raise CheckError(f"graph {graph} stays off the Neural Engine: {facts}; leave out --strict-ane")


def survey(package: Path) -> dict[str, Any]:
    """What keeps a package off the Neural Engine, and how much memory it needs at least."""
    function = read_program(package).function()
    return {
        "neural_engine": [found.to_json() for found in lint(function)],
        "least_megabytes": least_megabytes(function),
    }


def edge(tensor: TensorSpec, *, half: bool) -> coremltools.TensorType:
    """An input or output. Features pass from graph to graph in half precision, places and scores do not."""
    halved = half and tensor.dtype == "float32" and tensor.name not in PLACES
    return coremltools.TensorType(
        name=tensor.name, dtype=np.dtype("float16" if halved else tensor.dtype).type
    )


def open_session(bundle: Bundle, *, threads: int | None = None, exact: bool = False) -> Session:
    """Core ML itself on macOS; elsewhere, and for `exact` arithmetic in fp32, the evaluator of packages."""
    if sys.platform == "darwin" and not exact:
        return session.open_session(bundle, threads=threads)
    return MilSession(bundle, rounded=not exact, threads=threads)


def examine(bundle: Bundle, calls: Mapping[str, Sequence[Call]]) -> dict[str, Any]:
    """What can be told of the packages without a device, for the report."""
    return {name: survey(bundle.graph(name)) for name in bundle.graphs}


def tools() -> dict[str, str]:
    """Versions of what made the files, and what they were measured with, for the bundle."""
    measured = "Core ML" if sys.platform == "darwin" else "MIL evaluator, every value rounded as declared"
    return {"coremltools": coremltools.__version__, "measured with": measured}
