"""Student `pruned`: the teacher's own ViT without some of its blocks. It starts with the teacher's weights.

For SAM 3 a published choice of 16 blocks is 5, 10, 12, 14, 17-22, 24-28, 30: every global one stays.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from sam3_edge.errors import UsageError
from sam3_edge.spec import ModelConfig

from .backbone import Backbone

SETTINGS: dict[str, Any] = {"removed": [2]}


def build(config: ModelConfig, *, removed: list[int]) -> nn.Module:
    """The trunk. Raises `UsageError` for blocks that the teacher lacks, or if none would be left."""
    trunk, gone = Backbone(config), set(removed)
    if not gone <= set(range(config.trunk_layers)) or len(gone) == config.trunk_layers:
        raise UsageError(
            f"student pruned: removed is {removed}, want some of the blocks 0 to {config.trunk_layers - 1}"
        )
    trunk.blocks = nn.ModuleList(block for i, block in enumerate(trunk.blocks) if i not in gone)
    return trunk


def start(trunk: nn.Module, teacher: nn.Module, *, removed: list[int]) -> None:
    """The teacher's weights, in place, without the removed blocks'."""
    assert isinstance(trunk, Backbone) and isinstance(teacher, Backbone)
    kept = [block for i, block in enumerate(teacher.blocks) if i not in removed]
    for name in ("patch", "norm"):
        trunk.get_submodule(name).load_state_dict(teacher.get_submodule(name).state_dict())
    trunk.position.data.copy_(teacher.position)
    trunk.blocks.load_state_dict(nn.ModuleList(kept).state_dict())
