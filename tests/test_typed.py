"""Every node of every typed graph has the precision of the table: read back by ONNX's own type inference."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from typed_graphs import builtin_fp32, typed_from

from sam3_edge.engines.rungs import PROBE, RUNGS, Rung
from sam3_edge.errors import CheckError
from sam3_edge.export import to_tensorrt, typed
from sam3_edge.export.precision import ATTENTION, FOLLOWERS, FULL, HALF, RECIPES, TABLE, decide
from sam3_edge.export.rounding import write_wrapped
from sam3_edge.export.tensorrt_floor import above_floor
from sam3_edge.runtimes import on_onnx

NAMES = {onnx.TensorProto.FLOAT: FULL, onnx.TensorProto.FLOAT16: HALF}


@pytest.fixture(scope="module")
def graphs(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Folders of the tiny model's graphs, tracker included, and of the built-in model's."""
    place = tmp_path_factory.mktemp("typed")
    for name in ("tiny", "fp32", "builtin"):
        (place / name).mkdir()
    typed_from(exported, place / "tiny")
    typed_from(builtin_fp32(place / "fp32"), place / "builtin")
    found = [folder for name in ("tiny", "builtin") for folder in sorted((place / name / "graphs").iterdir())]
    assert len(found) == 11 + 11
    return found


