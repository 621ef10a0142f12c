"""`config.json` of a checkpoint: what it leaves out, and what our model cannot be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_huggingface import tiny_config

from sam3_edge.errors import CheckError, SourceError
from sam3_edge.export.config_json import config_of, read_config
from sam3_edge.spec import ModelConfig


def test_config_defaults() -> None:
    """What a JSON leaves out means what it means to `transformers`."""
    from transformers import Sam3Config

    sparse = {"text_config": {"model_type": "clip_text_model", "hidden_act": "gelu"}}
    for values in ({}, sparse, {"detr_decoder_config": {"num_queries": 7}}):
        assert config_of(values, origin="x") == config_of(Sam3Config(**values).to_dict(), origin="x")
    assert config_of({}, origin="x") == replace(ModelConfig(), memory_layers=0)


def test_video_config_defaults(tmp_path: Path) -> None:
    """A video model that says nothing of itself is SAM 3, with the tracker."""
    from transformers import Sam3VideoConfig

    (tmp_path / "config.json").write_text('{"model_type": "sam3_video"}')
    assert read_config(tmp_path / "config.json") == ModelConfig()
    Sam3VideoConfig().save_pretrained(tmp_path)
    assert read_config(tmp_path / "config.json") == ModelConfig()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("memory_attention_num_attention_heads", 2, "is 2; sam3-edge has 1 built in"),
        ("memory_fuser_embed_dim", 128, "is 128, the detector's want 256"),
        ("num_maskmem", "7", "want a positive whole number"),
        ("memory_encoder_output_channels", 48, "is 48, want a divisor of 256"),
    ],
)
def test_tracker_config_values(tmp_path: Path, path: str, value: Any, message: str) -> None:
    values = {"model_type": "sam3_video", "tracker_config": {path: value}}
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckError, match=f"config.json: tracker_config: {path} .*{message}"):
        read_config(tmp_path / "config.json")


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
        ('{"model_type": "sam3_tracker"}', CheckError, "model_type is 'sam3_tracker'"),
        ("[]", SourceError, "not a JSON object"),
        ("{", SourceError, "not readable as JSON"),
    ],
)
def test_config_files(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(error, match=message):
        read_config(tmp_path / "config.json")
