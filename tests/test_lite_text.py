"""SAM3-LiteText checkpoints as `transformers` saves them: the same prompt tokens, also once exported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_huggingface import TEXT_LENGTH, VOCAB, enliven, same, saved, tiny_config

from sam3_edge import registry
from sam3_edge.errors import CheckError
from sam3_edge.export.checkpoint import load, save
from sam3_edge.export.config_json import read_config
from sam3_edge.spec import ModelConfig, graph_specs

POSITIONS = 77  # of the published ones; phrases have 32 tokens
PREFIX = "text_encoder.layers."


def lite_model(**text: Any) -> Any:
    """A tiny one, every weight and every statistic at random."""
    from transformers import Sam3LiteTextConfig, Sam3LiteTextModel

    values = {
        n: v for n, v in tiny_config().to_dict().items() if n.endswith("_config") and n != "text_config"
    }
    for name, value in values.items():
        value["model_type"] = value["model_type"].replace("sam3_", "sam3_lite_text_", name != "vision_config")
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4}
    words = {"vocab_size": VOCAB, "projection_dim": 64, "max_position_embeddings": POSITIONS}
    settings = {**sizes, **words, "repmixer_kernel_size": 5, **text}
    model = Sam3LiteTextModel(Sam3LiteTextConfig(**values, text_config=settings))
    enliven(model)
    generator = torch.Generator().manual_seed(8)
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.data = torch.rand(buffer.shape, generator=generator) + 0.5
    return model.eval()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(lite_model(), tmp_path_factory.mktemp("lite"))


def phrases() -> tuple[torch.Tensor, torch.Tensor]:
    """Ids [3, T] of phrases with 3, 9 and all tokens, and which tokens are theirs."""
    lengths = torch.tensor([[3], [9], [TEXT_LENGTH]])
    ids = torch.randint(1, VOCAB - 2, (3, TEXT_LENGTH), generator=torch.Generator().manual_seed(5))
    place = torch.arange(TEXT_LENGTH)[None]
    return ids.where(place < lengths - 1, VOCAB - 1).where(place < lengths, 0), place < lengths


@pytest.mark.parametrize("text", [{}, {"use_repmixer_blocks": False}, {"max_position_embeddings": 32}])
def test_prompt_tokens_are_those_of_transformers(tmp_path: Path, text: dict[str, Any]) -> None:
    theirs = lite_model(**text)
    ours = load(saved(theirs, tmp_path)).model
    ids, valid = phrases()
    with torch.no_grad():
        want = theirs.get_text_features(ids, valid.long()).pooler_output
        got = ours.text(ids)
    assert want.std() > 0.1
    assert float((got - want).norm() / want.norm()) < 1e-5


def test_the_config(source: Path) -> None:
    config = load(source).config
    assert (config.text_taps, config.text_length, config.text_layers) == (5, TEXT_LENGTH, 4)
    assert not config.tracks


def test_a_config_that_says_little(tmp_path: Path) -> None:
    """What it leaves out means what it means to `transformers`."""
    from transformers import Sam3LiteTextConfig

    (tmp_path / "config.json").write_text('{"model_type": "sam3_lite_text"}')
    sparse = read_config(tmp_path / "config.json")
    Sam3LiteTextConfig().save_pretrained(tmp_path)
    assert sparse == read_config(tmp_path / "config.json")
    assert (sparse.text_dim, sparse.text_taps, sparse.text_length) == (512, 11, ModelConfig.text_length)


@pytest.mark.parametrize("taps", [1, 4, "11"])
def test_taps_that_keep_no_length(tmp_path: Path, taps: object) -> None:
    values = {"model_type": "sam3_lite_text", "text_config": {"repmixer_kernel_size": taps}}
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckError, match="repmixer_kernel_size is"):
        read_config(tmp_path / "config.json")


def test_it_is_saved_and_loaded_as_our_own(source: Path, tmp_path: Path) -> None:
    model = load(source).model
    save(model, tmp_path / "ours.safetensors")
    assert same(load(tmp_path / "ours.safetensors").model, model)


@pytest.fixture
def altered(source: Path, tmp_path: Path) -> Callable[[dict[str, torch.Tensor]], Path]:
    def alter(tensors: dict[str, torch.Tensor]) -> Path:
        (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
        save_file(tensors, tmp_path / "model.safetensors")
        return tmp_path

    return alter


@pytest.mark.parametrize(
    "name",
    [
        "0.token_mixer.reference_batchnorm.running_var",
        "0.token_mixer.mixer.conv.weight",
        "3.layer_scale",
        "3.conv_feed_forward.mlp.fc2.bias",
        "1.self_attn.k_proj.weight",
    ],
)
def test_a_tensor_of_the_encoder_that_is_wrong(
    source: Path, altered: Callable[[dict[str, torch.Tensor]], Path], name: str
) -> None:
    tensors = load_file(source / "model.safetensors")
    value = tensors.pop(PREFIX + name)
    with pytest.raises(CheckError, match=f"missing .*{name}"):
        load(altered(tensors))
    with pytest.raises(CheckError, match=f"misshapen .*{name}"):
        load(altered({**tensors, PREFIX + name: value[:-1].contiguous()}))


def test_the_exported_encoder_says_the_same(source: Path, tmp_path: Path) -> None:
    found = load(source)
    registry.load("target", "onnx").lower(found.model.text, graph_specs(found.config)["text"], tmp_path)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    ids, _ = phrases()
    with torch.no_grad():
        want = found.model.text(ids).numpy()
    for row, expected in zip(ids.numpy().astype(np.int32), want, strict=True):
        (got,) = session.run(None, {"token_ids": row[None]})
        np.testing.assert_allclose(got[0], expected, rtol=1e-4, atol=1e-5)
