"""What goes in and out of each graph, from one `ModelConfig`: the only place where shapes are written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from sam3_edge.errors import CheckError, UsageError
from sam3_edge.tensors import OBJECTS, GraphSpec, TensorSpec
from sam3_edge.tracker_spec import tracker_specs

__all__ = ["MASKED", "OBJECTS", "GraphSpec", "ModelConfig", "TensorSpec", "graph_specs", "tracker_specs"]

# Added to the attention logits of padded tokens. exp(-1e4) is exactly 0 in fp32 and fp16, and -1e4 fits both.
MASKED = -1e4


@dataclass(frozen=True)
class ModelConfig:
    """Every number of a SAM 3 model. The defaults are `facebook/sam3` (reference: arXiv 2511.16719).

    Lengths are in pixels, channels or tokens. `mask_queries` and `max_boxes` are ours: how many of the
    best queries get a mask, and how many exemplar boxes one concept may have. The fields from `memory_layers`
    on are the tracker's; without memory layers there is none. `memory_slots` are conditioning and recent
    frames, `memory_times` the rows of the temporal table, `points` clicks and the two corners of a box.
    `memory_pool` is ours too: cells of the grid, along a side, that share a token of a memory, 1 in SAM 3.
    `text_taps` is 0 for SAM 3's causal text encoder. LiteText's looks both ways, and its first and last
    layers are convolutions over so many tokens; with 1 all layers attend.
    """

    image_size: int = 1008
    patch_size: int = 14
    trunk_dim: int = 1024
    trunk_mlp: int = 4736
    trunk_layers: int = 32
    trunk_heads: int = 16
    window: int = 24
    global_layers: tuple[int, ...] = (7, 15, 23, 31)
    pretrain_size: int = 336
    text_vocab: int = 49408
    text_dim: int = 1024
    text_mlp: int = 4096
    text_layers: int = 24
    text_heads: int = 16
    text_length: int = 32
    dim: int = 256
    heads: int = 8
    mlp: int = 2048
    exemplar_layers: int = 3
    roi_size: int = 7
    encoder_layers: int = 6
    decoder_layers: int = 6
    queries: int = 200
    mask_queries: int = 32
    max_boxes: int = 8
    memory_layers: int = 4
    memory_dim: int = 64
    memory_mlp: int = 2048
    memory_slots: int = 10
    memory_times: int = 7
    memory_pool: int = 1
    pointer_slots: int = 19
    fuser_layers: int = 2
    sam_heads: int = 8
    sam_mlp: int = 2048
    sam_score_dim: int = 256
    points: int = 18
    text_taps: int = 0

    def __post_init__(self) -> None:
        sizes = {f.name: v for f in fields(self) if isinstance(v := getattr(self, f.name), int)}
        least = dict.fromkeys(sizes, 1) | {"memory_layers": 0, "text_taps": 0}
        if low := [name for name, value in sizes.items() if value < least[name]]:
            raise UsageError(f"model config: {low[0]} is {sizes[low[0]]}, want at least {least[low[0]]}")
        step = self.patch_size * self.window
        if self.image_size < step or self.image_size % step:
            # A grid that windows do not fill is padded inside the attention: 504 px costs what 672 px costs.
            raise UsageError(
                f"image size {self.image_size}: want a multiple of {step}, "
                f"patch {self.patch_size} x window {self.window}"
            )
        if not 1 <= self.mask_queries <= self.queries:
            raise UsageError(
                f"mask queries {self.mask_queries}: want 1 to {self.queries}, the number of queries"
            )
        if self.tracks:
            self.check_tracker()

    def check_tracker(self) -> None:
        """Raises `UsageError` for a bank that the loop cannot fill."""
        if self.dim % self.memory_dim:
            raise UsageError(
                f"memory dim {self.memory_dim}: want a divisor of dim {self.dim}, "
                "because a pointer is read as tokens of a memory's width"
            )
        if self.grid % self.memory_pool:
            raise UsageError(
                f"memory pool {self.memory_pool}: want a divisor of {self.grid}, the cells along a side"
            )
        recents = self.memory_times - 1
        if self.memory_slots <= recents:
            raise UsageError(
                f"memory slots {self.memory_slots}: want more than {recents}, the recent memories "
                f"of {self.memory_times} memory times, because one at least is of a conditioning frame"
            )
        if self.pointer_slots < self.memory_slots:
            raise UsageError(
                f"pointer slots {self.pointer_slots}: want {self.memory_slots} or more, one for each memory"
            )

    @property
    def tracks(self) -> bool:
        """Whether the model has a tracker."""
        return self.memory_layers > 0

    @property
    def grid(self) -> int:
        """Tokens along one side of the trunk feature."""
        return self.image_size // self.patch_size

    @property
    def memory_tokens(self) -> int:
        """Tokens of one memory: a memory map has one for `memory_pool` x `memory_pool` cells of the grid."""
        return (self.grid // self.memory_pool) ** 2

    @property
    def mask_size(self) -> int:
        """Pixels along one side of a mask (stride 3.5 at patch 14)."""
        return 4 * self.grid

    @property
    def prompt_length(self) -> int:
        """Prompt tokens: the phrase, the exemplar boxes and one image-conditioned CLS token."""
        return self.text_length + self.max_boxes + 1

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `bundle.json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ModelConfig:
        """The inverse of `to_json`; what was written before there was a tracker has none.

        Raises `CheckError` for a field that is unknown or of the wrong kind.
        """
        known = {field.name: field.default for field in fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise CheckError(
                    f"model config: unknown field {name!r}; a newer sam3-edge may have written it"
                )
            good = (list, tuple) if isinstance(known[name], tuple) else int
            if not isinstance(value, good) or isinstance(value, bool):
                raise CheckError(
                    f"model config: {name} is {json.dumps(value)}, want the kind of {known[name]!r}"
                )
        plain: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
        return cls(**{"memory_layers": 0, **plain})


def graph_specs(config: ModelConfig) -> dict[str, GraphSpec]:
    """All graphs of a model, in the order in which a frame runs through them."""
    c, tokens, side = config, config.grid**2, config.mask_size
    image = TensorSpec("image", (1, 3, c.image_size, c.image_size))
    trunk = TensorSpec("trunk_feature", (1, tokens, c.trunk_dim))
    fine = TensorSpec("features_4x", (1, c.dim, side, side))
    middle = TensorSpec("features_2x", (1, c.dim, side // 2, side // 2))
    coarse = TensorSpec("features_1x", (1, c.dim, c.grid, c.grid))
    prompt = TensorSpec("prompt", (1, c.prompt_length, c.dim))
    prompt_bias = TensorSpec("prompt_bias", (1, 1, 1, c.prompt_length))
    encoded = TensorSpec("encoded", (1, tokens, c.dim))
    exemplar = (
        coarse,
        TensorSpec("boxes", (1, c.max_boxes, 4)),
        TensorSpec("labels", (1, c.max_boxes)),
        TensorSpec("exemplar_bias", (1, 1, 1, c.max_boxes + 1)),
        TensorSpec("pool_y", (1, c.max_boxes, c.roi_size, c.grid)),
        TensorSpec("pool_x", (1, c.max_boxes, c.roi_size, c.grid)),
    )
    detected = (
        encoded,
        TensorSpec("queries", (1, c.queries, c.dim)),
        TensorSpec("boxes", (1, c.queries, 4)),
        TensorSpec("logits", (1, c.queries)),
        TensorSpec("presence", (1, 1)),
    )
    chosen = TensorSpec("queries", (1, c.mask_queries, c.dim))
    masks = (TensorSpec("masks", (1, c.mask_queries, side, side)), TensorSpec("semantic", (1, 1, side, side)))
    specs = (
        GraphSpec("backbone", (image,), (trunk,)),
        GraphSpec("detector_features", (trunk,), (fine, middle, coarse)),
        GraphSpec(
            "text",
            (TensorSpec("token_ids", (1, c.text_length), "int32"),),
            (TensorSpec("text_tokens", (1, c.text_length, c.dim)),),
        ),
        GraphSpec("exemplar", exemplar, (TensorSpec("exemplar_tokens", (1, c.max_boxes + 1, c.dim)),)),
        GraphSpec("detector", (coarse, prompt, prompt_bias), detected),
        GraphSpec("masks", (fine, middle, encoded, prompt, prompt_bias, chosen), masks),
        *(tracker_specs(config) if config.tracks else ()),
    )
    return {spec.name: spec for spec in specs}
