"""What coremltools lacks for our graphs. Each entry says for which version, and a test fails without it."""

from __future__ import annotations

from .coreml_tools import TORCH_OPERATORS, torch_ops

# coremltools 9.0 stops at torch 2.13's `alias`, which is what `torch.export` leaves of a slice or a tile that
# takes everything: the backbone's positions and the text encoder's mask. It gives its input, as `noop` does.
SAME = ("alias",)


def register() -> None:
    """Teach coremltools the operators above, unless it has come to know them."""
    for name in SAME:
        if name not in TORCH_OPERATORS:
            TORCH_OPERATORS.set_func_by_name(torch_ops.noop, name)
