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

from sam3_edge import __version__
from sam3_edge.builtin import builtin_checkpoint
from sam3_edge.bundle import Bundle
from sam3_edge.concept import VISUAL
from sam3_edge.concepts import write_concepts
from sam3_edge.errors import CheckError, UsageError
from sam3_edge.golden import Case, write_golden
from sam3_edge.golden_clip import GoldenClip, follow, write_clip
from sam3_edge.manifest import GraphFile, Manifest, Source
from sam3_edge.phrases import MERGES, Phrases
from sam3_edge.segmenter import Segmenter
from sam3_edge.spec import GraphSpec, ModelConfig, graph_specs
from sam3_edge.staging import seal, staging
from sam3_edge.tokenizer import Tokenizer

from . import checkpoint as checkpoints
from .eager import Call, EagerSession
from .examples import example_clip, examples, track
from .job import Job as Job
from .job import Settled, settle
from .model import fold
from .parity import Parity, Trial, prove
from .threads import use_threads

KEPT_CALLS = 2  # of each graph: the features of one 1008 px picture are 120 MB


@dataclass(frozen=True)
class Reference:
    """What the PyTorch model said, kept after the model itself has been freed."""

    manifest: Manifest
    calls: dict[str, list[Call]]
    cases: list[Case]


def load(job: Job) -> checkpoints.Checkpoint:
    """The checkpoint with the job's sizes."""
    found = checkpoints.load(
        job.checkpoint or builtin_checkpoint(),
        official=job.official,
        revision=job.revision,
        tokenizer=job.tokenizer,
        image_size=job.image_size,
        memory_pool=job.memory_pool,
    )
    if found.merges is None:
        raise UsageError(f"{found.name} comes without a tokenizer: pass --tokenizer merges.txt")
    config = replace(found.config, max_boxes=job.max_boxes or found.config.max_boxes)
    found.model.config = config
    return replace(found, config=config)


def plan(job: Job) -> dict[str, Any]:
    """What would be exported: the checkpoint is read and checked, nothing is written."""
    settled, found = settle(job), load(job)
    graphs = {name: asdict(spec) for name, spec in wanted_graphs(found.config, job).items()}
    return {
        "output": str(settled.output),
        "exists": settled.output.exists(),
        "checkpoint": found.name,
        "sha256": found.sha256,
        "licence": found.licence,
        "target": job.target,
        "scheme": settled.scheme,
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
    settled = settle(job)
    output, target = settled.output, settled.target
    with use_threads(job.threads), staging(output, overwrite=job.overwrite) as folder:
        reference = write_graphs(job, settled, folder, say)
        seal(folder, reference.manifest)
        say("comparing with PyTorch")
        trial = Trial(target.open_session, target.GATES[settled.scheme], threads=job.threads)
        parity = prove(Bundle.open(folder), reference.calls, reference.cases, trial)
        if bad := parity.failures():
            raise CheckError(f"{output} was not written, it is not the model: {'; '.join(bad)}")
        report = {"parity": parity.to_json()}
        if examine := getattr(target, "examine", None):
            say("examining the graphs")
            report[job.target] = examine(Bundle.open(folder), reference.calls)
        (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="ascii")
        seal(folder, replace(reference.manifest, report=summary(parity)))
    return Bundle.open(output), parity


def write_graphs(job: Job, settled: Settled, folder: Path, say: Callable[[str], None]) -> Reference:
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
    model = Segmenter(found.config, eager, phrases)
    cases = answer_examples(model, job)
    if found.config.tracks:
        track(eager, found.config, [call.answers["trunk_feature"] for call in eager.calls["backbone"]])
        clip = example_clip(None if job.text else job.phrases)
        seen = follow(model, clip)
    if job.phrases:
        pack = dict.fromkeys((*job.phrases, VISUAL))
        write_concepts(folder, {phrase: phrases.prompt(phrase) for phrase in pack})
    write_golden(folder, cases)
    if found.config.tracks:
        write_clip(folder, GoldenClip(clip, seen))
    write_licence(folder, found)
    fold(found.model)
    graphs = {}
    for name, spec in wanted_graphs(found.config, job).items():
        say(f"lowering {name}")
        place = folder / "graphs" / name
        place.mkdir(parents=True)
        file = settled.target.lower(found.model.graph(name), spec, place, **settled.settings)
        if settled.quantize is not None:
            settled.quantize.compress(place / file)
        graphs[name] = GraphFile(f"graphs/{name}/{file}", function_of(settled.target, place / file))
    manifest = Manifest(
        source=Source(found.name, found.revision, found.sha256),
        config=found.config,
        target=job.target,
        scheme=settled.scheme,
        graphs=graphs,
        tools={"sam3-edge": __version__, "torch": torch.__version__, **settled.target.tools()},
        report={},
        licence=found.licence,
    )
    return Reference(manifest, eager.calls, cases)


def function_of(target: ModuleType, file: Path) -> str | None:
    """Which function of a file is the graph, where a target's files have some."""
    name: str | None = target.function(file) if hasattr(target, "function") else None
    return name


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
    answers = {name: got.to_json() for name, got in parity.judged.items()}
    return {"relative_error": worst, **answers}
