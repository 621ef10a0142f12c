"""What the loader takes, and what it refuses and how: every layout, every tensor, every way to be wrong."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from oracles.recording import Recording, load_recording
from safetensors.torch import load_file, save_file
from tiny_huggingface import SIDE, saved, tiny_config, tiny_model, tiny_video_model
from torch import Tensor

from sam3_edge.errors import CheckError, ResourceError, SourceError, UsageError
from sam3_edge.export import checkpoint, weights_pt
from sam3_edge.export.checkpoint import load, save
from sam3_edge.export.config_json import config_of
from sam3_edge.export.model import Sam3, fold
from sam3_edge.spec import ModelConfig
from sam3_edge.tokenizer import bundled_merges

Tensors = dict[str, Tensor]
QUERY = "vision_encoder.backbone.layers.0.attention.q_proj.weight"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole checkpoint in the Hugging Face layout."""
    return saved(tiny_model(), tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def ours(source: Path) -> Sam3:
    return load(source).model


@pytest.fixture(scope="module")
def recording() -> Recording:
    return load_recording()


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


def same(a: Sam3, b: Sam3) -> bool:
    one, other = a.state_dict(), b.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


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
    assert same(load(video).model, load(image).model)


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


# The official layout.


def official_file(recording: Recording, folder: Path) -> Path:
    """`sam3.pt`, tiny: nested, with the tracker's tensors and complex constants."""
    tensors: Tensors = {name: torch.from_numpy(weight) for name, weight in recording.weights().items()}
    tensors |= {name: torch.ones(s, dtype=torch.complex64) for name, s in recording.constants.items()}
    assert any(name.startswith("tracker.") for name in tensors) and recording.constants
    torch.save({"model": tensors}, folder / "sam3.pt")
    return folder / "sam3.pt"


def test_official(recording: Recording, tmp_path: Path) -> None:
    """Every tensor has its place: features, prompt tokens, and with theirs the detector's answer."""
    config = ModelConfig.from_json(recording.config)
    found = load(official_file(recording, tmp_path), official=True, config=config)
    assert found.name == "sam3.pt" and found.licence == "SAM" and found.merges == bundled_merges()
    case = next(case for case in recording.cases if case.name == "square_full")  # no padding in the phrase
    tokens = (torch.from_numpy(x) for x in (case.raw.text_tokens, case.raw.exemplar_tokens))
    prompt = torch.cat(tuple(tokens), dim=1)
    bias = torch.zeros(1, 1, 1, prompt.shape[1])
    with torch.no_grad():
        trunk = found.model.backbone(torch.from_numpy(case.picture.image))
        levels = found.model.detector_features(trunk)
        text = found.model.text(torch.from_numpy(case.token_ids))
        _, queries, _, logits, presence = found.model.detector(levels[2], prompt, bias)
    answers = {
        "trunk feature": (trunk, case.picture.trunk_feature),
        "features": (levels[2], case.picture.features_1x),
        "text": (text, case.raw.text_tokens),
        "queries": (queries, case.raw.queries),
        "logits": (logits, case.raw.logits),
        "presence": (presence, case.raw.presence),
    }
    for name, (mine, theirs) in answers.items():
        expected = torch.from_numpy(theirs)
        assert (mine - expected).norm() <= 1e-5 * expected.norm(), name


def test_official_must_be_asked_for(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "sam3.pt")
    for place in (tmp_path, tmp_path / "sam3.pt"):
        with pytest.raises(UsageError, match="pass --official"):
            load(place)


class Malice:
    """Unpickled, it would write a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.target, "here")


def test_pickles_run_no_code(tmp_path: Path) -> None:
    torch.save({"model": {"weight": Malice(tmp_path / "harm")}}, tmp_path / "sam3.pt")
    with pytest.raises(SourceError, match="holds more than weights"):
        load(tmp_path / "sam3.pt", official=True)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [{}, [torch.zeros(1)], {"model": {"weight": 3}}])
def test_pickles_without_tensors(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "sam3.pt")
    with pytest.raises(CheckError, match=r"want sam3\.pt"):
        weights_pt.read_tensors(tmp_path / "sam3.pt")


def test_no_pickle(tmp_path: Path) -> None:
    (tmp_path / "sam3.pt").write_bytes(b"<html>404</html>")
    with pytest.raises(SourceError, match="download it again"):
        weights_pt.read_tensors(tmp_path / "sam3.pt")


# SAM 3.1.


def test_sam_3_1_is_refused(altered: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "sam3.1_multiplex.pt").write_bytes(b"")
    for place in ("facebook/sam3.1", tmp_path, tmp_path / "sam3.1_multiplex.pt"):
        with pytest.raises(CheckError, match=r"this is SAM 3\.1"):
            load(place, official=True)
    name = "detector.backbone.vision_backbone.propagation_convs.0.conv_1x1.weight"
    with pytest.raises(CheckError, match=rf"this is SAM 3\.1 \({name}\)"):
        load(altered(**{name: torch.zeros(1)}))


# Our own layout.


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


def test_header_does_not_depend_on_hashing() -> None:
    """safetensors writes its metadata in another order in each process."""
    body = b"\x00" * 4
    tensor = '"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    files = []
    for entries in ('"a":"1","b":"2"', '"b":"2","a":"1"'):
        header = f'{{"__metadata__":{{{entries}}},{tensor}}}'.encode()
        files.append(len(header).to_bytes(8, "little") + header + body)
    assert files[0] != files[1]
    assert checkpoint.with_sorted_header(files[0]) == checkpoint.with_sorted_header(files[1])


def test_folded_models_are_not_saved(source: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckError, match="folded"):
        save(fold(load(source).model), tmp_path / "model.safetensors")


def test_full_disk(ours: Sam3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_some(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_some)
    with pytest.raises(ResourceError, match="No space left"):
        save(ours, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


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
    merges = checkpoint.read_lines(bundled_merges())
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


# config.json.


def test_config_defaults() -> None:
    """What a JSON leaves out means what it means to `transformers`."""
    from transformers import Sam3Config

    sparse = {"text_config": {"model_type": "clip_text_model", "hidden_act": "gelu"}}
    for values in ({}, sparse, {"detr_decoder_config": {"num_queries": 7}}):
        assert config_of(values, origin="x") == config_of(Sam3Config(**values).to_dict(), origin="x")
    assert config_of({}, origin="x") == ModelConfig()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("text_config.hidden_act", "quick_gelu", 'is "quick_gelu"; sam3-edge has "gelu"'),
        ("vision_config.backbone_config.rope_parameters.rope_theta", 5e5, "is 500000.0"),
        ("vision_config.backbone_config.layer_scale_init_value", 1e-5, "is 1e-05; sam3-edge has null"),
        ("vision_config.scale_factors", [4.0, 2.0, 1.0], "sam3-edge has"),
        ("detr_encoder_config.hidden_size", 128, "is 128; sam3-edge needs them equal"),
        ("detr_decoder_config.num_attention_heads", 8, "sam3-edge needs them equal"),
        ("detr_decoder_config.num_queries", 0, "want a positive whole number"),
        ("detr_decoder_config.num_queries", "16", "want a positive whole number"),
        ("vision_config.backbone_config.global_attn_indexes", [1, -3], "want a positive whole number"),
        ("vision_config.backbone_config.num_attention_heads", 5, "want a multiple of 20"),
    ],
)
def test_config_values(path: str, value: Any, message: str) -> None:
    values = tiny_config().to_dict()
    *parents, last = path.split(".")
    place = values
    for key in parents:
        place = place[key]
    place[last] = value
    with pytest.raises(CheckError, match=f"x: .*{message}"):
        config_of(values, origin="x")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ('{"model_type": "sam3_lite_text"}', CheckError, "model_type is 'sam3_lite_text'"),
        ("[]", SourceError, "not a JSON object"),
        ("{", SourceError, "not readable as JSON"),
    ],
)
def test_config_files(source: Path, tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    shutil.copy(source / "model.safetensors", tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(error, match=message):
        load(tmp_path)
