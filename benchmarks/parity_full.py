"""The real export of a full-size model with random weights: its errors, its memory, its files.

Writing the weights and exporting them each have a process of their own, so the peak is the export's alone.
"""

from __future__ import annotations

import re
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from sam3_edge import console, registry
from sam3_edge.alone import alone
from sam3_edge.errors import CheckError
from sam3_edge.picture import prepare
from sam3_edge.shapes.scenes import draw_scene
from sam3_edge.spec import ModelConfig
from sam3_edge.tokenizer import bundled_merges

from .document import errors_told, write_document
from .machine import facts

SIZES = (336, 1008)
SEED = 3
RELATIVE, PEAK_GB = 1e-4, 12.0
BRANCH = re.compile(r"(attention\.out|mlp\.layers\.1)\.weight$")  # the last product of each residual branch
QUIETER = 0.2
PRESENT = 4.0  # the logit that an object is there: random weights alone give -0.3 to 0.3
SPARSE = 64  # every 64th query is enough for a spread
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss: macOS counts bytes, Linux KiB


@dataclass
class Meter:
    """Seconds and the memory peak of this process and its own so far, by stage of the export."""

    start: float = field(default_factory=time.perf_counter)
    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    stage: str = "starting"

    def say(self, stage: str) -> None:
        """A stage begins, so the one before it ends here."""
        self.stages[self.stage] = self.read()
        self.stage = stage

    def read(self) -> dict[str, float]:
        # Its own, and that of the largest process that it started and waited for: at most so much at once.
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return {
            "seconds": round(time.perf_counter() - self.start, 1),
            "processor_seconds": round(sum(one.ru_utime + one.ru_stime for one in used), 1),
            "peak_gb": round(sum(one.ru_maxrss for one in used) * RSS_UNIT / 1e9, 2),
        }


def random_model(config: ModelConfig) -> Any:
    """Random weights that keep things apart.

    With plain ones every token of a picture is nearly the same after 32 layers, and every query after six:
    with one of them right, all are. Quieter branches keep the tokens apart, louder queries the objects. An
    object that the tracker takes for absent has no mask and no pointer of its own: all are present.
    """
    import torch

    model = registry.load_module("export", "model").Sam3(config).initialise(SEED).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if BRANCH.search(name):
                weight.mul_(QUIETER)
        model.detector.query.mul_(config.dim**0.5)
        if config.tracks:
            model.tracker.decoder.score_head.layers[-1].bias.fill_(PRESENT)
    return model


def write_checkpoint(config: ModelConfig, path: Path) -> dict[str, Any]:
    """Write the random weights, and tell how many they are and what they do to a picture."""
    model = random_model(config)
    registry.load_module("export", "checkpoint").save(model, path)
    parameters = sum(weight.numel() for weight in model.parameters())
    return {"parameters": parameters, "weights": spread(model)}


def spread(model: Any) -> dict[str, Any]:
    """Standard deviations on a picture: trunk feature, between its tokens, attention logits by layer.

    With logits near 0 every attention is a mean, with large ones a copy; neither would test much.
    """
    import torch

    deviations: list[float] = []
    heads = model.config.trunk_heads

    def hook(module: Any, inputs: Any, qkv: Any) -> None:
        query, key, _ = (x[0].unflatten(-1, (heads, -1)).transpose(0, 1) for x in qkv.chunk(3, dim=-1))
        logits = query[:, ::SPARSE] @ key.mT / query.shape[-1] ** 0.5
        deviations.append(round(float(logits.std()), 2))

    hooks = [block.attention.qkv.register_forward_hook(hook) for block in model.backbone.blocks]
    picture = draw_scene(np.random.default_rng(SEED), size=224).picture
    with torch.inference_mode():
        feature = model.backbone(torch.from_numpy(prepare(picture, model.config.image_size)))[0]
    for handle in hooks:
        handle.remove()
    return {
        "trunk_feature_std": round(float(feature.std()), 2),
        "between_tokens_std": round(float(feature.std(dim=0).mean()), 2),
        "attention_logit_std": [min(deviations), max(deviations)],
    }


