"""The tensor names of the Hugging Face layout: `facebook/sam3` and what is fine-tuned from it."""

from __future__ import annotations

from . import names_huggingface_tracker as tracker
from .weights import Layout, Names, Source, as_grid, under

ATTENTION: Names = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "o_proj"}
MLP: Names = {"layers.0": "layer1", "layers.1": "layer2", "layers.2": "layer3"}
QKV = ("q_proj", "k_proj", "v_proj")

FUSION_LAYER: Names = {
    "self_norm": "layer_norm1",
    "cross_norm": "layer_norm2",
    "mlp_norm": "layer_norm3",
    **under("self_attention", "self_attn", ATTENTION),
    **under("cross_attention", "cross_attn", ATTENTION),
    "mlp.layers.0": "mlp.fc1",
    "mlp.layers.1": "mlp.fc2",
}
DECODER_LAYER: Names = {
    "self_norm": "self_attn_layer_norm",
    "prompt_norm": "text_cross_attn_layer_norm",
    "image_norm": "vision_cross_attn_layer_norm",
    "mlp_norm": "mlp_layer_norm",
    **under("self_attention", "self_attn", ATTENTION),
    **under("prompt_attention", "text_cross_attn", ATTENTION),
    **under("image_attention", "vision_cross_attn", ATTENTION),
    "mlp.layers.0": "mlp.fc1",
    "mlp.layers.1": "mlp.fc2",
}
BACKBONE: Names = {
    "position": Source(("embeddings.position_embeddings",), reshape=as_grid),
    "patch": "embeddings.patch_embeddings.projection",
    "norm": "layer_norm",
    "blocks.#.attention_norm": "layers.#.layer_norm1",
    "blocks.#.attention.qkv": Source(tuple(f"layers.#.attention.{part}" for part in QKV), rotary=True),
    "blocks.#.attention.out": "layers.#.attention.o_proj",
    "blocks.#.mlp_norm": "layers.#.layer_norm2",
    "blocks.#.mlp.layers.0": "layers.#.mlp.fc1",
    "blocks.#.mlp.layers.1": "layers.#.mlp.fc2",
}
FEATURES: Names = {
    "levels.0.up.0": "fpn_layers.0.scale_layers.0",
    "levels.0.up.1": "fpn_layers.0.scale_layers.2",  # 1 is the GELU
    "levels.1.up.0": "fpn_layers.1.scale_layers.0",
    "levels.#.project": "fpn_layers.#.proj1",
    "levels.#.smooth": "fpn_layers.#.proj2",
}
TEXT: Names = {
    "token": "embeddings.token_embedding",
    "position": "embeddings.position_embedding.weight",
    "blocks.#.attention_norm": "encoder.layers.#.layer_norm1",
    "blocks.#.attention.qkv": Source(tuple(f"encoder.layers.#.self_attn.{part}" for part in QKV)),
    "blocks.#.attention.out": "encoder.layers.#.self_attn.out_proj",
    "blocks.#.mlp_norm": "encoder.layers.#.layer_norm2",
    "blocks.#.mlp.layers.0": "encoder.layers.#.mlp.fc1",
    "blocks.#.mlp.layers.1": "encoder.layers.#.mlp.fc2",
    "norm": "final_layer_norm",
}
EXEMPLAR: Names = {
    "label": "label_embed.weight",
    "cls": Source(("cls_embed.weight",), reshape=lambda token: token[None]),
    "box": "boxes_direct_project",
    "pool_norm": "vision_layer_norm",
    "pool": "boxes_pool_project",
    "place": "boxes_pos_enc_project",
    "project": "final_proj",
    "norm": "prompt_layer_norm",
    "out_norm": "output_layer_norm",
    **under("layers.#", "layers.#", FUSION_LAYER),
}
DECODER: Names = {
    "query": "query_embed.weight",
    "reference": "reference_points.weight",
    "presence_token": "presence_token.weight",
    "norm": "output_layer_norm",
    "presence_norm": "presence_layer_norm",
    **under("box_head", "box_head", MLP),
    **under("presence_head", "presence_head", MLP),
    **under("reference_head", "ref_point_head", MLP),
    **under("box_bias.x", "box_rpb_embed_x", MLP),
    **under("box_bias.y", "box_rpb_embed_y", MLP),
    **under("layers.#", "layers.#", DECODER_LAYER),
}
SCORER: Names = {
    **under("mlp", "text_mlp", MLP),
    "norm": "text_mlp_out_norm",
    "prompt": "text_proj",
    "query": "query_proj",
}
MASKS: Names = {
    "prompt_norm": "prompt_cross_attn_norm",
    **under("prompt_attention", "prompt_cross_attn", ATTENTION),
    "convs.#": "pixel_decoder.conv_layers.#",
    "norms.#": "pixel_decoder.norms.#",
    "instance": "instance_projection",
    "semantic": "semantic_projection",
    "query.layers.#": "mask_embedder.layers.#",
}

LAYOUT = Layout(
    prefix="detector_model.",
    sources={
        **under("backbone", "vision_encoder.backbone", BACKBONE),
        **under("detector_features", "vision_encoder.neck", FEATURES),
        **under("text", "text_encoder.text_model", TEXT),
        "text.project": Source(("text_projection",)),
        **under("exemplar", "geometry_encoder", EXEMPLAR),
        **under("detector.encoder.#", "detr_encoder.layers.#", FUSION_LAYER),
        **under("detector", "detr_decoder", DECODER),
        **under("detector.scorer", "dot_product_scoring", SCORER),
        **under("masks", "mask_decoder", MASKS),
        **under("tracker", "/tracker_model", tracker.TRACKER),
        **under("tracker.features.neck", "/tracker_neck", FEATURES),
    },
    tracker=("tracker_model.*", "tracker_neck.*"),
    ignored=(
        *tracker.IGNORED,
        # The half-size level, which the reference computes and drops.
        "vision_encoder.neck.fpn_layers.3.*",
        # CLIP's projection of the whole phrase; the prompt is made of the single tokens.
        "text_encoder.text_projection.weight",
        # Three levels are joined by two up-samplings, so the third convolution never runs.
        "mask_decoder.pixel_decoder.conv_layers.2.*",
        "mask_decoder.pixel_decoder.norms.2.*",
        # Constants that older versions of transformers saved.
        "text_encoder.text_model.embeddings.position_ids",
        "vision_encoder.backbone.layers.*.rotary_emb.*",
    ),
)
