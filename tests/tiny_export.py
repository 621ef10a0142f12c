"""A tiny model of our own with random weights that find something, its checkpoint and its bundles."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sam3_edge.export.checkpoint import save
from sam3_edge.export.merges import learn_merges
from sam3_edge.export.model import Sam3
from sam3_edge.export.pipeline import Job, export
from sam3_edge.spec import GraphSpec, ModelConfig
from sam3_edge.tokenizer import FIXED

MERGES = learn_merges(("red", "shape"))
CONFIG = ModelConfig(
    image_size=56,
    window=2,
    pretrain_size=28,
    trunk_dim=32,
    trunk_mlp=64,
    trunk_layers=2,
    trunk_heads=2,
    global_layers=(1,),
    text_vocab=FIXED + len(MERGES.splitlines()) - 1,
    text_dim=32,
    text_mlp=64,
    text_layers=1,
    text_heads=2,
    text_length=8,
    dim=32,
    heads=2,
    mlp=64,
    exemplar_layers=1,
    encoder_layers=1,
    decoder_layers=1,
    queries=6,
    mask_queries=4,
    max_boxes=2,
    memory_layers=2,
    memory_dim=8,
    memory_mlp=64,
    memory_slots=3,
    memory_times=3,
    pointer_slots=4,
    sam_heads=2,
    sam_mlp=64,
    sam_score_dim=32,
)
SEED = 1
Lower = Callable[[nn.Module, GraphSpec, Path], str]
PHRASES = ("red shape", "Blue  star")


def tiny_model() -> Sam3:
    """No weight is 0 or 1. Queries start apart, and some end above the threshold, some below."""
    model = Sam3(CONFIG).initialise(SEED)
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
        model.detector.query.mul_(20)
        model.detector.scorer.query.weight.mul_(4)
        for name, weight in model.detector.presence_head.named_parameters():
            if name == "layers.2.bias":
                weight.add_(3.0)
    return model


def make_checkpoint(folder: Path) -> Path:
    """Weights and merges, as `export` reads them."""
    folder.mkdir(parents=True)
    save(tiny_model(), folder / "model.safetensors")
    (folder / "merges.txt").write_text(MERGES, encoding="utf-8")
    return folder


def make_bundle(folder: Path, checkpoint: Path, **options: Any) -> Path:
    """Export into an empty folder."""
    bundle, _ = export(job(checkpoint, folder, **options))
    return bundle.path


def copying(bundle: Path) -> Lower:
    """A `lower` that takes the graphs of an earlier export of the same model: a second instead of twenty."""

    def lower(module: nn.Module, spec: GraphSpec, folder: Path) -> str:
        shutil.copytree(bundle / "graphs" / spec.name, folder, dirs_exist_ok=True)
        return "model.onnx"

    return lower


def job(checkpoint: Path, output: Path, **options: Any) -> Job:
    """A job as the tests need it: one thread."""
    return replace(Job(output=output, target="onnx", checkpoint=str(checkpoint), threads=1), **options)
