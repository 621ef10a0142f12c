"""The tracker's numbers in the `tracker_config` of a SAM 3 video model, Hugging Face layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PROMPT, DECODER = "prompt_encoder_config", "mask_decoder_config"

# How many times the detector's width each of these must be; where the JSON says nothing that is 256.
WIDTHS = {
    "memory_attention_hidden_size": 1,
    "memory_encoder_hidden_size": 1,
    "mask_downsampler_embed_dim": 1,
    "memory_fuser_embed_dim": 1,
    "memory_fuser_intermediate_dim": 4,
    f"{PROMPT}.hidden_size": 1,
    f"{DECODER}.hidden_size": 1,
}
# What must divide the detector's width, and how many times over: attention to the picture is half as wide.
DIVISORS = {"memory_encoder_output_channels": 1, f"{DECODER}.num_attention_heads": 2}
# Every number that is read, and what it is where the JSON says nothing.
USUAL: dict[str, int] = {
    **{path: 256 * times for path, times in WIDTHS.items()},
    "memory_attention_num_layers": 4,
    "memory_attention_feed_forward_hidden_size": 2048,
    "memory_encoder_output_channels": 64,
    "memory_fuser_num_layers": 2,
    "num_maskmem": 7,
    "max_cond_frame_num": 4,
    "max_object_pointers_in_encoder": 16,
    f"{DECODER}.num_attention_heads": 8,
    f"{DECODER}.mlp_dim": 2048,
    f"{DECODER}.iou_head_hidden_dim": 256,
}
# What the graphs have built in; the first value is what the JSON means where it says nothing.
BUILT_IN: dict[str, tuple[Any, ...]] = {
    "memory_attention_num_attention_heads": (1,),
    "memory_attention_downsample_rate": (1,),
    "memory_attention_feed_forward_hidden_act": ("relu",),
    "rope_parameters.rope_theta": (10000.0,),
    "rope_parameters.rope_type": ("axial",),
    "sigmoid_scale_for_mem_enc": (20.0,),
    "sigmoid_bias_for_mem_enc": (-10.0,),
    "enable_occlusion_spatial_embedding": (True,),
    "enable_temporal_pos_encoding_for_object_pointers": (True,),
    "mask_downsampler_kernel_size": (3,),
    "mask_downsampler_stride": (2,),
    "mask_downsampler_padding": (1,),
    "mask_downsampler_total_stride": (16,),
    "mask_downsampler_hidden_act": ("gelu",),
    "memory_fuser_kernel_size": (7,),
    "memory_fuser_padding": (3,),
    "memory_fuser_hidden_act": ("gelu",),
    f"{PROMPT}.mask_input_channels": (16,),
    f"{PROMPT}.num_point_embeddings": (4,),
    f"{PROMPT}.hidden_act": ("gelu",),
    f"{PROMPT}.layer_norm_eps": (1e-6,),
    f"{PROMPT}.scale": (1,),
    f"{DECODER}.num_hidden_layers": (2,),  # also how deep its MLPs are
    f"{DECODER}.attention_downsample_rate": (2,),
    f"{DECODER}.num_multimask_outputs": (3,),
    f"{DECODER}.iou_head_depth": (3,),
}


def fields_of(found: Mapping[str, int]) -> dict[str, int]:
    """Our fields from the numbers of the JSON: how much is remembered becomes a number of slots."""
    kept, times = found["max_cond_frame_num"], found["num_maskmem"]
    return {
        "memory_layers": found["memory_attention_num_layers"],
        "memory_dim": found["memory_encoder_output_channels"],
        "memory_mlp": found["memory_attention_feed_forward_hidden_size"],
        "memory_times": times,
        "memory_slots": kept + times - 1,
        "pointer_slots": kept + found["max_object_pointers_in_encoder"] - 1,
        "fuser_layers": found["memory_fuser_num_layers"],
        "sam_heads": found[f"{DECODER}.num_attention_heads"],
        "sam_mlp": found[f"{DECODER}.mlp_dim"],
        "sam_score_dim": found[f"{DECODER}.iou_head_hidden_dim"],
    }
