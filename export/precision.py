"""Which node of a typed graph computes in which precision, and why: the only place where that is decided.

The first row that fits a node decides. Nodes that only move data (`FOLLOWERS`) keep the type of what they
move. What a row calls fp16 has fp16 inputs and outputs; TensorRT sums products in fp32 all the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HALF, FULL = "fp16", "fp32"
SHAPING = ("Expand", "Pad", "Reshape", "Resize", "Squeeze", "Tile", "Transpose", "Unsqueeze")
FOLLOWERS = frozenset((*SHAPING, "Concat", "Gather", "Slice", "Split"))
# Every module in which queries meet keys; what its linear layers compute lies one module deeper.
ATTENTION = r".*/(.*\.)?(\w*attention|read|to_image|to_tokens)"
PRODUCTS = "MatMul|Gemm|Conv|ConvTranspose|Bias"


@dataclass(frozen=True)
class Row:
    """Nodes of some kinds inside some modules. Both are patterns of a whole text.

    A kind is an ONNX operator, or `Bias` for the Add that ends a linear layer. A place is `GRAPH/MODULE`,
    `GRAPH/` for what the graph's own module computes.
    """

    kinds: str
    places: str
    dtype: str
    reason: str

    def fits(self, kind: str, place: str) -> bool:
        return bool(re.fullmatch(self.kinds, kind) and re.fullmatch(self.places, place))


TABLE = (
    Row(
        ".*",
        r"detector/((box_bias|box_head|reference_head|presence_head|scorer)(\..*)?)?",
        FULL,
        "box refinement, box bias, clamps and scores: an error of 1e-3 in a logit is one in every later box, "
        "the bias takes logarithms of distances, and all of it is below 1 % of the time",
    ),
    Row(
        ".*",
        r"exemplar/(box|place)?",
        FULL,
        "RoI weights are fractions of a cell that two products multiply; sine codes turn at up to 2 pi x 100",
    ),
    Row(
        ".*",
        r"(tracker_\w+|memorize)/",
        FULL,
        "choice of a mask, presence, times and places: compared, not drawn, and a few values each",
    ),
    Row(
        ".*",
        r"tracker_\w+/tracker\.(decoder\.(iou_head|score_head)|pointer|memory_attention\.pointer_time)(\..*)?",
        FULL,
        "scores that thresholds and other scores meet, and the pointers that live on for many frames",
    ),
    Row(
        "Conv",
        "backbone/patch",
        FULL,
        "the picture itself: what is rounded here is wrong in every layer, for 0.1 % of the time",
    ),
    Row(PRODUCTS, ".*", HALF, "products of normed values with weights: bounded, and nearly all of the time"),
    Row("Relu|Gelu", ".*", HALF, "takes a product's result and gives one back to a product"),
    Row("Softmax", ".*", FULL, "sums of up to 52 000 exponentials; logits of masked keys are -1e4"),
    Row(
        "LayerNormalization|InstanceNormalization",
        ".*",
        FULL,
        "mean and variance: the square of a channel at 300, which ViT trunks have, is above 65504",
    ),
    Row(
        "Add|Mul|Neg|Sub",
        ATTENTION,
        FULL,
        "rotary positions, the scale, and the bias that hides keys: cancelling terms before an exponential",
    ),
    Row(
        "Abs|Clip|Cos|Div|Exp|Log|ReduceMax|ReduceSum|Sigmoid|Sign|Sin",
        ".*",
        FULL,
        "clamps, quotients, logarithms and angles: fp16 has no room for their ends",
    ),
    Row(
        "Add|Mul|Sub",
        ".*",
        FULL,
        "the residual stream: near 300 fp16 steps by a quarter, and every block adds to it",
    ),
)


@dataclass(frozen=True)
class Recipe:
    """What a rung of `sam3_edge.engines.rungs` computes in which precision.

    A probed one has the largest weight of each attention among the graph's outputs, so that no backend can
    fuse what lies before it with what lies behind.
    """

    table: tuple[Row, ...]
    probed: bool = True


RECIPES = {
    "typed": Recipe(TABLE, probed=False),
    "unfused": Recipe(TABLE),
    "attention_fp32": Recipe((Row("MatMul", ATTENTION, FULL, "the suspect"), *TABLE)),
    "fp32": Recipe((Row(".*", ".*", FULL, "what is left when half precision fails"),), probed=False),
}


def decide(table: tuple[Row, ...], kind: str, place: str) -> Row | None:
    """The row of a node; None for one that no row knows."""
    return next((row for row in table if row.fits(kind, place)), None)
