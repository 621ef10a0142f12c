"""MIL operators that work element by element, and those that reduce axes."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .mil_operators import flag, ints, number, operator, want

BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "real_div": torch.true_divide,
    "floor_div": torch.floor_divide,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "pow": torch.pow,
    "equal": torch.eq,
    "not_equal": torch.ne,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
}
UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "exp": torch.exp,
    "floor": torch.floor,
    "identity": torch.clone,
    "logical_not": torch.logical_not,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "sign": torch.sign,
    "sin": torch.sin,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "tanh": torch.tanh,
}
REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "reduce_max": torch.amax,
    "reduce_mean": torch.mean,
    "reduce_min": torch.amin,
    "reduce_sum": torch.sum,
}
# The evaluator rounds to fp16 by itself, where it is told to. Numbers that an integer cannot hold wrap.
CASTS: dict[str, Callable[[Tensor], Tensor]] = {
    "bool": lambda x: x.bool(),
    "fp16": lambda x: x.float(),
    "fp32": lambda x: x.float(),
    "int8": lambda x: x.to(torch.int8).int(),
    "int16": lambda x: x.to(torch.int16).int(),
    "int32": lambda x: x.int(),
    "uint8": lambda x: x.int() & 0xFF,
    "uint16": lambda x: x.int() & 0xFFFF,
}


def enter_binary(kind: str, compute: Callable[[Tensor, Tensor], Tensor]) -> None:
    @operator(kind)
    def binary(x: Tensor, y: Tensor) -> Tensor:
        return compute(x, y)


def enter_unary(kind: str, compute: Callable[[Tensor], Tensor]) -> None:
    @operator(kind)
    def unary(x: Tensor) -> Tensor:
        return compute(x)


def enter_reduction(kind: str, compute: Callable[..., Tensor]) -> None:
    @operator(kind)
    def reduction(x: Tensor, axes: Tensor | None = None, keep_dims: Tensor | None = None) -> Tensor:
        along = tuple(range(x.ndim)) if axes is None else tuple(ints(axes))
        return compute(x, dim=along, keepdim=flag(keep_dims))


for name, of_two in BINARY.items():
    enter_binary(name, of_two)
for name, of_one in UNARY.items():
    enter_unary(name, of_one)
for name, of_axes in REDUCTIONS.items():
    enter_reduction(name, of_axes)


@operator("cast")
def cast(x: Tensor, dtype: str) -> Tensor:
    want(dtype in CASTS, "cast", f"dtype {dtype}")
    return CASTS[dtype](x)


@operator("clip")
def clip(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return x.clamp(number(alpha), number(beta))


@operator("log")
def log(x: Tensor, epsilon: Tensor | None = None) -> Tensor:
    return torch.log(x + number(epsilon, 1e-45))


@operator("rsqrt")
def rsqrt(x: Tensor, epsilon: Tensor | None = None) -> Tensor:
    return torch.rsqrt(x + number(epsilon, 1e-12))


@operator("gelu")
def gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    want(mode in ("EXACT", "TANH_APPROXIMATION"), "gelu", f"mode {mode}")
    return F.gelu(x, approximate="none" if mode == "EXACT" else "tanh")


@operator("select")
def select(cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(cond, a, b)


@operator("softmax")
def softmax(x: Tensor, axis: Tensor | None = None) -> Tensor:
    return torch.softmax(x, int(number(axis, -1)))
