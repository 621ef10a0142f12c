"""Target `coreml`: one ML Program package per graph, in half precision unless asked otherwise.

Shapes are fixed. A graph of the tracker has a function for one object and one for four, which share their
weights (`sam3_edge/buckets.py`); before iOS 18 there are no functions, so there each is a package.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sam3_edge import session
from sam3_edge.buckets import COUNTS, bucket_name
from sam3_edge.bundle import Bundle
from sam3_edge.errors import CheckError, UsageError
from sam3_edge.session import Session
from sam3_edge.spec import GraphSpec, TensorSpec

from . import coreml_fixes
from .ane_lint import lint
from .bc1s import bc1s
from .coreml_package import default_function, join_functions, normalise, quiet
from .coreml_pictures import IMAGE, FromPixels, picture_edge
from .coreml_precision import Precision
from .coreml_report import Table, survey, table
from .coreml_tools import coremltools
from .eager import Call
from .mil_program import read_program
from .mil_session import MilSession
from .parity import Gate

PACKAGE = "model.mlpackage"
SCHEMES = ("fp16", "fp32")
SETTINGS = frozenset({"scheme", "ios", "strict_ane", "layout", "image_input"})
# `exact` sees the rounding of the weights alone. That costs up to 1.2e-3 for random weights, less for the
# built-in model's, which are in half precision already; rounding every value costs twice as much.
GATES = {"fp16": Gate(5e-3, 0.995, 0.98, exact=2e-3), "fp32": Gate(1e-4, 0.99, 0.99)}
LAYOUTS = ("plain", "bc1s")
TARGETS = {17: coremltools.target.iOS17, 18: coremltools.target.iOS18}
FUNCTIONS = 18  # the first iOS that knows several in a package
ON_NEURAL_ENGINE = frozenset({"backbone", "text"})  # those that have a layout for it
# Half precision steps by half a pixel at 1008 px.
PLACES = frozenset({"boxes", "points", "logits", "presence"})


@dataclass(frozen=True)
class Recipe:
    """How packages are written: `scheme`; `ios`, the oldest system that is to run them, 17 or 18, and 18 has
    attention as one operator; `layout`, `plain`, or `bc1s` for the trunk and the text encoder as the Neural
    Engine wants them; `strict_ane` refuses what keeps these two off it; `image_input` makes the trunk's input
    an RGB picture of 0 to 255.
    """

    scheme: str = "fp16"
    ios: int = 18
    layout: str = "plain"
    strict_ane: bool = False
    image_input: bool = False

    def __post_init__(self) -> None:
        if self.ios not in TARGETS:
            raise UsageError(f"iOS {self.ios}: want {' or '.join(map(str, TARGETS))}")
        if self.layout not in LAYOUTS:
            raise UsageError(f"layout {self.layout!r}: want {' or '.join(LAYOUTS)}")

    @property
    def half(self) -> bool:
        return self.scheme == "fp16"


def lower(module: nn.Module, spec: GraphSpec, folder: Path, **settings: Any) -> str:
    """Write one graph into `folder` and return the name of its package; `settings` are those of `Recipe`.

    The same module gives the same bytes. Raises `CheckError` if `strict_ane` forbids what it is.
    """
    recipe = Recipe(**settings)
    coreml_fixes.register()
    if recipe.layout == "bc1s":
        module = bc1s(module)
    if spec.per_object:
        return lower_buckets(module, spec, folder, recipe)
    write_package(module, spec, folder / PACKAGE, recipe)
    if recipe.strict_ane and spec.name in ON_NEURAL_ENGINE:
        refuse_off_neural_engine(spec.name, folder / PACKAGE)
    return PACKAGE


def lower_buckets(module: nn.Module, spec: GraphSpec, folder: Path, recipe: Recipe) -> str:
    """A package for each count of objects, or one of as many functions where the system knows them."""
    packages = {count: folder / f"{bucket_name(count)}.mlpackage" for count in COUNTS}
    for count, package in packages.items():
        write_package(module, spec, package, recipe, objects=count)
    if recipe.ios < FUNCTIONS:
        return packages[COUNTS[0]].name
    join_functions({bucket_name(count): package for count, package in packages.items()}, folder / PACKAGE)
    for package in packages.values():
        shutil.rmtree(package)
    return PACKAGE


def write_package(
    module: nn.Module, spec: GraphSpec, package: Path, recipe: Recipe, *, objects: int = 1
) -> None:
    """One graph for so many objects, as one function."""
    halving = coremltools.transform.FP16ComputePrecision(Precision(spec).halved)
    pixels = recipe.image_input and any(tensor.name == IMAGE for tensor in spec.inputs)
    with quiet():
        coremltools.convert(
            captured(FromPixels(module) if pixels else module, spec, objects),
            convert_to="mlprogram",
            inputs=[picture_edge(t) if pixels else edge(t, half=recipe.half) for t in spec.inputs],
            outputs=[edge(tensor, half=recipe.half) for tensor in spec.outputs],
            minimum_deployment_target=TARGETS[recipe.ios],
            compute_precision=halving if recipe.half else coremltools.precision.FLOAT32,
            skip_model_load=True,
            package_dir=str(package),
        )
    normalise(package)


def captured(module: nn.Module, spec: GraphSpec, objects: int) -> torch.export.ExportedProgram:
    """The module's operators, for so many objects where it is per object."""
    example = tuple(torch.zeros(t.sized(objects), dtype=getattr(torch, t.dtype)) for t in spec.inputs)
    with torch.no_grad():
        return torch.export.export(module.eval(), example).run_decompositions({})


def refuse_off_neural_engine(graph: str, package: Path) -> None:
    """Raises `CheckError` for a graph that breaks a rule of the Neural Engine."""
    if found := lint(read_program(package).function()):
        facts = "; ".join(f"{each.rule}: {each.count}, first {each.first}" for each in found)
        raise CheckError(f"graph {graph} stays off the Neural Engine: {facts}; leave out --strict-ane")


def function(package: Path) -> str | None:
    """Which function of a package is the graph: the one for the fewest objects, if it has several."""
    return default_function(package)


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
    return {name: survey(bundle.graph(name).parent) for name in bundle.graphs}


def tables(examined: Mapping[str, Any]) -> list[Table]:
    """The same for people."""
    return [table(examined)]


def tools() -> dict[str, str]:
    """Versions of what made the files, and what they were measured with, for the bundle."""
    measured = "Core ML" if sys.platform == "darwin" else "MIL evaluator, every value rounded as declared"
    return {"coremltools": coremltools.__version__, "measured with": measured}
