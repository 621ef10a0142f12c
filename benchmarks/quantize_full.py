"""The trunk of a full-size model with random weights in every scheme: sizes, speed and memory.

Random weights have no outliers, so what a scheme does to accuracy is not measured here. Each step has a
process of its own. What is done stays in the folder, and the JSON is written after each step: a stopped run
goes on where it was.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from sam3_edge import console, registry
from sam3_edge.alone import alone
from sam3_edge.picture import prepare
from sam3_edge.shapes.scenes import draw_scene
from sam3_edge.spec import ModelConfig, graph_specs

from .document import errors_told, write_document
from .machine import facts
from .paired import compare
from .parity_full import SEED, Meter, random_model

GRAPH = "backbone"
ONNX = ("w8", "w4", "w8a8")
COREML = ("linear4", "palette4")
PEAK_GB = 14.0
MIB = 2**20
MOST_MIB = {"w8": 500, "w4": 360, "linear4": 260, "palette4": 260}
LEAST_SPEED = {"w8": 1.5, "w8a8": 1.0}  # processor seconds of fp32 over those of the scheme
SHOWN = 2  # pictures of calibration
THREADS = 2


def pictures(config: ModelConfig, count: int) -> list[Any]:
    """Generated pictures [1, 3, H, H] as the trunk takes them."""
    drawn = (draw_scene(np.random.default_rng((SEED, number)), size=224) for number in range(count))
    return [prepare(scene.picture, config.image_size) for scene in drawn]


def lower(config: ModelConfig, target: str, place: Path) -> dict[str, Any]:
    """The uncompressed trunk of a target, in `place`."""
    meter, model = Meter(), random_model(config)
    registry.load_module("export", "model").fold(model)
    place.mkdir(parents=True)
    spec = graph_specs(config)[GRAPH]
    file = registry.load("target", target).lower(model.graph(GRAPH), spec, place)
    return {"file": file, "mib": size_of(place), **meter.read()}


def shrink(config: ModelConfig, scheme: str, file: str, place: Path) -> dict[str, Any]:
    """Compress the trunk in `place`, in place."""
    meter, module = Meter(), registry.load("scheme", scheme)
    rows = module.ROWS(config) if callable(module.ROWS) else module.ROWS
    keep = registry.load_module("quantize", "keep").Keep(tuple(rows))
    calibrated = getattr(module, "CALIBRATED", False)
    feeds = [{"image": picture} for picture in pictures(config, SHOWN)] if calibrated else []
    tally = module.compress(place / file, keep=keep, feeds=feeds)
    return {"mib": size_of(place), **tally.to_json(), **meter.read()}


def size_of(place: Path) -> float:
    """MiB of all files of a folder."""
    return round(sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) / MIB, 1)


def race(config: ModelConfig, before: Path, after: Path, pairs: int) -> dict[str, Any]:
    """fp32 and compressed in turns, on two threads, and how far the compressed feature is."""
    start = registry.load("runtime", "onnx").start
    meter, feeds = Meter(), {"image": pictures(config, 1)[0]}
    sessions = [start(str(path), name=GRAPH, threads=THREADS) for path in (before, after)]
    answers = [session.run(None, feeds)[0] for session in sessions]  # also the untimed run
    a, b = (partial(session.run, None, feeds) for session in sessions)
    found = compare(a, b, pairs=pairs, warmups=0).to_json()
    far = float(np.linalg.norm(answers[1] - answers[0]) / np.linalg.norm(answers[0]))
    kept = {name: found[name] for name in ("pairs", "a", "b", "ratio", "runs", "roofline")}
    return {**kept, "relative_error": float(f"{far:.3g}"), **meter.read()}


class Run:
    """Steps of one size in a folder; each is written down as it ends, and not done again."""

    def __init__(self, config: ModelConfig, folder: Path, output: Path | None, pairs: int) -> None:
        self.config, self.folder, self.output, self.pairs = config, folder, output, pairs
        self.notes = folder / "steps.json"
        self.steps: dict[str, Any] = json.loads(self.notes.read_bytes()) if self.notes.exists() else {}

    def step(self, name: str, action: Any, *arguments: Any) -> Any:
        """One step in a process of its own, or what it gave before."""
        if name not in self.steps:
            console.note(name)
            self.steps[name] = alone(action, self.config, *arguments)
            write_document(self.notes, self.steps)
            if self.output is not None:
                write_document(self.output, document(self.config, self.steps))
        return self.steps[name]

    def base(self, target: str) -> tuple[Path, str]:
        """The uncompressed trunk: its folder, which is named as a bundle names it, and file."""
        place = self.folder / target / GRAPH
        if f"{target}: export" not in self.steps:
            shutil.rmtree(place, ignore_errors=True)
        return place, self.step(f"{target}: export", lower, target, place)["file"]

    def scheme(self, target: str, scheme: str) -> None:
        """One scheme: size, and speed where this machine runs what the device runs."""
        base, file = self.base(target)
        place = self.folder / scheme / GRAPH
        if f"{scheme}: compress" not in self.steps:
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(base, place)
        self.step(f"{scheme}: compress", shrink, scheme, file, place)
        if target == "onnx":
            self.step(f"{scheme}: race", race, base / file, place / file, self.pairs)
        shutil.rmtree(place.parent, ignore_errors=True)


def problems(steps: dict[str, Any]) -> list[str]:
    """What misses the limits, in words."""
    bad = [
        f"{name}: the peak is {step['peak_gb']} GB, want at most {PEAK_GB:g} GB"
        for name, step in steps.items()
        if step["peak_gb"] > PEAK_GB
    ]
    for scheme, most in MOST_MIB.items():
        step = steps.get(f"{scheme}: compress")
        if step is not None and step["mib"] > most:
            bad.append(f"{scheme}: {step['mib']} MiB, want at most {most}")
    for scheme, least in LEAST_SPEED.items():
        step = steps.get(f"{scheme}: race")
        if step is not None and not step["ratio"]["processor"]["median"] >= least:
            bad.append(f"{scheme}: {step['ratio']['processor']['median']:.2f} times fp32, want {least:g}")
    return bad


def document(config: ModelConfig, steps: dict[str, Any]) -> dict[str, Any]:
    """All steps so far, and the verdict."""
    wanted = {f"{scheme}: race" for scheme in ONNX} | {f"{scheme}: compress" for scheme in COREML}
    failures, finished = problems(steps), wanted <= set(steps)
    passed = "pass" if finished else "not finished"
    return {
        "what": f"{GRAPH}, random weights: sizes, speed and memory, no accuracy; Core ML did not run",
        "machine": facts("torch", "onnxruntime", "nncf", "coremltools", "numpy"),
        "image_size": config.image_size,
        "limits": {"mib": MOST_MIB, "speed": LEAST_SPEED, "peak_gb": PEAK_GB},
        "verdict": "fail" if failures else passed,
        "failures": failures,
        "steps": steps,
    }


def show(found: dict[str, Any]) -> None:
    """The table for people."""
    rows = []
    for name, step in found["steps"].items():
        ratio = f"{step['ratio']['processor']['median']:.2f}" if "ratio" in step else "-"
        size = f"{step['mib']:.0f}" if "mib" in step else "-"
        rows.append((name, size, ratio, f"{step['peak_gb']}", f"{step['processor_seconds']:.0f}"))
    columns = ("step", "MiB", "times fp32", "peak GB", "processor seconds")
    console.table(f"{GRAPH}, {found['image_size']} px: {found['verdict']}", columns, rows, out=True)
    for failure in found["failures"]:
        console.note(failure)


@click.command()
@click.option("--image-size", type=int, default=1008, show_default=True)
@click.option("--pairs", type=click.IntRange(2), default=4, show_default=True)
@click.option("--scheme", "schemes", multiple=True, default=(*ONNX, *COREML), show_default=True)
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Scratch files, 8 GB; kept.")
@click.option("--output", type=click.Path(path_type=Path), help="The JSON. Default: print it.")
def main(
    image_size: int, pairs: int, schemes: tuple[str, ...], folder: Path | None, output: Path | None
) -> None:
    """Compress the trunk of SAM 3 at full size with random weights; exit 1 if a limit is missed."""
    config = replace(ModelConfig(), image_size=image_size)
    with errors_told(), tempfile.TemporaryDirectory() as scratch:
        place = folder or Path(scratch)
        place.mkdir(parents=True, exist_ok=True)
        run = Run(config, place, output, pairs)
        for scheme in schemes:
            run.scheme("coreml" if scheme in COREML else "onnx", scheme)
        found = document(config, run.steps)
        if output is not None:
            write_document(output, found)
    show(found)
    if output is None:
        console.emit(found)
    sys.exit(found["verdict"] == "fail")


if __name__ == "__main__":
    main()
