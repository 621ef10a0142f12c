"""A real tiny model in ONNX Runtime: its answers against PyTorch's, and what a session refuses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scripted import CONFIG, PICTURE

import sam3_edge
from sam3_edge import Box, Bundle, Concept, Segmenter
from sam3_edge.alone import alone
from sam3_edge.builtin import builtin_bundle
from sam3_edge.concepts import write_concepts
from sam3_edge.errors import BackendError, CheckError, EdgeError, SourceError, UsageError
from sam3_edge.export.model import Sam3, fold
from sam3_edge.export.to_onnx import lower
from sam3_edge.machine.memory import resident_mb
from sam3_edge.manifest import GraphFile, Manifest, Source
from sam3_edge.picture import prepare
from sam3_edge.registry import names
from sam3_edge.runtimes import on_onnx
from sam3_edge.segmenter import load
from sam3_edge.session import open_session
from sam3_edge.spec import MASKED, graph_specs
from sam3_edge.staging import seal
from sam3_edge.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def model() -> Sam3:
    return fold(Sam3(CONFIG).initialise(7))


@pytest.fixture(scope="module")
def bundle(model: Sam3, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundle")
    for name, spec in graph_specs(CONFIG).items():
        (folder / "graphs" / name).mkdir(parents=True)
        lower(model.graph(name), spec, folder / "graphs" / name)
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    return sealed(folder, dict.fromkeys(graph_specs(CONFIG), "model.onnx"))


def sealed(folder: Path, graphs: Mapping[str, str]) -> Bundle:
    files = {name: GraphFile(f"graphs/{name}/{file}") for name, file in graphs.items()}
    source = Source("random", "1", "0" * 64)
    made = Manifest(
        source=source,
        config=CONFIG,
        target="onnx",
        scheme="fp32",
        graphs=files,
        tools={},
        report={},
        licence="Apache-2.0",
    )
    seal(folder, made)
    return Bundle.open(folder)


@pytest.fixture
def segmenter(bundle: Bundle) -> Iterator[Segmenter]:
    with load(bundle.path, threads=1) as segmenter:
        yield segmenter


def in_torch(model: Sam3, ids: NDArray[np.int32], words: int) -> dict[str, torch.Tensor]:
    """The picture and a phrase without boxes through the modules, as the official image path does it."""
    c = CONFIG
    prompt_bias = torch.full((1, 1, 1, c.prompt_length), MASKED)
    prompt_bias[..., :words] = prompt_bias[..., -1] = 0
    pool = torch.zeros(1, c.max_boxes, c.roi_size, c.grid)
    no_box = torch.zeros(1, c.max_boxes, 4), torch.zeros(1, c.max_boxes)
    with torch.no_grad():
        trunk = model.backbone(torch.from_numpy(prepare(PICTURE, c.image_size)))
        fine, middle, coarse = model.detector_features(trunk)
        exemplar = model.exemplar(coarse, *no_box, prompt_bias[..., -3:], pool, pool)
        prompt = torch.cat((model.text(torch.from_numpy(ids)), exemplar), 1)
        encoded, queries, boxes, logits, presence = model.detector(coarse, prompt, prompt_bias)
        masks, semantic = model.masks(fine, middle, encoded, prompt, prompt_bias, queries)
        scores = (logits.sigmoid() * presence.sigmoid())[0]
        up = F.interpolate(masks, PICTURE.shape[:2], mode="bilinear", align_corners=False)[0]
    return {"scores": scores, "boxes": boxes[0], "masks": up, "semantic": semantic[0, 0]}


def test_a_bundle_answers_as_the_torch_model(model: Sam3, segmenter: Segmenter) -> None:
    ids, valid = Tokenizer({}).encode("ab", CONFIG.text_length)
    want = in_torch(model, ids, int(valid.sum()))
    order = want["scores"].argsort(descending=True)
    middle = float(want["scores"][order[3:5]].mean())  # four of eight queries are above it
    (found,) = segmenter.segment(PICTURE, "ab", threshold=middle, semantic=True)
    assert len(found) == 4
    kept = order[:4]
    np.testing.assert_allclose(found.scores, want["scores"][kept], rtol=1e-4)
    np.testing.assert_allclose(found.boxes, want["boxes"][kept] * torch.tensor([80, 40, 80, 40]), atol=1e-2)
    assert found.semantic is not None
    np.testing.assert_allclose(found.semantic, want["semantic"], atol=1e-3)
    sure = want["masks"][kept].abs().numpy() > 1e-3
    assert sure.mean() > 0.99 and 0.05 < found.masks.mean() < 0.95
    assert np.array_equal(found.masks[sure], want["masks"][kept].numpy()[sure] > 0)


def test_boxes_change_the_answer(segmenter: Segmenter) -> None:
    box, unlike = Box(10, 5, 50, 35), Box(10, 5, 50, 35, positive=False)
    asked = [Concept("a"), Concept("a", (box,)), Concept("a", (unlike,)), Concept("a", (box, unlike))]
    answers = segmenter.segment(PICTURE, asked, threshold=0)
    sums = {round(float(answer.scores.sum()), 5) for answer in answers}
    assert len(sums) == len(asked)


def test_runs_without_torch_from_a_concept_pack(bundle: Bundle, segmenter: Segmenter, tmp_path: Path) -> None:
    full = segmenter.segment(PICTURE, "Ab c", threshold=0)[0]
    for name in bundle.graphs:
        if name != "text":
            (tmp_path / "graphs" / name).mkdir(parents=True)
            for file in (bundle.path / "graphs" / name).iterdir():
                (tmp_path / "graphs" / name / file.name).write_bytes(file.read_bytes())
    tokens, valid = segmenter.phrases.prompt("ab c")
    write_concepts(tmp_path, {"ab c": (tokens, valid)})
    sealed(tmp_path, {name: "model.onnx" for name in bundle.graphs if name != "text"})
    np.save(tmp_path.with_suffix(".npy"), PICTURE)
    code = (
        "import sys, numpy, sam3_edge\n"
        "segmenter = sam3_edge.load(sys.argv[1])\n"
        "found = segmenter.segment(numpy.load(sys.argv[2]), 'AB c', threshold=0)[0]\n"
        "loaded = sorted({'torch', 'onnx', 'transformers'} & set(sys.modules))\n"
        "print(len(found), f'{found.scores.sum():.5f}', int(found.masks.sum()), loaded)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(tmp_path.with_suffix(".npy"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{len(full)} {full.scores.sum():.5f} {full.masks.sum()} []\n"


def test_onnx_sessions_are_lazy_and_check_what_they_run(bundle: Bundle) -> None:
    session = on_onnx.open(bundle, threads=1)
    assert not session.started
    with pytest.raises(UsageError, match="there is no graph 'tracker'"):
        session.run("tracker", {})
    with pytest.raises(UsageError, match="input image is not fed"):
        session.run("backbone", {})
    out = session.run("text", {"token_ids": np.zeros((1, CONFIG.text_length), np.int32)})
    assert list(out) == ["text_tokens"] and list(session.started) == ["text"]
    assert session.fetch(out["text_tokens"]).shape == (1, CONFIG.text_length, CONFIG.dim)
    session.close()
    assert not session.started


def test_no_other_provider_than_asked(bundle: Bundle) -> None:
    session = on_onnx.open(bundle, providers=("CUDAExecutionProvider",))
    with pytest.raises(BackendError, match="has no CUDAExecutionProvider here"):
        session.run("text", {"token_ids": np.zeros((1, CONFIG.text_length), np.int32)})
    with pytest.raises(UsageError, match="threads 0"):
        on_onnx.open(bundle, threads=0)


def test_a_file_that_is_no_graph(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "graphs" / "text").mkdir(parents=True)
    (tmp_path / "graphs" / "text" / "model.onnx").write_bytes(b"not a graph")
    session = on_onnx.open(sealed(tmp_path, {"text": "model.onnx"}))
    feeds = {"token_ids": np.zeros((1, CONFIG.text_length), np.int32)}
    with pytest.raises(BackendError, match="does not load graph text"):
        session.run("text", feeds)
    with pytest.raises(CheckError, match="no graph 'backbone'"):
        session.run("backbone", {"image": np.zeros((1, 3, 56, 56), np.float32)})
    (tmp_path / "graphs" / "text" / "model.onnx").write_bytes(on_onnx.adder())
    with pytest.raises(CheckError, match="inputs are x, want token_ids"):
        on_onnx.open(sealed(tmp_path, {"text": "model.onnx"})).run("text", feeds)


def test_selfcheck_runs_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_onnx.selfcheck().startswith("onnxruntime 1.")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendError, match=r"pip install 'sam3-edge\[onnx\]'"):
        on_onnx.selfcheck()


def test_missing_runtime_is_told_when_opening(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendError, match=r"pip install 'sam3-edge\[onnx\]'"):
        open_session(bundle)


def test_opening_what_is_not_there(tmp_path: Path) -> None:
    assert "onnx" in names("runtime")
    with pytest.raises(SourceError, match="does not exist"):
        load(tmp_path / "gone")


def test_public_names() -> None:
    for name in sam3_edge.__all__:
        assert getattr(sam3_edge, name) is not None and name in dir(sam3_edge)
    assert issubclass(sam3_edge.EdgeError, EdgeError)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sam3_edge.nothing


def test_all_graphs_compute_in_one_arena() -> None:
    """Each would keep its own peak: at 1008 px that is 3.5 GB more."""
    made = on_onnx.options(1)
    assert made.get_session_config_entry("session.use_env_allocators") == "1"
    assert not made.enable_mem_pattern
    assert made.get_session_config_entry("session.use_device_allocator_for_initializers") == "1"


def held(large: int) -> float:
    """MB that a session keeps of a run with 64 objects."""
    on_onnx.LARGE = large
    session = on_onnx.open(Bundle.open(builtin_bundle()), threads=1)
    feeds = {t.name: np.ones(t.sized(64), t.dtype) for t in session.spec("memorize").inputs}
    session.session("memorize")
    before = resident_mb()
    session.run("memorize", feeds)
    after = resident_mb()
    assert before is not None and after is not None
    return after - before


def test_a_large_model_gives_back_what_a_run_took() -> None:
    kept, given_back = (alone(held, large) for large in (2**62, 0))
    assert kept > 20 and given_back < kept / 2
