"""What a distillation costs: operations of both trunks, and how long the steps will take."""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sam3_edge.spec import ModelConfig

from .distillation import Distillation
from .distillation_recipe import Recipe

TIMED = 3  # steps


def multiplications(trunk: nn.Module, config: ModelConfig) -> int:
    """Multiply-adds of a trunk on one picture, counted on shapes alone."""
    size = config.image_size
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        trunk.to("meta")(torch.zeros(1, 3, size, size, device="meta"))
    return int(counter.get_total_flops()) // 2


def estimate(recipe: Recipe) -> dict[str, Any]:
    """Sizes of teacher and student, and the hours that the passes take at the pace of a few steps here."""
    run = Distillation(replace(recipe, processes=1))
    teacher, student = run.teacher, run.student
    trunks = {name: copy.deepcopy(m.backbone) for name, m in (("teacher", teacher), ("student", student))}
    parameters = {name: sum(w.numel() for w in trunk.parameters()) for name, trunk in trunks.items()}
    counts = {
        name: multiplications(trunk, (teacher if name == "teacher" else student).config)
        for name, trunk in trunks.items()
    }
    passes: list[dict[str, Any]] = []
    for run.place, it in enumerate(recipe.passes):
        start = time.perf_counter()
        for _ in range(TIMED):
            run.step = 0
            run.update(it)
        seconds = (time.perf_counter() - start) / TIMED
        passes.append({"pass": it.kind, "steps": it.steps, "seconds_per_step": round(seconds, 3)})
    hours = sum(row["steps"] * row["seconds_per_step"] for row in passes) / 3600
    return {
        "folder": recipe.folder,
        "device": recipe.device,
        "trunk_parameters": parameters,
        "trunk_multiplications": counts,
        "share_of_the_teacher": round(counts["student"] / counts["teacher"], 4),
        "passes": passes,
        "hours_in_one_process": round(hours, 3),
    }
