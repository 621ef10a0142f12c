"""What keeps a Core ML program off the Neural Engine, read from the saved package.

The rules are Apple's published ones for it (machine learning research, "Deploying Transformers on the Apple
Neural Engine", and the notes beside coreai-models). Whether an operation really runs there only a device
tells: this finds what cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from .mil_evaluate import last_uses
from .mil_program import Function, Name, Operation
from .mil_values import Kind

MOST_AXES = 5
LONGEST = 16384
NARROW = 32  # the last axis is stored in blocks of 64 bytes, half precision
LOWEST_MASK = -4e4  # half precision ends at -65504, and a sum of two masks must stay above
FLOATS = ("FLOAT16", "FLOAT32")
# What only moves numbers at the edge: these casts are how a place in fp32 comes in and goes out.
EDGES = frozenset({"cast", "identity"})


@dataclass(frozen=True)
class Finding:
    """One rule that one graph breaks: how often, and the first operation that does."""

    rule: str
    count: int
    first: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def wide_rank(operation: Operation) -> bool:
    return any(len(kind.shape) > MOST_AXES for _, kind in operation.outputs)


def fp32_island(operation: Operation) -> bool:
    kinds = {kind.dtype for _, kind in operation.outputs}
    return "FLOAT32" in kinds and operation.kind not in EDGES


def moves_by_index(operation: Operation) -> bool:
    """But for the look-up of words, which is the first thing that a graph does with them."""
    looked_up = operation.kind == "gather" and isinstance(operation.arguments["x"], torch.Tensor)
    return operation.kind.startswith(("gather", "scatter")) and not looked_up


def narrow_last_axis(operation: Operation) -> bool:
    """But for convolutions: what they make is as wide as the picture's grid."""
    if operation.kind.startswith("conv"):
        return False
    return any(is_map(kind) and kind.shape[-1] < NARROW for _, kind in operation.outputs)


def is_map(kind: Kind) -> bool:
    """Of more than one number for each row: scalars and lists have no last axis to speak of."""
    return kind.dtype in FLOATS and len(kind.shape) > 2 and max(kind.shape) >= NARROW


def long_axis(operation: Operation) -> bool:
    return any(length > LONGEST for _, kind in operation.outputs for length in kind.shape)


def high_rank_palette(operation: Operation) -> bool:
    table = operation.arguments.get("lut")
    return isinstance(table, torch.Tensor) and table.ndim > MOST_AXES


RULES: dict[str, Callable[[Operation], bool]] = {
    f"more than {MOST_AXES} axes": wide_rank,
    "fp32": fp32_island,
    "gather or scatter": moves_by_index,
    f"last axis under {NARROW}": narrow_last_axis,
    f"an axis over {LONGEST}": long_axis,
    f"look-up table of more than {MOST_AXES} axes": high_rank_palette,
}
UNSAFE_MASK = f"mask below {LOWEST_MASK:g}"


def lint(function: Function) -> list[Finding]:
    """Everything that the rules find. A size that is open is an error of reading the package already."""
    found = [finding(rule, broken(function, breaks)) for rule, breaks in RULES.items()]
    found.append(finding(UNSAFE_MASK, unsafe_masks(function)))
    return [each for each in found if each is not None]


def finding(rule: str, names: Iterator[str]) -> Finding | None:
    places = list(names)
    return Finding(rule, len(places), places[0]) if places else None


def broken(function: Function, breaks: Callable[[Operation], bool]) -> Iterator[str]:
    return (f"{o.kind} {o.name}" for o in function.operations if breaks(resolved(function, o)))


def resolved(function: Function, operation: Operation) -> Operation:
    """The operation with its constants in place of their names."""
    arguments = {
        key: function.constants.get(held.text, held) if isinstance(held, Name) else held
        for key, held in operation.arguments.items()
    }
    return replace(operation, arguments=arguments)


def unsafe_masks(function: Function) -> Iterator[str]:
    """Constants that are added, or given to attention as a mask, and overflow half precision with another."""
    for operation in function.operations:
        names = ("x", "y") if operation.kind == "add" else ("attn_mask",)
        arguments = resolved(function, operation).arguments
        for constant in (arguments.get(name) for name in names):
            if isinstance(constant, torch.Tensor) and float(constant.min()) < LOWEST_MASK:
                yield f"{operation.kind} {operation.name}"


def least_megabytes(function: Function) -> float:
    """An estimate of what one run needs: all constants, and the most of results that live at one time.

    Core ML may reuse a place earlier, or keep a second copy for a processor: this is what must fit at least.
    """
    held = (each for each in function.constants.values() if isinstance(each, torch.Tensor))
    weights = sum(each.numel() * each.element_size() for each in held)
    alive = {name: bytes_of(kind) for name, kind in function.inputs.items()}
    most = sum(alive.values())
    for operation, done in zip(function.operations, last_uses(function), strict=True):
        alive |= {name: bytes_of(kind) for name, kind in operation.outputs}
        most = max(most, sum(alive.values()))
        for name in done:
            alive.pop(name, None)
    return round((weights + most) / 1e6, 1)


def bytes_of(kind: Kind) -> int:
    """Of a value as it is declared."""
    count = 1
    for length in kind.shape:
        count *= length
    return count * {"FLOAT16": 2, "FLOAT32": 4, "INT32": 4, "INT16": 2, "UINT16": 2}.get(kind.dtype, 1)
