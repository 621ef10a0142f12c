"""The large graphs at full size, built without a GPU: `python -m sam3_edge.benchmarks.tensorrt_full`.

Random weights: what is shown is that TensorRT's parser and builder take the graphs, at which sizes, and how
much memory they need; not how fast they are, and not that TensorRT's kernels are right.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from sam3_edge import console, registry
from sam3_edge.alone import alone
from sam3_edge.errors import EdgeError
from sam3_edge.spec import ModelConfig, graph_specs
from sam3_edge.writing import write_file

from .machine import facts
from .parity_full import SEED, Meter

GRAPHS = ("backbone", "detector")


def lower(config: ModelConfig, graph: str, folder: Path) -> dict[str, Any]:
    """Write one graph with its rungs, of random weights; what that took, and what the graph will need."""
    import torch

    torch.manual_seed(SEED)
    meter = Meter()
    module = getattr(registry.load_module("export", graph), graph.capitalize())(config)
    target = registry.load("target", "tensorrt")
    file = target.lower(module, graph_specs(config)[graph], folder)
    parameters = sum(weight.numel() for weight in module.parameters())
    memory = registry.load_module("export", "footprint").footprint(folder / file)
    return {"graph": graph, "parameters": parameters, "memory": memory, "lowering": meter.read()}


def build(folder: Path) -> dict[str, Any]:
    """Parse every rung and build the first; the builder's words if it refuses."""
    check = registry.load_module("export", "tensorrt_check")
    floor = registry.load_module("export", "tensorrt_floor")
    files = sorted(folder.glob("*.onnx"), key=lambda path: path.name != "model.onnx")
    try:
        (built,) = check.check(files[:1], build=True)
        parsed = check.check(files[1:], build=False)
    except EdgeError as error:
        return {"failures": [str(error)]}
    above = [f"{file.name}: {fact}" for file in files for fact in floor.above_floor(file)]
    return {"built": built, "parsed": parsed, "failures": above}


def measure(config: ModelConfig, graph: str, scratch: Path) -> dict[str, Any]:
    """One graph, start to end, in a folder where nothing stays."""
    with tempfile.TemporaryDirectory(dir=scratch) as place:
        folder = Path(place) / graph
        folder.mkdir()
        return {**alone(lower, config, graph, folder), **build(folder)}


def report(graphs: Sequence[str], size: int, scratch: Path) -> dict[str, Any]:
    """All graphs, one at a time, and the verdict."""
    config = replace(ModelConfig(), image_size=size)
    rows = [measure(config, graph, scratch) for graph in graphs]
    return {
        "what": "typed graphs of random weights, built by TensorRT for RTX on the processor",
        "image_size": size,
        "machine": facts("torch", "onnx", "tensorrt-rtx"),
        "verdict": "fail" if any(row["failures"] for row in rows) else "pass",
        "graphs": rows,
    }


def show(document: dict[str, Any]) -> None:
    """The table for people."""
    rows = []
    for row in document["graphs"]:
        built, memory = row.get("built", {}), row["memory"]
        sizes = (memory["weights"], memory["activations"], built.get("engine_bytes", 0))
        megabytes = (f"{size / 1e6:.0f}" for size in sizes)
        layers, seconds = str(built.get("layers", "-")), str(built.get("build_seconds", "-"))
        rows.append((row["graph"], layers, seconds, *megabytes))
        for failure in row["failures"]:
            console.note(f"{row['graph']}: {failure}")
    columns = ("graph", "layers", "seconds to build", "weights MB", "activations MB", "engine MB")
    console.table(f"{document['image_size']} px, {document['verdict']}", columns, rows)


@click.command()
@click.option("--graph", "graphs", multiple=True, type=click.Choice(GRAPHS), default=GRAPHS)
@click.option("--image-size", type=int, default=1008, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="The JSON. Default: print it.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="For 4 GB of scratch files.")
def main(graphs: tuple[str, ...], image_size: int, output: Path | None, folder: Path | None) -> None:
    """Type and build SAM 3's large graphs at full size."""
    document = report(graphs, image_size, folder or Path(tempfile.gettempdir()))
    if output is not None:
        write_file(output, (json.dumps(document, indent=1) + "\n").encode(), overwrite=True)
    else:
        console.emit(document)
    show(document)
    sys.exit(document["verdict"] != "pass")


if __name__ == "__main__":
    main()
