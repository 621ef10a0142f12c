"""What all of SAM 3 needs on a device, by size and scheme: `python -m sam3_edge.benchmarks.tensorrt_fit`.

Every graph is lowered at full size with random weights and measured from its shapes, as `inspect --fit` does
with an export. What the output file has of other sizes is kept: one can be done at a time.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from sam3_edge import console, registry
from sam3_edge.alone import alone
from sam3_edge.engines.fit import Fit, Need
from sam3_edge.spec import ModelConfig, graph_specs
from sam3_edge.writing import write_file

from .machine import facts
from .parity_full import Meter

SIZES = (336, 672, 1008)
SCHEMES = ("fp16", "fp32")
BOARDS = {"8GB": 8e9, "16GB": 16e9, "64GB": 64e9}
SYSTEM = 1_500_000_000  # bytes that a board's system keeps, without a desktop: an estimate
HEAD = ("image px", "scheme", "to build, GB", "to run, GB", *(f"in {board}" for board in BOARDS))


def modules(config: ModelConfig) -> Iterator[tuple[str, Any]]:
    """Every graph's module as it is lowered, one after the other: all at once would take 3.4 GB."""
    tracker = registry.load_module("export", "tracker")
    for name in graph_specs(config):
        if name == "detector_features":
            module = registry.load_module("export", "features").Features(config)
            module.fold()
        elif name in tracker.GRAPHS:
            owner = tracker.Tracker(config)
            owner.fold()
            module = tracker.GRAPHS[name](owner)
        else:
            module = getattr(registry.load_module("export", name), name.capitalize())(config)
        yield name, module


def needs(config: ModelConfig) -> dict[str, Any]:
    """Bytes that every graph needs in each scheme, from shapes, and what it took to tell."""
    target = registry.load("target", "tensorrt")
    footprint = registry.load_module("export", "footprint").footprint
    found: dict[str, dict[str, Any]] = {scheme: {} for scheme in SCHEMES}
    meter = Meter()
    for name, module in modules(config):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / target.lower(module, graph_specs(config)[name], Path(folder), scheme="fp32")
            found["fp32"][name] = footprint(path)
            target.write_rungs(path)
            found["fp16"][name] = footprint(path)
        console.note(f"{config.image_size} px: {name}")
    return {"schemes": {scheme: summed(graphs) for scheme, graphs in found.items()}, **meter.read()}


def summed(graphs: dict[str, dict[str, int]]) -> dict[str, Any]:
    """The needs of a whole bundle, and the boards that it fits."""
    fit = Fit(tuple(Need(graph=name, **sizes) for name, sizes in graphs.items()))
    return {**fit.to_json(), "fits": [name for name, size in BOARDS.items() if fit.most <= size - SYSTEM]}


def report(sizes: dict[str, Any]) -> dict[str, Any]:
    """The document."""
    return {
        "what": "memory of all of SAM 3's graphs with its tracker, four objects at once, from their shapes",
        "machine": facts("torch", "onnx"),
        "board": "the default export's, for 8 GB: others attend more queries at once, and need more",
        "system_bytes": SYSTEM,
        "sizes": sizes,
    }


def rows(document: dict[str, Any]) -> list[tuple[str, ...]]:
    """The lines of the table."""
    made = []
    for size, found in sorted(document["sizes"].items(), key=lambda item: int(item[0])):
        for scheme, need in found["schemes"].items():
            fits = ("yes" if board in need["fits"] else "no" for board in BOARDS)
            made.append((size, scheme, *(f"{need[key] / 1e9:.2f}" for key in ("building", "running")), *fits))
    return made


def markdown(document: dict[str, Any]) -> str:
    """The table as docs/jetson.md has it."""
    lines = [HEAD, ("---",) * len(HEAD), *rows(document)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@click.command()
@click.option("--image-size", "sizes", multiple=True, type=int, default=SIZES, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The JSON, kept up to date.")
def main(sizes: Sequence[int], output: Path) -> None:
    """Compute what SAM 3 needs on a board, and print the table."""
    known = json.loads(output.read_bytes())["sizes"] if output.exists() else {}
    for size in sizes:
        known[str(size)] = alone(needs, replace(ModelConfig(), image_size=size))
        write_file(output, (json.dumps(report(known), indent=1) + "\n").encode(), overwrite=True)
    click.echo(markdown(report(known)))


if __name__ == "__main__":
    main()
