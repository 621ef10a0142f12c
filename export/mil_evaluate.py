"""Compute a function of a Core ML program with torch, on any machine.

Two kinds of arithmetic: in fp32 throughout, which shows errors of the conversion alone; or with every result
rounded to the type that the program declares, which models storage in half precision and accumulation in
fp32, as the CPU and the GPU of a device do. How the Neural Engine accumulates is not modelled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sam3_edge.errors import CheckError

from . import mil_arithmetic, mil_layers, mil_shaping, mil_weights
from .mil_operators import call
from .mil_program import Function, Name, Operation
from .mil_values import Constant, Kind

UNPACKING = "constexpr_"
ROOMS = (mil_arithmetic, mil_layers, mil_shaping, mil_weights)  # imported for the operators they enter


def names(argument: Any) -> list[str]:
    """The values that an argument takes from elsewhere."""
    items = argument if isinstance(argument, tuple) else (argument,)
    return [item.text for item in items if isinstance(item, Name)]


def last_uses(function: Function) -> list[list[str]]:
    """For each operation, the values that nothing needs after it: features of 1008 px fill gigabytes."""
    last: dict[str, int] = {}
    for i, operation in enumerate(function.operations):
        for name, _ in operation.outputs:
            last[name] = i
        for argument in operation.arguments.values():
            last.update(dict.fromkeys(names(argument), i))
    done: list[list[str]] = [[] for _ in function.operations]
    for name, i in last.items():
        if name not in function.outputs and name not in function.constants:
            done[i].append(name)
    return done


@dataclass(frozen=True)
class Evaluator:
    """One function, ready to be computed. `rounded`: every result to its declared type.

    `unpacked`: compressed weights, unpacked once and not on every run.
    """

    function: Function
    rounded: bool
    done: list[list[str]]
    unpacked: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, function: Function, *, rounded: bool) -> Evaluator:
        made = cls(function, rounded, last_uses(function))
        for operation in function.operations:
            if operation.kind.startswith(UNPACKING):
                made.unpacked.update(made.compute(operation, made.unpacked))
        return made

    def run(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All outputs. Raises `CheckError` for what is not implemented, or is not as declared."""
        values = dict(self.unpacked)
        for name, kind in self.function.inputs.items():
            if name not in feeds:
                raise CheckError(f"input {name} is not fed")
            values[name] = self.settled(name, feeds[name], kind)
        for operation, done in zip(self.function.operations, self.done, strict=True):
            if not operation.kind.startswith(UNPACKING):
                values.update(self.compute(operation, values))
            for name in done:
                values.pop(name, None)
        return {name: self.value(name, values) for name in self.function.outputs}

    def compute(self, operation: Operation, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What one operation gives."""
        arguments = {key: self.argument(held, values) for key, held in operation.arguments.items()}
        answers = call(operation.kind, arguments)
        if len(answers) != len(operation.outputs):
            raise CheckError(f"{operation.kind} {operation.name}: {len(answers)} results, not as declared")
        pairs = zip(operation.outputs, answers, strict=True)
        return {name: self.settled(name, answer, kind) for (name, kind), answer in pairs}

    def argument(self, held: Any, values: Mapping[str, Tensor]) -> Any:
        """An argument with its values in place of their names."""
        if isinstance(held, tuple):
            return tuple(self.argument(item, values) for item in held)
        if isinstance(held, Name):
            return self.value(held.text, values)
        return working(held)

    def value(self, name: str, values: Mapping[str, Tensor]) -> Any:
        """A value that was computed, or a constant."""
        if name in values:
            return values[name]
        if name not in self.function.constants:
            raise CheckError(f"value {name} is used before it is made")
        return working(self.function.constants[name])

    def settled(self, name: str, value: Tensor, kind: Kind) -> Tensor:
        """A result as the program declares it. Raises `CheckError` if it has another shape."""
        if tuple(value.shape) != kind.shape:
            raise CheckError(f"value {name} is {list(value.shape)}, declared as {list(kind.shape)}")
        if not value.dtype.is_floating_point:
            return value.to(kind.torch_dtype)
        if self.rounded and kind.dtype == "FLOAT16":
            value = value.half()
        return value.float()


def working(constant: Constant) -> Constant:
    """A constant as it is computed with: half precision in fp32."""
    if isinstance(constant, torch.Tensor) and constant.dtype == torch.float16:
        return constant.float()
    return constant
