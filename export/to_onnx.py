"""Target `onnx`: one static ONNX file per graph for ONNX Runtime, weights beside it as external data."""

from __future__ import annotations

import logging
import warnings
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from torch import nn

from sam3_edge.session import open_session as open_session  # measured with what devices run
from sam3_edge.spec import OBJECTS, GraphSpec
from sam3_edge.tracker_spec import IN_SLOTS

from .fused import fused_operators
from .onnx_names import name_nodes, strip
from .parity import Gate

# 18 splits GELU into its pieces; 23 emits an Attention operator that ONNX Runtime 1.32 rejects with a bias.
OPSET = 20
MODEL, DATA = "model.onnx", "model.onnx.data"
SLOTS = "slots"
EXAMPLE = 2  # objects: with one, the exporter would take the axis for a constant
SCHEMES = ("fp32",)
SETTINGS = frozenset({"fused"})
# What fp16 does to features does not tell what it does to masks: there the masks decide, 2e-2 only stops
# broken graphs.
GATES = {"fp32": Gate(1e-4, 0.99, 0.99), "fp16": Gate(2e-2, 0.995, 0.98)}
TOOLS = ("onnx", "onnxscript", "torch")


def lower(module: nn.Module, spec: GraphSpec, folder: Path, *, fused: bool = False) -> str:
    """Write one graph into `folder` and return the name of the file to open.

    `fused`: with operators that only ONNX Runtime has, and as many memory slots as the caller feeds.

    The same module gives the same bytes: names follow the modules, and nothing of this machine is kept.
    """
    example = tuple(torch.zeros(t.sized(EXAMPLE), dtype=getattr(torch, t.dtype)) for t in spec.inputs)
    axes = symbols(spec, slots=fused)
    for talker in (
        "onnxscript",
        "torch.onnx",
    ):  # each Split that is not folded, each absent torchvision operator
        logging.getLogger(talker).setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad(), fused_operators() if fused else nullcontext():
        warnings.simplefilter("ignore")  # deprecations between the exporter's own parts
        program = torch.onnx.export(
            module.eval(),
            example,
            dynamo=True,
            dynamic_shapes=axes if any(axes) else None,
            opset_version=OPSET,
            input_names=[t.name for t in spec.inputs],
            output_names=[t.name for t in spec.outputs],
            optimize=True,
            verbose=False,
        )
    assert program is not None
    model = program.model
    name_nodes(model)
    strip(model)
    model.graph.name = spec.name
    ir.save(model, folder / MODEL, external_data=DATA)
    return MODEL


def symbols(spec: GraphSpec, *, slots: bool) -> tuple[dict[int, Any], ...]:
    """The axes of each input without a size of their own: objects, and the memory slots if asked."""
    objects, filled = torch.export.Dim(OBJECTS, min=1), torch.export.Dim(SLOTS, min=1)
    return tuple(
        ({t.shape.index(OBJECTS): objects} if t.per_object else {})
        | ({1: filled} if slots and t.name in IN_SLOTS else {})
        for t in spec.inputs
    )


def tools() -> dict[str, str]:
    """Versions of what made the files, for the bundle."""
    return {name: version(name) for name in TOOLS}
