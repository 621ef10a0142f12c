"""What the tracker sees of a frame: its own three levels, and the features with which it asks the memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sam3_edge.spec import ModelConfig

from .features import Features, Level


class TrackerFeatures(nn.Module):
    """Trunk feature [1, G * G, C] -> [1, D / 8, 4G, 4G], [1, D / 4, 2G, 2G] and [1, D, G, G].

    The mask decoder narrows the two fine levels before it adds them: that is done here, once for all objects.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.neck = Features(config)
        self.narrow = nn.ModuleList(nn.Conv2d(config.dim, config.dim // by, 1) for by in (8, 4))

    def forward(self, trunk_feature: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine, middle, coarse = self.neck(trunk_feature)
        return self.narrow[0](fine), self.narrow[1](middle), coarse

    @torch.no_grad()
    def fold(self) -> None:
        """Merge each narrowing 1x1 with the 3x3 before it, in place: exact, nothing stands between them."""
        self.neck.fold()
        for i, (level, narrow) in enumerate(zip(self.neck.levels, self.narrow, strict=False)):
            assert isinstance(level, Level)
            if isinstance(narrow, nn.Conv2d):
                level.smooth = merged(level.smooth, narrow)
                self.narrow[i] = nn.Identity()


def merged(first: nn.Conv2d, second: nn.Conv2d) -> nn.Conv2d:
    """One convolution for a 3x3 and the 1x1 after it."""
    assert first.bias is not None and second.bias is not None
    mix = second.weight[:, :, 0, 0]
    both = nn.Conv2d(first.in_channels, second.out_channels, 3, padding=1)
    assert both.bias is not None
    both.weight.copy_(torch.einsum("om,mihw->oihw", mix, first.weight))
    both.bias.copy_(mix @ first.bias + second.bias)
    return both
