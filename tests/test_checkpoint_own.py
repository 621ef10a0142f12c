"""Our own layout: exact, strict, the same bytes each time, and written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tiny_huggingface import SIDE, same, saved, tiny_model

from sam3_edge.errors import CheckError, ResourceError, UsageError
from sam3_edge.export import checkpoint
from sam3_edge.export.checkpoint import load, save
from sam3_edge.export.model import Sam3, fold


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Sam3:
    return load(saved(tiny_model(), tmp_path_factory.mktemp("source"))).model


def test_own_layout(ours: Sam3, tmp_path: Path) -> None:
    save(ours, tmp_path / "model.safetensors", licence="SAM")
    found = load(tmp_path)
    assert same(found.model, ours) and found.config == ours.config and found.licence == "SAM"
    save(ours, tmp_path / "again.safetensors", licence="SAM")
    assert (tmp_path / "model.safetensors").read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    small = load(tmp_path / "again.safetensors", image_size=SIDE // 2)
    assert small.config.grid == 8 and same(small.model, ours)


def test_own_layout_half(ours: Sam3, tmp_path: Path) -> None:
    save(ours, tmp_path / "model.safetensors", half=True)
    found = load(tmp_path / "model.safetensors")
    assert found.licence == "Apache-2.0"
    for name, value in found.model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, ours.state_dict()[name].half().float())


def test_own_layout_is_strict(ours: Sam3, tmp_path: Path) -> None:
    save(ours, tmp_path / "model.safetensors")
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["text.norm.bias"]
    metadata = {checkpoint.CONFIG: json.dumps(ours.config.to_json())}
    save_file(tensors, tmp_path / "model.safetensors", metadata)
    with pytest.raises(CheckError, match=r"1 missing \(text\.norm\.bias\)"):
        load(tmp_path)


def test_header_does_not_depend_on_hashing(tmp_path: Path) -> None:
    """safetensors writes its metadata in another order in each process."""
    tensor = '"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    before, after = set(), set()
    for entries in ('"a":"1","b":"2"', '"b":"2","a":"1"'):
        header = f'{{"__metadata__":{{{entries}}},{tensor}}}'.encode()
        path = tmp_path / "file.safetensors"
        path.write_bytes(len(header).to_bytes(8, "little") + header + b"\x00" * 4)
        before.add(path.read_bytes())
        checkpoint.sort_header(path)
        after.add(path.read_bytes())
        assert load_file(path)["t"].tolist() == [0.0]
    assert len(before) == 2 and len(after) == 1


def test_folded_models_are_not_saved(ours: Sam3, tmp_path: Path) -> None:
    save(ours, tmp_path / "model.safetensors")
    folded = fold(load(tmp_path).model)
    with pytest.raises(CheckError, match="folded"):
        save(folded, tmp_path / "folded.safetensors")


def test_full_disk(ours: Sam3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_some(_tensors: object, path: Path, _metadata: object) -> None:
        path.write_bytes(bytes(100))
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", write_some)
    with pytest.raises(ResourceError, match="No space left"):
        save(ours, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_no_such_folder(ours: Sam3, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        save(ours, tmp_path / "nowhere" / "model.safetensors")
