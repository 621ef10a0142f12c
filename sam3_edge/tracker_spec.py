"""What goes in and out of the graphs of the video tracker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sam3_edge.tensors import OBJECTS, GraphSpec, TensorSpec

if TYPE_CHECKING:
    from sam3_edge.spec import ModelConfig

B = OBJECTS
IN_SLOTS = ("memory", "memory_time", "memory_bias")  # inputs of `tracker_step` with an axis of memory slots


def tracker_specs(config: ModelConfig) -> tuple[GraphSpec, ...]:
    """The graphs of the tracker. Each runs for B objects at once; the features are of one frame.

    A bias is 0 for what exists and `sam3_edge.spec.MASKED` for what does not; `present` is 0 or 1. Masks are
    logits, but `tracker_init` takes 0 or 1. `hard` is 1 for a mask that a person gave: only its sign counts.
    """
    c, tokens, side = config, config.grid**2, config.mask_size
    trunk = TensorSpec("trunk_feature", (1, tokens, c.trunk_dim))
    fine = TensorSpec("tracker_4x", (1, c.dim // 8, side, side))
    middle = TensorSpec("tracker_2x", (1, c.dim // 4, side // 2, side // 2))
    coarse = TensorSpec("tracker_1x", (1, c.dim, c.grid, c.grid))
    queries = TensorSpec("tracker_queries", (1, tokens, c.dim))
    drawn = TensorSpec("mask", (B, 1, 4 * side, 4 * side))
    pointer, score = TensorSpec("pointer", (B, c.dim)), TensorSpec("object_score", (B,))
    best = (TensorSpec("mask", (B, side, side)), TensorSpec("iou", (B,)), score, pointer)
    masks = (TensorSpec("masks", (B, 4, side, side)), TensorSpec("iou", (B, 4)))
    seen = (TensorSpec("mask", (B, 1, side, side)), TensorSpec("present", (B,)), TensorSpec("hard", (B,)))
    return (
        GraphSpec("tracker_features", (trunk,), (fine, middle, coarse, queries)),
        GraphSpec("tracker_init", (fine, middle, coarse, drawn), (pointer,)),
        GraphSpec("tracker_step", (fine, middle, queries, *bank_specs(config)), best),
        GraphSpec(
            "tracker_refine",
            (fine, middle, coarse, *correction_specs(config)),
            (*masks, score, TensorSpec("pointers", (B, 4, c.dim))),
        ),
        GraphSpec("memorize", (coarse, *seen), (TensorSpec("memory", (B, c.memory_tokens, c.memory_dim)),)),
    )


def bank_specs(config: ModelConfig) -> tuple[TensorSpec, ...]:
    """What is remembered of each object, in any order.

    `memory_time` is a row of the temporal table: the last for a conditioning frame, r - 1 for a frame of
    rank r. `pointer_time` is a distance in frames / 15.
    """
    c = config
    return (
        TensorSpec("memory", (B, c.memory_slots, c.memory_tokens, c.memory_dim)),
        TensorSpec("memory_time", (B, c.memory_slots), "int32"),
        TensorSpec("memory_bias", (B, c.memory_slots)),
        TensorSpec("pointers", (B, c.pointer_slots, c.dim)),
        TensorSpec("pointer_time", (B, c.pointer_slots)),
        TensorSpec("pointer_bias", (B, c.pointer_slots)),
    )


def correction_specs(config: ModelConfig) -> tuple[TensorSpec, ...]:
    """What a person says of each object.

    `points` are x, y in pixels of the model's square image; `labels` 0 negative, 1 positive, 2 and 3 a box's
    top left and bottom right, -1 the empty point that closes every list. `previous` are mask logits, which
    count where `has_previous` is 1.
    """
    c, side = config, config.mask_size
    return (
        TensorSpec("points", (B, c.points, 2)),
        TensorSpec("labels", (B, c.points), "int32"),
        TensorSpec("point_bias", (B, c.points)),
        TensorSpec("previous", (B, 1, side, side)),
        TensorSpec("has_previous", (B,)),
    )
