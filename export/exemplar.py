"""Graph `exemplar`: boxes drawn on a picture to prompt tokens, and the CLS token of every prompt."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sam3_edge.spec import ModelConfig

from .layers import FusionLayer, grid_position, sine_position


class Exemplar(nn.Module):
    """Exemplar boxes and the stride-14 features -> tokens [B, K + 1, D], CLS last.

    boxes [B, K, 4] are cxcywh in [0, 1]; labels [B, K] are 1.0 (like this) or 0.0 (not this);
    bias [B, 1, 1, K + 1] hides unused boxes; pool_y and pool_x [B, K, R, G] are the two halves of RoIAlign,
    computed on the host (`sam3_edge.boxes`): the operator is separable, so it is two matrix products here.
    """

    position: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dim = dim = config.dim
        self.label = nn.Parameter(torch.zeros(2, dim))
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.box = nn.Linear(4, dim)
        self.pool_norm = nn.LayerNorm(dim)
        self.pool = nn.Conv2d(dim, dim, config.roi_size)
        self.place = nn.Linear(dim + 2, dim)
        self.project = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.layers = nn.ModuleList(
            FusionLayer(dim, config.heads, config.mlp) for _ in range(config.exemplar_layers)
        )
        self.out_norm = nn.LayerNorm(dim)
        self.register_buffer("position", grid_position(config.grid, dim), persistent=False)

    def pooled(self, features: Tensor, pool_y: Tensor, pool_x: Tensor) -> Tensor:
        """RoIAlign and the full-window convolution after it: [B, K, D]."""
        batch, boxes, size, grid = pool_y.shape
        normed = self.pool_norm(features.permute(0, 2, 3, 1))  # [B, G, G, D]
        rows = torch.matmul(pool_y.flatten(1, 2), normed.flatten(2))  # [B, K * R, G * D]
        rows = rows.reshape(batch * boxes, size, grid, self.dim).transpose(1, 2).flatten(2)  # [BK, G, R * D]
        cells = torch.matmul(pool_x.flatten(0, 1), rows)  # [BK, R (x), R (y) * D]
        cells = cells.reshape(batch * boxes, size, size, self.dim)  # [BK, x, y, D]
        return self.pool(cells.permute(0, 3, 2, 1)).reshape(batch, boxes, self.dim)

    def box_tokens(self, boxes: Tensor, labels: Tensor, pooled: Tensor) -> Tensor:
        """Coordinates, position, content and label of each box, summed: [B, K, D]."""
        x, y = (sine_position(boxes[..., i], self.dim // 2) for i in (0, 1))
        place = torch.cat((y, x, boxes[..., 3:4], boxes[..., 2:3]), dim=-1)
        label = labels[..., None] * self.label[1] + (1 - labels[..., None]) * self.label[0]
        return self.box(boxes) + pooled + self.place(place) + label

    def forward(
        self, features: Tensor, boxes: Tensor, labels: Tensor, bias: Tensor, pool_y: Tensor, pool_x: Tensor
    ) -> Tensor:
        tokens = self.box_tokens(boxes, labels, self.pooled(features, pool_y, pool_x))
        tokens = torch.cat((tokens, self.cls.expand(len(tokens), -1, -1)), dim=1)
        tokens = self.norm(self.project(tokens))
        flat = features.flatten(2).transpose(1, 2)
        for layer in self.layers:
            tokens = layer(tokens, flat, bias=bias, other_position=self.position)
        return self.out_norm(tokens)
