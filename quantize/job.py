"""What to compress, and how: a request, and the same with nothing left open."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from sam3_edge import registry
from sam3_edge.bundle import Bundle
from sam3_edge.errors import ResourceError, UsageError

from .gate import Thresholds
from .keep import Keep, read_keep

FIELDS = ("source", "config", "target", "scheme", "graphs", "tools", "report", "licence")  # of a manifest
BASE = {"onnx": "fp32", "tensorrt": "fp32", "coreml": "fp16"}  # the scheme that compression starts from
MEMORY = Path("/proc/meminfo")
GIGABYTE = 1e9


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to compress, and how. Without `output` the bundle lies beside the first, named after the scheme.

    `keep`: parts that stay at another level, as `--keep` has them. `pictures`, `clips`: how many the gate
    asks of the dataset `words` name, whose pictures lie in `folder`. `accuracy_control`: what harms
    most stays in floating point until the gate is passed.
    """

    bundle: Path
    scheme: str
    output: Path | None = None
    keep: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    folder: Path | None = None
    pictures: int = 256
    clips: int = 8
    thresholds: Thresholds = field(default_factory=Thresholds)
    calibration: Path | None = None
    calibration_phrases: tuple[str, ...] = ()
    overwrite: bool = False
    threads: int | None = None
    accuracy_control: bool = False


@dataclass(frozen=True)
class Settled:
    """A job's bundle, scheme, keep-list and place."""

    bundle: Bundle
    scheme: ModuleType
    config: Any
    keep: Keep
    output: Path


def settle(job: Job) -> Settled:
    """Decide what the job leaves open. Raises `UsageError` or `ResourceError` before anything is computed."""
    scheme, bundle = registry.load("scheme", job.scheme), Bundle.open(job.bundle)
    if bundle.target not in scheme.TARGETS:
        raise UsageError(
            f"scheme {job.scheme} is for {', '.join(sorted(scheme.TARGETS))}, and {job.bundle} for "
            f"{bundle.target}: "
            f"choose from {', '.join(schemes_of(bundle.target))}"
        )
    base = BASE[bundle.target]
    if bundle.scheme != base:
        raise UsageError(
            f"{job.bundle} is in {bundle.scheme} already: compress the one in {base}, which "
            f"`sam3-edge export --target {bundle.target} --scheme {base}` writes"
        )
    config = configured(job, scheme)
    if job.accuracy_control and not getattr(scheme, "CALIBRATED", False):
        raise UsageError(
            f"--accuracy-control is NNCF's, for schemes that are calibrated ({', '.join(calibrated())}), and "
            f"{job.scheme} is not: --sensitivity finds what it should --keep"
        )
    rows = scheme.ROWS(bundle.config) if callable(scheme.ROWS) else scheme.ROWS
    keep = Keep((*read_keep(job.keep), *rows))
    output = job.output or Path(f"{job.bundle.absolute().name}-{job.scheme}")
    check_memory(bundle, scheme)
    return Settled(bundle, scheme, config, keep, output)


def schemes_of(target: str) -> list[str]:
    """The schemes that a target has."""
    names = registry.names("scheme")
    return [name for name in names if target in registry.load("scheme", name).TARGETS]


def calibrated() -> list[str]:
    """The schemes that want to see pictures."""
    schemes = {name: registry.load("scheme", name) for name in registry.names("scheme")}
    return [name for name, scheme in schemes.items() if getattr(scheme, "CALIBRATED", False)]


def configured(job: Job, scheme: ModuleType) -> Any:
    """The scheme's config with the job's settings. Raises `UsageError` for one that it does not have."""
    known = set(scheme.Config.__dataclass_fields__)
    if strange := sorted(set(job.settings) - known):
        raise UsageError(
            f"scheme {job.scheme} has no setting {strange[0]!r}: choose from {', '.join(sorted(known))}"
        )
    return scheme.Config(**job.settings)


def key_of(settled: Settled, calibration: str | None, questions: str | None = None) -> str:
    """What makes two compressions of a graph the same: 16 hex digits.

    `questions`: what decides what stays in floating point, if anything is asked while graphs are compressed.
    """
    facts = [
        settled.bundle.hash,
        settled.scheme.__name__,
        asdict(settled.config),
        settled.keep.to_json(),
        calibration,
        questions,
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def check_memory(bundle: Bundle, scheme: ModuleType) -> None:
    """Raises `ResourceError`, with the need, if the largest graph cannot be compressed in what is free."""
    sizes = {name: graph["bytes"] for name, graph in bundle.to_json()["graphs"].items()}
    largest = max(sizes, key=lambda name: sizes[name])
    need = scheme.memory(sizes[largest]) if hasattr(scheme, "memory") else 3 * sizes[largest]
    free = free_memory()
    if free is not None and need > free:
        raise ResourceError(
            f"compressing graph {largest} needs about {need / GIGABYTE:.1f} GB of memory, and "
            f"{free / GIGABYTE:.1f} GB are free: close other programs, or use a machine with more"
        )


def free_memory() -> int | None:
    """Bytes that can be had without swapping; None where the system does not tell."""
    if not MEMORY.exists():
        return None
    lines = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines() if ":" in line)
    return int(lines["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in lines else None
