"""What keeps a program off the Neural Engine is found, rule by rule, and a clean one is clean."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sam3_edge.export.ane_lint import least_megabytes, lint
from sam3_edge.export.mil_program import Function, Name, Operation
from sam3_edge.export.mil_values import Kind

IMAGE = Kind("FLOAT16", (1, 64, 48, 48))
SIX_AXES = torch.zeros([1] * 6)


def program(*operations: Operation, **constants: torch.Tensor) -> Function:
    return Function({"image": IMAGE}, operations, (operations[-1].name,), constants)


def made(kind: str, shape: tuple[int, ...], dtype: str = "FLOAT16", **arguments: Any) -> Operation:
    return Operation(
        kind, f"a_{kind}", {"x": Name("image"), **arguments}, ((f"a_{kind}", Kind(dtype, shape)),)
    )


def test_a_clean_program() -> None:
    scaled = made("mul", IMAGE.shape, y=torch.tensor(2.0))
    assert (
        lint(program(scaled, made("cast", IMAGE.shape, "FLOAT32"), made("reduce_sum", (1, 1), axes=None)))
        == []
    )


@pytest.mark.parametrize(
    ("rule", "operation"),
    [
        ("more than 5 axes", made("reshape", (1, 2, 2, 2, 8, 32))),
        ("fp32", made("sin", IMAGE.shape, "FLOAT32")),
        ("gather or scatter", made("gather", IMAGE.shape)),
        ("gather or scatter", made("scatter_nd", IMAGE.shape)),
        ("last axis under 32", made("transpose", (1, 48, 48, 8))),
        ("an axis over 16384", made("reshape", (1, 1, 147456))),
        (
            "look-up table of more than 5 axes",
            made("constexpr_lut_to_dense", IMAGE.shape, lut=Name("six_axes")),
        ),
        ("mask below -40000", made("add", IMAGE.shape, y=torch.tensor([0.0, -65504.0]))),
        ("mask below -40000", made("scaled_dot_product_attention", IMAGE.shape, attn_mask=Name("mask"))),
    ],
)
def test_each_rule(rule: str, operation: Operation) -> None:
    (found,) = lint(program(operation, mask=torch.full((2, 2), -1e5), six_axes=SIX_AXES))
    assert (found.rule, found.count, found.first) == (rule, 1, f"{operation.kind} {operation.name}")


def test_words_are_looked_up_and_a_mask_may_be_minus_ten_thousand() -> None:
    arguments = {"x": Name("table"), "indices": Name("ids")}
    looked_up = Operation("gather", "words", arguments, (("w", IMAGE),))
    masked = made("add", IMAGE.shape, y=torch.tensor(-1e4))
    assert lint(program(looked_up, masked, table=torch.zeros(9, 64))) == []


def test_memory_is_that_of_the_weights_and_of_what_lives_at_once() -> None:
    size = 64 * 48 * 48 * 2
    weights = torch.zeros(1000, dtype=torch.float16)
    first = made("mul", IMAGE.shape, y=Name("weights"))
    second = Operation("relu", "second", {"x": Name("a_mul")}, (("second", IMAGE),))
    third = Operation("relu", "third", {"x": Name("second")}, (("third", IMAGE),))
    one, three = (least_megabytes(program(*o, weights=weights)) for o in ((first,), (first, second, third)))
    assert one == three == round((2 * size + 2000) / 1e6, 1)  # each step frees what it took
