"""A picture as the trunk's input: RGB of 0 to 255, as a camera gives it, with the normalisation inside."""

from __future__ import annotations

from torch import Tensor, nn

from sam3_edge.spec import TensorSpec

from .coreml_tools import coremltools

IMAGE = "image"
MIDDLE = 127.5  # 0 to 255 becomes -1 to 1


class FromPixels(nn.Module):
    """A module that takes [B, 3, H, W] in [-1, 1], given 0 to 255.

    The difference comes first: it is exact in half precision, where x / 127.5 - 1 loses half of the bits of
    what is near the middle.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, image: Tensor) -> Tensor:
        seen: Tensor = self.module((image - MIDDLE) / MIDDLE)
        return seen


def picture_edge(tensor: TensorSpec) -> coremltools.ImageType:
    """An input that takes a pixel buffer of the model's size."""
    return coremltools.ImageType(
        name=tensor.name, shape=tensor.sized(), color_layout=coremltools.colorlayout.RGB
    )
