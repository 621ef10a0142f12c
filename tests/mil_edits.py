"""Changes to a saved Core ML package: what a converter, a compressor or a disk may get wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sam3_edge.export.mil_program import CONTENT, MODEL, WEIGHTS, read_spec
from sam3_edge.export.mil_values import RECORD

Edit = Callable[[Any, Path], None]  # of the block of operations, and of the weight file


def edit(package: Path, change: Edit) -> None:
    """Rewrite a package in place."""
    spec = read_spec(package)
    function = spec.mlProgram.functions["main"]
    change(function.block_specializations[function.opset], package / CONTENT / WEIGHTS / "weight.bin")
    (package / CONTENT / MODEL).write_bytes(spec.SerializeToString(deterministic=True))


def of_kind(block: Any, kind: str) -> Iterator[Any]:
    """The operations of one kind; there is at least one."""
    found = [operation for operation in block.operations if operation.type == kind]
    assert found, kind
    yield from found


def made_by(block: Any, name: str) -> Any:
    """The operation that makes a value."""
    return next(o for o in block.operations if any(output.name == name for output in o.outputs))


def constant(block: Any, operation: Any, argument: str) -> Any:
    """The value message of a constant argument."""
    binding = operation.inputs[argument].arguments[0]
    if binding.WhichOneof("binding") == "value":
        return binding.value
    return made_by(block, binding.name).attributes["val"]


def swap(block: Any, operation: Any, one: str, other: str) -> None:
    """Give one argument's value to another, and back."""
    a, b = (operation.inputs[name].arguments[0] for name in (one, other))
    a.name, b.name = b.name, a.name


def half_weights(value: Any, weights: Path, change: Callable[[np.ndarray[Any, Any]], Any]) -> None:
    """Rewrite fp16 numbers in the weight file."""
    data = bytearray(weights.read_bytes())
    _, _, size, start, _ = RECORD.unpack_from(data, value.blobFileValue.offset)
    numbers = np.frombuffer(data, np.float16, size // 2, start).copy()
    data[start : start + size] = np.asarray(change(numbers), np.float16).tobytes()
    weights.write_bytes(data)
