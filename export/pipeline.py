"""`sam3-edge export`: a checkpoint to a bundle that has been measured against it, or to no bundle at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from sam3_edge import __version__, registry
from sam3_edge.builtin import builtin_checkpoint
from sam3_edge.bundle import Bundle
from sam3_edge.concept import VISUAL
from sam3_edge.concepts import write_concepts
from sam3_edge.errors import CheckError, UsageError
from sam3_edge.golden import Case, write_golden
from sam3_edge.manifest import GraphFile, Manifest, Source
from sam3_edge.phrases import MERGES, Phrases
from sam3_edge.segmenter import Segmenter
from sam3_edge.spec import GraphSpec, ModelConfig, graph_specs
from sam3_edge.staging import seal, staging
from sam3_edge.tokenizer import Tokenizer

from . import checkpoint as checkpoints
from .eager import Call, EagerSession
from .examples import examples, track
from .model import fold
from .parity import GATES, Parity, prove

EXACT = "fp32"  # the scheme that is the absence of one
KEPT_CALLS = 2  # of each graph: the features of one 1008 px picture are 120 MB


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to export, and how. `checkpoint` None is the built-in model; `phrases` go into the concept pack.

    Without `output` the bundle is named after what it is, in the current folder.
    """

    output: Path | None
    target: str
    scheme: str = EXACT
    checkpoint: str | None = None
    official: bool = False
    revision: str | None = None
    tokenizer: Path | None = None
    image_size: int | None = None
    max_boxes: int | None = None
    phrases: tuple[str, ...] = ()
    text: bool = True
    overwrite: bool = False
    threads: int | None = None


@dataclass(frozen=True)
class Reference:
    """What the PyTorch model said, kept after the model itself has been freed."""

    manifest: Manifest
    calls: dict[str, list[Call]]
    cases: list[Case]


def plugins(job: Job) -> tuple[ModuleType, ModuleType | None]:
    """The target and the scheme. Raises `UsageError` before any weight is read."""
    target = registry.load("target", job.target)
    scheme = None if job.scheme == EXACT else registry.load("scheme", job.scheme)
    if scheme is not None and job.target not in scheme.TARGETS:
        raise UsageError(
            f"scheme {job.scheme} is for {', '.join(sorted(scheme.TARGETS))}, not for {job.target}"
        )
    if job.scheme not in GATES:
        raise UsageError(f"scheme {job.scheme} has no parity gate: it cannot be exported")
    if not job.text and not job.phrases:
        raise UsageError("--no-text leaves the bundle without words: give it some with --concepts FILE")
    return target, scheme


def load(job: Job) -> checkpoints.Checkpoint:
    """The checkpoint with the job's sizes."""
    found = checkpoints.load(
        job.checkpoint or builtin_checkpoint(),
        official=job.official,
        revision=job.revision,
        tokenizer=job.tokenizer,
        image_size=job.image_size,
    )
    if found.merges is None:
        raise UsageError(f"{found.name} comes without a tokenizer: pass --tokenizer merges.txt")
    config = replace(found.config, max_boxes=job.max_boxes or found.config.max_boxes)
    found.model.config = config
    return replace(found, config=config)


def default_output(job: Job) -> Path:
    """`NAME[-rSIZE]-SCHEME-TARGET`, known before the checkpoint is read."""
    path = Path(job.checkpoint or "shapes").absolute()
    name = path.parent.name if path.stem == "model" else path.stem
    size = f"-r{job.image_size}" if job.image_size else ""
    return Path(f"{name}{size}-{job.scheme}-{job.target}")


def plan(job: Job) -> dict[str, Any]:
    """What would be exported: the checkpoint is read and checked, nothing is written."""
    plugins(job)
    found, output = load(job), job.output or default_output(job)
    graphs = {name: asdict(spec) for name, spec in wanted_graphs(found.config, job).items()}
    return {
        "output": str(output),
        "exists": output.exists(),
        "checkpoint": found.name,
        "sha256": found.sha256,
        "licence": found.licence,
        "target": job.target,
        "scheme": job.scheme,
        "phrases": list(job.phrases),
        "config": found.config.to_json(),
        "graphs": graphs,
    }


def wanted_graphs(config: ModelConfig, job: Job) -> dict[str, GraphSpec]:
    """The graphs of the bundle."""
    return {name: spec for name, spec in graph_specs(config).items() if job.text or name != "text"}


