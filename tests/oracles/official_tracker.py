"""The tiny official tracker: names and shapes under `tracker.` in sam3.pt. The image path never runs it."""

from __future__ import annotations

from typing import Any

from sam3.model.decoder import TransformerDecoderLayerv2, TransformerEncoderCrossAttention
from sam3.model.memory import CXBlock, SimpleFuser, SimpleMaskDownSampler, SimpleMaskEncoder
from sam3.model.model_misc import TransformerWrapper
from sam3.model.sam3_tracking_predictor import Sam3TrackerPredictor
from sam3.sam.transformer import RoPEAttention

from .official_model import Sizes, feed_forward, sine

MEMORY_DIM = 16  # 64 in SAM 3: a quarter of the width in both
MEMORY_LAYERS = 2


def build_tracker(s: Sizes) -> Any:
    """Meta's tracker without its own picture encoder, as the video model holds it."""
    return Sam3TrackerPredictor(
        image_size=s.image_size,
        num_maskmem=7,
        backbone=None,
        backbone_stride=s.patch_size,
        transformer=TransformerWrapper(encoder=memory_attention(s), decoder=None, d_model=s.dim),
        maskmem_backbone=memory_encoder(s),
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
    ).eval()


def memory_attention(s: Sizes) -> Any:
    layer = TransformerDecoderLayerv2(
        cross_attention_first=False,
        pos_enc_at_attn=False,
        pre_norm=True,
        pos_enc_at_cross_attn_keys=True,
        pos_enc_at_cross_attn_queries=False,
        self_attention=rotary(s),
        cross_attention=rotary(s, kv_in_dim=MEMORY_DIM, rope_k_repeat=True),
        **feed_forward(s),
    )
    return TransformerEncoderCrossAttention(
        remove_cross_attention_layers=[],
        batch_first=True,
        d_model=s.dim,
        frozen=False,
        pos_enc_at_input=True,
        layer=layer,
        num_layers=MEMORY_LAYERS,
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


def memory_encoder(s: Sizes) -> Any:
    side = 16 * s.image_size // s.patch_size  # four strided convolutions bring it to the grid
    return SimpleMaskEncoder(
        out_dim=MEMORY_DIM,
        in_dim=s.dim,
        position_encoding=sine(MEMORY_DIM, s.image_size),
        mask_downsampler=SimpleMaskDownSampler(
            embed_dim=s.dim, kernel_size=3, stride=2, padding=1, interpol_size=[side, side]
        ),
        fuser=SimpleFuser(layer=CXBlock(dim=s.dim, kernel_size=7, padding=3), num_layers=2),
    )