def export(checkpoint: Path, output: Path) -> dict[str, Any]:
    """Export for ONNX Runtime, and tell what that took and how far each graph is from PyTorch."""
    pipeline, meter = registry.load_module("export", "pipeline"), Meter()
    job = pipeline.Job(output=output, target="onnx", checkpoint=str(checkpoint), tokenizer=bundled_merges())
    graphs: dict[str, Any] = {}
    answers, failures = None, []
    try:
        bundle, parity = pipeline.export(job, meter.say)
        rows, answers = [row.to_json() for row in parity.outputs], parity.answers.to_json()
        graphs = {name: graph_facts(bundle, name, rows) for name in bundle.graphs}
    except CheckError as error:
        failures.append(str(error))
    meter.say("done")
    return {
        **meter.read(),
        "stages": meter.stages,
        "graphs": graphs,
        "answers": answers,
        "failures": failures,
    }


def graph_facts(bundle: Any, name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Size of one graph, and the error of the worst of its outputs."""
    import onnx

    model = onnx.load(bundle.graph(name), load_external_data=False)
    mine = [row for row in rows if row["graph"] == name]
    return {
        "relative": max(row["relative"] for row in mine),
        "largest": max(row["largest"] for row in mine),
        "megabytes": round(bundle.to_json()["graphs"][name]["bytes"] / 1e6, 1),
        "nodes": len(model.graph.node),
    }


def measure(config: ModelConfig, folder: Path, kept: Path | None = None) -> dict[str, Any]:
    """One size, start to end, in `folder`, where nothing stays; the bundle does in `kept`, by its size."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        checkpoint = Path(scratch) / "model.safetensors"
        written = alone(write_checkpoint, config, checkpoint)
        found = alone(export, checkpoint, (kept or Path(scratch)) / f"random-r{config.image_size}")
    failures = found.pop("failures") + problems(found)
    return {
        "image_size": config.image_size,
        **written,
        **found,
        "failures": failures,
        "config": config.to_json(),
    }


def problems(found: dict[str, Any]) -> list[str]:
    """What misses the limits, in words."""
    bad = [
        f"{name} differs by {graph['relative']:.2e}, want at most {RELATIVE:.0e}"
        for name, graph in found["graphs"].items()
        if not graph["relative"] <= RELATIVE  # NaN fails as well
    ]
    if found["peak_gb"] > PEAK_GB:
        bad.append(f"the peak is {found['peak_gb']} GB, want at most {PEAK_GB:g} GB")
    return bad


def report(configs: Sequence[ModelConfig], folder: Path, kept: Path | None = None) -> dict[str, Any]:
    """All sizes, and the verdict. `kept`: where the bundles stay."""
    sizes = [measure(config, folder, kept) for config in configs]
    return {
        "what": "export of random weights for ONNX Runtime on the CPU, fp32, each graph against PyTorch",
        "machine": facts("torch", "onnx", "onnxscript", "onnxruntime", "numpy"),
        "limits": {"relative": RELATIVE, "peak_gb": PEAK_GB},
        "verdict": "fail" if any(size["failures"] for size in sizes) else "pass",
        "sizes": sizes,
    }


def show(document: dict[str, Any]) -> None:
    """The tables for people."""
    for size in document["sizes"]:
        rows = [
            (name, f"{g['relative']:.1e}", f"{g['largest']:.1e}", f"{g['megabytes']:.1f}", str(g["nodes"]))
            for name, g in size["graphs"].items()
        ]
        cost = f"peak {size['peak_gb']} GB, {size['processor_seconds']:.0f} processor seconds"
        title = f"{size['image_size']} px, {size['parameters'] / 1e6:.0f} M parameters: {cost}"
        console.table(title, ("graph", "relative", "largest", "MB", "nodes"), rows)
        for failure in size["failures"]:
            console.note(f"{size['image_size']} px: {failure}")


@click.command()
@click.option("--image-size", "sizes", type=int, multiple=True, default=SIZES, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="The JSON. Default: print it.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="For 7 GB of scratch files.")
@click.option("--bundles", type=click.Path(path_type=Path, file_okay=False), help="Keep the bundles here.")
def main(sizes: tuple[int, ...], output: Path | None, folder: Path | None, bundles: Path | None) -> None:
    """Export SAM 3 at full size with random weights, and measure errors and memory."""
    with errors_told():
        configs = [replace(ModelConfig(), image_size=size) for size in sizes]
        document = report(configs, folder or Path(tempfile.gettempdir()), bundles)
        if output is not None:
            write_document(output, document)
    show(document)
    if output is None:
        console.emit(document)
    sys.exit(document["verdict"] != "pass")


if __name__ == "__main__":
    main()
