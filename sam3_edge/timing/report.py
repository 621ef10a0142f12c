"""The report of a benchmark: what was measured, of what, on what, and what speaks against it."""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sam3_edge import console
from sam3_edge.bundle import Bundle
from sam3_edge.errors import CheckError, SourceError
from sam3_edge.machine.command import redacted
from sam3_edge.machine.identity import commit, identity
from sam3_edge.machine.watch import Machine, Watch
from sam3_edge.segmenter import load
from sam3_edge.timing import cold
from sam3_edge.timing.components import MOST_UNACCOUNTED
from sam3_edge.timing.footage import Footage, jpeg
from sam3_edge.timing.percentiles import UNSTABLE, Summary
from sam3_edge.timing.running import Plan, measure

REST, QUICK_REST = 30.0, 5.0  # seconds without a frame, for what the machine takes anyway
KIND, SCHEMA = "sam3-edge benchmark", 1
FLAT = re.compile(r"\[\s+([^\[\]{}]*?)\s+\]")  # a list of plain values
CLOCK = (
    "camera frame in (encoded) to masks on the host: decoding, resizing, all graphs, the loop, drawing masks"
)


def benchmark(plan: Plan) -> dict[str, Any]:
    """Measure a bundle, and report. Raises what `load`, `Plan` and `measure` raise."""
    bundle, shot = Bundle.open(plan.bundle), plan.shot()
    machine = Machine()
    document = {**header(plan, bundle, shot), "machine": identity(), "before": machine.state()}
    document |= run_cold(plan, shot) if plan.mode == "cold" else run_warm(plan, shot, machine)
    document["after"] = machine.state()
    return document | {"warnings": warnings(document)}


