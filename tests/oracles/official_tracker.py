"""The tiny official tracker: names and shapes under `tracker.` in sam3.pt. The image path never runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sam3.model.decoder import TransformerDecoderLayerv2, TransformerEncoderCrossAttention
from sam3.model.memory import CXBlock, SimpleFuser, SimpleMaskDownSampler, SimpleMaskEncoder
from sam3.model.model_misc import TransformerWrapper
from sam3.model.sam3_tracking_predictor import Sam3TrackerPredictor
from sam3.sam.mask_decoder import MaskDecoder
from sam3.sam.transformer import RoPEAttention, TwoWayTransformer

from .official_model import Sizes, feed_forward, sine


@dataclass(frozen=True)
class TrackerSizes:
    """Under the names of `sam3_edge.spec.ModelConfig`; Meta fixes the last three."""

    memory_dim: int = 16  # 64 in SAM 3: a quarter of the width in both
    memory_layers: int = 2
    memory_mlp: int = Sizes.mlp
    fuser_layers: int = 2
    sam_heads: int = 8
    sam_mlp: int = 2048
    sam_score_dim: int = 256


TINY = TrackerSizes()


def build_tracker(s: Sizes, t: TrackerSizes = TINY) -> Any:
    """Meta's tracker without its own picture encoder, as the video model holds it."""
    tracker = Sam3TrackerPredictor(
        image_size=s.image_size,
        num_maskmem=7,
        backbone=None,
        backbone_stride=s.patch_size,
        transformer=TransformerWrapper(encoder=memory_attention(s, t), decoder=None, d_model=s.dim),
        maskmem_backbone=memory_encoder(s, t),
        multimask_output_in_sam=True,
        forward_backbone_per_frame_for_eval=True,
        multimask_output_for_tracking=True,
        multimask_min_pt_num=0,
        multimask_max_pt_num=1,
        non_overlap_masks_for_output=False,
        max_cond_frames_in_attn=4,
        clear_non_cond_mem_around_input=True,
        sam_mask_decoder_extra_args={
            "dynamic_multimask_via_stability": True,
            "dynamic_multimask_stability_delta": 0.05,
            "dynamic_multimask_stability_thresh": 0.98,
        },
        use_memory_selection=True,
    )
    if (t.sam_heads, t.sam_mlp, t.sam_score_dim) != (TINY.sam_heads, TINY.sam_mlp, TINY.sam_score_dim):
        tracker.sam_mask_decoder = small_decoder(s, t, tracker)
    return tracker.eval()


def small_decoder(s: Sizes, t: TrackerSizes, tracker: Any) -> Any:
    """Meta's mask decoder, with the sizes that its tracker does not let one choose."""
    return MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(depth=2, embedding_dim=s.dim, mlp_dim=t.sam_mlp, num_heads=t.sam_heads),
        transformer_dim=s.dim,
        iou_head_depth=3,
        iou_head_hidden_dim=t.sam_score_dim,
        use_high_res_features=True,
        iou_prediction_use_sigmoid=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        use_multimask_token_for_obj_ptr=True,
        **tracker.sam_mask_decoder_extra_args,
    )


def memory_attention(s: Sizes, t: TrackerSizes) -> Any:
    layer = TransformerDecoderLayerv2(
        cross_attention_first=False,
        pos_enc_at_attn=False,
        pre_norm=True,
        pos_enc_at_cross_attn_keys=True,
        pos_enc_at_cross_attn_queries=False,
        self_attention=rotary(s),
        cross_attention=rotary(s, kv_in_dim=t.memory_dim, rope_k_repeat=True),
        **{**feed_forward(s), "dim_feedforward": t.memory_mlp},
    )
    return TransformerEncoderCrossAttention(
        remove_cross_attention_layers=[],
        batch_first=True,
        d_model=s.dim,
        frozen=False,
        pos_enc_at_input=True,
        layer=layer,
        num_layers=t.memory_layers,
        use_act_checkpoint=False,
    )


def rotary(s: Sizes, **options: Any) -> Any:
    grid = s.image_size // s.patch_size
    return RoPEAttention(
        embedding_dim=s.dim,
        num_heads=1,
        downsample_rate=1,
        rope_theta=10000.0,
        feat_sizes=[grid, grid],
        **options,
    )


def memory_encoder(s: Sizes, t: TrackerSizes) -> Any:
    side = 16 * s.image_size // s.patch_size  # four strided convolutions bring it to the grid
    return SimpleMaskEncoder(
        out_dim=t.memory_dim,
        in_dim=s.dim,
        position_encoding=sine(t.memory_dim, s.image_size),
        mask_downsampler=SimpleMaskDownSampler(
            embed_dim=s.dim, kernel_size=3, stride=2, padding=1, interpol_size=[side, side]
        ),
        fuser=SimpleFuser(layer=CXBlock(dim=s.dim, kernel_size=7, padding=3), num_layers=t.fuser_layers),
    )
