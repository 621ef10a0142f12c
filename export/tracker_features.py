"""What the tracker sees of a frame: its own three levels, and the features with which it asks the memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
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
        x = self.neck.as_grid(trunk_feature)
        return self.thin(x, 0), self.thin(x, 1), self.neck.levels[2](x)

    def thin(self, x: Tensor, i: int) -> Tensor:
        """A narrowed level. One convolution for two also while training: the wide level is never made."""
        level, narrow = self.neck.levels[i], self.narrow[i]
        assert isinstance(level, Level)
        if not isinstance(narrow, nn.Conv2d):
            return level(x)
        return F.conv2d(level.rise(x), *merged(level.smooth, narrow), padding=1)

    @torch.no_grad()
    def fold(self) -> None:
        """Merge each narrowing 1x1 with the 3x3 before it, in place: exact, nothing stands between them."""
        self.neck.fold()
        for i, (level, narrow) in enumerate(zip(self.neck.levels, self.narrow, strict=False)):
            assert isinstance(level, Level)
            if isinstance(narrow, nn.Conv2d):
                weight, bias = merged(level.smooth, narrow)
                level.smooth = nn.Conv2d(level.smooth.in_channels, narrow.out_channels, 3, padding=1)
                assert level.smooth.bias is not None
                level.smooth.weight.copy_(weight)
                level.smooth.bias.copy_(bias)
                self.narrow[i] = nn.Identity()


def merged(first: nn.Conv2d, second: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of one convolution for a 3x3 and the 1x1 after it."""
    assert first.bias is not None and second.bias is not None
    mix = second.weight[:, :, 0, 0]
    weight = torch.einsum("om,mihw->oihw", mix, first.weight)
    return weight, mix @ first.bias + second.bias
