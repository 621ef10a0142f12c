"""The tensor names of the tracker in `sam3.pt`."""

from __future__ import annotations

from .weights import Names, Source, Table, under

ATTENTION: Names = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "out_proj"}
ROTARY: Names = {
    **ATTENTION,
    "query": Source(("q_proj",), one_head=True),
    "key": Source(("k_proj",), one_head=True),
}
MLP: Names = {f"layers.{i}": f"layers.{i}" for i in range(3)}

MEMORY_LAYER: Names = {
    "self_norm": "norm1",
    "read_norm": "norm2",
    "mlp_norm": "norm3",
    **under("self_attention", "self_attn", ROTARY),
    **under("read", "cross_attn_image", ROTARY),
    "mlp.layers.0": "linear1",
    "mlp.layers.1": "linear2",
}
# In the official sequences a norm and an activation stand between the convolutions.
MEMORY_ENCODER: Names = {
    **{f"mask.convs.{i}": f"mask_downsampler.encoder.{3 * i}" for i in range(4)},
    **{f"mask.norms.{i}": f"mask_downsampler.encoder.{3 * i + 1}" for i in range(4)},
    "mask.project": "mask_downsampler.encoder.12",
    "features": "pix_feat_proj",
    "project": "out_proj",
    "fuser.#.depthwise": "fuser.layers.#.dwconv",
    "fuser.#.norm": "fuser.layers.#.norm",
    "fuser.#.mlp.layers.0": "fuser.layers.#.pwconv1",
    "fuser.#.mlp.layers.1": "fuser.layers.#.pwconv2",
    "fuser.#.scale": "fuser.layers.#.gamma",
}
PROMPTS: Names = {
    "matrix": "pe_layer.positional_encoding_gaussian_matrix",
    "labels": Source(tuple(f"point_embeddings.{i}.weight" for i in range(4))),
    "nowhere": "not_a_point_embed.weight",
    "no_mask": "no_mask_embed.weight",
    "mask.convs.0": "mask_downscaling.0",
    "mask.convs.1": "mask_downscaling.3",
    "mask.norms.0": "mask_downscaling.1",
    "mask.norms.1": "mask_downscaling.4",
    "mask.project": "mask_downscaling.6",
}
TWO_WAY_LAYER: Names = {
    "self_norm": "norm1",
    "image_norm": "norm2",
    "mlp_norm": "norm3",
    "tokens_norm": "norm4",
    **under("self_attention", "self_attn", ATTENTION),
    **under("to_image", "cross_attn_token_to_image", ATTENTION),
    **under("to_tokens", "cross_attn_image_to_token", ATTENTION),
    "mlp.layers.0": "mlp.lin1",
    "mlp.layers.1": "mlp.lin2",
}
DECODER: Names = {
    "score_token": "obj_score_token.weight",
    "iou_token": "iou_token.weight",
    "mask_tokens": "mask_tokens.weight",
    "norm": "transformer.norm_final_attn",
    "up.0": "output_upscaling.0",
    "up.1": "output_upscaling.3",
    "up_norm": "output_upscaling.1",
    **under("layers.#", "transformer.layers.#", TWO_WAY_LAYER),
    **under("to_image", "transformer.final_attn_token_to_image", ATTENTION),
    **under("mask_heads.#", "output_hypernetworks_mlps.#", MLP),
    **under("iou_head", "iou_prediction_head", MLP),
    **under("score_head", "pred_obj_score_head", MLP),
}
TRACKER: Table = {
    **under("memory_attention.layers.#", "transformer.encoder.layers.#", MEMORY_LAYER),
    "memory_attention.norm": Source(("transformer.encoder.norm",)),
    "memory_attention.memory_time": Source(("maskmem_tpos_enc",)),
    "memory_attention.pointer_time": Source(("obj_ptr_tpos_proj",)),
    **under("memory_encoder", "maskmem_backbone", MEMORY_ENCODER),
    "memory_encoder.absent": Source(("no_obj_embed_spatial",)),
    **under("prompts", "sam_prompt_encoder", PROMPTS),
    **under("decoder", "sam_mask_decoder", DECODER),
    # One matrix for clicks and for the cells of the picture; the Hugging Face layout keeps two.
    "decoder.matrix": Source(("sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",)),
    "features.narrow.0": Source(("sam_mask_decoder.conv_s0",)),
    "features.narrow.1": Source(("sam_mask_decoder.conv_s1",)),
    **under("pointer", "obj_ptr_proj", MLP),
    "no_pointer": Source(("no_obj_ptr",)),
    "no_memory": Source(("no_mem_embed",)),
    "shrink": Source(("mask_downsample",)),
}
NECK: Names = {
    "0.up.0": "sam2_convs.0.dconv_2x2_0",
    "0.up.1": "sam2_convs.0.dconv_2x2_1",
    "1.up.0": "sam2_convs.1.dconv_2x2",
    "#.project": "sam2_convs.#.conv_1x1",
    "#.smooth": "sam2_convs.#.conv_3x3",
}
IGNORED = (
    # The half-size level, which the reference computes and drops.
    "backbone.vision_backbone.sam2_convs.3.*",
    # Without memory the reference adds its embedding and stops: the position after that is never read.
    "tracker.no_mem_pos_enc",
)
