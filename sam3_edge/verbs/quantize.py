"""Verb `quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sam3_edge import registry
from sam3_edge.errors import UsageError
from sam3_edge.verbs.options import COUNT, FOLDER, as_json, overwrite

THRESHOLDS = ("mask_iou_mean", "mask_iou_p5", "box_iou_mean", "kept_f1", "il_mcc", "j_and_f")

QUESTIONS = (
    click.option(
        "--keep", multiple=True, metavar="PART=LEVEL", help="As in backbone.blocks.0-1=fp16; repeatable."
    ),
    click.option(
        "--calibrate", "calibration", type=FOLDER, help="Folder of pictures, video or COCO document."
    ),
    click.option("--phrases", type=FOLDER, help="A text file, a phrase per line, to calibrate with."),
    click.option(
        "--dataset", "words", multiple=True, help="What the gate asks: COCO, SA-Co, DAVIS; as for eval."
    ),
    click.option("--pictures", "folder", type=FOLDER, help="Folder of the dataset's pictures."),
    click.option("--gate-pictures", "pictures", type=COUNT, help="How many the gate asks. Default: 256."),
    click.option("--gate-clips", "clips", type=click.IntRange(0), help="How many. Default: 8."),
)


def thresholds(command: Any) -> Any:
    """An option for each threshold of the gate."""
    for name in reversed(THRESHOLDS):
        flag = f"--least-{name.replace('_', '-')}"
        command = click.option(flag, name, type=float, help="Gate; recorded in the report.")(command)
    return command


def questioned(command: Any) -> Any:
    """What a scheme keeps, is shown, and is asked."""
    for option in reversed(QUESTIONS):
        command = option(command)
    return command


@click.command("quantize")
@click.argument("bundle", required=False, type=FOLDER)
@click.option("--scheme", help="How to compress; --list shows all.")
@click.option("--list", "list_", is_flag=True, help="Every scheme, its targets and what it needs.")
@questioned
@click.option("--set", "settings", multiple=True, metavar="NAME=NUMBER", help="A setting of the scheme.")
@thresholds
@click.option("-o", "--output", type=FOLDER, help="Default: BUNDLE-SCHEME, in the current folder.")
@overwrite
@click.option("--threads", type=COUNT, help="Processor threads.")
@click.option(
    "--sensitivity", is_flag=True, help="Write no bundle: what each part costs alone, and which to keep."
)
@click.option(
    "--accuracy-control", is_flag=True, help="Calibrated schemes: what harms most stays in floating point."
)
@as_json
def command(
    bundle: Path | None,
    scheme: str | None,
    list_: bool,
    settings: tuple[str, ...],
    sensitivity: bool,
    json_: bool,
    **options: Any,
) -> None:
    """Compress BUNDLE, and keep the result only if it finds what BUNDLE finds."""
    from sam3_edge import console

    if list_:
        show_schemes(json_)
        return
    if bundle is None or scheme is None:
        raise UsageError(
            "quantize needs a bundle and a --scheme; `sam3-edge quantize --list` shows the schemes"
        )
    job = quantize_job(bundle, scheme, settings=settings, **options)
    report = show_sensitivity(job) if sensitivity else show_quantize(job)
    if json_:
        console.emit(report)
    else:
        click.echo(report["path"])


def quantize_job(bundle: Path, scheme: str, *, settings: tuple[str, ...] = (), **options: Any) -> Any:
    """The pipeline's job."""
    from sam3_edge.phrases import read_phrases

    pipeline = registry.load_module("quantize", "pipeline")
    named = {name: value for name in THRESHOLDS if (value := options.pop(name, None)) is not None}
    want = registry.load_module("quantize", "gate").Thresholds(**named)
    numbers = dict(read_setting(text) for text in settings)
    listed = options.pop("phrases", None)
    asked = read_phrases(listed) if listed is not None else ()
    options = {name: value for name, value in options.items() if value is not None}
    return pipeline.Job(
        bundle=bundle,
        scheme=scheme,
        settings=numbers,
        thresholds=want,
        calibration_phrases=asked,
        **options,
    )


def read_setting(text: str) -> tuple[str, int | float]:
    """`NAME=NUMBER`. Raises `UsageError` for anything else."""
    name, _, value = text.partition("=")
    try:
        number = float(value)
    except ValueError as error:
        raise UsageError(f"--set {text!r:.80}: want NAME=NUMBER") from error
    return name, int(number) if number.is_integer() else number


