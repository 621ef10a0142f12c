"""Core ML packages of a full-size model with random weights: that every graph converts, sizes, time, memory.

Each size has a process of its own. The backbone of the smallest size is also evaluated and compared.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from sam3_edge import console, registry
from sam3_edge.alone import alone
from sam3_edge.errors import EdgeError
from sam3_edge.picture import prepare
from sam3_edge.shapes.scenes import draw_scene
from sam3_edge.spec import GraphSpec, ModelConfig, graph_specs
from sam3_edge.writing import write_file

from .machine import facts
from .parity_full import RSS_UNIT, SEED, random_model

SIZES = (336, 1008)
PEAK_GB = 12.0
LARGEST_COMPARED = 336


@dataclass(frozen=True)
class Record:
    """Where the results go, and the sizes before: written after each graph, as the next takes minutes."""

    path: Path | None
    before: tuple[dict[str, Any], ...] = ()

    def keep(self, size: dict[str, Any], *, finished: bool) -> dict[str, Any]:
        """Write all so far. Half a model is no pass."""
        document = report((*self.before, size), finished=finished)
        if self.path is not None:
            write_file(self.path, (json.dumps(document, indent=1) + "\n").encode(), overwrite=True)
        return document


def convert(config: ModelConfig, folder: Path, record: Record) -> dict[str, Any]:
    """Every graph of one size, one after the other; the peak is of all so far."""
    start, model = time.perf_counter(), random_model(config)
    compared: dict[str, Any] = {}
    graphs: dict[str, Any] = {}
    found: dict[str, Any] = {
        "image_size": config.image_size,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "graphs": graphs,
    }
    if config.image_size <= LARGEST_COMPARED:
        compared["wanted"] = trunk_feature(model, picture(config))
    registry.load_module("export", "model").fold(model)
    for name, spec in graph_specs(config).items():
        package, graphs[name] = convert_graph(model, spec, folder)
        if name == "backbone" and compared:
            graphs[name] |= compare_backbone(package, picture(config), compared.pop("wanted"))
        shutil.rmtree(folder / name)
        found |= {"seconds": round(time.perf_counter() - start, 1), **taken()}
        record.keep(found, finished=False)
    return found


def taken() -> dict[str, float]:
    """What this process has taken so far."""
    return {"processor_seconds": round(processor_seconds(), 1), "peak_gb": peak_gb()}


def picture(config: ModelConfig) -> Any:
    return prepare(draw_scene(np.random.default_rng(SEED), size=224).picture, config.image_size)


def trunk_feature(model: Any, image: Any) -> Any:
    """What PyTorch says."""
    import torch

    with torch.inference_mode():
        return model.backbone(torch.from_numpy(image))


def convert_graph(model: Any, spec: GraphSpec, folder: Path) -> tuple[Path, dict[str, Any]]:
    """One package, and what it took."""
    place = folder / spec.name
    place.mkdir()
    start, used, target = time.perf_counter(), processor_seconds(), registry.load("target", "coreml")
    package = place / target.lower(model.graph(spec.name), spec, place)
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    console.note(f"{spec.name}: {size / 1e6:.0f} MB")
    spent = {
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(processor_seconds() - used, 1),
        "peak_gb": peak_gb(),
    }
    functions = registry.load_module("export", "coreml_report").survey(place)
    return package, {"megabytes": round(size / 1e6, 1), **spent, "functions": functions}


def compare_backbone(package: Path, image: Any, wanted: Any) -> dict[str, Any]:
    """The evaluated package against PyTorch, in both kinds of arithmetic."""
    import torch

    function = registry.load_module("export", "mil_program").read_program(package).function()
    evaluator = registry.load_module("export", "mil_evaluate").Evaluator
    relative = {}
    for name, rounded in (("fp32_arithmetic", False), ("rounded", True)):
        with torch.inference_mode():
            got = evaluator.of(function, rounded=rounded).run({"image": torch.from_numpy(image)})
        difference = got["trunk_feature"] - wanted
        relative[name] = float(f"{float(difference.norm() / wanted.norm()):.3g}")
    return {"relative": relative}


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_gb() -> float:
    """The memory peak of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT / 1e9, 2)


def measure(config: ModelConfig, folder: Path, record: Record) -> dict[str, Any]:
    """One size, in `folder`, where nothing stays."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        found: dict[str, Any] = alone(convert, config, Path(scratch), record)
    return found


def problems(found: dict[str, Any]) -> list[str]:
    """What misses the limits, in words."""
    gate = registry.load("target", "coreml").GATES["fp16"]
    limits = {"fp32_arithmetic": gate.exact, "rounded": gate.relative}
    bad = [
        f"{name} differs by {error:.2e} ({how}), want at most {limits[how]:.0e}"
        for name, graph in found["graphs"].items()
        for how, error in graph.get("relative", {}).items()
        if not error <= limits[how]  # NaN fails as well
    ]
    if found["peak_gb"] > PEAK_GB:
        bad.append(f"the peak is {found['peak_gb']} GB, want at most {PEAK_GB:g} GB")
    return bad


def report(sizes: Sequence[dict[str, Any]], *, finished: bool = True) -> dict[str, Any]:
    """All sizes so far, and the verdict."""
    judged = [{**size, "failures": problems(size)} for size in sizes]
    passed = "pass" if finished else "not finished"
    return {
        "what": "Core ML packages of random weights, fp16, iOS 18; nothing of it ran on an Apple device",
        "machine": facts("torch", "coremltools", "numpy"),
        "limits": {"peak_gb": PEAK_GB},
        "verdict": "fail" if any(size["failures"] for size in judged) else passed,
        "sizes": judged,
    }


def show(document: dict[str, Any]) -> None:
    """The tables for people."""
    for size in document["sizes"]:
        rows = [
            (name, f"{g['megabytes']:.1f}", f"{g['seconds']:.0f}", f"{g['processor_seconds']:.0f}")
            for name, g in size["graphs"].items()
        ]
        title = (
            f"{size['image_size']} px, {size['parameters'] / 1e6:.0f} M parameters: peak {size['peak_gb']} GB"
        )
        console.table(title, ("graph", "MB", "seconds", "processor seconds"), rows)
        surveyed = {name: graph["functions"] for name, graph in size["graphs"].items()}
        console.table(*registry.load_module("export", "coreml_report").table(surveyed))
        for failure in size["failures"]:
            console.note(f"{size['image_size']} px: {failure}")


@click.command()
@click.option("--image-size", "sizes", type=int, multiple=True, default=SIZES, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="The JSON. Default: print it.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="For 2 GB of scratch files.")
def main(sizes: tuple[int, ...], output: Path | None, folder: Path | None) -> None:
    """Convert SAM 3 at full size with random weights to Core ML, and measure sizes, time and memory."""
    measured: list[dict[str, Any]] = []
    try:
        for size in sizes:
            config, record = replace(ModelConfig(), image_size=size), Record(output, tuple(measured))
            measured.append(measure(config, folder or Path(tempfile.gettempdir()), record))
    except EdgeError as error:
        console.note(str(error))
        sys.exit(error.exit_code)
    *before, last = measured
    document = Record(output, tuple(before)).keep(last, finished=True)
    show(document)
    if output is None:
        console.emit(document)
    sys.exit(document["verdict"] != "pass")


if __name__ == "__main__":
    main()