def nodes_of(path: Path) -> Iterator[tuple[str, str, set[str], set[str]]]:
    """Kind, place, and the float types that stand at the inputs and outputs of every node."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path), check_type=True, strict_mode=True)
    graph = model.graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.output, *graph.value_info)}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    weights = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        read = [makers.get(name) for name in node.input if name not in weights]
        flat = any(weights.get(name) == 1 for name in node.input)
        bias = node.op_type == "Add" and flat and [maker.op_type for maker in read if maker] == ["MatMul"]
        inputs = node.input[:1] if node.op_type == "Resize" else node.input
        place = f"{graph.name}/{node.name.rpartition('/')[0]}"
        before, behind = (
            {NAMES[types[name]] for name in names if types.get(name) in NAMES}
            for names in (inputs, node.output)
        )
        yield "Bias" if bias else node.op_type, place, before, behind


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
def test_every_node_has_the_precision_of_the_table(graphs: list[Path], rung: Rung) -> None:
    recipe = RECIPES[rung.name]
    seen: Counter[tuple[str, str]] = Counter()
    kinds: dict[str, set[str]] = {}
    for folder in graphs:
        for kind, place, inputs, outputs in nodes_of(folder / rung.file):
            if kind in ("Cast", "Shape", "ConstantOfShape") or "/probe/" in place or not outputs:
                continue
            if kind in FOLLOWERS:
                assert len(inputs) == 1 and inputs == outputs, (folder.name, place, kind)
                continue
            row = decide(recipe.table, kind, place)
            assert row is not None and inputs == outputs == {row.dtype}, (folder.name, place, kind)
            seen[kind, row.dtype] += 1
            kinds.setdefault(kind, set()).add(folder.name)
    tracked = {"tracker_features", "tracker_init", "tracker_step", "tracker_refine", "memorize"}
    assert tracked | {"backbone", "detector", "exemplar", "masks", "text"} <= set().union(*kinds.values())
    assert tracked - {"memorize"} <= kinds["Softmax"] and tracked - {"memorize"} <= kinds["MatMul"]
    assert tracked <= kinds["LayerNormalization"]
    assert kinds["Neg"] >= {"backbone", "tracker_features", "tracker_step"}  # halves turned: rotary positions
    assert not seen["Neg", HALF]
    if rung.name == "typed":
        assert seen["MatMul", HALF] > 150 and seen["MatMul", FULL] > 20
        assert seen["LayerNormalization", FULL] > 60 and not seen["LayerNormalization", HALF]
        assert seen["Softmax", FULL] > 30 and not seen["Softmax", HALF]
    if rung.name == "fp32":
        assert not [kind for kind, dtype in seen if dtype == HALF]


def test_rotary_positions_are_fp32_and_their_products_fp16(graphs: list[Path]) -> None:
    (backbone,) = (folder for folder in graphs if folder.name == "backbone" and "builtin" in str(folder))
    kinds = Counter(
        (kind, *inputs)
        for kind, place, inputs, _ in nodes_of(backbone / "model.onnx")
        if re.fullmatch(ATTENTION, place) and kind in ("Neg", "Mul", "MatMul", "Softmax")
    )
    # Four blocks: two rotations of two products each and two scales, and the attention itself.
    assert kinds == {("Neg", FULL): 8, ("Mul", FULL): 24, ("MatMul", HALF): 8, ("Softmax", FULL): 4}


def test_edges_of_a_graph_stay_as_specified(graphs: list[Path]) -> None:
    for folder in graphs:
        for rung in RUNGS:
            graph = onnx.load(folder / rung.file, load_external_data=False).graph
            own = [value for value in graph.output if not value.name.startswith(PROBE)]
            ends = {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
            assert ends <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT32}
            assert (len(own) < len(graph.output)) == (RECIPES[rung.name].probed and has_attention(graph))


def has_attention(graph: onnx.GraphProto) -> bool:
    return any(node.op_type == "Softmax" for node in graph.node)


def test_rungs_share_their_weights(graphs: list[Path]) -> None:
    for folder in graphs:
        assert [path.name for path in folder.glob("*.data")] == ["model.onnx.data"]
        halves = sum(
            np.prod(tensor.dims)
            for tensor in onnx.load(folder / "model.onnx", load_external_data=False).graph.initializer
            if tensor.data_type == onnx.TensorProto.FLOAT16
        )
        assert halves > 1000 and all((folder / rung.file).stat().st_size < 300_000 for rung in RUNGS)


def test_the_oldest_parser_takes_them_and_not_everything(graphs: list[Path], tmp_path: Path) -> None:
    for folder in graphs:
        assert not [fact for rung in RUNGS for fact in above_floor(folder / rung.file)], folder
    copy = shutil.copytree(graphs[0], tmp_path / "backbone")
    model = ir.load(copy / "model.onnx")
    next(node for node in model.graph if node.op_type == "Softmax").op_type = "Attention"
    model.graph.opset_imports[""] = 23
    ir.save(model, copy / "model.onnx")
    opset, operator = above_floor(copy / "model.onnx")
    assert "opsets {'': 23}" in opset and "operator Attention is not on the list" in operator


def test_a_node_without_a_row_and_a_weight_without_room(exported: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(exported / "graphs" / "text", tmp_path / "text")
    model = ir.load(copy / "model.onnx")
    next(node for node in model.graph if node.op_type == "Gelu").op_type = "Mish"
    with pytest.raises(CheckError, match=r"no row for Mish in 'text/blocks\.0\.mlp"):
        typed.settle(model, TABLE)
    model = ir.load(copy / "model.onnx")
    weight = next(v for n, v in model.graph.initializers.items() if n.endswith("qkv.bias"))
    assert weight.const_value is not None and weight.shape is not None
    weight.const_value = ir.tensor(np.full(weight.shape.numpy(), 7e4, np.float32), name=weight.name)
    with pytest.raises(CheckError, match=r"qkv.bias reaches 7e\+04, above 65504"):
        typed.store(model, TABLE)


def test_fp16_is_really_rounded_in_the_comparison(graphs: list[Path], tmp_path: Path) -> None:
    """Left alone, ONNX Runtime's CPU drops casts and computes between them in fp32."""
    (text,) = (folder for folder in graphs if folder.name == "text" and "tiny" in str(folder))
    path, none = write_wrapped(text / "model.onnx", tmp_path / "text")
    assert not none
    feeds = {"token_ids": np.arange(8, dtype=np.int32)[None]}
    tokens = on_onnx.start(str(path), name="text").run(["text_tokens"], feeds)[0]
    assert np.array_equal(tokens, tokens.astype(np.float16))  # the last node is a linear layer
    left = on_onnx.start(str(text / "model.onnx"), name="text").run(["text_tokens"], feeds)[0]
    assert 0 < np.abs(tokens - left).max() < 5e-3 * np.abs(left).max()
    overflow = ir.load(text / "model.onnx")
    linear = next(n for n in overflow.graph if str(n.name).endswith("mlp.layers.0/MatMul"))
    weight = linear.inputs[1]
    assert weight is not None and weight.const_value is not None and weight.shape is not None
    weight.const_value = ir.tensor(np.full(weight.shape.numpy(), 6e4, np.float16), name=weight.name)
    ir.save(overflow, text.parent / "overflow.onnx")
    (tmp_path / "loud").mkdir()
    shutil.move(text.parent / "overflow.onnx", tmp_path / "loud" / "model.onnx")
    shutil.copy(text / "model.onnx.data", tmp_path / "loud")
    path, _ = write_wrapped(tmp_path / "loud" / "model.onnx", tmp_path / "wrapped")
    assert not np.isfinite(on_onnx.start(str(path), name="text").run(["text_tokens"], feeds)[0]).all()


def test_the_target_names_its_own(exported: Path) -> None:
    assert to_tensorrt.SCHEMES == ("fp16", "fp32") and to_tensorrt.tools().keys() >= {"onnx", "torch"}
