"""The tiny official model: Meta's own classes, with the arguments of Meta's builder at small sizes."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import torch
from sam3.model import decoder, encoder, geometry_encoders, maskformer_segmentation, necks, vitdet
from sam3.model.model_misc import MLP, DotProductScoring, MultiheadAttentionWrapper, TransformerWrapper
from sam3.model.position_encoding import PositionEmbeddingSine
from sam3.model.sam3_image import Sam3Image
from sam3.model.text_encoder_ve import VETextEncoder
from sam3.model.vl_combiner import SAM3VLBackbone
from torch import Tensor


@dataclass(frozen=True)
class Sizes:
    """The numbers of the toy model, under the names of `sam3_edge.spec.ModelConfig`."""

    image_size: int = 224
    patch_size: int = 14
    trunk_dim: int = 128
    trunk_mlp: int = 256
    trunk_layers: int = 4
    trunk_heads: int = 4
    window: int = 8
    global_layers: tuple[int, ...] = (1, 3)
    pretrain_size: int = 112
    text_vocab: int = 640
    text_dim: int = 64
    text_mlp: int = 256  # always 4 * text_dim in the official class
    text_layers: int = 2
    text_heads: int = 4
    text_length: int = 32
    dim: int = 64
    heads: int = 4
    mlp: int = 128
    exemplar_layers: int = 1
    roi_size: int = 7
    encoder_layers: int = 2
    decoder_layers: int = 3
    queries: int = 16
    mask_queries: int = 16
    max_boxes: int = 4


@dataclass(frozen=True)
class WordTokenizer:
    """Stands in for the official BPE, whose table the package lacks: one id per word, padded with 0."""

    vocab: int

    def __call__(self, texts: list[str], context_length: int) -> Tensor:
        """Ids [len(texts), context_length]; start and end are the last two ids, as in CLIP."""
        ids = torch.zeros(len(texts), context_length, dtype=torch.long)
        for row, text in zip(ids, texts, strict=True):
            words = [1 + zlib.crc32(word.encode()) % (self.vocab - 3) for word in text.split()]
            row[: len(words) + 2] = torch.tensor([self.vocab - 2, *words, self.vocab - 1])
        return ids


def build_detector(s: Sizes) -> Any:
    """The image model, with the tracker's neck: what `detector.` holds in sam3.pt."""
    model = Sam3Image(
        backbone=SAM3VLBackbone(scalp=1, visual=vision(s), text=text(s)),
        transformer=TransformerWrapper(encoder=fusion(s), decoder=box_decoder(s), d_model=s.dim),
        input_geometry_encoder=geometry(s),
        segmentation_head=mask_head(s),
        num_feature_levels=1,
        o2m_mask_predict=True,
        dot_prod_scoring=scorer(s),
        use_instance_query=False,
        multimask_output=True,
    )
    return model.eval()


def vision(s: Sizes) -> Any:
    trunk = vitdet.ViT(
        img_size=s.image_size,
        pretrain_img_size=s.pretrain_size,
        patch_size=s.patch_size,
        embed_dim=s.trunk_dim,
        depth=s.trunk_layers,
        num_heads=s.trunk_heads,
        mlp_ratio=s.trunk_mlp / s.trunk_dim,
        norm_layer="LayerNorm",
        drop_path_rate=0.1,
        qkv_bias=True,
        use_abs_pos=True,
        tile_abs_pos=True,
        global_att_blocks=s.global_layers,
        rel_pos_blocks=(),
        use_rope=True,
        use_interp_rope=True,
        window_size=s.window,
        pretrain_use_cls_token=True,
        retain_cls_token=False,
        ln_pre=True,
        ln_post=False,
        return_interm_layers=False,
        bias_patch_embed=False,
    )
    return necks.Sam3DualViTDetNeck(
        position_encoding=sine(s.dim, s.image_size),
        d_model=s.dim,
        scale_factors=[4.0, 2.0, 1.0, 0.5],
        trunk=trunk,
        add_sam2_neck=True,
    )


