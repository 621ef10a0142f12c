"""Training in several processes that share their gradients: one core and its own pictures each."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import spawn


def rank() -> int:
    """Which of the processes this is; the first one saves and prints."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def share_gradients(weights: list[nn.Parameter]) -> None:
    """Replace each process's gradients by the mean of all; a weight that nothing used has gradient 0."""
    if not distributed.is_initialized():
        return
    used = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
    flat = torch.cat([gradient.flatten() for gradient in used])
    distributed.all_reduce(flat)
    parts = (flat / distributed.get_world_size()).split([gradient.numel() for gradient in used])
    for weight, part in zip(weights, parts, strict=True):
        weight.grad = part.view_as(weight)


def together(work: Callable[..., None], *arguments: Any, processes: int) -> None:
    """Call `work` in so many processes, one thread each; in this one if there is only one."""
    if processes == 1:
        work(*arguments)
        return
    with tempfile.TemporaryDirectory() as place:
        spawn(join, (processes, f"{place}/meeting", work, arguments), nprocs=processes)


def join(
    number: int, processes: int, meeting: str, work: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    """What each process runs; `meeting` is the file over which they find each other."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=number, world_size=processes)
    work(*arguments)
    distributed.destroy_process_group()
