"""Attention in parts of the queries: the same as attention at once, in torch and as a graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam3_edge.export import layers
from sam3_edge.export.layers import attend
from sam3_edge.export.to_onnx import MODEL, lower
from sam3_edge.export.to_tensorrt import BOARDS
from sam3_edge.spec import GraphSpec, TensorSpec

HEADS, QUERIES, KEYS, DIM = 2, 10, 7, 8


def tokens(count: int, seed: int) -> Tensor:
    return torch.randn(2, count, DIM, generator=torch.Generator().manual_seed(seed))


def plain(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """By the definition."""
    q, k, v = (x.reshape(2, -1, HEADS, DIM // HEADS).transpose(1, 2) for x in (query, key, value))
    logits = torch.matmul(q, k.mT) / (DIM / HEADS) ** 0.5
    chosen = (logits if bias is None else logits + bias).softmax(-1)
    return torch.matmul(chosen, v).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("most", [3, 4, 9, 10])
@pytest.mark.parametrize("shape", [None, (1, 1, 1, KEYS), (2, HEADS, QUERIES, KEYS), (QUERIES, KEYS)])
def test_parts_are_exact(monkeypatch: pytest.MonkeyPatch, most: int, shape: tuple[int, ...] | None) -> None:
    monkeypatch.setattr(layers, "QUERIES", most)
    query, key, value = tokens(QUERIES, 0), tokens(KEYS, 1), tokens(KEYS, 2)
    bias = None if shape is None else torch.randn(shape, generator=torch.Generator().manual_seed(3))
    got = attend(query, key, value, HEADS, bias)
    torch.testing.assert_close(got, plain(query, key, value, bias), rtol=1e-5, atol=1e-6)


class Attend(nn.Module):
    def forward(self, query: Tensor) -> Tensor:
        return attend(query, query, query, HEADS)


@pytest.mark.parametrize(("most", "rows"), [(16, [16]), (8, [8, 8]), (6, [6, 6, 4])])
def test_a_graph_never_holds_all_logits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, most: int, rows: list[int]
) -> None:
    monkeypatch.setattr(layers, "QUERIES", most)
    tensor = TensorSpec("query", (1, 16, DIM))
    lower(Attend(), GraphSpec("attend", (tensor,), (TensorSpec("out", (1, 16, DIM)),)), tmp_path)
    graph = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / MODEL)).graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.value_info}
    found = [shapes[node.output[0]] for node in graph.node if node.op_type == "Softmax"]
    assert [shape[2] for shape in found] == rows


def test_a_budget_bounds_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    honest, rows = F.scaled_dot_product_attention, []

    def recorded(query: Tensor, *arguments: Any, **options: Any) -> Tensor:
        rows.append(query.shape[2])
        found: Tensor = honest(query, *arguments, **options)
        return found

    monkeypatch.setattr(F, "scaled_dot_product_attention", recorded)
    query, key, value = tokens(QUERIES, 0), tokens(KEYS, 1), tokens(KEYS, 2)
    with layers.attention_budget(6 * 2 * HEADS * KEYS * 4):
        got = attend(query, key, value, HEADS)
    assert rows == [4, 4, 2] and layers.queries_at_once(2, HEADS, KEYS) == layers.QUERIES
    torch.testing.assert_close(got, plain(query, key, value, None), rtol=1e-5, atol=1e-6)


def test_the_smallest_board_takes_a_window_whole() -> None:
    """1008 px: nine windows of 576 tokens at once, the whole grid in nine parts, the memory in 22."""
    with layers.attention_budget(BOARDS["8GB"]):
        assert layers.queries_at_once(9, 16, 576) >= 576
        assert -(-5184 // layers.queries_at_once(1, 16, 5184)) == 9
        assert -(-5184 // layers.queries_at_once(4, 1, 51916)) == 22