def text(s: Sizes) -> Any:
    return VETextEncoder(
        tokenizer=WordTokenizer(s.text_vocab),
        d_model=s.dim,
        width=s.text_dim,
        heads=s.text_heads,
        layers=s.text_layers,
        context_length=s.text_length,
        vocab_size=s.text_vocab,
    )


def fusion(s: Sizes) -> Any:
    return encoder.TransformerEncoderFusion(
        layer=encoder_layer(s, batch_first=True, pos_enc_at_attn=True, pos_enc_at_cross_attn_keys=False),
        num_layers=s.encoder_layers,
        d_model=s.dim,
        num_feature_levels=1,
        frozen=False,
        add_pooled_text_to_img_feat=False,
        pool_text_with_mask=True,
    )


def box_decoder(s: Sizes) -> Any:
    layer = decoder.TransformerDecoderLayer(
        cross_attention=attention(s), n_heads=s.heads, use_text_cross_attention=True, **feed_forward(s)
    )
    return decoder.TransformerDecoder(
        layer=layer,
        num_layers=s.decoder_layers,
        num_queries=s.queries,
        return_intermediate=True,
        box_refine=True,
        num_o2m_queries=0,
        dac=True,
        boxRPB="log",
        d_model=s.dim,
        frozen=False,
        interaction_layer=None,
        dac_use_selfatt_ln=True,
        resolution=s.image_size,
        stride=s.patch_size,
        presence_token=True,
    )


def geometry(s: Sizes) -> Any:
    return geometry_encoders.SequenceGeometryEncoder(
        pos_enc=sine(s.dim),
        encode_boxes_as_points=False,
        points_direct_project=True,
        points_pool=True,
        points_pos_enc=True,
        boxes_direct_project=True,
        boxes_pool=True,
        boxes_pos_enc=True,
        d_model=s.dim,
        num_layers=s.exemplar_layers,
        layer=encoder_layer(s, batch_first=False, pos_enc_at_attn=False, pos_enc_at_cross_attn_keys=True),
        add_cls=True,
        add_post_encode_proj=True,
    )


def mask_head(s: Sizes) -> Any:
    pixels = maskformer_segmentation.PixelDecoder(
        num_upsampling_stages=3, interpolation_mode="nearest", hidden_dim=s.dim
    )
    return maskformer_segmentation.UniversalSegmentationHead(
        hidden_dim=s.dim,
        upsampling_stages=3,
        aux_masks=False,
        presence_head=False,
        dot_product_scorer=None,
        cross_attend_prompt=attention(s, dropout=0),
        pixel_decoder=pixels,
    )


def scorer(s: Sizes) -> Any:
    prompt = MLP(s.dim, s.mlp, s.dim, 2, dropout=0.1, residual=True, out_norm=torch.nn.LayerNorm(s.dim))
    return DotProductScoring(d_model=s.dim, d_proj=s.dim, prompt_mlp=prompt)


def sine(dim: int, resolution: int | None = None) -> Any:
    return PositionEmbeddingSine(
        num_pos_feats=dim, normalize=True, scale=None, temperature=10000, precompute_resolution=resolution
    )


def attention(s: Sizes, **options: Any) -> Any:
    return MultiheadAttentionWrapper(num_heads=s.heads, embed_dim=s.dim, **{"dropout": 0.1, **options})


def feed_forward(s: Sizes) -> dict[str, Any]:
    return {"activation": "relu", "d_model": s.dim, "dim_feedforward": s.mlp, "dropout": 0.1}


def encoder_layer(s: Sizes, *, batch_first: bool, **options: bool) -> Any:
    return encoder.TransformerEncoderLayer(
        pre_norm=True,
        self_attention=attention(s, batch_first=batch_first),
        cross_attention=attention(s, batch_first=batch_first),
        pos_enc_at_cross_attn_queries=False,
        **options,
        **feed_forward(s),
    )