def show_schemes(json_: bool) -> None:
    """All schemes, or those of them whose dependencies are here, with what the others lack."""
    from sam3_edge import console
    from sam3_edge.errors import BackendError

    rows = []
    for name in registry.names("scheme"):
        try:
            module = registry.load("scheme", name)
            rows.append((name, ", ".join(sorted(module.TARGETS)), module.ABOUT, module.NEEDS))
        except BackendError as error:
            rows.append((name, "?", "not available", str(error)))
    if json_:
        keys = ("scheme", "targets", "about", "needs")
        console.emit([dict(zip(keys, row, strict=True)) for row in rows])
    else:
        console.table("Schemes", ("scheme", "targets", "what it does", "calibration"), rows, out=True)


def show_quantize(job: Any) -> dict[str, Any]:
    """Compress, and print the receipt."""
    from sam3_edge import console

    pipeline = registry.load_module("quantize", "pipeline")
    with console.status("quantize") as say:
        bundle, receipt = pipeline.quantize(job, say)
    report = receipt.to_json()
    show_graphs(report)
    rows = [
        (f["name"], "-" if f["value"] is None else f"{f['value']:.4f}", f"{f['least']:g}", f["note"])
        for f in report["gate"]["figures"]
    ]
    console.table(f"Gate: {report['questions']}", ("measure", "value", "least", "note"), rows)
    console.note(f"saved {bundle.path} ({report['bytes'] / 1e6:.1f} MB of graphs), hash {bundle.hash}")
    return {**bundle.to_json(), "quantization": report}


def show_sensitivity(job: Any) -> dict[str, Any]:
    """Measure each part alone; write `sensitivity.json` and `sensitivity.svg`, and print them."""
    import json

    from sam3_edge import console
    from sam3_edge.writing import write_file

    folder = job.output or Path(f"{job.bundle.absolute().name}-{job.scheme}-sensitivity")
    if not job.overwrite and any(folder.glob("sensitivity.*")):
        raise UsageError(f"{folder} has a sensitivity.json: pass --overwrite or another -o")
    found = registry.load_module("quantize", "sensitivity").find(job)
    report: dict[str, Any] = {"scheme": job.scheme, **found.to_json()}
    drawn = registry.load_module("quantize", "sensitivity_plot").plot(report)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("json", json.dumps(report, indent=1) + "\n"), ("svg", drawn)):
        write_file(folder / f"sensitivity.{name}", text.encode(), overwrite=True)
    rows = [
        (row["part"], f"{row['bytes_saved'] / 1e6:.3f}", f"{row['share']:.2f}") for row in report["parts"]
    ]
    columns = ("part", "MB saved", "share of what the gate allows")
    console.table(f"Scheme {job.scheme}, each part alone: {report['questions']}", columns, rows)
    for name in ("all_compressed", "proposal"):
        passed = "passes" if report[name]["gate"]["passed"] else "does not pass"
        kept = " ".join(f"--keep {words}" for words in report[name].get("keep", []))
        size = report[name]["bytes"] / 1e6
        console.note(f"{name.replace('_', ' ')}: {size:.1f} MB of graphs, {passed} {kept}".rstrip())
    return {"path": str(folder), **report}


def show_graphs(report: dict[str, Any]) -> None:
    """Size, operations and speed of every graph; the reasons for what was skipped lie in the report."""
    from sam3_edge import console

    rows = [
        (
            name,
            f"{graph['bytes_before'] / 1e6:.2f}",
            f"{graph['bytes'] / 1e6:.2f}",
            str(sum(graph["compressed"].values())),
            str(sum(graph["skipped"].values())),
            "-" if graph["speed"] is None else f"{graph['speed']['ratio']:.2f}",
        )
        for name, graph in report["graphs"].items()
    ]
    ratio = report["speed"]["ratio"]
    rows.append(
        (
            "all",
            f"{report['bytes_before'] / 1e6:.2f}",
            f"{report['bytes'] / 1e6:.2f}",
            str(sum(report["compressed"].values())),
            str(sum(report["skipped"].values())),
            "-" if ratio is None else f"{ratio:.2f}",
        )
    )
    columns = ("graph", "MB before", "MB", "compressed", "skipped", "times faster")
    console.table(f"Scheme {report['scheme']}", columns, rows)
