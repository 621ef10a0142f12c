"""Our modules in PyTorch on a GPU, eager and compiled, beside `transformers`' own SAM 3.

Where a GPU is at hand: `python -m sam3_edge.benchmarks.gpu_latency --output FILE`.
Random weights of the full size, fp16 by autocast, one picture. Both are asked for the same: the trunk and the
three levels of features that the detector reads.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from sam3_edge import console, registry
from sam3_edge.errors import BackendError, EdgeError
from sam3_edge.spec import ModelConfig, graph_specs
from sam3_edge.verbs.options import COUNT
from sam3_edge.writing import write_file

from .machine import facts

GRAPHS = ("backbone", "detector_features", "exemplar", "detector", "masks")  # what a frame runs through
WARM = 3
SEED = 3


def ours(config: ModelConfig, device: str, *, compiled: bool) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each graph of a frame, and the first two together, ready to be called."""
    import torch

    model = registry.load_module("export", "model").Sam3(config).initialise(SEED).eval().to(device)
    specs = graph_specs(config)

    def ready(graph: str) -> tuple[Any, list[Any]]:
        module = model.graph(graph)
        inputs = [
            torch.zeros(t.sized(), dtype=getattr(torch, t.dtype), device=device) for t in specs[graph].inputs
        ]
        return (torch.compile(module) if compiled else module), inputs

    (trunk, image), (levels, _) = ready("backbone"), ready("detector_features")
    yield "backbone and detector_features", lambda: levels(trunk(*image))
    for graph in GRAPHS:
        module, inputs = ready(graph)
        yield graph, partial(module, *inputs)


def theirs(config: ModelConfig, device: str, *, compiled: bool) -> Iterator[tuple[str, Callable[[], object]]]:
    """`transformers`' vision encoder: trunk and features."""
    import torch
    from transformers import Sam3VisionConfig, Sam3VisionModel

    side = config.grid
    c, side = config, config.grid
    trunk = {
        "model_type": "sam3_vit_model",
        "hidden_size": c.trunk_dim,
        "intermediate_size": c.trunk_mlp,
        "num_hidden_layers": c.trunk_layers,
        "num_attention_heads": c.trunk_heads,
        "image_size": c.image_size,
        "patch_size": c.patch_size,
        "window_size": c.window,
        "global_attn_indexes": list(c.global_layers),
        "pretrain_image_size": c.pretrain_size,
    }
    sizes = [[n * side] * 2 for n in (4, 2, 1)]
    settings = Sam3VisionConfig(backbone_config=trunk, fpn_hidden_size=c.dim, backbone_feature_sizes=sizes)
    model = Sam3VisionModel(settings).eval().to(device)
    image = torch.zeros(1, 3, config.image_size, config.image_size, device=device)
    module = torch.compile(model) if compiled else model
    yield "backbone and detector_features", lambda: module(image)


def measure(call: Callable[[], object], device: str, repeats: int) -> dict[str, float]:
    """Milliseconds of a call: median, and the 90th percentile."""
    import torch

    def wait() -> None:
        if device != "cpu":
            torch.cuda.synchronize()

    times = []
    with torch.inference_mode(), torch.autocast(device, torch.float16, enabled=device != "cpu"):
        for i in range(WARM + repeats):
            wait()
            start = time.perf_counter()
            call()
            wait()
            if i >= WARM:
                times.append(1e3 * (time.perf_counter() - start))
    tail = sorted(times)[int(0.9 * (len(times) - 1))]
    return {"median_ms": round(statistics.median(times), 3), "p90_ms": round(tail, 3)}


def rows(config: ModelConfig, device: str, repeats: int, *, compiled: bool) -> list[dict[str, Any]]:
    """All calls of both programs in one mode."""
    mode, found = "compiled" if compiled else "eager", []
    for program, make in (("sam3-edge", ours), ("transformers", theirs)):
        for graph, call in make(config, device, compiled=compiled):
            console.note(f"{program}, {mode}: {graph}")
            found.append({"program": program, "mode": mode, "graph": graph, **measure(call, device, repeats)})
    return found


def gpu() -> str:
    """The GPU's name. Raises `BackendError` where there is none."""
    import torch

    if not torch.cuda.is_available():
        raise BackendError(
            "PyTorch sees no GPU here: run this on a machine that has one, with a CUDA build of torch"
        )
    return str(torch.cuda.get_device_name())


@click.command()
@click.option("--image-size", type=COUNT, default=1008, show_default=True)
@click.option("--repeats", type=COUNT, default=50, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="The JSON. Default: print it.")
def main(image_size: int, repeats: int, output: Path | None) -> None:
    """Time our modules and `transformers`' on this machine's GPU."""
    try:
        name = gpu()
        config = replace(ModelConfig(), image_size=image_size)
        found = [row for mode in (False, True) for row in rows(config, "cuda", repeats, compiled=mode)]
    except EdgeError as error:
        console.note(f"error: {error}")
        sys.exit(error.exit_code)
    document = {"what": "latency of one picture, fp16 by autocast", "gpu": name, "repeats": repeats}
    document |= {"image_size": image_size, "machine": facts("torch", "transformers"), "rows": found}
    if output is not None:
        write_file(output, (json.dumps(document, indent=1) + "\n").encode(), overwrite=True)
    else:
        console.emit(document)
    cells = [[str(row[key]) for key in ("graph", "program", "mode", "median_ms", "p90_ms")] for row in found]
    console.table(name, ("graph", "program", "mode", "median ms", "p90 ms"), cells)


if __name__ == "__main__":
    main()
