"""The built-in model in every scheme of every target: `python -m sam3_edge.benchmarks.quantize_builtin`.

Each target has a process of its own, in which the uncompressed bundle is asked once. What is refused is a row
like the others; a palette of two bits is one that must be.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from sam3_edge import console, registry
from sam3_edge.alone import alone
from sam3_edge.bundle import Bundle
from sam3_edge.errors import CheckError
from sam3_edge.verbs.options import COUNT

from .document import errors_told, write_document
from .machine import facts
from .markdown import table

MUST_PASS = ("w8", "palette6")


@dataclass(frozen=True)
class Case:
    """A scheme of a target, and settings of it."""

    target: str
    scheme: str
    settings: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For people."""
        return " ".join((self.scheme, *(f"{name}={value}" for name, value in self.settings.items())))


TOO_FEW_BITS = Case("coreml", "palette6", {"bits": 2})


def cases(targets: Sequence[str]) -> list[Case]:
    """Every scheme of these targets, and what must be refused."""
    schemes_of = registry.load_module("quantize", "job").schemes_of
    base = registry.load_module("quantize", "job").BASE
    found = [Case(target, name) for target in targets for name in schemes_of(target) if name != base[target]]
    return [*found, TOO_FEW_BITS] if TOO_FEW_BITS.target in targets else found


def judge_target(
    target: str, some: Sequence[Case], pictures: int, clips: int, folder: Path
) -> list[dict[str, Any]]:
    """A row for each case of a target; the bundles lie in `folder`."""
    return judge(export(target, folder), some, pictures, clips, folder)


def judge(
    bundle: Bundle, some: Sequence[Case], pictures: int, clips: int, folder: Path
) -> list[dict[str, Any]]:
    """A row for each case, of what starts as this bundle."""
    gate, job, pipeline = (registry.load_module("quantize", name) for name in ("gate", "job", "pipeline"))
    questions = gate.questions_for(bundle, pictures=pictures, clips=clips)
    answers = gate.ask(gate.segmenter_of(bundle), questions, f"{bundle.target}, uncompressed")
    rows = []
    for case in some:
        output = folder / case.name.replace(" ", "-")
        asked = {"pictures": pictures, "clips": clips, "settings": case.settings}
        wanted = job.Job(bundle=bundle.path, scheme=case.scheme, output=output, **asked)
        with console.status(f"{bundle.target}, {case.name}") as say:
            try:
                pipeline.quantize(wanted, say, answers)
                report = output / "report.json"
            except CheckError as error:
                console.note(str(error))
                report = output.with_name(f"{output.name}.report.json")
        rows.append(row(case, json.loads(report.read_bytes())["quantization"]))
    return rows


def export(target: str, folder: Path) -> Bundle:
    """The uncompressed built-in bundle of a target."""
    pipeline, base = registry.load_module("export", "pipeline"), registry.load_module("quantize", "job").BASE
    job = pipeline.Job(output=folder / "whole", target=target, scheme=base[target])
    with console.status(f"{target}, export") as say:
        bundle: Bundle = pipeline.export(job, say)[0]
    return bundle


def row(case: Case, report: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a report."""
    figures = {figure["name"]: figure["value"] for figure in report["gate"]["figures"]}
    told = ("bytes_before", "bytes", "compressed", "skipped", "speed", "questions", "keep", "settings")
    named = {"target": case.target, "scheme": case.name, "passed": report["gate"]["passed"], "gate": figures}
    return {**named, **{name: report[name] for name in told}}


def problems(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What does not come out as it must."""
    passed = {one["scheme"]: one["passed"] for one in rows}
    bad = [f"{name} was refused" for name in MUST_PASS if passed.get(name) is False]
    return bad + [f"{name} passed" for name in (TOO_FEW_BITS.name,) if passed.get(name)]


def markdown(document: dict[str, Any]) -> str:
    """The table for a page."""
    least = document["thresholds"]
    named = [f"{name}, at least {value:g}" for name, value in least.items()]
    head = ("target", "scheme", "MB", "of uncompressed", "times fp32", *named, "bundle")
    return table(head, [cells(one, least) for one in document["rows"]])


def cells(one: dict[str, Any], thresholds: dict[str, float]) -> tuple[str, ...]:
    """Of one row; what misses its threshold is in bold."""
    told = []
    for name, least in thresholds.items():
        value = one["gate"][name]
        text = "-" if value is None else f"{value:.4f}"
        told.append(f"**{text}**" if value is not None and value < least else text)
    ratio = one["speed"]["ratio"]
    size = (f"{one['bytes'] / 1e6:.2f}", f"{one['bytes'] / one['bytes_before']:.2f}")
    verdict = "written" if one["passed"] else "refused"
    return (one["target"], one["scheme"], *size, "-" if ratio is None else f"{ratio:.2f}", *told, verdict)


@click.command()
@click.option("--target", "targets", multiple=True, default=("onnx", "tensorrt", "coreml"), show_default=True)
@click.option("--pictures", type=COUNT, default=256, show_default=True)
@click.option("--clips", type=click.IntRange(0), default=8, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="The JSON; a .md beside it. Default: print.")
def main(targets: tuple[str, ...], pictures: int, clips: int, output: Path | None) -> None:
    """Compress the built-in model in every way there is; exit 1 unless what must pass or fail does."""
    rows: list[dict[str, Any]] = []
    document: dict[str, Any] = {
        "what": "the built-in model in every scheme, beside the uncompressed bundle: the gate's figures",
        "machine": facts("torch", "onnxruntime", "nncf", "coremltools", "tensorrt-rtx", "numpy"),
        "thresholds": asdict(registry.load_module("quantize", "gate").Thresholds()),
        "rows": rows,
    }
    with errors_told(), tempfile.TemporaryDirectory() as scratch:
        for target in targets:
            some = [case for case in cases(targets) if case.target == target]
            rows += alone(judge_target, target, some, pictures, clips, Path(scratch) / target)
            document |= {"failures": problems(rows)}
            if output is not None:
                write_document(output, document)
                output.with_suffix(".md").write_text(markdown(document), encoding="ascii")
    if output is None:
        console.emit(document)
    click.echo(markdown(document), err=True)
    for failure in document["failures"]:
        console.note(failure)
    sys.exit(bool(document["failures"]))


if __name__ == "__main__":
    main()
