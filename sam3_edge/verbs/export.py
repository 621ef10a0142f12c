"""Verb `export`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from sam3_edge import registry
from sam3_edge.verbs.options import COUNT, FOLDER, Named, as_json, overwrite

SETTINGS = (
    "board",
    "fused",
    "image_input",
    "ios",
    "layout",
    "strict_ane",
)  # options of one target or another, handed on if given


@click.command("export")
@click.option("--checkpoint", help="Hub id, folder, .safetensors or sam3.pt. Default: the built-in model.")
@click.option("--official", is_flag=True, help="The checkpoint is Meta's sam3.pt, a pickle.")
@click.option("--revision", help="Branch, tag or commit of a hub id.")
@click.option("--tokenizer", type=FOLDER, help="The tokenizer's merges.txt, if not with the checkpoint.")
@click.option("--target", "--format", required=True, type=Named(registry.names("target")), help="Backend.")
@click.option(
    "--scheme",
    type=click.Choice([*dict.fromkeys(("fp32", *registry.names("scheme")))]),
    help="How the weights are stored. Default: the target's own.",
)
@click.option(
    "--image-size", type=COUNT, help="Pixels; a multiple of patch x window. Default: the checkpoint's."
)
@click.option(
    "--max-boxes", type=COUNT, help="Exemplar boxes one concept may have. Default: the checkpoint's, or 8."
)
@click.option("--concepts", type=FOLDER, help="A text file, a phrase per line, to store precomputed.")
@click.option("--no-text", is_flag=True, help="Leave the text encoder out; only --concepts can be asked.")
@click.option(
    "--board", type=click.Choice(["8GB", "16GB", "64GB"]), help="TensorRT: its memory. Default: 8GB."
)
@click.option(
    "--fused",
    is_flag=True,
    default=None,
    help="ONNX: with operators that only ONNX Runtime has, less memory.",
)
@click.option("--ios", type=click.IntRange(17, 18), help="Core ML: oldest iOS to run on. Default: 18.")
@click.option("--layout", type=click.Choice(["plain", "bc1s"]), help="Core ML: bc1s is the ANE's own.")
@click.option(
    "--strict-ane", is_flag=True, default=None, help="Core ML: fail if the ANE cannot run large graphs."
)
@click.option(
    "--image-input", is_flag=True, default=None, help="Core ML: the trunk takes a pixel buffer, 0 to 255."
)
@click.option("-o", "--output", type=FOLDER, help="Default: NAME[-rSIZE]-SCHEME-TARGET.")
@overwrite
@click.option("--dry-run", is_flag=True, help="Print what would be exported and stop.")
@click.option("--threads", type=COUNT, help="Processor threads for the comparison.")
@as_json
def command(
    json_: bool, dry_run: bool, output: Path | None, concepts: Path | None, no_text: bool, **options: Any
) -> None:
    """Turn a SAM 3 checkpoint into a bundle that has been measured against it."""
    from sam3_edge import console
    from sam3_edge.phrases import read_phrases

    if options["checkpoint"] is None:
        console.note(
            "No --checkpoint: exporting the built-in model `shapes`, which knows coloured shapes only."
        )
        console.note("For SAM 3: request access on huggingface.co/facebook/sam3, `hf auth login`, then")
        console.note(f"  sam3-edge export --checkpoint facebook/sam3 --target {options['target']}")
    phrases = read_phrases(concepts) if concepts else ()
    job = export_job(output, text=not no_text, phrases=phrases, **options)
    if dry_run:
        console.emit(registry.load_module("export", "pipeline").plan(job))
        return
    report = show_export(job)
    if json_:
        console.emit(report)
    else:
        click.echo(report["path"])


def export_job(output: Path | None, **options: Any) -> Any:
    """The export pipeline's job; without an output it names its own."""
    pipeline = registry.load_module("export", "pipeline")
    asked = {name: options.pop(name, None) for name in SETTINGS}
    settings = {name: value for name, value in asked.items() if value is not None}
    return pipeline.Job(output=output, settings=settings, **options)


def show_outputs(parity: Any) -> None:
    """The table of errors; where the arithmetic was also done in fp32, with that beside it."""
    from sam3_edge import console

    titles, limit = ["output", "relative", "largest"], f"at most {parity.gate.relative:.0e}"
    rows = [[f"{o.graph}.{o.output}", f"{o.relative:.1e}", f"{o.largest:.1e}"] for o in parity.outputs]
    if parity.exact:
        titles, limit = [*titles, "in fp32"], f"{limit}, in fp32 arithmetic {parity.gate.exact:.0e}"
        rows = [[*row, f"{o.relative:.1e}"] for row, o in zip(rows, parity.exact, strict=True)]
    console.table(f"Against PyTorch (relative error {limit})", titles, rows)


def show_examined(bundle: Any) -> None:
    """What the target found in its files beyond the comparison, if it has tables of that."""
    from sam3_edge import console

    target = registry.load("target", bundle.target)
    if not hasattr(target, "tables"):
        return
    report = json.loads(bundle.file("report.json").read_bytes())
    for title, columns, rows in target.tables(report[bundle.target]):
        console.table(title, columns, rows)


def show_export(job: Any) -> dict[str, Any]:
    """Export, and print the receipt."""
    from sam3_edge import console

    start = time.perf_counter()
    pipeline = registry.load_module("export", "pipeline")
    with console.status("export") as say:
        bundle, parity = pipeline.export(job, say)
    show_outputs(parity)
    show_examined(bundle)
    answers, inspected = parity.answers, bundle.to_json()
    if answers.objects:
        found = f"{answers.objects} objects, {answers.missing} missing, {answers.extra} extra"
        console.note(
            f"whole answers: {found}, mean mask IoU {answers.mean_iou:.4f}, worst {answers.min_iou:.4f}"
        )
    else:
        console.note(
            "whole answers: the model finds nothing on the example pictures; only tensors were compared"
        )
    if (clip := parity.clip) is not None and clip.min_iou is not None:
        found = f"{clip.objects} objects on all frames, {clip.missing} missing, {clip.extra} extra"
        console.note(f"golden clip: {found}, mean mask IoU {clip.mean_iou:.4f}, worst {clip.min_iou:.4f}")
    seconds = time.perf_counter() - start
    console.note(
        f"saved {bundle.path} ({inspected['bytes'] / 1e6:.1f} MB, {seconds:.0f} s), hash {bundle.hash}"
    )
    report: dict[str, Any] = inspected | {"parity": parity.to_json()}
    return report
