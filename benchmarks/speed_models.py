"""The same random weights as a checkpoint, as `transformers` reads them, and as bundles: made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sam3_edge import console, registry
from sam3_edge.alone import alone
from sam3_edge.spec import ModelConfig
from sam3_edge.staging import seal, staging
from sam3_edge.tokenizer import bundled_merges

from . import speed_theirs
from .parity_full import random_model


@dataclass(frozen=True)
class Flavour:
    """How a bundle is exported: with ONNX Runtime's own operators, with memories pooled by so many cells."""

    fused: bool = True
    pool: int = 1

    def of(self, config: ModelConfig) -> ModelConfig:
        """The model that a bundle of this flavour holds."""
        return replace(config, memory_pool=self.pool)


FLAVOURS = {"plain": Flavour(fused=False), "fused": Flavour(), "pooled": Flavour(pool=2)}
COMPRESSED = {"w8": "fused", "w8-pooled": "pooled"}


@dataclass(frozen=True)
class Place:
    """Where weights and bundles are kept, and what they are of."""

    folder: Path
    config: ModelConfig
    threads: int

    @property
    def name(self) -> str:
        """What tells apart the files of two configs."""
        return f"r{self.config.image_size}-l{self.config.trunk_layers}"

    def checkpoint(self) -> Path:
        """Our weights, written at the first call."""
        return (
            self.made("weights", lambda path: alone(write_weights, self.config, path)) / "model.safetensors"
        )

    def theirs(self) -> Path:
        """Their folder with the same weights."""
        return self.made("theirs", lambda path: alone(write_theirs, self.checkpoint(), path))

    def bundle(self, kind: str) -> Path:
        """Our bundle. Raises `CheckError` if it does not agree with PyTorch."""
        if kind in COMPRESSED:
            return self.made(kind, lambda path: alone(quantize, self.bundle(COMPRESSED[kind]), path))
        return self.made(
            kind, lambda path: alone(export, self.checkpoint(), path, FLAVOURS[kind], self.threads)
        )

    def made(self, kind: str, make: Callable[[Path], object]) -> Path:
        """A folder that is there, or is made now."""
        path = self.folder / f"{kind}-{self.name}"
        if not path.exists():
            console.note(f"making {path}")
            make(path)
        return path


def write_weights(config: ModelConfig, path: Path) -> None:
    """Random weights as a checkpoint, without most of the text encoder, which neither side is timed with."""
    part = path.with_name(path.name + ".part")
    part.mkdir(parents=True, exist_ok=True)
    registry.load_module("export", "checkpoint").save(random_model(config), part / "model.safetensors")
    part.rename(path)


def write_theirs(checkpoint: Path, path: Path) -> None:
    """The same weights as `from_pretrained` reads them."""
    part = path.with_name(path.name + ".part")
    speed_theirs.save(
        registry.load_module("export", "checkpoint").load(checkpoint, tokenizer=bundled_merges()), part
    )
    part.rename(path)


def export(checkpoint: Path, output: Path, flavour: Flavour, threads: int) -> None:
    """A bundle for ONNX Runtime, compared with PyTorch."""
    pipeline = registry.load_module("export", "pipeline")
    job = pipeline.Job(
        output=output,
        target="onnx",
        checkpoint=str(checkpoint),
        tokenizer=bundled_merges(),
        settings={"fused": True} if flavour.fused else {},
        memory_pool=flavour.pool,
        threads=threads,
    )
    pipeline.export(job)


def quantize(bundle: Path, output: Path) -> None:
    """A `w8` bundle of random weights. They have no true objects for the gate of the command `quantize`, so
    nothing is judged here: the answers of a row are.
    """
    pipeline = registry.load_module("quantize", "pipeline")
    job = pipeline.Job(bundle=bundle, scheme="w8", output=output)
    settled = pipeline.settle(job)
    with staging(output, overwrite=False) as folder:
        pipeline.compress_graphs(settled, folder, folder, None, console.note)
        seal(folder, pipeline.write_rest(settled, job.scheme, folder))
