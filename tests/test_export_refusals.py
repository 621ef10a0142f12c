"""An export that does not succeed leaves nothing behind, and says why in one line."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from tiny_bundle import snapshot
from tiny_export import CONFIG, Lower, copying, job
from torch import nn

from sam3_edge import registry
from sam3_edge.agreement import Agreement
from sam3_edge.concepts import read_concepts
from sam3_edge.errors import CheckError, ResourceError, SourceError, UsageError
from sam3_edge.export import pipeline
from sam3_edge.export.parity import OutputError, Parity
from sam3_edge.export.to_onnx import GATES
from sam3_edge.quantize import as_fp16
from sam3_edge.spec import GraphSpec, graph_specs


@pytest.fixture
def target() -> ModuleType:
    return registry.load("target", "onnx")


def test_a_pack_beside_the_text_encoder(
    lower_copies: None, exported: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    bundle, parity = pipeline.export(job(tiny_checkpoint, tmp_path / "b", phrases=("red shape",)))
    assert set(read_concepts(bundle)) == {"red shape", "visual"} and "text" in bundle.graphs
    assert not parity.failures()
    assert {f"{row.graph}" for row in parity.outputs} == set(graph_specs(CONFIG))


def test_a_graph_that_is_not_the_model_is_refused(
    exported: Path, tiny_checkpoint: Path, target: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One weight of sixty thousand changes by a tenth between the reference and the lowering."""
    honest: Lower = target.lower

    def lower(module: nn.Module, spec: GraphSpec, folder: Path) -> str:
        if spec.name != "text":
            return copying(exported)(module, spec, folder)
        with torch.no_grad():
            weight = module.get_parameter(next(n for n, p in module.named_parameters() if p.ndim == 1))
            weight[0] += 0.1
        return honest(module, spec, folder)

    monkeypatch.setattr(target, "lower", lower)
    with pytest.raises(
        CheckError, match=r"b was not written, it is not the model: text\.text_tokens differs by"
    ):
        pipeline.export(job(tiny_checkpoint, tmp_path / "a" / "b"))
    assert snapshot(tmp_path) == {}


def test_a_graph_of_noise_or_of_no_numbers_is_refused() -> None:
    same = Agreement(3, 0, 0, 1.0, 1.0, 0, 0.0)
    gate = GATES["fp32"]
    fine = OutputError("text", "text_tokens", 1e-5, 1e-5)
    assert Parity((fine,), same, gate).failures() == []
    for relative in (1.01e-4, float("nan"), float("inf")):
        assert Parity((fine, replace(fine, relative=relative)), same, gate).failures()
    for answers in (
        replace(same, missing=1),
        replace(same, extra=1),
        replace(same, mean_iou=0.98),
        replace(same, min_iou=0.9, pixels=5),
    ):
        assert Parity((fine,), answers, gate).failures(), answers
    assert not Parity((fine,), replace(same, min_iou=0.9, pixels=4), gate).failures()
    assert not Parity((fine,), Agreement(0, 0, 0, None, None, 0, 0.0), gate).failures()


def test_a_graph_that_no_example_reaches_is_refused(
    lower_copies: None, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "KEPT_CALLS", 0)
    with pytest.raises(CheckError, match="no example reaches graph backbone"):
        pipeline.export(job(tiny_checkpoint, tmp_path / "b"))
    assert snapshot(tmp_path) == {}


