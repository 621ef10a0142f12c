"""Lets Meta's `sam3` package import and run on a CPU, unedited: every change is made from outside."""

from __future__ import annotations

import importlib.util
import sys
import types
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []  # operators vanish with the Library that declared them


class OnCpu(TorchFunctionMode):
    """Sends every constructor that asks for the device "cuda" to the CPU, and pins no memory."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.Tensor.pin_memory:
            return args[0]
        kwargs = dict(kwargs or {})
        if str(kwargs.get("device")).startswith("cuda"):
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


def prepare_imports() -> str:
    """Make `import sam3` work. Returns which RoIAlign will run: "torchvision" or "definition"."""
    # The package decorates autocast("cuda") at import; torch warns that there is none and disables it.
    warnings.filterwarnings("ignore", message="CUDA is not available")
    native = torchvision_operators_load()
    if not native:
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        _declared.append(library)
        for name in ("nms", "qnms"):  # the two that `import torchvision` looks up
            library.define(f"{name}{NMS}")  # type: ignore[no-untyped-call]
    import torchvision

    if not native:
        torchvision.ops.roi_align = roi_align
    if importlib.util.find_spec("triton") is None:  # after torchvision, or torch takes the stand-in for real
        sys.modules.update(stand_in_for_triton())
    return "torchvision" if native else "definition"


def torchvision_operators_load() -> bool:
    """A torchvision built for CUDA has no operators beside a torch built for the CPU."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("torchvision: not installed; run tests/oracles/run.sh")
    library = next(Path(spec.origin).parent.glob("_C*"))
    try:
        torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
    except OSError:
        return False
    return True


def stand_in_for_triton() -> dict[str, types.ModuleType]:
    """`sam3` imports triton for a GPU kernel; only its decorator runs here."""
    triton, language = types.ModuleType("triton"), types.ModuleType("triton.language")
    vars(language)["constexpr"] = int
    vars(triton).update(language=language, jit=lambda function: function)
    return {"triton": triton, "triton.language": language}


def roi_align(features: Tensor, boxes: Sequence[Tensor], output_size: int) -> Tensor:
    """torchvision's operator with its defaults (adaptive sampling, not aligned), from its definition.

    features [B, C, H, W], boxes: per picture [K, 4] xyxy in cells -> [B * K, C, size, size].
    """
    height, width = features.shape[-2:]
    pooled = []
    for picture, own in zip(features, boxes, strict=True):
        for x0, y0, x1, y1 in own:
            rows = bin_weights(y0, y1, cells=height, bins=output_size)
            columns = bin_weights(x0, x1, cells=width, bins=output_size)
            pooled.append(rows @ picture @ columns.T)
    return (
        torch.stack(pooled) if pooled else features.new_zeros(0, features.shape[1], output_size, output_size)
    )


def bin_weights(start: Tensor, end: Tensor, *, cells: int, bins: int) -> Tensor:
    """How much each cell of one axis adds to each bin: [bins, cells]."""
    size = (end - start).clamp(min=1.0)
    samples = int((size / bins).ceil())
    inside_bin = (torch.arange(samples) + 0.5) / samples
    at = start + size / bins * (torch.arange(bins)[:, None] + inside_bin)  # [bins, samples]
    counted = (at >= -1) & (at <= cells)
    distance = (at.clamp(0, cells - 1)[..., None] - torch.arange(cells)).abs()
    return ((1 - distance).clamp(min=0) * counted[..., None]).mean(dim=1)
