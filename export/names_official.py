"""The tensor names of `sam3.pt`, the official checkpoint."""

from __future__ import annotations

from torch import Tensor

from . import names_official_tracker as tracker
from .weights import Layout, Names, Source, as_grid, under

# Query, key and value are the thirds of one tensor.
ATTENTION: Names = {
    **{
        f"{part}.{kind}": Source((f"in_proj_{kind}",), third=third)
        for third, part in enumerate(("query", "key", "value"))
        for kind in ("weight", "bias")
    },
    "out": "out_proj",
}
MLP: Names = {"layers.#": "layers.#"}

FUSION_LAYER: Names = {
    "self_norm": "norm1",
    "cross_norm": "norm2",
    "mlp_norm": "norm3",
    **under("self_attention", "self_attn", ATTENTION),
    **under("cross_attention", "cross_attn_image", ATTENTION),
    "mlp.layers.0": "linear1",
    "mlp.layers.1": "linear2",
}
DECODER_LAYER: Names = {
    # Numbered by age, not by order: the layer runs norm2, catext_norm, norm1, norm3.
    "self_norm": "norm2",
    "prompt_norm": "catext_norm",
    "image_norm": "norm1",
    "mlp_norm": "norm3",
    **under("self_attention", "self_attn", ATTENTION),
    **under("prompt_attention", "ca_text", ATTENTION),
    **under("image_attention", "cross_attn", ATTENTION),
    "mlp.layers.0": "linear1",
    "mlp.layers.1": "linear2",
}


def as_grid_without_cls(x: Tensor) -> Tensor:
    """Positions of CLS, unused since pretraining, and grid: [1, 1 + side * side, C] -> [1, side, side, C]."""
    grid = as_grid(x[:, 1:]) if x.ndim == 3 else x
    return grid if grid.ndim == 4 else x


BACKBONE: Names = {
    "position": Source(("pos_embed",), reshape=as_grid_without_cls),
    "patch": "patch_embed.proj",
    "norm": "ln_pre",
    "blocks.#.attention_norm": "blocks.#.norm1",
    "blocks.#.attention.qkv": Source(("blocks.#.attn.qkv",), rotary=True),
    "blocks.#.attention.out": "blocks.#.attn.proj",
    "blocks.#.mlp_norm": "blocks.#.norm2",
    "blocks.#.mlp.layers.0": "blocks.#.mlp.fc1",
    "blocks.#.mlp.layers.1": "blocks.#.mlp.fc2",
}
FEATURES: Names = {
    "levels.0.up.0": "convs.0.dconv_2x2_0",
    "levels.0.up.1": "convs.0.dconv_2x2_1",
    "levels.1.up.0": "convs.1.dconv_2x2",
    "levels.#.project": "convs.#.conv_1x1",
    "levels.#.smooth": "convs.#.conv_3x3",
}
TEXT: Names = {
    "token": "encoder.token_embedding",
    "position": "encoder.positional_embedding",
    "blocks.#.attention_norm": "encoder.transformer.resblocks.#.ln_1",
    "blocks.#.attention.qkv.weight": "encoder.transformer.resblocks.#.attn.in_proj_weight",
    "blocks.#.attention.qkv.bias": "encoder.transformer.resblocks.#.attn.in_proj_bias",
    "blocks.#.attention.out": "encoder.transformer.resblocks.#.attn.out_proj",
    "blocks.#.mlp_norm": "encoder.transformer.resblocks.#.ln_2",
    "blocks.#.mlp.layers.0": "encoder.transformer.resblocks.#.mlp.c_fc",
    "blocks.#.mlp.layers.1": "encoder.transformer.resblocks.#.mlp.c_proj",
    "norm": "encoder.ln_final",
    "project": "resizer",
}
EXEMPLAR: Names = {
    "label": "label_embed.weight",
    "cls": Source(("cls_embed.weight",), reshape=lambda token: token[None]),
    "box": "boxes_direct_project",
    "pool_norm": "img_pre_norm",
    "pool": "boxes_pool_project",
    "place": "boxes_pos_enc_project",
    "project": "final_proj",
    "norm": "norm",
    "out_norm": "encode_norm",
    **under("layers.#", "encode.#", FUSION_LAYER),
}
DECODER: Names = {
    "query": "query_embed.weight",
    "reference": "reference_points.weight",
    "presence_token": "presence_token.weight",
    "norm": "norm",
    "presence_norm": "presence_token_out_norm",
    **under("box_head", "bbox_embed", MLP),
    **under("presence_head", "presence_token_head", MLP),
    **under("reference_head", "ref_point_head", MLP),
    **under("box_bias.x", "boxRPB_embed_x", MLP),
    **under("box_bias.y", "boxRPB_embed_y", MLP),
    **under("layers.#", "layers.#", DECODER_LAYER),
}
SCORER: Names = {
    **under("mlp", "prompt_mlp", MLP),
    "norm": "prompt_mlp.out_norm",
    "prompt": "prompt_proj",
    "query": "hs_proj",
}
MASKS: Names = {
    "prompt_norm": "cross_attn_norm",
    **under("prompt_attention", "cross_attend_prompt", ATTENTION),
    "convs.#": "pixel_decoder.conv_layers.#",
    "norms.#": "pixel_decoder.norms.#",
    "instance": "instance_seg_head",
    "semantic": "semantic_seg_head",
    **under("query", "mask_predictor.mask_embed", MLP),
}

TRACKER = "tracker."  # a file with nothing below this is an image model

LAYOUT = Layout(
    prefix="detector.",
    sources={
        **under("backbone", "backbone.vision_backbone.trunk", BACKBONE),
        **under("detector_features", "backbone.vision_backbone", FEATURES),
        **under("text", "backbone.language_backbone", TEXT),
        **under("exemplar", "geometry_encoder", EXEMPLAR),
        **under("detector.encoder.#", "transformer.encoder.layers.#", FUSION_LAYER),
        **under("detector", "transformer.decoder", DECODER),
        **under("detector.scorer", "dot_prod_scoring", SCORER),
        **under("masks", "segmentation_head", MASKS),
        **under("tracker", "/tracker", tracker.TRACKER),
        **under("tracker.features.neck.levels", "backbone.vision_backbone", tracker.NECK),
    },
    tracker=("tracker.*", "backbone.vision_backbone.sam2_convs.*"),
    ignored=(
        *tracker.IGNORED,
        # Another tracker, for clicks on pictures.
        "inst_interactive_predictor.*",
        # The half-size level, which the reference computes and drops.
        "backbone.vision_backbone.convs.3.*",
        # Rotary angles, complex numbers: constants that we compute.
        "backbone.vision_backbone.trunk.blocks.*.attn.freqs_cis",
        # CLIP's projection of the whole phrase; the prompt is made of the single tokens.
        "backbone.language_backbone.encoder.text_projection",
        # Points as exemplars: trained, but the model takes none for a concept.
        "geometry_encoder.points_*",
        # Three levels are joined by two up-samplings, so the third convolution never runs.
        "segmentation_head.pixel_decoder.conv_layers.2.*",
        "segmentation_head.pixel_decoder.norms.2.*",
    ),
)
