"""A tiny SAM 3 as `transformers` builds it, with random weights that find something."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

QUERIES, TEXT_LENGTH, VOCAB, PATCH, WINDOW = 16, 32, 640, 14, 8
SIDE = PATCH * WINDOW * 2  # 224: four windows, a grid of 16
MEMORY_DIM = 16
HEAD = {"hidden_size": 64, "num_attention_heads": 4}


def tiny_config(image_size: int = SIDE) -> Any:
    """A `Sam3Config` with every part of SAM 3's and few of each."""
    from transformers import Sam3Config

    trunk = {
        "model_type": "sam3_vit_model",
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": image_size,
        "patch_size": PATCH,
        "window_size": WINDOW,
        "global_attn_indexes": [1, 3],
        "layer_norm_eps": 1e-5,  # the official value and ours; this class's default is 1e-6
        "pretrain_image_size": PATCH * WINDOW,
    }
    text = {
        "model_type": "clip_text_model",
        "vocab_size": VOCAB,
        "hidden_size": 64,
        "intermediate_size": 256,
        "projection_dim": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": TEXT_LENGTH,
        "hidden_act": "gelu",
        "bos_token_id": VOCAB - 2,
        "eos_token_id": VOCAB - 1,
        "pad_token_id": 0,
    }
    side = image_size // PATCH
    return Sam3Config(
        vision_config={
            "backbone_config": trunk,
            "fpn_hidden_size": 64,
            "backbone_feature_sizes": [[4 * side] * 2, [2 * side] * 2, [side] * 2],
        },
        text_config=text,
        geometry_encoder_config={**HEAD, "intermediate_size": 128, "num_layers": 1},
        detr_encoder_config={**HEAD, "intermediate_size": 128, "num_layers": 2},
        detr_decoder_config={**HEAD, "intermediate_size": 128, "num_layers": 3, "num_queries": QUERIES},
        mask_decoder_config=HEAD,
    )


# Plain random weights answer the same for every query. With these, queries start apart and look at different
# places, and with the seed some end above the threshold and some below.
GAINS = {
    r"detr_decoder\.layers\.\d\.(self_attn|text_cross_attn)\.o_proj\.weight": 0.15,
    r"detr_decoder\.layers\.\d\.vision_cross_attn\.o_proj\.weight": 1.5,
    r"detr_decoder\.layers\.\d\.mlp\.fc2\.weight": 0.1,
    r"detr_decoder\.box_rpb_embed_[xy]\.layer2\.weight": 40.0,
    r"detr_decoder\.query_embed\.weight": 24.0,
    r"detr_decoder\.reference_points\.weight": 3.0,
    r"dot_product_scoring\.query_proj\.weight": 6.0,
}
SHIFTS = {"detr_decoder.presence_head.layer3.bias": 3.0}


def enliven(model: torch.nn.Module, seed: int = 6) -> None:
    """Random weights, in place, so that each of them counts: as initialised, biases are 0 and norms 1."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        short = name.removeprefix("detector_model.")
        noise = torch.randn(weight.shape, generator=generator)
        if weight.ndim > 1:
            value = noise * (weight.shape[-1] if weight.ndim == 3 else weight[0].numel()) ** -0.5
        else:
            value = 0.1 * noise + float("norm" in name and name.endswith("weight"))
        gain = next((gain for pattern, gain in GAINS.items() if re.fullmatch(pattern, short)), 1.0)
        weight.data = value * gain + SHIFTS.get(short, 0.0)


def tiny_model(image_size: int = SIDE) -> Any:
    """The whole image model, in eval mode."""
    from transformers import Sam3Model

    model = Sam3Model(tiny_config(image_size))
    enliven(model)
    return model.eval()


def tiny_video_model() -> Any:
    """What `facebook/sam3` holds: the image model and the tracker, in one file."""
    from transformers import Sam3VideoConfig, Sam3VideoModel
    from transformers.models.sam3_tracker_video.modeling_sam3_tracker_video import (
        Sam3TrackerVideoRoPEAttention,
    )

    detector = tiny_config()
    tracker = tiny_tracker_config(detector)
    model = Sam3VideoModel(
        Sam3VideoConfig(detector_config=detector.to_dict(), tracker_config=tracker.to_dict())
    )
    for layer in model.tracker_model.memory_attention.layers:  # 64 is written into theirs
        layer.cross_attn_image = Sam3TrackerVideoRoPEAttention(
            model.tracker_model.config, kv_in_dim=MEMORY_DIM, rope_k_repeat=True
        )
    enliven(model)
    generator = torch.Generator().manual_seed(7)
    for name, buffer in model.named_buffers():
        if name.endswith("positional_embedding"):
            buffer.data = torch.randn(buffer.shape, generator=generator)
    return model.eval()


def tiny_tracker_config(detector: Any) -> Any:
    """The tracker of the tiny video model."""
    from transformers import Sam3TrackerVideoConfig

    return Sam3TrackerVideoConfig(
        vision_config=detector.vision_config.to_dict(),
        image_size=SIDE,
        memory_attention_hidden_size=64,
        memory_attention_num_layers=2,
        memory_attention_feed_forward_hidden_size=128,
        memory_encoder_hidden_size=64,
        memory_encoder_output_channels=MEMORY_DIM,
        mask_downsampler_embed_dim=64,
        memory_fuser_embed_dim=64,
        memory_fuser_intermediate_dim=256,
        prompt_encoder_config={"hidden_size": 64},
        mask_decoder_config={
            "hidden_size": 64,
            "mlp_dim": 96,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": 48,
        },
    )


def saved(model: Any, folder: Path) -> Path:
    """The model as `save_pretrained` writes it."""
    model.save_pretrained(folder)
    return folder


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    """Whether two models have the same names and weights, bit for bit."""
    one, other = a.state_dict(), b.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
