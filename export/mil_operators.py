"""The table of operators that the evaluator knows, and how their arguments are read.

An operator's function takes exactly the arguments it implements, by their names in MIL: one that it does not
know is refused, never ignored. A tensor argument is a torch tensor, a word a string.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import Any

from torch import Tensor

from sam3_edge.errors import CheckError

Answer = Tensor | tuple[Tensor, ...]
Function = Callable[..., Answer]
OPERATORS: dict[str, Function] = {}


def operator(*kinds: str) -> Callable[[Function], Function]:
    """Enter a function under the kinds of operation that it computes."""

    def enter(function: Function) -> Function:
        OPERATORS.update(dict.fromkeys(kinds, function))
        return function

    return enter


def call(kind: str, arguments: Mapping[str, Any]) -> tuple[Tensor, ...]:
    """Compute one operation. Raises `CheckError` for an operator or an argument that is not implemented."""
    if kind not in OPERATORS:
        raise CheckError(f"operator {kind}: the evaluator does not know it, so nothing is proved")
    known = signature(OPERATORS[kind]).parameters
    if strange := sorted(arguments.keys() - known.keys()):
        raise CheckError(f"operator {kind}: the evaluator does not know its argument {strange[0]!r}")
    needed = {name for name, parameter in known.items() if parameter.default is Parameter.empty}
    if missing := sorted(needed - arguments.keys()):
        raise CheckError(f"operator {kind}: its argument {missing[0]!r} is missing")
    answer = OPERATORS[kind](**arguments)
    return answer if isinstance(answer, tuple) else (answer,)


def ints(value: Tensor) -> list[int]:
    """Axes, sizes or steps."""
    return [int(number) for number in value.flatten().tolist()]


def number(value: Tensor | None, default: float = 0.0) -> float:
    """A scalar."""
    return default if value is None else float(value)


def flag(value: Tensor | None) -> bool:
    """A switch; off where it is not given."""
    return value is not None and bool(value)


def want(fact: bool, kind: str, what: str) -> None:
    """Raises `CheckError` unless an argument is of those that are implemented."""
    if not fact:
        raise CheckError(f"operator {kind}: {what} is not implemented by the evaluator")
