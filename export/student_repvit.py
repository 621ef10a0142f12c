"""Student `repvit`: a timm backbone (RepViT, Wang et al. 2024, or any with `features_only`) and an adapter.

The maps at strides 16 and 32 are brought to one width and the teacher's grid, and added; two separable
convolutions and a product follow. At 1152 px stride 16 is SAM 3's grid of 72 exactly; at other sizes the map
is resized. The branches of RepViT's blocks
are merged into single convolutions before the trunk is lowered: the same function in fewer operators.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam3_edge.errors import BackendError, UsageError
from sam3_edge.spec import ModelConfig

SETTINGS: dict[str, Any] = {"model": "repvit_m1_1", "pretrained": ""}
STRIDES = (16, 32)
WIDTH = 256  # of the adapter: at the trunk's 1024 one full 3 x 3 convolution takes more than all of RepViT


class Separable(nn.Module):
    """Residual block on [B, WIDTH, G, G]: places, then channels."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH)
        self.channels = nn.Conv2d(WIDTH, WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.gelu(self.channels(self.places(x)))


class RepVit(nn.Module):
    """image [B, 3, H, H] in [-1, 1] -> trunk feature [B, G * G, C]."""

    def __init__(self, config: ModelConfig, *, model: str, pretrained: str) -> None:
        super().__init__()
        self.grid = config.grid
        self.body = features(model, pretrained)
        widths = dict(zip(self.body.feature_info.reduction(), self.body.feature_info.channels(), strict=True))
        if missing := [stride for stride in STRIDES if stride not in widths]:
            raise UsageError(f"student repvit: {model} has no map of stride {missing[0]}: name another model")
        self.places = [list(widths).index(stride) for stride in STRIDES]
        self.adapters = nn.ModuleList(nn.Conv2d(widths[stride], WIDTH, 1) for stride in STRIDES)
        self.mix = nn.Sequential(Separable(), Separable())
        self.last = nn.Conv2d(WIDTH, config.trunk_dim, 1)

    def forward(self, image: Tensor) -> Tensor:
        maps = self.body(image)
        found = [
            self.to_grid(adapter(maps[place]))
            for adapter, place in zip(self.adapters, self.places, strict=True)
        ]
        x = torch.stack(found).sum(0)
        out: Tensor = self.last(self.mix(x)).flatten(2).transpose(1, 2)
        return out

    def to_grid(self, x: Tensor) -> Tensor:
        """A map [B, C, h, w] on the teacher's grid."""
        if x.shape[-1] == self.grid:
            return x
        return F.interpolate(x, size=(self.grid, self.grid), mode="bilinear", align_corners=False)

    def fold(self) -> None:
        """Merge the branches and the normalisation into the convolutions, in place."""
        from timm.utils.model import reparameterize_model

        self.body = reparameterize_model(self.body)


def features(model: str, pretrained: str) -> Any:
    """timm's backbone; `pretrained` is a file of its weights. Raises `BackendError` without timm."""
    try:
        import timm
    except ImportError as error:
        raise BackendError(f"student repvit needs {error.name}: pip install 'sam3-edge[distill]'") from error
    except RuntimeError as error:  # torchvision's operators, looked up when timm imports it
        raise BackendError(
            f"student repvit: timm does not import ({error}): install the torchvision that fits this torch"
        ) from error
    if not timm.is_model(model):
        raise UsageError(f"student repvit: timm has no model {model!r}; `timm.list_models()` names them")
    options = {"pretrained_cfg_overlay": {"file": pretrained}} if pretrained else {}
    body = timm.create_model(model, pretrained=bool(pretrained), features_only=True, **options)
    for layer in body.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.num_batches_tracked = None  # a count, no weight: nothing reads it
    return body


def build(config: ModelConfig, *, model: str, pretrained: str) -> nn.Module:
    """The trunk."""
    return RepVit(config, model=model, pretrained=pretrained)
