"""Target `coreml`: the built-in model's packages are the model, and answer frozen pictures as it does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tiny_export import CONFIG, tiny_model

from sam3_edge import Bundle, load
from sam3_edge.builtin import builtin_checkpoint
from sam3_edge.bundle import verify
from sam3_edge.concept import Concept
from sam3_edge.errors import BackendError
from sam3_edge.export import checkpoint, coreml_fixes, pipeline, to_coreml
from sam3_edge.export.coreml_tools import TORCH_OPERATORS, coremltools
from sam3_edge.export.eager import EagerSession
from sam3_edge.judge import frozen_clips, frozen_pictures
from sam3_edge.judge.answering import answer_pictures
from sam3_edge.judge.case import Clip
from sam3_edge.judge.clip_answering import answer_clips
from sam3_edge.judge.datasets import ClipQuestion
from sam3_edge.judge.frozen_clips import FrozenClip
from sam3_edge.judge.measures import ClipJudge, PictureJudge
from sam3_edge.phrases import Phrases
from sam3_edge.runtimes import on_coreml
from sam3_edge.segmenter import Segmenter
from sam3_edge.spec import graph_specs

PICTURES = 12  # of the frozen ones
CLIP, FRAMES = (
    4,
    8,
)  # two look-alikes, from their births on; enough frames for six memories and a pointer each
POINTS = 0.005


@pytest.fixture(scope="module")
def builtin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in model's bundle."""
    place = tmp_path_factory.mktemp("coreml") / "shapes"
    bundle, _ = pipeline.export(pipeline.Job(output=place, target="coreml", threads=1))
    return bundle.path


def report(bundle: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bundle / "report.json").read_bytes())["parity"]
    return found


def test_the_builtin_model_is_within_its_limits(builtin: Path) -> None:
    bundle, receipt = verify(builtin), report(builtin)
    assert (bundle.target, bundle.scheme) == ("coreml", "fp16")
    assert bundle.tools["coremltools"] == coremltools.__version__
    outputs = {(name, t.name) for name, spec in graph_specs(bundle.config).items() for t in spec.outputs}
    for rows, limit in ((receipt["outputs"], 5e-3), (receipt["exact"], 1e-3)):
        assert {(row["graph"], row["output"]) for row in rows} == outputs
        assert all(0 < row["relative"] <= limit for row in rows)
    answers = receipt["answers"]
    assert answers["objects"] >= 6 and answers["missing"] == answers["extra"] == 0
    assert answers["min_iou"] >= 0.98


def test_the_tracker_has_functions_that_share_their_weights(builtin: Path) -> None:
    bundle = Bundle.open(builtin)
    per_object = {name for name, spec in bundle.specs.items() if spec.per_object}
    assert {name for name, file in bundle.graphs.items() if file.function == "objects_1"} == per_object
    surveyed = json.loads((builtin / "report.json").read_bytes())["coreml"]
    for name, found in surveyed.items():
        names = [each["function"] for each in found]
        assert names == (["objects_1", "objects_4"] if name in per_object else ["model"])
    (title, columns, rows) = to_coreml.tables(surveyed)[0]
    assert "device" in title and len(rows) == len(surveyed) + len(per_object)
    assert all(len(row) == len(columns) for row in rows)


@pytest.fixture(scope="module")
def both(builtin: Path) -> Iterator[tuple[Segmenter, Segmenter]]:
    """The evaluated packages, and PyTorch."""
    found = checkpoint.load(builtin_checkpoint())
    with load(builtin, emulate=True, threads=1) as ours:
        eager = EagerSession(found.model)
        phrases = Phrases(eager, length=found.config.text_length, tokenizer=ours.phrases.tokenizer)
        yield ours, Segmenter(found.config, eager, phrases)


def test_the_builtin_model_answers_frozen_pictures_as_in_pytorch(both: tuple[Segmenter, Segmenter]) -> None:
    asked = list(islice(frozen_pictures.questions(), 5 * PICTURES))
    cases = [case for case, _, _ in asked]
    mine, wanted = (PictureJudge(cases, answer_pictures(program, asked)) for program in both)
    everywhere = range(len(cases))
    for name in ("pm_f1@0.5", "pm_f1", "il_mcc"):
        a, b = (judge.score(everywhere)[name].value for judge in (mine, wanted))
        assert b > 0.3 and abs(a - b) <= POINTS, name


def test_the_builtin_model_follows_the_start_of_a_frozen_clip_as_in_pytorch(
    both: tuple[Segmenter, Segmenter],
) -> None:
    asked = list(beginning(frozen_clips.clip(CLIP), FRAMES))
    cases = [case for case, _, _ in asked]
    mine, wanted = (answer_clips(program, asked) for program in both)
    assert [set(mine[case.key].objects) for case in cases] == [set(wanted[c.key].objects) for c in cases]
    a, b = (ClipJudge(cases, found).score(range(len(cases)))["j_and_f"].value for found in (mine, wanted))
    assert b > 0.1 and abs(a - b) <= POINTS


def beginning(clip: FrozenClip, frames: int) -> Iterator[ClipQuestion]:
    """The questions of a clip about its first frames."""
    pictures = clip.frames[:frames]
    for case, (phrase, _) in zip(clip.cases, clip.phrases, strict=True):
        truth = case.truth
        objects = {i: masks[:frames] for i, masks in truth.objects.items() if any(masks[:frames])}
        yield replace(case, truth=Clip(truth.size, frames, objects)), pictures, Concept(phrase)


@pytest.mark.parametrize("name", ["backbone", "text"])
def test_the_fix_for_alias_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delitem(TORCH_OPERATORS.name_to_func_mapping, "alias", raising=False)
    monkeypatch.setattr(coreml_fixes, "SAME", ())
    with pytest.raises(NotImplementedError, match="alias"):
        to_coreml.lower(tiny_model().graph(name), graph_specs(CONFIG)[name], tmp_path)


def test_elsewhere_than_on_macos_it_says_so(builtin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for ask in (on_coreml.selfcheck, lambda: load(builtin)):
        with pytest.raises(BackendError, match=r"Core ML runs on macOS and iOS.* `eval --emulate`"):
            ask()
