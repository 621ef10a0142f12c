"""`ModelConfig` from the `config.json` of a SAM 3 checkpoint in the Hugging Face layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sam3_edge.errors import CheckError, SourceError
from sam3_edge.spec import ModelConfig

from . import tracker_json

KINDS = ("sam3", "sam3_video", "sam3_lite_text")
TRUNK, NECK, TEXT = "vision_config.backbone_config", "vision_config", "text_config"
FUSION = ("geometry_encoder_config", "detr_encoder_config", "detr_decoder_config")
HEADS = (*FUSION, "mask_decoder_config")

# Our field -> where it stands in the JSON; all places must agree.
FIELDS: dict[str, tuple[str, ...]] = {
    "image_size": (f"{TRUNK}.image_size",),
    "patch_size": (f"{TRUNK}.patch_size",),
    "trunk_dim": (f"{TRUNK}.hidden_size",),
    "trunk_mlp": (f"{TRUNK}.intermediate_size",),
    "trunk_layers": (f"{TRUNK}.num_hidden_layers",),
    "trunk_heads": (f"{TRUNK}.num_attention_heads",),
    "window": (f"{TRUNK}.window_size",),
    "global_layers": (f"{TRUNK}.global_attn_indexes",),
    "pretrain_size": (f"{TRUNK}.pretrain_image_size",),
    "text_vocab": (f"{TEXT}.vocab_size",),
    "text_dim": (f"{TEXT}.hidden_size",),
    "text_mlp": (f"{TEXT}.intermediate_size",),
    "text_layers": (f"{TEXT}.num_hidden_layers",),
    "text_heads": (f"{TEXT}.num_attention_heads",),
    "text_length": (f"{TEXT}.max_position_embeddings",),
    "dim": (f"{NECK}.fpn_hidden_size", *(f"{head}.hidden_size" for head in HEADS)),
    "heads": tuple(f"{head}.num_attention_heads" for head in HEADS),
    "mlp": tuple(f"{head}.intermediate_size" for head in FUSION),
    "exemplar_layers": ("geometry_encoder_config.num_layers",),
    "roi_size": ("geometry_encoder_config.roi_size",),
    "encoder_layers": ("detr_encoder_config.num_layers",),
    "decoder_layers": ("detr_decoder_config.num_layers",),
    "queries": ("detr_decoder_config.num_queries",),
}
# What the model has built in; the first value is what the JSON means where it says nothing. The
# `layer_norm_eps` of the heads is not here: the reference reads it nowhere and uses 1e-5.
BUILT_IN: dict[str, tuple[Any, ...]] = {
    f"{TRUNK}.num_channels": (3,),
    f"{TRUNK}.hidden_act": ("gelu",),
    # The official code has 1e-5, this file 1e-6 for the same weights: the trunk feature moves by 3e-5.
    f"{TRUNK}.layer_norm_eps": (1e-6, 1e-5),
    f"{TRUNK}.layer_scale_init_value": (None,),
    f"{TRUNK}.rope_theta": (10000.0,),
    f"{TRUNK}.rope_parameters.rope_theta": (10000.0,),
    f"{TRUNK}.rope_parameters.rope_type": ("axial",),
    f"{NECK}.scale_factors": ([4.0, 2.0, 1.0, 0.5],),
    f"{TEXT}.hidden_act": ("gelu",),
    f"{TEXT}.layer_norm_eps": (1e-5,),
    "mask_decoder_config.num_upsampling_stages": (3,),
    **{f"{head}.hidden_act": ("relu",) for head in FUSION},
}
# A text encoder that is described at all is CLIP's where it says nothing; only an absent one is SAM 3's.
CLIP_DEFAULTS: dict[str, Any] = {
    f"{TEXT}.hidden_size": 512,
    f"{TEXT}.intermediate_size": 2048,
    f"{TEXT}.num_hidden_layers": 12,
    f"{TEXT}.num_attention_heads": 8,
    f"{TEXT}.max_position_embeddings": 77,
    f"{TEXT}.hidden_act": "quick_gelu",
}
# Of SAM3-LiteText's text encoder, where nothing is said of it.
LITE_DEFAULTS: dict[str, Any] = {
    **{path: value for path, value in CLIP_DEFAULTS.items() if path != f"{TEXT}.hidden_act"},
    f"{TEXT}.use_repmixer_blocks": True,
    f"{TEXT}.repmixer_kernel_size": 11,
}
# Widths that must be divided without rest: by a number, or by a field and a number.
DIVISORS = (
    ("trunk_dim", "trunk_heads", 4),
    ("text_dim", "text_heads", 1),
    ("dim", "heads", 1),
    ("dim", "", 8),
)


def read_config(path: Path) -> ModelConfig:
    """The model that a `config.json` describes.

    Raises `SourceError` for a file that is no JSON, `CheckError` for a model that ours cannot be.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: not readable as JSON ({error}); download the checkpoint again") from error
    if not isinstance(values, dict):
        raise SourceError(f"{path}: not a JSON object; download the checkpoint again")
    kind = values.get("model_type")
    if kind not in KINDS:
        raise CheckError(f"{path}: model_type is {kind!r}; sam3-edge reads {', '.join(KINDS)}")
    if kind == "sam3":
        return config_of(values, origin=str(path))
    if kind == "sam3_lite_text":
        return lite_config_of(values, origin=str(path))
    image = config_of(values.get("detector_config") or {}, origin=str(path))
    return replace(image, **tracker_fields(values.get("tracker_config") or {}, image, origin=str(path)))


