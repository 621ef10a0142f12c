"""What tests share. `transformers`' SAM 3, the oracle of single modules, can be imported after this."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from commands import Command, in_process
from tiny_export import PHRASES, copying, make_bundle, make_checkpoint

from sam3_edge import registry
from sam3_edge.benchmarks.peer_operators import prepare_torchvision

prepare_torchvision()


@pytest.fixture(autouse=True)
def gradients_stay() -> Iterator[None]:
    """Who switches torch's gradients off breaks all trainings that are tested later in this process."""
    before = torch.is_grad_enabled()
    yield
    assert torch.is_grad_enabled() is before, "torch.set_grad_enabled(False) is for processes of their own"


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder in our own layout."""
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    """Its bundle, fp32 with the text encoder. To be read only: an export takes many seconds."""
    return make_bundle(tmp_path_factory.mktemp("exported") / "bundle", tiny_checkpoint)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in bundle in fp32. To be read only."""
    import float_bundle

    return float_bundle.make(tmp_path_factory.mktemp("exported") / "whole")


@pytest.fixture(scope="session")
def exported_half(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path, exported: Path) -> Path:
    """Its bundle in fp16 that knows `PHRASES` only, from the graphs of `exported`. To be read only."""
    place = tmp_path_factory.mktemp("exported") / "half"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry.load("target", "onnx"), "lower", copying(exported))
        return make_bundle(place, tiny_checkpoint, scheme="fp16", text=False, phrases=PHRASES)


@pytest.fixture(scope="session")
def exported_coreml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Core ML bundle of four of its graphs. To be read only."""
    import coreml_bundles  # brings in coremltools, three seconds

    return coreml_bundles.make(tmp_path_factory.mktemp("exported") / "coreml")


@pytest.fixture
def lower_copies(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lowering takes the graphs of the shared export."""
    monkeypatch.setattr(registry.load("target", "onnx"), "lower", copying(exported))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """The command line in this process."""
    return in_process(monkeypatch, capfd)