def header(plan: Plan, bundle: Bundle, shot: Footage) -> dict[str, Any]:
    """What is measured, by whom and how, before anything is."""
    return {
        "kind": KIND,
        "schema": SCHEMA,
        "mode": plan.mode,
        "quick": plan.quick,
        "standard": plan.standard,
        "utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": redacted([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": commit(),
        "clock": CLOCK,
        "bundle": bundle_facts(bundle),
        "clip": shot.to_json(),
        "threads": plan.threads,
        "device": plan.device,
    }


def bundle_facts(bundle: Bundle) -> dict[str, Any]:
    """Which bundle it is, and how its answers compare with PyTorch's."""
    facts = bundle.to_json()
    return {
        "name": bundle.path.name,
        "sha256": bundle.hash,
        "source": facts["source"]["name"],
        "target": bundle.target,
        "scheme": bundle.scheme,
        "megabytes": round(facts["bytes"] / 1e6, 1),
        "image_size": bundle.config.image_size,
        "memory_slots": bundle.config.memory_slots,
        "receipt": facts["report"].get("answers") or {},
    }


def resting(plan: Plan, machine: Machine) -> Watch | None:
    """The machine while nothing runs, where it tells what it takes; None elsewhere."""
    with Watch(machine) as first:
        pass
    if machine.total() is None and first.energy[0] is None:
        return None
    with Watch(machine) as idle, console.progress("idle", None):
        time.sleep(QUICK_REST if plan.quick else REST)
    return idle


def run_warm(plan: Plan, shot: Footage, machine: Machine) -> dict[str, Any]:
    """The modes that follow many frames in this process."""
    began = time.perf_counter()
    with load(plan.bundle, threads=plan.threads, device=plan.device) as model:
        opened = time.perf_counter() - began
        phrases = plan.asked(model)
        for phrase in phrases:
            model.phrases.prompt(phrase)
        encoded = time.perf_counter() - began - opened
        idle, runs = resting(plan, machine), []
        for count in plan.counts:
            what = "as many objects as are found" if count is None else f"{count} objects"
            with console.progress(what, plan.budget.frames) as advance:
                runs.append(measure(model, plan, shot, count, machine=machine, idle=idle, advance=advance))
    times = {"open_ms": round(1e3 * opened, 3), "phrases_ms": round(1e3 * encoded, 3)}
    return {"phrases": list(phrases), **times, "runs": runs}


def run_cold(plan: Plan, shot: Footage) -> dict[str, Any]:
    """Fresh processes, one after the other."""
    with load(plan.bundle, threads=plan.threads, device=plan.device) as model:
        phrases = plan.asked(model)
    count = plan.processes or (cold.QUICK_PROCESSES if plan.quick else cold.PROCESSES)
    frames = shot.endless()
    with tempfile.TemporaryDirectory() as folder, console.progress("processes", count) as advance:
        paths = [Path(folder) / f"{place}.jpg" for place in range(2)]
        for path in paths:
            path.write_bytes(jpeg(next(frames)))
        order: dict[str, Any] = {"bundle": str(plan.bundle), "phrases": phrases, "objects": plan.counts[0]}
        order |= {"frames": [str(path) for path in paths], "threads": plan.threads, "device": plan.device}
        started = []
        for _ in range(count):
            started.append(cold.start(order))
            advance(1)
    totals = [one["first_masks_ms"] for one in started]
    stages = {
        name: Summary.of([one["stages_ms"][name] for one in started]).to_json()
        for name in started[0]["stages_ms"]
    }
    found = {
        "objects": plan.counts[0],
        "first_masks_ms": Summary.of(totals).to_json(),
        "stages_ms": stages,
        "peak_mb": max(one["peak_mb"] for one in started),
        "page_cache": "warm: the files had been read before, by this process",
        "processes": started,
    }
    return {"phrases": list(phrases), "cold": found}


def warnings(document: dict[str, Any]) -> list[str]:
    """What speaks against the numbers, in words."""
    found = []
    if document["quick"]:
        found.append("quick: shorter than a run whose numbers may be published")
    elif not document["standard"]:
        found.append("shorter than the rules want: 1024 frames and 60 s, 600 s when sustained")
    before, after = document["before"], document["after"]
    risen = [name for name, count in after["slowed"].items() if count > before["slowed"].get(name, 0)]
    if risen:
        found.append(f"the machine slowed itself down: {', '.join(risen)} rose")
    if held := sorted({reason for gpu in after["gpus"] for reason in gpu["slowed"] or ()}):
        found.append(f"the GPU held its clocks back: {', '.join(held)}")
    loads, cores = [state["load_1min"] or 0 for state in (before, after)], document["machine"]["cores"]
    if cores and max(loads) > cores + 1:
        found.append(f"other programs ran: a load of {max(loads):g} on {cores} cores")
    for run in document.get("runs", []):
        found += [f"{label(run['objects'])}: {what}" for what in about(run)]
    if (latency := document.get("cold", {}).get("first_masks_ms")) and (latency["cv"] or 0) > UNSTABLE:
        found.append(f"cold starts vary by {latency['cv']:.1%}: other programs ran, or clocks changed")
    return found


def about(run: dict[str, Any]) -> list[str]:
    """What speaks against one run."""
    found = []
    latency, memory, named = run["latency_ms"], run["memory"], run["components"]
    if (latency["cv"] or 0) > UNSTABLE:
        found.append(f"latency varies by {latency['cv']:.1%} (above {UNSTABLE:.0%}): it is not steady")
    if not run["warmup"]["steady"]:
        found.append(f"not steady after {run['warmup']['frames']} frames of warming up")
    if named["unaccounted"] >= MOST_UNACCOUNTED:
        found.append(f"{named['unaccounted']:.1%} of the time is in no component")
    if memory["leaks"]:
        found.append(f"memory grows by {memory['growth_mb_per_1000_frames']:.1f} MB for 1000 frames")
    if (pace := run.get("sustained")) and pace["throttles"]:
        found.append(
            f"throttling: a frame takes {pace['sustained_by_burst']:.2f} times as long in the last "
            f"{pace['window_s']:g} s as in the first"
        )
    return found


def label(objects: int | None) -> str:
    """How a run is called."""
    return "found" if objects is None else f"{objects} object{'' if objects == 1 else 's'}"


def dumped(document: dict[str, Any]) -> str:
    """JSON that people can read too: lists of numbers on one line."""
    text = json.dumps(document, indent=1)
    return FLAT.sub(lambda found: "[" + re.sub(r"\s*\n\s*", " ", found[1]) + "]", text) + "\n"


def read(path: Path) -> dict[str, Any]:
    """A `report.json`. Raises `SourceError` for what cannot be read, `CheckError` for what is none."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SourceError(
            f"report {path} cannot be read ({error}): give a report.json of benchmark"
        ) from error
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise CheckError(f"{path} is no report of `sam3-edge benchmark`: give a report.json")
    if document.get("schema") != SCHEMA:
        raise CheckError(
            f"report {path} has schema {document.get('schema')}, this version reads {SCHEMA}: measure again"
        )
    return document


def runs_of(document: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """Its runs; none of a cold one."""
    runs: Sequence[dict[str, Any]] = document.get("runs", [])
    return runs
