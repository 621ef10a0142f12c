"""The tensor names of the tracker in the Hugging Face layout."""

from __future__ import annotations

from .weights import Names, Source, Table, under

ATTENTION: Names = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "o_proj"}
ROTARY: Names = {
    **ATTENTION,
    "query": Source(("q_proj",), one_head=True),
    "key": Source(("k_proj",), one_head=True),
}
MLP_2: Names = {"layers.0": "proj_in", "layers.1": "proj_out"}
MLP_3: Names = {"layers.0": "proj_in", "layers.1": "layers.0", "layers.2": "proj_out"}

MEMORY_LAYER: Names = {
    "self_norm": "layer_norm1",
    "read_norm": "layer_norm2",
    "mlp_norm": "layer_norm3",
    **under("self_attention", "self_attn", ROTARY),
    **under("read", "cross_attn_image", ROTARY),
    "mlp.layers.0": "linear1",
    "mlp.layers.1": "linear2",
}
MEMORY_ENCODER: Names = {
    "mask.convs.#": "mask_downsampler.layers.#.conv",
    "mask.norms.#": "mask_downsampler.layers.#.layer_norm",
    "mask.project": "mask_downsampler.final_conv",
    "features": "feature_projection",
    "project": "projection",
    "fuser.#.depthwise": "memory_fuser.layers.#.depthwise_conv",
    "fuser.#.norm": "memory_fuser.layers.#.layer_norm",
    "fuser.#.mlp.layers.0": "memory_fuser.layers.#.pointwise_conv1",
    "fuser.#.mlp.layers.1": "memory_fuser.layers.#.pointwise_conv2",
    "fuser.#.scale": "memory_fuser.layers.#.scale",
}
PROMPTS: Names = {
    "matrix": "shared_embedding.positional_embedding",
    "labels": "point_embed.weight",
    "nowhere": "not_a_point_embed.weight",
    "no_mask": "no_mask_embed.weight",
    "mask.convs.0": "mask_embed.conv1",
    "mask.convs.1": "mask_embed.conv2",
    "mask.norms.0": "mask_embed.layer_norm1",
    "mask.norms.1": "mask_embed.layer_norm2",
    "mask.project": "mask_embed.conv3",
}
TWO_WAY_LAYER: Names = {
    "self_norm": "layer_norm1",
    "image_norm": "layer_norm2",
    "mlp_norm": "layer_norm3",
    "tokens_norm": "layer_norm4",
    **under("self_attention", "self_attn", ATTENTION),
    **under("to_image", "cross_attn_token_to_image", ATTENTION),
    **under("to_tokens", "cross_attn_image_to_token", ATTENTION),
    **under("mlp", "mlp", MLP_2),
}
DECODER: Names = {
    "score_token": "obj_score_token.weight",
    "iou_token": "iou_token.weight",
    "mask_tokens": "mask_tokens.weight",
    "norm": "transformer.layer_norm_final_attn",
    "up.0": "upscale_conv1",
    "up.1": "upscale_conv2",
    "up_norm": "upscale_layer_norm",
    **under("layers.#", "transformer.layers.#", TWO_WAY_LAYER),
    **under("to_image", "transformer.final_attn_token_to_image", ATTENTION),
    **under("mask_heads.#", "output_hypernetworks_mlps.#", MLP_3),
    **under("iou_head", "iou_prediction_head", MLP_3),
    **under("score_head", "pred_obj_score_head", MLP_3),
}
TRACKER: Table = {
    **under("memory_attention.layers.#", "memory_attention.layers.#", MEMORY_LAYER),
    "memory_attention.norm": Source(("memory_attention.layer_norm",)),
    "memory_attention.memory_time": Source(("memory_temporal_positional_encoding",)),
    "memory_attention.pointer_time": Source(("temporal_positional_encoding_projection_layer",)),
    **under("memory_encoder", "memory_encoder", MEMORY_ENCODER),
    "memory_encoder.absent": Source(("occlusion_spatial_embedding_parameter",)),
    **under("prompts", "prompt_encoder", PROMPTS),
    **under("decoder", "mask_decoder", DECODER),
    "decoder.matrix": Source(("shared_image_embedding.positional_embedding",)),
    "features.narrow.0": Source(("mask_decoder.conv_s0",)),
    "features.narrow.1": Source(("mask_decoder.conv_s1",)),
    **under("pointer", "object_pointer_proj", MLP_3),
    "no_pointer": Source(("no_object_pointer",)),
    "no_memory": Source(("no_memory_embedding",)),
    "shrink": Source(("mask_downsample",)),
}
IGNORED = (
    # The half-size level, which the reference computes and drops.
    "tracker_neck.fpn_layers.3.*",
    # Without memory the reference adds its embedding and stops: the position after that is never read.
    "tracker_model.no_memory_positional_encoding",
)
