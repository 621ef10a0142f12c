"""Target `coreml`: the built-in model's packages are the model, and answer frozen pictures as it does."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tiny_export import CONFIG, tiny_model

from sam3_edge import load
from sam3_edge.builtin import builtin_checkpoint
from sam3_edge.bundle import verify
from sam3_edge.errors import BackendError
from sam3_edge.export import checkpoint, coreml_fixes, pipeline, to_coreml
from sam3_edge.export.coreml_tools import TORCH_OPERATORS, coremltools
from sam3_edge.export.eager import EagerSession
from sam3_edge.judge import frozen_pictures
from sam3_edge.judge.answering import answer_pictures
from sam3_edge.judge.measures import PictureJudge
from sam3_edge.phrases import Phrases
from sam3_edge.runtimes import on_coreml
from sam3_edge.segmenter import Segmenter
from sam3_edge.spec import graph_specs

PICTURES = 12  # of the frozen ones
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


def test_the_builtin_model_answers_frozen_pictures_as_in_pytorch(builtin: Path) -> None:
    asked = list(islice(frozen_pictures.questions(), 5 * PICTURES))
    cases = [case for case, _, _ in asked]
    found = checkpoint.load(builtin_checkpoint())
    with load(builtin, emulate=True) as ours:
        eager = EagerSession(found.model)
        phrases = Phrases(eager, length=found.config.text_length, tokenizer=ours.phrases.tokenizer)
        theirs = Segmenter(found.config, eager, phrases)
        mine, wanted = (PictureJudge(cases, answer_pictures(s, asked)) for s in (ours, theirs))
    everywhere = range(len(cases))
    for name in ("pm_f1@0.5", "pm_f1", "il_mcc"):
        a, b = (judge.score(everywhere)[name].value for judge in (mine, wanted))
        assert b > 0.3 and abs(a - b) <= POINTS, name


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
