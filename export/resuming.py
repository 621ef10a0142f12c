"""What a training needs to go on, in the folder of its run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .processes import rank

STATE = "state.pt"


def keep_state(folder: Path, state: dict[str, Any]) -> None:
    """Write a state over the last one; the first process does, and no reader ever sees half of it."""
    if rank() > 0:
        return
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "state.part"
    torch.save(state, part)
    part.replace(folder / STATE)


def kept_state(folder: Path) -> dict[str, Any] | None:
    """The last state, or None where no run was stopped."""
    if not (folder / STATE).exists():
        return None
    state: dict[str, Any] = torch.load(folder / STATE, weights_only=True)
    return state
