"""Verb `export`."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from sam3_edge import registry
from sam3_edge.errors import UsageError
from sam3_edge.verbs.options import COUNT, FOLDER, Named, as_json, overwrite
from sam3_edge.verbs.quantize import quantize_job, questioned, show_quantize

# Options of one target or another, handed on if given; and those of schemes that are judged.
SETTINGS = ("board", "fused", "image_input", "ios", "layout", "strict_ane")
QUANTIZE = ("keep", "calibration", "phrases", "words", "folder", "pictures", "clips")


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
@click.option(
    "--memory-pool",
    type=COUNT,
    help="2: memories of a quarter the size, faster, not exact. Default: 1.",
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
@questioned
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
    asked = {name: value for name in QUANTIZE if (value := options.pop(name)) not in (None, ())}
    job = export_job(output, text=not no_text, phrases=phrases, **options)
    judged = is_judged(job, asked)
    if dry_run:
        plan = registry.load_module("export", "pipeline").plan
        console.emit(plan(replace(job, scheme=base_of(job))) | {"then": job.scheme} if judged else plan(job))
        return
    report = show_compressed(job, asked) if judged else show_export(job)
    if json_:
        console.emit(report)
    else:
        click.echo(report["path"])


def is_judged(job: Any, asked: dict[str, Any]) -> bool:
    """Whether the scheme is one that `quantize` judges after an export.

    Raises `UsageError` for one that the target does not have, and before hours of work for a question.
    """
    target = registry.load("target", job.target)
    if job.scheme is None or job.scheme in target.GATES:
        if asked:
            raise UsageError(f"--{next(iter(asked))} is for schemes below 16 bits: leave it out")
        return False
    scheme = registry.load("scheme", job.scheme)
    if job.target not in scheme.TARGETS:
        raise UsageError(
            f"scheme {job.scheme} is for {', '.join(sorted(scheme.TARGETS))}, not for {job.target}"
        )
    if job.checkpoint is not None and "words" not in asked:
        raise UsageError(
            f"scheme {job.scheme} is judged on pictures with phrases and their true objects: "
            "give --dataset FILE --pictures DIR (COCO or SA-Co)"
        )
    return True


def base_of(job: Any) -> str:
    """The scheme that compression starts from."""
    name: str = registry.load_module("quantize", "job").BASE[job.target]
    return name


def show_compressed(job: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """Export in the scheme that compression starts from, then compress; print both receipts."""
    from sam3_edge.staging import check_replaceable

    output = job.output or registry.load_module("export", "job").default_output(job, job.scheme)
    check_replaceable(output, overwrite=job.overwrite)
    near = next(parent for parent in output.absolute().parents if parent.is_dir())
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=near) as folder:
        whole = Path(folder) / "whole"
        show_export(replace(job, output=whole, scheme=base_of(job), overwrite=False))
        words = {"output": output, "overwrite": job.overwrite, "threads": job.threads}
        return show_quantize(quantize_job(whole, job.scheme, **asked, **words))


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
