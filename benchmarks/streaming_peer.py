"""Memory of `transformers`' SAM 3 on the clip of `streaming`, streamed into it frame by frame.

    python -m sam3_edge.benchmarks.streaming_peer --output peer.json
    python -m sam3_edge.benchmarks.streaming BUNDLE --phrase circle --beside peer.json --output streaming.json

The model is as large as the built-in one, with random weights. They find nothing on their own, so every query
counts as a detection; four queries are four objects from the first frame on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from sam3_edge.builtin import builtin_bundle
from sam3_edge.bundle import Bundle
from sam3_edge.spec import ModelConfig
from sam3_edge.writing import write_file

from .alone import alone
from .machine import facts
from .memory import Reading, growth, moments, read
from .peer_operators import prepare_torchvision
from .streaming import OBJECTS, SETTLED, clip

FRAMES = 500  # 6 processor minutes; it keeps every frame and all that it made of it
PHRASE = (1, 2)  # token ids: a phrase of random words


def configured(config: ModelConfig) -> Any:
    """`transformers`' configuration of a model of these sizes in which every query is an object, for ever."""
    from transformers import Sam3Config, Sam3TrackerVideoConfig, Sam3VideoConfig

    side, dim = config.grid, config.dim
    head = {"hidden_size": dim, "num_attention_heads": config.heads}
    whole = {**head, "intermediate_size": config.mlp}
    detector = Sam3Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": config.trunk_dim,
                "intermediate_size": config.trunk_mlp,
                "num_hidden_layers": config.trunk_layers,
                "num_attention_heads": config.trunk_heads,
                "image_size": config.image_size,
                "patch_size": config.image_size // side,
                "window_size": config.window,
                "global_attn_indexes": list(config.global_layers),
                "pretrain_image_size": config.pretrain_size,
            },
            "fpn_hidden_size": dim,
            "backbone_feature_sizes": [[by * side] * 2 for by in (4, 2, 1)],
        },
        text_config={
            "model_type": "clip_text_model",
            "vocab_size": config.text_vocab,
            "hidden_size": config.text_dim,
            "intermediate_size": config.text_mlp,
            "projection_dim": config.text_dim,
            "num_hidden_layers": config.text_layers,
            "num_attention_heads": config.text_heads,
            "max_position_embeddings": 32,
        },
        geometry_encoder_config={**whole, "num_layers": config.exemplar_layers},
        detr_encoder_config={**whole, "num_layers": config.encoder_layers},
        detr_decoder_config={**whole, "num_layers": config.decoder_layers, "num_queries": config.queries},
        mask_decoder_config=head,
    )
    tracker = Sam3TrackerVideoConfig(
        vision_config=detector.vision_config.to_dict(),
        image_size=config.image_size,
        memory_attention_hidden_size=dim,
        memory_attention_num_layers=config.memory_layers,
        memory_attention_feed_forward_hidden_size=config.memory_mlp,
        memory_encoder_hidden_size=dim,
        memory_encoder_output_channels=config.memory_dim,
        mask_downsampler_embed_dim=dim,
        memory_fuser_embed_dim=dim,
        memory_fuser_intermediate_dim=4 * dim,
        prompt_encoder_config={"hidden_size": dim},
        mask_decoder_config={
            "hidden_size": dim,
            "mlp_dim": config.sam_mlp,
            "num_attention_heads": config.sam_heads,
            "iou_head_hidden_dim": config.sam_score_dim,
        },
    )
    return Sam3VideoConfig(
        detector_config=detector.to_dict(),
        tracker_config=tracker.to_dict(),
        low_res_mask_size=config.mask_size,
        score_threshold_detection=0.0,
        new_det_thresh=0.0,
        det_nms_thresh=0.0,
        hotstart_delay=0,
        max_num_objects=config.queries,
    )


def made(config: ModelConfig) -> Any:
    """The model, in eval mode."""
    import torch

    prepare_torchvision()
    from transformers import Sam3VideoModel, logging
    from transformers.models.sam3_tracker_video import modeling_sam3_tracker_video as theirs

    logging.set_verbosity_error()  # it tells on every frame that there are as many objects as there may be
    torch.manual_seed(0)
    model = Sam3VideoModel(configured(config)).eval()
    for layer in model.tracker_model.memory_attention.layers:  # 64 is written into theirs
        layer.cross_attn_image = theirs.Sam3TrackerVideoRoPEAttention(
            model.tracker_model.config, kv_in_dim=config.memory_dim, rope_k_repeat=True
        )
    return model


def stepped(config: ModelConfig, frames: int) -> Iterator[Reading]:
    """Stream the clip into one session, and read memory now and then."""
    import torch

    torch.set_num_threads(1)
    model = made(config)
    from transformers import Sam3VideoInferenceSession

    session = Sam3VideoInferenceSession(
        video_height=config.image_size, video_width=config.image_size, dtype=torch.float32
    )
    prompt = session.add_prompt("a phrase")
    ids = torch.zeros(1, 32, dtype=torch.long)
    ids[0, : len(PHRASE)] = torch.tensor(PHRASE)
    session.prompt_input_ids[prompt] = ids
    session.prompt_attention_masks[prompt] = (ids > 0).long()
    when = moments(frames, frames // SETTLED)
    size = (config.image_size, config.image_size)
    with torch.inference_mode():
        for step, frame in enumerate(clip(frames), 1):
            pixels = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 127.5 - 1
            scaled = torch.nn.functional.interpolate(pixels, size=size, mode="bilinear")
            seen = model(session, frame=scaled[0])
            if step in when:
                yield read(step, len(seen.object_ids))


def streamed(frames: int) -> dict[str, Any]:
    """The clip through `transformers`."""
    config = replace(Bundle.open(builtin_bundle()).config, queries=OBJECTS, mask_queries=OBJECTS)
    readings = list(stepped(config, frames))
    return {
        "name": "transformers, PyTorch",
        "frames": frames,
        "objects": readings[-1].objects,
        **growth(readings, frames // SETTLED),
    }


@click.command()
@click.option("--frames", default=FRAMES, show_default=True, type=click.IntRange(SETTLED))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="JSON for `--beside`.")
def main(frames: int, output: Path) -> None:
    """Stream the clip into `transformers`. Says what its memory did; nothing is judged."""
    document = {"machine": facts("torch", "transformers"), **alone(streamed, frames)}
    write_file(output, (json.dumps(document, indent=1) + "\n").encode(), overwrite=True)
    click.echo(f"{document['objects']} objects, {document['growth']}")


if __name__ == "__main__":
    main()
