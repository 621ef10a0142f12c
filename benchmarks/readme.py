"""Tables of measurements in the pages, out of committed JSON: `python -m sam3_edge.benchmarks.readme`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from sam3_edge.timing import output, tables
from sam3_edge.timing.percentiles import told
from sam3_edge.timing.report import label, read, runs_of
from sam3_edge.writing import write_file

from . import distill_claims, peers, speed, students_full, tiers
from .document import finish
from .judge_rows import ONNX, cell
from .markdown import table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path("benchmarks/results")
HEAD = (
    *("machine", "bundle", "px", "mode", "objects", "n", "mean ms", "median ms", "p90 ms", "processor ms"),
    *("peak MB", "mean IoU with PyTorch's masks", "cgF1, frozen pictures", "report"),
)
# Machines that people ask for; a report whose machine has this name fills the row.
WANTED = ("Jetson Orin Nano", "Jetson AGX Orin", "Jetson AGX Thor", "Mac", "NVIDIA GPU")


def devices(root: Path) -> str:
    """Device, latency, memory and accuracy: a row for each run of each committed report."""
    rows, seen = [], set()
    scores = judged(root)
    for path in reports(root):
        document = read(path)
        seen.add(name_of(document))
        score = scores.get(document["bundle"]["sha256"], "")
        link = f"[JSON]({path.relative_to(root)})"
        rows += [(*row, score, link) for row in measured(document)]
    rows += [(name, *[""] * (len(HEAD) - 1)) for name in WANTED if not any(name in one for one in seen)]
    return table(HEAD, rows)


def reports(root: Path) -> list[Path]:
    """The committed ones of devices."""
    return sorted((root / RESULTS / "devices").glob("*/report.json"))


def name_of(document: dict[str, Any]) -> str:
    """The machine; a GPU's name where one is used."""
    gpus = document["before"]["gpus"] if document["device"] in ("cuda", "trt") else []
    name = tables.machine(document["machine"])
    return f"{name}, NVIDIA GPU {gpus[0].get('name', '')}".strip() if gpus else name


def measured(document: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The cells of each run, up to the accuracy against PyTorch."""
    bundle = document["bundle"]
    which = f"{bundle['name']}, {bundle['target']} {bundle['scheme']}"
    mode = document["mode"] + (" (quick)" if document["quick"] else "")
    accuracy = bundle["receipt"].get("mean_iou")
    agrees = "" if accuracy is None else f"{accuracy:.4f}"
    for objects, latency, processor, peak in numbers(document):
        cells = (told(latency["p50"]), told(latency["p90"]), processor, f"{peak:.0f}")
        count = (str(latency["n"]), f"{latency['mean']:.1f}")
        px = str(bundle["image_size"])
        yield (name_of(document), which, px, mode, label(objects).split()[0], *count, *cells, agrees)


def numbers(document: dict[str, Any]) -> Iterator[tuple[int | None, dict[str, Any], str, float]]:
    """Objects, latency, processor milliseconds and peak of each run; cold ones are to the first masks."""
    if "cold" in document:
        found = document["cold"]
        yield found["objects"], found["first_masks_ms"], "", found["peak_mb"]
    for run in runs_of(document):
        used = f"{run['processor_ms_per_frame']:.1f}"
        yield run["objects"], run["latency_ms"], used, run["memory"]["peak_mb"]


def judged(root: Path) -> dict[str, str]:
    """cgF1 on the frozen pictures, by the hash of the bundle that was judged."""
    document = json.loads((root / RESULTS / "judge.json").read_text())
    rows = (row for row in document["rows"] if (row["program"], row["stratum"]) == (ONNX, "phrase"))
    return {document["bundle"]: cell(next(rows)["cg_f1"])}


def told_by(module: ModuleType, name: str) -> Callable[[Path], str]:
    """The table of one result, as its benchmark writes it."""
    return lambda root: str(module.markdown(json.loads((root / RESULTS / f"{name}.json").read_text())))


PAGES: dict[str, dict[str, Callable[[Path], str]]] = {
    "README.md": {"devices": devices, "peers": told_by(peers, "peers")},
    "docs/performance.md": {"speed": told_by(speed, "speed"), "tiers": told_by(tiers, "tiers")},
    "docs/distill.md": {
        "students": told_by(students_full, "students_full"),
        "arms": told_by(distill_claims, "distill_arms"),
    },
}


def filled(page: str, root: Path) -> str:
    """A page with every table that a mark stands for, as the JSON is now."""
    text = (root / page).read_text()
    for name, block in PAGES[page].items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        assert rest and after, f"{page} has no place for {name}"
        text = before + begin + block(root) + end + after
    return text


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a table is not as the JSON is.")
def main(check: bool) -> None:
    """Write the tables, and the page and the row beside every report of a device."""
    if check:
        stale = [page for page in PAGES if filled(page, ROOT) != (ROOT / page).read_text()]
        finish([f"{page}: run python -m sam3_edge.benchmarks.readme" for page in stale])
    for report in reports(ROOT):
        output.write(read(report), report.parent, overwrite=True)
    for page in PAGES:
        write_file(ROOT / page, filled(page, ROOT).encode(), overwrite=True)


if __name__ == "__main__":
    main()
