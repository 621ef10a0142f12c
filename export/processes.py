"""Training in several processes that share their gradients: one core or GPU and its own pictures each."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import spawn

from sam3_edge.errors import UsageError

LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets


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


def launched() -> int:
    """How many processes `torchrun` (or `accelerate launch`) started, this one among them; 0 if none did."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in LAUNCHED) else 0


def speaks() -> bool:
    """Whether this process tells people what came out: of a launcher's only the first does."""
    return not launched() or os.environ["RANK"] == "0"


def own_device(device: str) -> str:
    """The device of this process: of several GPUs of a machine each process has its own."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and launched() else device


def everywhere(sums: Tensor) -> Tensor:
    """The sum over all processes."""
    total = sums.clone()
    if distributed.is_initialized():
        distributed.all_reduce(total)
    return total


def together(work: Callable[..., None], *arguments: Any, processes: int, device: str = "cpu") -> None:
    """Call `work` in so many processes, one thread each; in this one if there is only one.

    Where a launcher has started them all, on one machine or several, they find each other as it says. Raises
    `UsageError` if it started another number.
    """
    if count := launched():
        if count != processes:
            raise UsageError(
                f"{count} processes were launched; the recipe wants {processes}: set `processes`"
            )
        run_launched(work, arguments, device)
        return
    if processes == 1:
        work(*arguments)
        return
    with tempfile.TemporaryDirectory() as place:
        spawn(join, (processes, f"{place}/meeting", work, arguments), nprocs=processes)


def run_launched(work: Callable[..., None], arguments: tuple[Any, ...], device: str) -> None:
    """What each process of a launcher runs; GPUs talk through NCCL."""
    on_gpu = device == "cuda"
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    else:
        torch.set_num_threads(1)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    try:
        work(*arguments)
        distributed.barrier()  # what the first one writes at the end is there when the others go on
    finally:
        distributed.destroy_process_group()


def join(
    number: int, processes: int, meeting: str, work: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    """What each process runs; `meeting` is the file over which they find each other."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=number, world_size=processes)
    work(*arguments)
    distributed.destroy_process_group()
