"""A package is read as it lies on disk, and what is not sound in it is named."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mil_edits import edit, of_kind

from sam3_edge.errors import CheckError
from sam3_edge.export.mil_evaluate import Evaluator
from sam3_edge.export.mil_program import (
    CONTENT,
    MODEL,
    WEIGHTS,
    Function,
    Name,
    Operation,
    read_program,
    read_spec,
)
from sam3_edge.export.mil_values import Kind, split_bits, unpacked

HALF = Kind("FLOAT16", (3,))


@pytest.fixture
def package(exported_coreml: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported_coreml / "graphs/text/model.mlpackage", tmp_path / "model.mlpackage")


def test_bits_are_split_from_the_lowest() -> None:
    data = np.array([0b1110_0100, 0b0000_0001], np.uint8)
    assert split_bits(data, 2, 5, signed=False).tolist() == [0, 1, 2, 3, 1]
    assert split_bits(data, 4, 2, signed=True).tolist() == [4, -2]
    assert split_bits(data, 3, 3, signed=False).tolist() == [0b100, 0b100, 0b111]


def test_values_of_every_kind() -> None:
    data = np.array([1.5, -2.0], np.float32)
    assert unpacked(data.view(np.uint8), Kind("FLOAT32", (2,)), "x").tolist() == [1.5, -2.0]
    whole = unpacked(np.array([200, 3], np.uint8), Kind("UINT8", (1, 2)), "x")
    assert whole.dtype == torch.int32 and whole.tolist() == [[200, 3]]
    assert unpacked(np.array([0x21], np.uint8), Kind("INT4", (2,)), "x").tolist() == [1, 2]
    with pytest.raises(CheckError, match="x has 1 bytes, which are not 2 of FLOAT32"):
        unpacked(np.zeros(1, np.uint8), Kind("FLOAT32", (2,)), "x")
    with pytest.raises(CheckError, match="x is of BFLOAT16, which the evaluator does not know"):
        unpacked(np.zeros(4, np.uint8), Kind("BFLOAT16", (2,)), "x")


def test_a_damaged_package_is_named(package: Path) -> None:
    weights = package / CONTENT / WEIGHTS / "weight.bin"
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(CheckError, match=r"weight\.bin: there is no weight at \d+"):
        read_program(package)
    (package / CONTENT / MODEL).write_bytes(b"\xff\xff\xff")
    with pytest.raises(CheckError, match=r"model\.mlmodel is no Core ML model"):
        read_program(package)
    shutil.rmtree(package)
    with pytest.raises(CheckError, match="is no Core ML model"):
        read_program(package)


def test_a_function_that_is_not_there(package: Path) -> None:
    with pytest.raises(CheckError, match="the package has no function 'other': it has main"):
        read_program(package).function("other")


def test_what_the_evaluator_does_not_know_is_refused(package: Path) -> None:
    def open_size(block: Any, weights: Path) -> None:
        next(of_kind(block, "linear")).outputs[0].type.tensorType.dimensions[0].unknown.variadic = False

    def branch(block: Any, weights: Path) -> None:
        next(of_kind(block, "linear")).blocks.add()

    for change, fact in ((open_size, "has an open size"), (branch, "operation linear has blocks")):
        copy = shutil.copytree(package, package.with_name(f"{change.__name__}.mlpackage"))
        edit(copy, change)
        with pytest.raises(CheckError, match=fact):
            read_program(copy)


def test_a_result_of_another_shape_is_refused(package: Path) -> None:
    def longer(block: Any, weights: Path) -> None:
        next(of_kind(block, "linear")).outputs[0].type.tensorType.dimensions[1].constant.size += 1

    edit(package, longer)
    evaluator = Evaluator.of(read_program(package).function(), rounded=True)
    with pytest.raises(CheckError, match=r"value \S+ is \[1, 8, 96\], declared as \[1, 9, 96\]"):
        evaluator.run({"token_ids": torch.zeros(1, 8, dtype=torch.int32)})
    with pytest.raises(CheckError, match="input token_ids is not fed"):
        evaluator.run({})


def test_results_are_rounded_as_declared_or_not_at_all() -> None:
    third = Operation("real_div", "third", {"x": Name("x"), "y": torch.tensor(3.0)}, (("third", HALF),))
    large = Operation("mul", "large", {"x": Name("third"), "y": torch.tensor(1e5)}, (("large", HALF),))
    function = Function({"x": HALF}, (third, large), ("third", "large"), {})
    x = torch.tensor([1.0, 2.0, 2.0001])
    rounded = Evaluator.of(function, rounded=True).run({"x": x})
    assert torch.equal(rounded["third"], (x.half().float() / 3).half().float())
    assert torch.isinf(rounded["large"]).any()  # above 65504
    exact = Evaluator.of(function, rounded=False).run({"x": x})
    assert torch.equal(exact["third"], x / 3) and torch.isfinite(exact["large"]).all()


def test_a_value_must_be_made_before_it_is_used() -> None:
    early = Operation("relu", "early", {"x": Name("late")}, (("early", HALF),))
    function = Function({"x": HALF}, (early,), ("early",), {})
    with pytest.raises(CheckError, match="value late is used before it is made"):
        Evaluator.of(function, rounded=True).run({"x": torch.zeros(3)})


def test_a_constant_is_what_coremltools_wrote(exported_coreml: Path) -> None:
    """Read through coremltools' own loader as well."""
    from coremltools.converters.mil.frontend.milproto.load import load

    package = exported_coreml / "graphs/text/model.mlpackage"
    spec = read_spec(package)
    theirs = load(spec, spec.specificationVersion, str(package / CONTENT / WEIGHTS)).functions["main"]
    ours = read_program(package).function()
    found = 0
    for operation in theirs.operations:
        if operation.op_type == "linear":
            mine = next(o for o in ours.operations if o.name == operation.outputs[0].name)
            weight = ours.constants[mine.arguments["weight"].text]
            assert isinstance(weight, torch.Tensor)
            assert np.array_equal(weight.numpy(), operation.weight.val)
            found += 1
    assert found >= 4
