"""Memory of `transformers`' SAM 3 on the clip of `streaming`, streamed into it frame by frame.

    python -m sam3_edge.benchmarks.streaming_peer --output peer.json
    python -m sam3_edge.benchmarks.streaming BUNDLE --phrase circle --beside peer.json --output streaming.json

The built-in model runs there too: its weights under `transformers`' names, in `transformers`' classes. These
leave out the token that stands for the picture where words alone are asked, and suppress no double without a
compiled kernel: scores are lower there, so detections count earlier, and there are as many objects at most.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click

from sam3_edge import registry
from sam3_edge.alone import alone
from sam3_edge.builtin import builtin_checkpoint
from sam3_edge.errors import CheckError
from sam3_edge.picture import prepare
from sam3_edge.spec import ModelConfig
from sam3_edge.tokenizer import Tokenizer

from .document import errors_told, write_document
from .machine import facts
from .memory import Reading, growth, moments, read
from .streaming import OBJECTS, SETTLED, SIZE, clip

FRAMES = 3000  # 8 processor minutes; it keeps every frame and all that it made of it
PHRASE = "circle"
SCORE = 0.25  # on this clip ours are 0.7 to 0.85, theirs 0.3 to 0.5


def configured(config: ModelConfig) -> Any:
    """`transformers`' configuration of a model of these sizes; its own thresholds but for scores."""
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
                "layer_norm_eps": 1e-5,  # ours and the official one; this class's default is 1e-6
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
            "max_position_embeddings": config.text_length,
            "hidden_act": "gelu",
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
        memory_fuser_num_layers=config.fuser_layers,
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
        score_threshold_detection=SCORE,
        new_det_thresh=SCORE,
        max_num_objects=OBJECTS,
    )


def made(found: Any) -> Any:
    """Their model with the weights of one of our checkpoints, in eval mode."""
    with memories_of(found.config.memory_dim) as Model:
        model = Model(configured(found.config))
    refuse_strangers(*model.load_state_dict(their_weights(found.model), strict=False))
    return model.eval()


def opened(folder: Path, memory_dim: int) -> Any:
    """The same out of a folder that `made(...).save_pretrained` wrote, with fused attention (SDPA), fp32."""
    import torch

    with memories_of(memory_dim) as Model:
        return Model.from_pretrained(folder, attn_implementation="sdpa", dtype=torch.float32).eval()


@contextmanager
def memories_of(dim: int) -> Iterator[Any]:
    """Their class, for memories of so many channels: 64 is written into the layers that it makes."""
    from .peer_operators import prepare_torchvision  # brings in torch, 0.2 GB, which our side must not hold

    prepare_torchvision()
    from transformers import Sam3VideoModel, logging
    from transformers.models.sam3_tracker_video import modeling_sam3_tracker_video as theirs

    logging.set_verbosity_error()  # it tells on every frame that there are as many objects as there may be
    whole: Any = theirs.Sam3TrackerVideoRoPEAttention

    def narrow(config: Any, kv_in_dim: int | None = None, **rest: Any) -> Any:
        return whole(config, kv_in_dim=kv_in_dim and dim, **rest)

    theirs.Sam3TrackerVideoRoPEAttention = narrow
    try:
        yield Sam3VideoModel
    finally:
        theirs.Sam3TrackerVideoRoPEAttention = whole


def their_weights(model: Any) -> dict[str, Any]:
    """The weights of our model under `transformers`' names."""
    layout, config = registry.load_module("export", "names_huggingface").LAYOUT, model.config
    position = [1, (config.pretrain_size // config.patch_size) ** 2, config.trunk_dim]
    back = registry.load_module("export", "weights_back")
    found: dict[str, Any] = back.poured_back(model, layout, {"backbone.position": position})
    return found


def refuse_strangers(missing: Sequence[str], unknown: Sequence[str]) -> None:
    """Raises `CheckError` for weights of theirs that count and did not get a value, or that they lack."""
    layout = registry.load_module("export", "names_huggingface").LAYOUT
    useless = [prefix + pattern for pattern in layout.ignored for prefix in ("", layout.prefix)]
    left = [name for name in missing if not any(fnmatchcase(name, pattern) for pattern in useless)]
    if left or unknown:
        raise CheckError(f"transformers has other weights than 5.23 had: {', '.join([*left, *unknown][:3])}")


def stepped(frames: int) -> Iterator[Reading]:
    """Stream the clip into one session, and read memory now and then."""
    import torch

    torch.set_num_threads(1)
    found = registry.load_module("export", "checkpoint").load(builtin_checkpoint())
    config, model = found.config, made(found)
    from transformers import Sam3VideoInferenceSession

    session = Sam3VideoInferenceSession(video_height=SIZE[0], video_width=SIZE[1], dtype=torch.float32)
    prompt = session.add_prompt(PHRASE)
    ids, valid = Tokenizer.read(found.merges).encode(PHRASE, config.text_length)
    session.prompt_input_ids[prompt] = torch.from_numpy(ids).long()
    session.prompt_attention_masks[prompt] = torch.from_numpy(valid).long()
    when = moments(frames, frames // SETTLED)
    with torch.inference_mode():
        for step, frame in enumerate(clip(frames), 1):
            pixels = torch.from_numpy(prepare(frame, config.image_size))
            seen = model(session, frame=pixels[0])
            if step in when:
                yield read(step, len(seen.object_ids))


def streamed(frames: int) -> dict[str, Any]:
    """The clip through `transformers`. `objects` are those of the last reading."""
    readings = list(stepped(frames))
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
    with errors_told():
        document = {"machine": facts("torch", "transformers"), **alone(streamed, frames)}
        write_document(output, document)
    click.echo(f"{document['objects']} objects, {document['growth']}")


if __name__ == "__main__":
    main()