def config_of(
    values: Mapping[str, Any], *, origin: str, usual: Mapping[str, Any] | None = None
) -> ModelConfig:
    """The image model that the JSON of a `Sam3Config` describes. `origin` is what an error names.

    `usual`: what its text encoder is where nothing is said.
    """
    if usual is None:
        usual = CLIP_DEFAULTS if values.get(TEXT) is not None else {}
    check_built_in(values, BUILT_IN, usual=usual, origin=origin)
    fields: dict[str, Any] = {"memory_layers": 0}
    for field, paths in FIELDS.items():
        found = {path: find(values, path, usual.get(path, getattr(ModelConfig, field))) for path in paths}
        fields[field] = agreed(found, origin)
    check_divisors(fields, origin)
    return ModelConfig.from_json({**fields, "mask_queries": min(ModelConfig.mask_queries, fields["queries"])})


def lite_config_of(values: Mapping[str, Any], *, origin: str) -> ModelConfig:
    """The model that the JSON of a `Sam3LiteTextConfig` describes: phrases are as long as SAM 3's."""
    config = config_of(values, origin=origin, usual=LITE_DEFAULTS)
    mixes, taps = (
        find(values, f"{TEXT}.{name}", LITE_DEFAULTS[f"{TEXT}.{name}"])
        for name in ("use_repmixer_blocks", "repmixer_kernel_size")
    )
    if mixes and (not isinstance(taps, int) or taps < 3 or taps % 2 == 0):
        raise CheckError(f"{origin}: {TEXT}.repmixer_kernel_size is {json.dumps(taps)}; want 3, 5, 7 or more")
    return replace(config, text_length=ModelConfig.text_length, text_taps=taps if mixes else 1)


def tracker_fields(values: Mapping[str, Any], image: ModelConfig, *, origin: str) -> dict[str, Any]:
    """The tracker's numbers in a `tracker_config`; its widths must be the image model's."""
    check_built_in(values, tracker_json.BUILT_IN, usual={}, origin=f"{origin}: tracker_config")
    found = {
        path: agreed({path: find(values, path, usual)}, f"{origin}: tracker_config")
        for path, usual in tracker_json.USUAL.items()
    }
    for path, times in tracker_json.WIDTHS.items():
        if found[path] != (want := times * image.dim):
            raise CheckError(f"{origin}: tracker_config: {path} is {found[path]}, the detector's want {want}")
    for path, times in tracker_json.DIVISORS.items():
        if image.dim % (found[path] * times):
            raise CheckError(
                f"{origin}: tracker_config: {path} is {found[path]}, want a divisor of {image.dim // times}"
            )
    return tracker_json.fields_of(found)


def check_built_in(
    values: Mapping[str, Any], known: Mapping[str, tuple[Any, ...]], *, usual: Mapping[str, Any], origin: str
) -> None:
    """Raises `CheckError` for a value that the model has built in otherwise."""
    for path, want in known.items():
        if (got := find(values, path, usual.get(path, want[0]))) not in want:
            raise CheckError(
                f"{origin}: {path} is {json.dumps(got)}; sam3-edge has {json.dumps(want[-1])} built in"
            )


def find(values: Mapping[str, Any], path: str, default: Any) -> Any:
    """The value at a dotted path; null and absent mean the default."""
    here: Any = values
    for key in path.split("."):
        here = here.get(key) if isinstance(here, Mapping) else None
    return default if here is None else here


def agreed(found: Mapping[str, Any], origin: str) -> Any:
    """The one value that stands at all places: a positive number or a list of layer numbers."""
    (first, value), *others = ((path, one_side(value)) for path, value in found.items())
    for path, other in others:
        if other != value:
            raise CheckError(f"{origin}: {first} is {value}, {path} is {other}; sam3-edge needs them equal")
    numbers = value if isinstance(value, (list, tuple)) else [value - 1] if isinstance(value, int) else [-1]
    if any(not isinstance(n, int) or isinstance(n, bool) or n < 0 for n in numbers):
        raise CheckError(f"{origin}: {first} is {json.dumps(value)}; want a positive whole number")
    return value


def one_side(value: Any) -> Any:
    """[1008, 1008] -> 1008."""
    return value[0] if isinstance(value, list) and len(set(map(str, value))) == 1 else value


def check_divisors(fields: Mapping[str, Any], origin: str) -> None:
    """Widths must be divided by heads, rotary pairs and groups. Raises `CheckError`."""
    for field, by, times in DIVISORS:
        divisor = fields.get(by, 1) * times
        if fields[field] % divisor:
            raise CheckError(f"{origin}: {FIELDS[field][0]} is {fields[field]}; want a multiple of {divisor}")
