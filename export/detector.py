"""Graph `detector`: features and a prompt to boxes, scores and presence."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sam3_edge.spec import ModelConfig

from .layers import MLP, Attention, FusionLayer, grid_position, inverse_sigmoid, sine_position


def to_corners(boxes: Tensor) -> Tensor:
    """cxcywh -> xyxy."""
    centre, size = boxes.chunk(2, dim=-1)
    return torch.cat((centre - size / 2, centre + size / 2), dim=-1)


class DecoderLayer(nn.Module):
    """Post-norm: self-attention, attention to the prompt, attention to the picture, MLP."""

    def __init__(self, dim: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.self_attention, self.prompt_attention, self.image_attention = (
            Attention(dim, heads) for _ in range(3)
        )
        self.self_norm, self.prompt_norm, self.image_norm, self.mlp_norm = (
            nn.LayerNorm(dim) for _ in range(4)
        )
        self.mlp = MLP(dim, mlp, dim)

    def forward(
        self,
        x: Tensor,
        *,
        position: Tensor,
        prompt: Tensor,
        prompt_bias: Tensor,
        image: Tensor,
        image_key: Tensor,
        image_bias: Tensor,
    ) -> Tensor:
        placed = x + position
        x = self.self_norm(x + self.self_attention(placed, placed, x))
        x = self.prompt_norm(x + self.prompt_attention(x + position, prompt, prompt, prompt_bias))
        x = self.image_norm(x + self.image_attention(x + position, image_key, image, image_bias))
        return self.mlp_norm(x + self.mlp(x))


class BoxBias(nn.Module):
    """Bias of each query's attention by where the picture's cells lie relative to its box.

    boxes [B, N, 4] cxcywh -> [B, heads, N, G * G]. Separable: one term per row plus one per column.
    """

    cells: Tensor

    def __init__(self, dim: int, heads: int, grid: int) -> None:
        super().__init__()
        self.x, self.y = MLP(2, dim, heads), MLP(2, dim, heads)
        # Cell corners, 0/G .. (G-1)/G, not centres: the reference's choice.
        self.register_buffer("cells", torch.arange(grid) / grid, persistent=False)

    def along(self, mlp: nn.Module, low: Tensor, high: Tensor) -> Tensor:
        """One axis: box edges [B, N] -> [B, heads, N, G]."""
        edges = torch.stack((low, high), dim=-1)[:, :, None]
        distance = 8 * (self.cells[:, None] - edges)
        scaled = distance.sign() * torch.log2(distance.abs() + 1) / math.log2(8)
        bias: Tensor = mlp(scaled)
        return bias.permute(0, 3, 1, 2)

    def forward(self, boxes: Tensor) -> Tensor:
        x0, y0, x1, y1 = to_corners(boxes).unbind(-1)
        rows, columns = self.along(self.y, y0, y1), self.along(self.x, x0, x1)
        return (rows[..., :, None] + columns[..., None, :]).flatten(3)


class Scorer(nn.Module):
    """How well each query answers the prompt: dot product with the mean of the valid prompt tokens."""

    def __init__(self, dim: int, mlp: int) -> None:
        super().__init__()
        self.mlp = MLP(dim, mlp, dim)
        self.norm = nn.LayerNorm(dim)
        self.prompt, self.query = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, queries: Tensor, prompt: Tensor, prompt_bias: Tensor) -> Tensor:
        tokens = self.norm(prompt + self.mlp(prompt))
        valid = prompt_bias.flatten(1).exp()[..., None]  # exactly 1 or 0
        mean = (tokens * valid).sum(1) / valid.sum(1)
        logits = self.query(queries) @ self.prompt(mean)[..., None] / math.sqrt(queries.shape[-1])
        return logits.squeeze(-1).clamp(-12, 12)


class Detector(nn.Module):
    """Fusion encoder and box decoder.

    features [B, D, G, G], prompt [B, S, D], prompt_bias [B, 1, 1, S] -> encoded [B, G * G, D],
    queries [B, N, D], boxes [B, N, 4] (xyxy in [0, 1]), logits [B, N], presence logit [B, 1].
    """

    position: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c, self.dim = config, config.dim
        self.encoder = nn.ModuleList(FusionLayer(c.dim, c.heads, c.mlp) for _ in range(c.encoder_layers))
        self.layers = nn.ModuleList(DecoderLayer(c.dim, c.heads, c.mlp) for _ in range(c.decoder_layers))
        self.query = nn.Parameter(torch.zeros(c.queries, c.dim))
        self.reference = nn.Parameter(torch.zeros(c.queries, 4))
        self.presence_token = nn.Parameter(torch.zeros(1, c.dim))
        self.norm, self.presence_norm = nn.LayerNorm(c.dim), nn.LayerNorm(c.dim)
        self.box_head = MLP(c.dim, c.dim, c.dim, 4)
        self.presence_head = MLP(c.dim, c.dim, c.dim, 1)
        self.reference_head = MLP(2 * c.dim, c.dim, c.dim)
        self.box_bias = BoxBias(c.dim, c.heads, c.grid)
        self.scorer = Scorer(c.dim, c.mlp)
        self.register_buffer("position", grid_position(c.grid, c.dim), persistent=False)

    def encode(self, features: Tensor, prompt: Tensor, prompt_bias: Tensor) -> Tensor:
        """Let every cell of the picture read the prompt: [B, G * G, D]."""
        x = features.flatten(2).transpose(1, 2)
        for layer in self.encoder:
            x = layer(x, prompt, position=self.position, other_bias=prompt_bias)
        return x

    def decode(
        self, encoded: Tensor, prompt: Tensor, prompt_bias: Tensor, *, limit: float = 10
    ) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Each decoder layer's queries [B, N, D], boxes [B, N, 4] (cxcywh) and presence logit [B, 1].

        `limit` of the presence logit; a student learns from the logit without one.
        """
        batch = len(encoded)
        x = torch.cat((self.presence_token, self.query)).expand(batch, -1, -1)
        boxes = self.reference.sigmoid().expand(batch, -1, -1)
        image_key = encoded + self.position
        answers = []
        for layer in self.layers:
            x = layer(
                x,
                position=nn.functional.pad(self.query_position(boxes), (0, 0, 1, 0)),
                prompt=prompt,
                prompt_bias=prompt_bias,
                image=encoded,
                image_key=image_key,
                image_bias=nn.functional.pad(self.box_bias(boxes), (0, 0, 1, 0)),
            )
            queries = self.norm(x[:, 1:])
            refined = (self.box_head(queries) + inverse_sigmoid(boxes)).sigmoid()
            # Clamped as the checkpoint was meant to be; the official code computes the clamp and drops it.
            presence = self.presence_head(self.presence_norm(x[:, 0])).clamp(-limit, limit)
            answers.append((queries, refined, presence))
            boxes = refined.detach()  # each layer learns its own step
        return answers

    def query_position(self, boxes: Tensor) -> Tensor:
        """Position of each query from its box, in the reference's order y, x, w, h."""
        turned = torch.cat((boxes[..., 1:2], boxes[..., :1], boxes[..., 2:]), dim=-1)
        encoded: Tensor = self.reference_head(sine_position(turned, self.dim // 2).flatten(-2))
        return encoded

    def forward(self, features: Tensor, prompt: Tensor, prompt_bias: Tensor) -> tuple[Tensor, ...]:
        encoded = self.encode(features, prompt, prompt_bias)
        queries, boxes, presence = self.decode(encoded, prompt, prompt_bias)[-1]
        return encoded, queries, to_corners(boxes), self.scorer(queries, prompt, prompt_bias), presence
