"""MIL operators with weights, norms, attention and resizing."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .mil_operators import flag, ints, number, operator, want


@operator("linear")
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(x, weight, bias)


@operator("matmul")
def matmul(
    x: Tensor, y: Tensor, transpose_x: Tensor | None = None, transpose_y: Tensor | None = None
) -> Tensor:
    return (x.mT if flag(transpose_x) else x) @ (y.mT if flag(transpose_y) else y)


@operator("conv")
def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Tensor | None = None,
    pad_type: str = "valid",
    pad: Tensor | None = None,
    dilations: Tensor | None = None,
    groups: Tensor | None = None,
) -> Tensor:
    """In two dimensions; `pad` is top, bottom, left, right."""
    want(x.ndim == 4, "conv", f"rank {x.ndim}")
    want(pad_type in ("valid", "custom"), "conv", f"pad_type {pad_type}")
    if pad_type == "custom" and pad is not None:
        top, bottom, left, right = ints(pad)
        x = F.pad(x, (left, right, top, bottom))
    step = [1, 1] if strides is None else ints(strides)
    dilation = [1, 1] if dilations is None else ints(dilations)
    return F.conv2d(x, weight, bias, step, 0, dilation, int(number(groups, 1)))


@operator("conv_transpose")
def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    pad: Tensor | None = None,
    output_shape: Tensor | None = None,
    pad_type: str = "valid",
    strides: Tensor | None = None,
    dilations: Tensor | None = None,
    groups: Tensor | None = None,
) -> Tensor:
    """In two dimensions, without padding; `output_shape` says again what follows from the rest."""
    want(x.ndim == 4, "conv_transpose", f"rank {x.ndim}")
    want(pad_type in ("valid", "custom") and (pad is None or not any(ints(pad))), "conv_transpose", "padding")
    step = [1, 1] if strides is None else ints(strides)
    dilation = [1, 1] if dilations is None else ints(dilations)
    made = F.conv_transpose2d(x, weight, bias, step, 0, 0, int(number(groups, 1)), dilation)
    want(output_shape is None or ints(output_shape) == list(made.shape), "conv_transpose", "output_shape")
    return made


@operator("layer_norm")
def layer_norm(
    x: Tensor,
    axes: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: Tensor | None = None,
) -> Tensor:
    """Over the last axes, or over the channels of [B, C, H, W] alone."""
    along = sorted(axis % x.ndim for axis in ints(axes))
    if along == [1] and x.ndim > 2:
        normed = F.layer_norm(x.movedim(1, -1), [x.shape[1]], gamma, beta, number(epsilon, 1e-5))
        return normed.movedim(-1, 1)
    want(along == list(range(along[0], x.ndim)), "layer_norm", f"axes {along} of {x.ndim}")
    return F.layer_norm(x, [x.shape[axis] for axis in along], gamma, beta, number(epsilon, 1e-5))


@operator("batch_norm")
def batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: Tensor | None = None,
) -> Tensor:
    return F.batch_norm(x, mean, variance, gamma, beta, False, 0.0, number(epsilon, 1e-5))


@operator("scaled_dot_product_attention")
def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None
) -> Tensor:
    """Logits are scaled by the root of the head's width, then the mask is added or, if boolean, obeyed."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask=attn_mask)


@operator("upsample_nearest_neighbor")
def upsample_nearest_neighbor(
    x: Tensor, scale_factor_height: Tensor | None = None, scale_factor_width: Tensor | None = None
) -> Tensor:
    scale = [number(scale_factor_height, 1), number(scale_factor_width, 1)]
    whole = all(factor == int(factor) for factor in scale)
    want(whole, "upsample_nearest_neighbor", "a factor that is no integer")
    return F.interpolate(x, scale_factor=scale, mode="nearest")


@operator("upsample_bilinear")
def upsample_bilinear(
    x: Tensor,
    scale_factor_height: Tensor | None = None,
    scale_factor_width: Tensor | None = None,
    align_corners: Tensor | None = None,
    half_pixel_centers: Tensor | None = None,
) -> Tensor:
    """To the size that the factors reach, rounded down."""
    corners = flag(align_corners)
    usual = half_pixel_centers is None or flag(half_pixel_centers) != corners
    want(usual, "upsample_bilinear", "half_pixel_centers")
    factors = number(scale_factor_height, 1), number(scale_factor_width, 1)
    size = [int(length * factor) for length, factor in zip(x.shape[2:], factors, strict=True)]
    return F.interpolate(x, size=size, mode="bilinear", align_corners=corners)
