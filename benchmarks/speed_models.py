"""The same random weights as a checkpoint, as `transformers` reads them, and as bundles: made once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from sam3_edge import console, registry
from sam3_edge.alone import alone
from sam3_edge.bundle import Bundle
from sam3_edge.errors import CheckError
from sam3_edge.manifest import Manifest
from sam3_edge.spec import GraphSpec, ModelConfig, graph_specs
from sam3_edge.staging import seal, staging
from sam3_edge.tokenizer import bundled_merges

from . import speed_theirs
from .parity_full import random_model
from .speed_ours import SEED

POOL = 2  # cells along a side that share a token of a memory
COMPRESSED = {"w8": "fused", "w8-pooled": "pooled"}
RELATIVE = 1e-4  # of a graph that is lowered anew, from PyTorch


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
        if kind == "pooled":
            return self.made(kind, lambda path: alone(pool, self.checkpoint(), self.bundle("fused"), path))
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


def pool(checkpoint: Path, fused: Path, output: Path) -> None:
    """The fused bundle with pooled memories. Graphs that see memories are lowered anew, and compared with
    PyTorch: at 1008 px a whole export compares for 25 processor minutes. Raises `CheckError` if one differs.
    """
    bundle = Bundle.open(fused)
    found = registry.load_module("export", "checkpoint").load(
        checkpoint, tokenizer=bundled_merges(), memory_pool=POOL
    )
    registry.load_module("export", "model").fold(found.model)
    specs = graph_specs(found.config)
    with staging(output) as folder:
        shutil.copytree(fused, folder, dirs_exist_ok=True)
        graphs = dict(bundle.graphs)
        for name in (name for name in graphs if specs[name] != bundle.specs[name]):
            place = folder / "graphs" / name
            shutil.rmtree(place)
            place.mkdir()
            module = found.model.graph(name)
            file = registry.load("target", "onnx").lower(module, specs[name], place, fused=True)
            graphs[name] = replace(graphs[name], path=f"graphs/{name}/{file}")
            check(module, specs[name], place / file)
        made = {one.name: getattr(bundle, one.name) for one in fields(Manifest)}
        seal(folder, Manifest(**{**made, "config": found.config, "graphs": graphs, "report": {}}))


def check(module: Any, spec: GraphSpec, file: Path) -> None:
    """Raises `CheckError` if a graph answers noise, of two objects, unlike its module."""
    import torch

    rng = np.random.default_rng(SEED)
    feeds = {t.name: rng.standard_normal(t.sized(2)).astype(t.dtype) for t in spec.inputs}
    if "hard" in feeds:  # masks cut at 0: noise is near it, and rounding decides
        feeds["hard"][:] = 0
    session = registry.load_module("runtimes", "on_onnx").start(str(file), name=spec.name, threads=1)
    got = session.run([t.name for t in spec.outputs], feeds)
    with torch.inference_mode():
        want = module(*(torch.from_numpy(feeds[t.name]) for t in spec.inputs))
    for tensor, a, b in zip(spec.outputs, got, want if isinstance(want, tuple) else (want,), strict=True):
        far = float(np.linalg.norm(a - b.numpy()) / np.linalg.norm(b.numpy()))
        if not far <= RELATIVE:
            raise CheckError(f"graph {spec.name}: {tensor.name} differs from PyTorch by {far:.1e}")


def quantize(bundle: Path, output: Path) -> None:
    """A `w8` bundle of random weights. They have no true objects for the gate of the command `quantize`, so
    nothing is judged here: the answers of a row are.
    """
    pipeline = registry.load_module("quantize", "pipeline")
    job = pipeline.Job(bundle=bundle, scheme="w8", output=output)
    settled = pipeline.settle(job)
    with staging(output) as folder:
        pipeline.compress_graphs(settled, folder, folder, None, console.note)
        seal(folder, pipeline.write_rest(settled, job.scheme, folder))
