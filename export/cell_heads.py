"""Auxiliary heads for training on `shapes`: what every cell must know. Not part of the model."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from torch import Tensor, from_numpy, nn

from sam3_edge.shapes.scenes import COLOURS, SHAPES, TEXTURES, Scene

from .losses import cell_box_loss
from .shapes_batch import Answers, Batch, truth_of


class CellHeads(nn.Module):
    """Colour, shape and texture of every cell (0 is background), and the box of the item it lies in."""

    FAMILIES = (tuple(COLOURS), SHAPES, TEXTURES)

    def __init__(self, dim: int) -> None:
        super().__init__()
        width = sum(len(family) + 1 for family in self.FAMILIES)
        self.heads = nn.ModuleList(nn.Conv2d(dim, width, 1) for _ in range(3))
        self.any_box, self.target_box = nn.Linear(dim, 4), nn.Linear(dim, 4)

    def boxes(self, answers: Answers, batch: Batch) -> Tensor:
        """Dense boxes of all items from the picture alone, and of the answers from the encoder's state."""
        items = [truth_of(scene, range(len(scene.items))) for scene in batch.scenes]
        coarse = answers.levels[2].flatten(2).transpose(1, 2)
        loss = cell_box_loss(self.any_box(coarse), items)
        return loss + cell_box_loss(self.target_box(answers.encoded), batch.truths)

    def labels(self, scenes: list[Scene]) -> Tensor:
        """[P, 3, S, S] class indices."""
        size = len(scenes[0].picture)
        labels = np.zeros((len(scenes), 3, size, size), np.int64)
        for p, scene in enumerate(scenes):
            for item in scene.items:
                for f, word in enumerate((item.colour, item.shape, item.texture)):
                    labels[p, f][item.mask] = 1 + self.FAMILIES[f].index(word)
        return from_numpy(labels)

    def forward(self, levels: tuple[Tensor, ...], scenes: list[Scene]) -> Tensor:
        labels, loss = self.labels(scenes), levels[0].new_zeros(())
        for head, level in zip(self.heads, levels, strict=True):
            target = F.interpolate(labels.float(), size=level.shape[-2:], mode="nearest").long()
            parts = head(level).split([len(family) + 1 for family in self.FAMILIES], dim=1)
            loss = loss + sum(F.cross_entropy(part, target[:, f]) for f, part in enumerate(parts))
        return loss
