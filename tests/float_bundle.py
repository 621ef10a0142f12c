"""The built-in bundle in fp32, made of the one that ships: an export would take half a minute."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from sam3_edge.builtin import builtin_bundle
from sam3_edge.bundle import Bundle, read_manifest
from sam3_edge.manifest import Manifest
from sam3_edge.quantize.job import FIELDS
from sam3_edge.quantize.onnx_file import constant, rewriting
from sam3_edge.staging import seal

FRAGILE, LOUD = "blocks.2", 1000.0


def make(folder: Path) -> Path:
    """Write it; the weights are those of the halves, so it finds the same."""
    old = Bundle.open(builtin_bundle())
    shutil.copytree(old.path, folder)
    for name in old.specs:
        widen(folder / old.graph(name).relative_to(old.path))
    made = Manifest(**{name: getattr(old, name) for name in FIELDS})
    seal(folder, replace(made, scheme="fp32"))
    return folder


def widen(path: Path) -> None:
    """Halves and the Cast behind them become floats; nodes are named after their tensors again."""
    with rewriting(path) as model:
        graph = model.graph
        for node in list(graph):
            node.name = node.name or str(node.outputs[0].name)
            half = node.inputs[0] if node.op_type == "Cast" else None
            if half is None or half.const_value is None or half.dtype != ir.DataType.FLOAT16:
                continue
            whole = constant(graph, f"{half.name}/whole", half.const_value.numpy().astype(np.float32))
            ir.convenience.replace_all_uses_with(node.outputs[0], whole)
            graph.remove(node, safe=True)
            graph.initializers.pop(str(half.name))


def make_fragile(folder: Path) -> Path:
    """The built-in bundle, and the same function: one channel of a block's values is a thousand times as
    loud, and its row of the next product a thousand times as quiet. One scale for all channels, as int8 has
    for activations, then rounds the others away."""
    make(folder)
    with rewriting(Bundle.open(folder).graph("backbone")) as model:
        weights = model.graph.initializers
        named = {
            name.split("/constant")[0]: name for name in weights if name.startswith(f"{FRAGILE}.attention.")
        }
        changes = (
            (f"{FRAGILE}.attention.qkv", (slice(None), -1), LOUD),
            (f"{FRAGILE}.attention.out", (-1,), 1 / LOUD),
        )
        for name, place, factor in (*changes, (f"{FRAGILE}.attention.qkv.bias", (-1,), LOUD)):
            value = weights[named[name]]
            assert value.const_value is not None
            numbers = np.array(value.const_value.numpy())
            numbers[place] *= factor
            value.const_value = ir.tensor(numbers, name=value.name)
    seal(folder, read_manifest(folder)[0])
    return folder
