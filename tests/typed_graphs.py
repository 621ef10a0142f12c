"""The graphs of the tiny model and of the built-in one, typed, without lowering them again."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import onnx_ir as ir

from sam3_edge.builtin import builtin_bundle
from sam3_edge.export.to_tensorrt import write_rungs


def typed_from(bundle: Path, folder: Path) -> Path:
    """The graphs of an `onnx` bundle with their rungs, in `folder/graphs`."""
    shutil.copytree(bundle / "graphs", folder / "graphs")
    for graph in (folder / "graphs").iterdir():
        write_rungs(graph / "model.onnx")
    return folder


def builtin_fp32(folder: Path) -> Path:
    """The graphs of the built-in bundle as they were before their weights were halved."""
    shutil.copytree(builtin_bundle() / "graphs", folder / "graphs")
    for path in (folder / "graphs").glob("*/model.onnx"):
        model = ir.load(path)
        ir.external_data.load_to_model(model)
        for node in list(model.graph):
            source = node.inputs[0]
            if node.op_type == "Cast" and source is not None and source.is_initializer():
                unfold(model.graph, node, source)
        name(model.graph)
        path.with_name("model.onnx.data").unlink()
        ir.save(model, path, external_data="model.onnx.data")
        onnx.shape_inference.infer_shapes_path(path, path, strict_mode=True)  # a halved graph leaves them out
    return folder


def name(graph: ir.Graph) -> None:
    """Call nodes after what they make, as they were; what makes an output stands where its neighbour does."""
    scope, told = "", {id(value) for value in graph.outputs}
    for node in graph:
        made = node.outputs[0]
        node.name = (
            f"{scope}/{node.op_type}:{made.name}" if id(made) in told else str(made.name).removesuffix(":0")
        )
        scope = node.name.rpartition("/")[0]


def unfold(graph: ir.Graph, node: ir.Node, half: ir.Value) -> None:
    """Put an fp32 weight in the place of an fp16 one and the cast behind it."""
    assert half.const_value is not None and half.name is not None
    full = ir.val(half.name.removesuffix("/fp16"), ir.DataType.FLOAT, half.shape)
    full.const_value = ir.tensor(half.const_value.numpy().astype("float32"), name=full.name)
    ir.convenience.replace_all_uses_with(node.outputs[0], full)
    graph.remove(node, safe=True)
    graph.initializers.pop(half.name)
    graph.register_initializer(full)