def test_an_existing_output_is_refused_before_any_work(
    exported: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(exported)
    monkeypatch.setattr(pipeline, "load", pytest.fail)
    with pytest.raises(UsageError, match="exists: pass --overwrite or another -o"):
        pipeline.export(job(tiny_checkpoint, exported))
    assert snapshot(exported) == before


def test_overwrite_replaces_the_bundle(
    lower_copies: None, exported: Path, exported_half: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    place = shutil.copytree(exported_half, tmp_path / "b")
    pipeline.export(job(tiny_checkpoint, place, overwrite=True))
    assert snapshot(place) == snapshot(exported) and os.listdir(tmp_path) == ["b"]


@pytest.mark.parametrize("real", [True, False])
def test_a_full_disk_leaves_nothing(
    request: pytest.FixtureRequest, tiny_checkpoint: Path, tmp_path: Path, real: bool
) -> None:
    """By the exporter's own writing of weights (100 kB), and after all graphs are there (golden pictures)."""
    fact = "cannot write any more" if real else "File too large"
    if not real:
        request.getfixturevalue("lower_copies")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (120_000 if real else 60_000, limits[1]))
    try:
        with pytest.raises(ResourceError, match=rf"bundle: {fact} \(\d+ bytes free\), nothing was kept"):
            pipeline.export(job(tiny_checkpoint, tmp_path / "new" / "bundle"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert snapshot(tmp_path) == {}


def test_no_space_while_the_receipt_is_written(
    lower_copies: None, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def full(path: Path, *text: Any, **options: Any) -> int:
        if path.name == "report.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, *text, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ResourceError, match="No space left on device"):
        pipeline.export(job(tiny_checkpoint, tmp_path / "bundle"))
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interruption_leaves_nothing(
    exported: Path,
    tiny_checkpoint: Path,
    target: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    error: type[BaseException],
) -> None:
    def lower(module: nn.Module, spec: GraphSpec, folder: Path) -> str:
        if spec.name == "exemplar":
            raise error
        return copying(exported)(module, spec, folder)

    monkeypatch.setattr(target, "lower", lower)
    with pytest.raises(error):
        pipeline.export(job(tiny_checkpoint, tmp_path / "new" / "bundle"))
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize(
    ("options", "kind", "fact"),
    [
        ({"image_size": 60}, UsageError, "image size 60: want a multiple of 28"),
        ({"image_size": 14}, UsageError, "image size 14: want a multiple of 28"),
        ({"max_boxes": -1}, UsageError, "max_boxes is -1, want at least 1"),
        ({"text": False}, UsageError, "--no-text leaves the bundle without words"),
        ({"target": "abacus"}, UsageError, "there is no target 'abacus': choose from coreml, onnx"),
        ({"scheme": "int1"}, UsageError, "there is no scheme 'int1': choose from fp16"),
        ({"phrases": ("red", " ")}, UsageError, "is empty"),
        ({"tokenizer": Path("absent.txt")}, SourceError, r"absent\.txt: no such file"),
        ({"checkpoint": "absent.safetensors"}, SourceError, r"absent\.safetensors: no such file or folder"),
    ],
)
def test_a_wrong_request_writes_nothing(
    tiny_checkpoint: Path, tmp_path: Path, options: dict[str, Any], kind: type[Exception], fact: str
) -> None:
    with pytest.raises(kind, match=fact) as caught:
        pipeline.export(replace(job(tiny_checkpoint, tmp_path / "new" / "bundle"), **options))
    assert "\n" not in str(caught.value)
    assert snapshot(tmp_path) == {}


def test_a_checkpoint_without_a_tokenizer(tmp_path: Path, tiny_checkpoint: Path) -> None:
    (tmp_path / "weights").mkdir()
    shutil.copyfile(tiny_checkpoint / "model.safetensors", tmp_path / "weights/model.safetensors")
    with pytest.raises(UsageError, match=r"weights comes without a tokenizer: pass --tokenizer merges\.txt"):
        pipeline.export(job(tmp_path / "weights", tmp_path / "bundle"))
    assert not (tmp_path / "bundle").exists()
    given = job(tmp_path / "weights", tmp_path / "bundle", tokenizer=tiny_checkpoint / "merges.txt")
    assert pipeline.plan(given)["checkpoint"] == "weights"


def test_a_tokenizer_with_too_few_merges(tmp_path: Path, tiny_checkpoint: Path) -> None:
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(CheckError, match="give the merges file that belongs to the checkpoint"):
        pipeline.export(job(tiny_checkpoint, tmp_path / "bundle", tokenizer=tmp_path / "merges.txt"))
    assert not (tmp_path / "bundle").exists()


def test_an_fp16_weight_out_of_range(
    lower_copies: None, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = shutil.copytree(exported / "graphs" / "text", tmp_path / "text")
    data = place / "model.onnx.data"
    data.write_bytes(np.full(data.stat().st_size // 4, 7e4, np.float32).tobytes())
    with pytest.raises(CheckError, match=r"reaches 7e\+04, above 65504: use --scheme fp32"):
        as_fp16.compress(place / "model.onnx")
