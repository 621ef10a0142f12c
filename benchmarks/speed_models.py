"""The same random weights as a checkpoint, as `transformers` reads them, and as bundles: made once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sam3_edge import console, registry
from sam3_edge.alone import alone
from sam3_edge.errors import CheckError
from sam3_edge.spec import ModelConfig
from sam3_edge.tokenizer import bundled_merges

from . import speed_theirs
from .parity_full import random_model


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
        if kind == "w8":
            return self.made(kind, partial(quantize, self.bundle("fused")))
        return self.made(
            kind, lambda path: alone(export, self.checkpoint(), path, kind == "fused", self.threads)
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


def export(checkpoint: Path, output: Path, fused: bool, threads: int) -> None:
    """A bundle for ONNX Runtime, compared with PyTorch."""
    pipeline = registry.load_module("export", "pipeline")
    job = pipeline.Job(
        output=output,
        target="onnx",
        checkpoint=str(checkpoint),
        tokenizer=bundled_merges(),
        settings={"fused": True} if fused else {},
        threads=threads,
    )
    pipeline.export(job)


def quantize(bundle: Path, output: Path) -> None:
    """A `w8` bundle by the command of that name, with its gate."""
    command = [
        sys.executable,
        "-m",
        "sam3_edge",
        "quantize",
        str(bundle),
        "--scheme",
        "w8",
        "-o",
        str(output),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CheckError(f"no w8 bundle of {bundle}: {' '.join(done.stderr.split())[-400:]}")