def export(job: Job, say: Callable[[str], None] = lambda text: None) -> tuple[Bundle, Parity]:
    """Write the bundle and return it with its receipt.

    Raises `CheckError` if it does not agree with PyTorch; then, as after any error, nothing is written.
    """
    target, scheme = plugins(job)
    output = job.output or default_output(job)
    with staging(output, overwrite=job.overwrite) as folder:
        reference = write_graphs(job, folder, target=target, scheme=scheme, say=say)
        seal(folder, reference.manifest)
        say("comparing with PyTorch")
        parity = prove(Bundle.open(folder), reference.calls, reference.cases, threads=job.threads)
        if bad := parity.failures():
            raise CheckError(f"{output} was not written, it is not the model: {'; '.join(bad)}")
        report = parity.to_json()
        (folder / "report.json").write_text(json.dumps({"parity": report}, indent=1) + "\n", encoding="ascii")
        seal(folder, replace(reference.manifest, report=summary(parity)))
    return Bundle.open(output), parity


def write_graphs(
    job: Job, folder: Path, *, target: ModuleType, scheme: ModuleType | None, say: Callable[[str], None]
) -> Reference:
    """Everything that needs the PyTorch model: reference and golden answers, words, each graph."""
    say("loading the checkpoint")
    found = load(job)
    assert found.merges is not None
    if job.text:
        (folder / MERGES).parent.mkdir()
        shutil.copyfile(found.merges, folder / MERGES)
    eager = EagerSession(found.model, keep=KEPT_CALLS)
    tokenizer = Tokenizer.read(found.merges, vocab_size=found.config.text_vocab)
    phrases = Phrases(eager, length=found.config.text_length, tokenizer=tokenizer)
    say("running PyTorch")
    cases = answer_examples(Segmenter(found.config, eager, phrases), job)
    if found.config.tracks:
        track(eager, found.config, [call.answers["trunk_feature"] for call in eager.calls["backbone"]])
    if job.phrases:
        pack = dict.fromkeys((*job.phrases, VISUAL))
        write_concepts(folder, {phrase: phrases.prompt(phrase) for phrase in pack})
    write_golden(folder, cases)
    write_licence(folder, found)
    fold(found.model)
    graphs = {}
    for name, spec in wanted_graphs(found.config, job).items():
        say(f"lowering {name}")
        place = folder / "graphs" / name
        place.mkdir(parents=True)
        file = target.lower(found.model.graph(name), spec, place)
        if scheme is not None:
            scheme.compress(place / file)
        graphs[name] = GraphFile(f"graphs/{name}/{file}")
    manifest = Manifest(
        source=Source(found.name, found.revision, found.sha256),
        config=found.config,
        target=job.target,
        scheme=job.scheme,
        graphs=graphs,
        tools={"sam3-edge": __version__, "torch": torch.__version__, **target.tools()},
        report={},
        licence=found.licence,
    )
    return Reference(manifest, eager.calls, cases)


def answer_examples(segmenter: Segmenter, job: Job) -> list[Case]:
    """What PyTorch says of the example pictures; a bundle without text is asked only what is in its pack."""
    pictures = examples(None if job.text else job.phrases)
    # Every query is kept once, so that the masks graph is compared on real queries whatever is found.
    segmenter.segment(pictures[0][0], pictures[0][1][0], threshold=0.0)
    return [Case(picture, tuple(segmenter.segment(picture, asked))) for picture, asked in pictures]


def write_licence(folder: Path, found: checkpoints.Checkpoint) -> None:
    """The licence of the weights travels with them."""
    if found.licence != "SAM":
        return
    if found.licence_file is not None:
        shutil.copyfile(found.licence_file, folder / "LICENSE-SAM")
    else:
        (folder / "LICENSE-SAM").write_text(SAM_NOTICE, encoding="ascii")


SAM_NOTICE = """\
The files in graphs/ and concepts/ are derived from weights of SAM 3 by Meta and are under the SAM License:
https://github.com/facebookresearch/sam3/blob/main/LICENSE
Redistribution is allowed under the same terms only and with a copy of that licence, which was not beside the
checkpoint: add it here before you pass this bundle on.
"""


def summary(parity: Parity) -> dict[str, Any]:
    """The receipt in short, for `bundle.json`."""
    worst: dict[str, float] = {}
    for row in parity.outputs:
        worst[row.graph] = max(worst.get(row.graph, 0.0), float(f"{row.relative:.3g}"))
    return {"relative_error": worst, "answers": parity.answers.to_json()}
