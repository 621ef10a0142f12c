"""`sam3-edge quantize`: a bundle to a smaller one that has been judged beside it, or to no bundle at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sam3_edge import __version__
from sam3_edge.bundle import Bundle
from sam3_edge.errors import CheckError, UsageError
from sam3_edge.golden import Case, read_golden, write_golden
from sam3_edge.golden_clip import GoldenClip, follow, read_clip, write_clip
from sam3_edge.manifest import Manifest
from sam3_edge.segmenter import Segmenter
from sam3_edge.session import Session
from sam3_edge.staging import seal, staging
from sam3_edge.writing import write_file

from . import calibration, gate, speed
from .accuracy_control import Control
from .calibration import Calibration
from .feeds import Recorder, read_feeds
from .job import FIELDS, Settled, key_of, settle
from .job import Job as Job
from .mixed import Reference
from .tally import Tally
from .unfinished import Unfinished

REPORT = "report.json"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Receipt:
    """What a compression did and how it was judged. `sizes`: bytes of each graph, before and after."""

    scheme: str
    settings: dict[str, Any]
    sizes: dict[str, tuple[int, int]]
    tallies: dict[str, Tally]
    speeds: dict[str, speed.Speed]
    speed_note: str
    verdict: gate.Verdict
    thresholds: gate.Thresholds
    questions: str
    keep: list[str]
    calibration: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """For `report.json`: a row for each graph, and the whole."""
        graphs = {
            name: {
                "bytes": after,
                "bytes_before": before,
                **self.tallies[name].to_json(),
                "speed": self.speeds[name].to_json() if name in self.speeds else None,
            }
            for name, (before, after) in self.sizes.items()
        }
        return {
            "scheme": self.scheme,
            "settings": self.settings,
            "bytes": sum(after for _, after in self.sizes.values()),
            "bytes_before": sum(before for before, _ in self.sizes.values()),
            **Tally.total(self.tallies.values()).to_json(),
            "speed": {"of": self.speed_note, "ratio": self.overall()},
            "gate": self.verdict.to_json(),
            "thresholds": asdict(self.thresholds),
            "questions": self.questions,
            "keep": self.keep,
            "calibration": self.calibration,
            "graphs": graphs,
        }

    def overall(self) -> float | None:
        """Processor time of one run of every graph: uncompressed over compressed."""
        after = sum(one.after for one in self.speeds.values())
        return round(sum(one.before for one in self.speeds.values()) / after, 3) if after else None

    def summary(self) -> dict[str, Any]:
        """In short, for `bundle.json`."""
        made = self.to_json()
        figures = {figure.name: figure.to_json()["value"] for figure in self.verdict.figures}
        hashed = None if self.calibration is None else self.calibration["hash"]
        return {"scheme": self.scheme, "bytes_before": made["bytes_before"], "gate": figures} | (
            {"calibration": hashed} if hashed else {}
        )


def quantize(
    job: Job, say: Say = lambda text: None, asked: gate.Answers | None = None
) -> tuple[Bundle, Receipt]:
    """Write the compressed bundle and return it with its receipt.

    `asked`: what the uncompressed bundle said to the same questions, if that is known.

    Raises `CheckError` if it does not pass the gate; then the report lies beside the place of the bundle,
    and nothing else is written. An interrupted call goes on where it was when it is made again.
    """
    settled = settle(job)
    bundle, output = settled.bundle, settled.output
    shown = find_calibration(job, settled)
    questions = gate.questions_for(
        bundle, job.words, pictures=job.pictures, clips=job.clips, folder=job.folder
    )
    with staging(output, overwrite=job.overwrite) as folder, tempfile.TemporaryDirectory() as scratch:
        say("asking the uncompressed bundle")
        reference = Reference(bundle, questions, job.thresholds, job.threads, asked)
        before = reference.segmenter
        speed.record(bundle, before.session, Path(scratch) / "once")
        if shown is not None:
            say(f"calibrating on {len(shown.examples)} pictures")
            calibrate(settled.bundle, before.session, shown, Path(scratch) / "many")
        control = Control(reference, Path(scratch) / "controlled") if job.accuracy_control else None
        tallies = compress_graphs(settled, folder, Path(scratch) / "many", shown, say, control)
        manifest = write_rest(settled, job.scheme, folder)
        seal(folder, manifest)
        compressed = Bundle.open(folder)
        after = gate.segmenter_of(compressed, threads=job.threads)
        say("asking the compressed bundle")
        answers = gate.ask(after, questions, "compressed")
        verdict = gate.judge(questions, reference.answers, answers, job.thresholds)
        speeds, note = times(bundle, before.session, after.session, Path(scratch) / "once")
        receipt = receive(job, settled, compressed, tallies, speeds, note, verdict, questions, shown)
        if bad := verdict.failures():
            refuse(output, receipt, bad)
        answer_golden(bundle, after, folder)
        before.close()
        after.close()
        old = json.loads(bundle.file(REPORT).read_bytes()) if (bundle.path / REPORT).exists() else {}
        report = json.dumps({**old, "quantization": receipt.to_json()}, indent=1) + "\n"
        (folder / REPORT).write_text(report, encoding="ascii")
        seal(folder, replace(manifest, report={**bundle.report, "quantization": receipt.summary()}))
    Unfinished(output, "").remove()
    return Bundle.open(output), receipt


def find_calibration(job: Job, settled: Settled) -> Calibration | None:
    """The set that the scheme wants to see. Raises `UsageError` for one that it does not want."""
    if getattr(settled.scheme, "CALIBRATED", False):
        return calibration.find(settled.bundle, job.calibration, job.calibration_phrases)
    if job.calibration is not None:
        raise UsageError(f"scheme {job.scheme} takes no calibration: leave --calibrate out")
    return None


def calibrate(bundle: Bundle, session: Session, shown: Calibration, folder: Path) -> None:
    """Show the uncompressed bundle the set, and keep what goes into each graph in `folder`."""
    recorder = Recorder(session, folder, most=len(shown.examples))
    calibration.show(gate.segmenter_of(bundle, recorder), shown)


def answer_golden(bundle: Bundle, after: Segmenter, folder: Path) -> None:
    """Golden pictures and clip, with what the compressed bundle says of them: a replay repeats that."""
    cases = [Case(c.picture, tuple(after.segment(c.picture, c.concepts))) for c in read_golden(bundle)]
    write_golden(folder, cases)
    if (golden := read_clip(bundle)) is not None:
        write_clip(folder, GoldenClip(golden.clip, follow(after, golden.clip)))


def compress_graphs(
    settled: Settled,
    folder: Path,
    scratch: Path,
    shown: Calibration | None,
    say: Say,
    control: Control | None = None,
) -> dict[str, Tally]:
    """Every graph into the new bundle. What is done stays beside the output until the whole is."""
    bundle, tallies = settled.bundle, {}
    questions = None if control is None else control.key()
    unfinished = Unfinished(settled.output, key_of(settled, None if shown is None else shown.hash, questions))
    for name in bundle.specs:
        say(f"compressing {name}")

        def compress(path: Path, name: str = name) -> Tally:
            feeds = read_feeds(scratch, name)
            checked = {} if control is None else {"check": control.of(name)}
            tally: Tally = settled.scheme.compress(
                path, settled.config, keep=settled.keep, feeds=feeds, **checked
            )
            return tally

        made, tallies[name] = unfinished.graph(bundle, name, compress)
        shutil.copytree(made, folder / bundle.graphs[name].folder)
        if control is not None:
            control.keep(name, made)
    return tallies


def write_rest(settled: Settled, scheme: str, folder: Path) -> Manifest:
    """The files that stay as they are, and the manifest, without its report."""
    bundle = settled.bundle
    for record in bundle.files:
        if not record.path.startswith(("graphs/", "golden/")) and record.path != REPORT:
            (folder / record.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.file(record.path), folder / record.path)
    made = {name: getattr(bundle, name) for name in FIELDS}
    tools = {**bundle.tools, "sam3-edge": __version__}
    tools |= {package: version(package) for package in getattr(settled.scheme, "TOOLS", ())}
    return Manifest(**{**made, "scheme": scheme, "tools": tools, "report": {}})


def times(bundle: Bundle, before: Any, after: Any, scratch: Path) -> tuple[dict[str, speed.Speed], str]:
    """The speed of each graph where this machine runs what a device runs, and a word on that."""
    if bundle.target != "onnx":
        return {}, f"not measured: {bundle.target} does not run on this machine"
    return speed.compare(before, after, scratch, bundle.specs), "processor seconds, uncompressed / compressed"


def receive(
    job: Job,
    settled: Settled,
    compressed: Bundle,
    tallies: dict[str, Tally],
    speeds: dict[str, speed.Speed],
    note: str,
    verdict: gate.Verdict,
    questions: gate.Questions,
    shown: Calibration | None,
) -> Receipt:
    """All that there is to say."""
    was, now = (made.to_json()["graphs"] for made in (settled.bundle, compressed))
    return Receipt(
        scheme=job.scheme,
        settings=asdict(settled.config),
        sizes={name: (was[name]["bytes"], now[name]["bytes"]) for name in settled.bundle.specs},
        tallies=tallies,
        speeds=speeds,
        speed_note=note,
        verdict=verdict,
        thresholds=job.thresholds,
        questions=questions.about,
        keep=settled.keep.to_json(),
        calibration=None if shown is None else shown.to_json(),
    )


def refuse(output: Path, receipt: Receipt, bad: list[str]) -> None:
    """Write the report beside the place of the bundle. Raises `CheckError`."""
    Unfinished(output, "").remove()
    place = output.with_name(f"{output.name}.report.json")
    text = json.dumps({"quantization": receipt.to_json()}, indent=1) + "\n"
    write_file(place, text.encode(), overwrite=True)
    raise CheckError(
        f"{output} was not written, it does not find what the uncompressed bundle finds: {'; '.join(bad)}; "
        f"{place} says more; keep some parts (--keep) or use a scheme of more bits"
    )
