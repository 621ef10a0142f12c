"""Our model, host code and ONNX bundle give the answers of Meta's own package, recorded by `oracles/`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from oracles.recording import Case, load_recording, thinned

from sam3_edge import picture as pictures
from sam3_edge.boxes import Box
from sam3_edge.bundle import Bundle
from sam3_edge.concept import Concept
from sam3_edge.export import checkpoint
from sam3_edge.export.eager import EagerSession
from sam3_edge.export.model import Sam3, fold
from sam3_edge.export.to_onnx import lower, tools
from sam3_edge.manifest import GraphFile, Manifest, Source
from sam3_edge.phrases import Phrases
from sam3_edge.segmenter import Segmenter
from sam3_edge.session import Session, open_session
from sam3_edge.spec import ModelConfig, graph_specs
from sam3_edge.staging import seal

RECORDING = load_recording()
CONFIG = ModelConfig.from_json(RECORDING.config)
each_case = pytest.mark.parametrize("case", RECORDING.cases, ids=lambda case: case.name)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Sam3:
    """The official checkpoint, rebuilt from its recorded names, through the loader for `sam3.pt`."""
    path = tmp_path_factory.mktemp("official") / "sam3.pt"
    state = {name: torch.from_numpy(weight) for name, weight in RECORDING.weights().items()}
    state |= {n: torch.zeros(shape, dtype=torch.complex64) for n, shape in RECORDING.constants.items()}
    torch.save({"model": state}, path)
    return fold(checkpoint.load(path, official=True, config=CONFIG).model)


@pytest.fixture(scope="module")
def onnx_session(model: Sam3, tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("bundle")
    for name, spec in graph_specs(CONFIG).items():
        (folder / "graphs" / name).mkdir(parents=True)
        lower(model.graph(name), spec, folder / "graphs" / name)
    graphs = {name: GraphFile(f"graphs/{name}/model.onnx") for name in graph_specs(CONFIG)}
    common: dict[str, Any] = {"tools": tools(), "report": {}, "licence": "SAM"}
    seal(
        folder,
        Manifest(source=Source("tiny"), config=CONFIG, target="onnx", scheme="fp32", graphs=graphs, **common),
    )
    return open_session(Bundle.open(folder), threads=1)


def segmenter(session: Session) -> Segmenter:
    """With the recorded token ids in the place of a tokenizer."""
    pack = {}
    for case in RECORDING.cases:
        tokens = session.fetch(session.run("text", {"token_ids": case.token_ids})["text_tokens"])[0]
        pack[case.phrase or "visual"] = tokens, case.token_ids[0] != 0
    return Segmenter(CONFIG, session, Phrases(session, length=CONFIG.text_length, pack=pack))


def concept(case: Case) -> Concept:
    boxes = tuple(Box.of(b, positive=bool(y)) for b, y in zip(case.boxes, case.labels, strict=True))
    return Concept(case.phrase, boxes)


def near(ours: NDArray[Any], official: NDArray[Any]) -> None:
    """Largest difference 1e-5 of the largest value: what 2 threads instead of 1 change is 1e-6."""
    assert ours.shape == official.shape
    assert np.abs(ours - official).max(initial=0) <= 1e-5 * np.abs(official).max(initial=1)


@each_case
def test_every_graph_answers_like_the_official_modules(
    case: Case, model: Sam3, monkeypatch: pytest.MonkeyPatch
) -> None:
    eager = EagerSession(model, keep=99)
    ours = segmenter(eager)
    monkeypatch.setattr("sam3_edge.segmenter.prepare", lambda pixels, size: case.picture.image)
    ours.segment(case.picture.pixels, concept(case), threshold=0.0)
    answer = {name: calls[-1].answers for name, calls in eager.calls.items()}
    raw, seen = case.raw, case.picture
    near(answer["backbone"]["trunk_feature"], seen.trunk_feature)
    near(thinned(answer["detector_features"]["features_4x"]), seen.features_4x)
    near(thinned(answer["detector_features"]["features_2x"]), seen.features_2x)
    near(answer["detector_features"]["features_1x"], seen.features_1x)
    tokens = answer["exemplar"]["exemplar_tokens"]
    near(tokens[:, [*range(len(case.boxes)), -1]], raw.exemplar_tokens)
    for name in ("encoded", "queries", "logits", "presence"):
        near(answer["detector"][name], getattr(raw, name))
    order = np.argsort(-raw.logits[0], kind="stable")  # the host asks for masks in the order of the scores
    near(thinned(answer["masks"]["masks"]), raw.masks[:, order])
    near(thinned(answer["masks"]["semantic"]), raw.semantic)


@each_case
def test_the_onnx_bundle_finds_what_the_official_package_finds(
    case: Case, onnx_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sam3_edge.segmenter.prepare", lambda pixels, size: case.picture.image)
    (found,) = segmenter(onnx_session).segment(case.picture.pixels, concept(case))
    order = np.argsort(-case.found.scores, kind="stable")
    near(found.scores, case.found.scores[order])
    np.testing.assert_allclose(found.boxes, case.found.boxes[order], atol=1e-2)
    assert (found.masks != case.found.masks[order]).sum() <= 4


@each_case
def test_pictures_are_prepared_like_the_official_package_does(case: Case) -> None:
    """To the bit: the official resize is an integer kernel, and so is ours."""
    np.testing.assert_array_equal(
        pictures.prepare(case.picture.pixels, CONFIG.image_size), case.picture.image
    )
