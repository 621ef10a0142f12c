"""What the loader takes, and what it refuses and how: every layout, every tensor, every way to be wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_huggingface import same, saved, tiny_model, tiny_video_model
from torch import Tensor

from sam3_edge.errors import CheckError, SourceError
from sam3_edge.export.checkpoint import load
from sam3_edge.export.model import Sam3
from sam3_edge.tokenizer import bundled_merges, read_lines

QUERY = "vision_encoder.backbone.layers.0.attention.q_proj.weight"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole checkpoint in the Hugging Face layout."""
    return saved(tiny_model(), tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def ours(source: Path) -> Sam3:
    return load(source).model


@pytest.fixture
def altered(source: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copies of the checkpoint in which some tensors are others; None removes one."""

    def alter(**changes: Tensor | None) -> Path:
        tensors = load_file(source / "model.safetensors") | {
            k: v for k, v in changes.items() if v is not None
        }
        for name in [name for name, value in changes.items() if value is None]:
            del tensors[name]
        shutil.copy(source / "config.json", tmp_path)
        save_file(tensors, tmp_path / "model.safetensors")
        return tmp_path

    return alter


# The Hugging Face layout: test_model.py shows that what is loaded computes the same.


def test_huggingface(source: Path) -> None:
    found = load(source)
    assert found.config.queries == found.config.mask_queries == 16
    assert found.config.global_layers == (1, 3)
    assert not found.model.training and found.licence == "SAM" and found.merges is None
    assert found.name == source.name and found.revision is None and len(found.sha256) == 64
    assert same(load(source / "model.safetensors").model, found.model)


def test_video_checkpoint(tmp_path: Path) -> None:
    """`facebook/sam3`: the image model stands below `detector_model.`, beside the tracker."""
    model = tiny_video_model()
    video, image = saved(model, tmp_path / "video"), saved(model.detector_model, tmp_path / "image")
    assert any(name.startswith("tracker_neck.") for name in load_file(video / "model.safetensors"))
    both, alone = load(video).model, load(image).model
    assert both.config.tracks and not alone.config.tracks
    image_part = {k: v for k, v in both.state_dict().items() if not k.startswith("tracker.")}
    assert all(torch.equal(value, image_part.pop(name)) for name, value in alone.state_dict().items())
    assert not image_part


def test_shards(source: Path, ours: Sam3, tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path, max_shard_size="2MB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    found = load(tmp_path)
    assert same(found.model, ours) and found.sha256 != load(source).sha256
    next(tmp_path.glob("*-00002-*")).unlink()
    with pytest.raises(SourceError, match=r"00002-of.*no such file"):
        load(tmp_path)


def test_shards_stay_in_the_folder(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path, dirs_exist_ok=True)
    index = {"weight_map": {QUERY: "../model.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckError, match="not a plain file name"):
        load(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats(altered: Callable[..., Path], source: Path, ours: Sam3, dtype: torch.dtype) -> None:
    values = load_file(source / "model.safetensors")
    model = load(altered(**{name: value.to(dtype) for name, value in values.items()})).model
    weight = ours.text.project.weight
    assert torch.equal(model.text.project.weight, weight.to(dtype).float())


def test_constants_of_older_versions_are_ignored(altered: Callable[..., Path], ours: Sam3) -> None:
    name = "text_encoder.text_model.embeddings.position_ids"
    assert same(load(altered(**{name: torch.arange(32)[None]})).model, ours)


# Every tensor, both ways.


def test_every_missing_tensor_is_found(source: Path, altered: Callable[..., Path]) -> None:
    """Exactly the named ones are not needed."""
    names = list(load_file(source / "model.safetensors"))
    with pytest.raises(CheckError) as caught:
        load(altered(**dict.fromkeys(names)))
    unused = ("fpn_layers.3.", "text_encoder.text_projection.", "conv_layers.2.", "pixel_decoder.norms.2.")
    needed = [name for name in names if not any(part in name for part in unused)]
    assert len(names) - len(needed) == 4 + 1 + 2 + 2
    assert f"{len(needed)} missing (" in str(caught.value)


def test_missing(altered: Callable[..., Path]) -> None:
    with pytest.raises(CheckError, match=rf"1 missing \({QUERY}\)"):
        load(altered(**{QUERY: None}))


def test_extra(altered: Callable[..., Path]) -> None:
    with pytest.raises(CheckError, match=r"1 unknown \(vision_encoder\.adapter\.weight\)"):
        load(altered(**{"vision_encoder.adapter.weight": torch.zeros(2)}))


def test_renamed(altered: Callable[..., Path]) -> None:
    with pytest.raises(CheckError, match=rf"1 missing \({QUERY}\); 1 unknown \({QUERY}x\)"):
        load(altered(**{QUERY: None, f"{QUERY}x": torch.zeros(128, 128)}))


@pytest.mark.parametrize(
    ("name", "shape", "fits"),
    [
        (QUERY, (128, 64), r"\[128, 128\]"),
        ("text_projection.bias", (1, 64), r"\[64\]"),
        ("geometry_encoder.cls_embed.weight", (2, 64), r"\[1, 1, 64\]"),
        ("vision_encoder.backbone.embeddings.position_embeddings", (1, 65, 128), r"\[1, 8, 8, 128\]"),
    ],
)
def test_misshapen(altered: Callable[..., Path], name: str, shape: tuple[int, ...], fits: str) -> None:
    with pytest.raises(CheckError, match=rf"1 misshapen \({name} is .*, {fits} fits\)"):
        load(altered(**{name: torch.zeros(shape)}))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_not_finite(altered: Callable[..., Path], value: float) -> None:
    weight = torch.zeros(128, 128)
    weight[3, 5] = value
    with pytest.raises(CheckError, match=rf"1 not finite \({QUERY}\)"):
        load(altered(**{QUERY: weight}))


def test_integers(altered: Callable[..., Path]) -> None:
    with pytest.raises(CheckError, match=rf"1 not floating point \({QUERY} is int8\)"):
        load(altered(**{QUERY: torch.zeros(128, 128, dtype=torch.int8)}))


# SAM 3.1.


def test_sam_3_1_is_refused(altered: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "sam3.1_multiplex.pt").write_bytes(b"")
    for place in ("facebook/sam3.1", tmp_path, tmp_path / "sam3.1_multiplex.pt"):
        with pytest.raises(CheckError, match=r"this is SAM 3\.1"):
            load(place, official=True)
    name = "detector.backbone.vision_backbone.propagation_convs.0.conv_1x1.weight"
    with pytest.raises(CheckError, match=rf"this is SAM 3\.1 \({name}\)"):
        load(altered(**{name: torch.zeros(1)}))


# Files that are not there, or something else.


def test_no_such_place(tmp_path: Path) -> None:
    for place in (tmp_path / "nowhere", str(tmp_path / "nowhere"), "nowhere.safetensors"):
        with pytest.raises(SourceError, match="no such file or folder"):
            load(place)
    with pytest.raises(SourceError, match=r"want model\.safetensors in it, found none"):
        load(tmp_path)


def test_no_config(source: Path, tmp_path: Path) -> None:
    shutil.copy(source / "model.safetensors", tmp_path)
    with pytest.raises(SourceError, match=r"config\.json: no such file"):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 100, "half"])
def test_not_safetensors(source: Path, tmp_path: Path, content: bytes | str) -> None:
    whole = (source / "model.safetensors").read_bytes()
    data = whole[: len(whole) // 2] if isinstance(content, str) else content
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(SourceError, match="not a whole safetensors file"):
        load(tmp_path)


# The tokenizer.


def test_tokenizer_file(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path, dirs_exist_ok=True)
    merges = read_lines(bundled_merges())
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"merges": [m.split() for m in merges]}}))
    assert load(tmp_path).merges == bundled_merges()
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"merges": merges[:100]}}))
    with pytest.raises(SourceError, match="pass --tokenizer"):
        load(tmp_path)
    (tmp_path / "merges.txt").write_text("a b\n")
    assert load(tmp_path).merges == tmp_path / "merges.txt"
    other = tmp_path / "other.txt"
    with pytest.raises(SourceError, match=r"other\.txt: no such file"):
        load(tmp_path, tokenizer=other)
    other.write_text("c d\n")
    assert load(tmp_path, tokenizer=other).merges == other


def test_licence_file(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path, dirs_exist_ok=True)
    (tmp_path / "LICENSE").write_text("Apache License")
    assert load(tmp_path).licence_file is None
    (tmp_path / "LICENSE.txt").write_text("SAM License\nLast Updated: November 19, 2025")
    assert load(tmp_path).licence_file == tmp_path / "LICENSE.txt"
