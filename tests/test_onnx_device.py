"""ONNX Runtime on a device: bound inputs and outputs, and proof that nothing falls back to the processor."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from commands import Command

from sam3_edge import Bundle
from sam3_edge.builtin import builtin_bundle
from sam3_edge.errors import BackendError, UsageError
from sam3_edge.golden import read_golden, replay
from sam3_edge.phrases import open_phrases
from sam3_edge.runtimes import on_onnx, onnx_device
from sam3_edge.segmenter import Segmenter
from sam3_edge.session import open_session

BUNDLE = Bundle.open(builtin_bundle())


def test_bound_values_give_the_same_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same session with the processor for a device: every value is ONNX Runtime's, none an array."""
    monkeypatch.setattr(onnx_device, "PROVIDERS", {"cuda": on_onnx.CPU})
    monkeypatch.setattr(onnx_device, "left_to_processor", lambda session: [])
    session = onnx_device.DeviceSession(BUNDLE, "cuda", threads=1, place="cpu")
    config = BUNDLE.config
    picture = np.zeros((1, 3, config.image_size, config.image_size), np.float32)
    trunk = session.run("backbone", {"image": picture})
    assert not isinstance(trunk["trunk_feature"], np.ndarray)
    features = session.run("detector_features", trunk)
    assert session.fetch(features["features_1x"]).shape == (1, config.dim, config.grid, config.grid)
    agreements = []
    for opened in (session, open_session(BUNDLE, threads=1)):
        with Segmenter(config, opened, open_phrases(BUNDLE, opened)) as segmenter:
            agreements.append(replay(segmenter, read_golden(BUNDLE)[:1]))
    assert agreements[0] == agreements[1] and agreements[0].objects >= 5 and not agreements[0].missing


def test_nodes_on_the_processor_are_found() -> None:
    """What ONNX Runtime itself says of a real session."""
    session = on_onnx.start(str(BUNDLE.graph("text")), name="text", threads=1, record=True)
    astray = onnx_device.left_to_processor(session)
    assert len(astray) > 20 and {"MatMul", "Softmax"} & set(astray) and "Gather" not in astray
    with pytest.raises(BackendError, match="does not tell where nodes run"):
        onnx_device.left_to_processor(SimpleNamespace())  # an old version's session


def test_a_session_that_falls_back_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_device, "PROVIDERS", {"cuda": on_onnx.CPU})
    session = onnx_device.DeviceSession(BUNDLE, "cuda", threads=1, place="cpu")
    for _ in range(2):  # the second time as well: a refused session is not kept
        with pytest.raises(BackendError, match=r"leaves \d+ nodes of graph text to the processor, \w+ first"):
            session.run("text", {"token_ids": np.zeros((1, 32), np.int32)})


def test_devices_that_are_not_here() -> None:
    session = open_session(BUNDLE, device="cuda")
    with pytest.raises(BackendError, match="has no CUDAExecutionProvider here"):
        session.run("text", {"token_ids": np.zeros((1, 32), np.int32)})
    with pytest.raises(UsageError, match="has no device 'npu': choose from cpu, cuda, trt"):
        open_session(BUNDLE, device="npu")
    assert type(open_session(BUNDLE, device="cpu")) is on_onnx.OnnxSession


def test_run_on_a_device_that_is_not_here(command: Command, tmp_path: Path) -> None:
    picture = builtin_bundle() / "golden" / "00.png"
    done = command("run", picture, "--prompt", "red circle", "--device", "trt", "-o", tmp_path / "out")
    assert done.code == 4 and "has no TensorrtExecutionProvider here" in done.error
    assert not (tmp_path / "out").exists()
