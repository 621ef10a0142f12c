"""What to export, and how: a request, and the same with nothing left open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from sam3_edge import registry
from sam3_edge.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to export, and how. `checkpoint` None is the built-in model; `phrases` go into the concept pack.

    Without `output` the bundle is named after what it is, in the current folder; without `scheme` it gets the
    target's first. `settings` are the target's own, by name.
    """

    output: Path | None
    target: str
    scheme: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: str | None = None
    official: bool = False
    revision: str | None = None
    tokenizer: Path | None = None
    image_size: int | None = None
    max_boxes: int | None = None
    memory_pool: int | None = None
    phrases: tuple[str, ...] = ()
    text: bool = True
    overwrite: bool = False
    threads: int | None = None


@dataclass(frozen=True)
class Settled:
    """A job's target, scheme and place. `quantize` is None if the target writes the scheme by itself.

    A target is a module with `SCHEMES`, which its `lower` writes, the default first; `GATES` by scheme, those
    of quantization included; `SETTINGS`, what its `lower` can be told by name; `open_session`, which runs a
    bundle for the comparison; `tools`; and perhaps `function`, which function of a file is the graph, and
    `examine`, what the report says of the graphs beyond that, with `tables` of it for people.
    """

    target: ModuleType
    scheme: str
    quantize: ModuleType | None
    settings: Mapping[str, Any]
    output: Path


def settle(job: Job) -> Settled:
    """Decide what the job leaves open. Raises `UsageError` before any weight is read."""
    target = registry.load("target", job.target)
    scheme = job.scheme or target.SCHEMES[0]
    quantize = None if scheme in target.SCHEMES else registry.load("scheme", scheme)
    if quantize is not None and job.target not in quantize.TARGETS:
        raise UsageError(
            f"scheme {scheme} is for {', '.join(sorted(quantize.TARGETS))}, not for {job.target}"
        )
    if scheme not in target.GATES:
        raise UsageError(f"scheme {scheme} has no parity gate for {job.target}: it cannot be exported")
    if strange := sorted(job.settings.keys() - target.SETTINGS):
        raise UsageError(f"target {job.target} has no setting {strange[0]!r}: leave it out")
    if not job.text and not job.phrases:
        raise UsageError("--no-text leaves the bundle without words: give it some with --concepts FILE")
    known = {"scheme": scheme, **job.settings}
    settings = {name: value for name, value in known.items() if name in target.SETTINGS}
    return Settled(target, scheme, quantize, settings, job.output or default_output(job, scheme))


def default_output(job: Job, scheme: str) -> Path:
    """`NAME[-rSIZE]-SCHEME-TARGET`, known before the checkpoint is read."""
    path = Path(job.checkpoint or "shapes").absolute()
    name = path.parent.name if path.stem == "model" else path.stem
    size = f"-r{job.image_size}" if job.image_size else ""
    return Path(f"{name}{size}-{scheme}-{job.target}")
