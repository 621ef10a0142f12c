"""Weights as a pure function of (seed, name, shape): a recording carries names and shapes, never weights."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Weights = dict[str, NDArray[np.float32]]

# Plain random weights give every query the same answer: what attention adds is alike for all of them. These
# gains let queries start apart and look at different places: scores fall on both sides of the threshold.
DECODER = "detector.transformer.decoder."
LAYERS = tuple(f"{DECODER}layers.{i}." for i in range(3))
GAINS = {
    **{f"{layer}{name}.out_proj.weight": 0.15 for layer in LAYERS for name in ("self_attn", "ca_text")},
    **{f"{layer}cross_attn.out_proj.weight": 1.5 for layer in LAYERS},
    **{f"{layer}linear2.weight": 0.1 for layer in LAYERS},
    **{f"{DECODER}boxRPB_embed_{axis}.layers.1.weight": 40.0 for axis in "xy"},
    f"{DECODER}query_embed.weight": 24.0,
    f"{DECODER}reference_points.weight": 3.0,
    "detector.dot_prod_scoring.hs_proj.weight": 6.0,
}
SHIFTS = {f"{DECODER}presence_token_head.layers.2.bias": 3.0}


def seeded_weight(seed: int, name: str, shape: Sequence[int]) -> NDArray[np.float32]:
    """The weight of this official name: normal noise scaled by fan-in, around 1 for the gains of norms."""
    # RandomState is frozen by numpy's policy: the same stream in 1.26 and 2.x, on every platform.
    stream = np.random.RandomState(zlib.crc32(f"{seed}:{name}".encode()))
    weight: NDArray[np.float64] = stream.standard_normal(tuple(shape))
    if len(shape) >= 2:
        fan_in = shape[-1] if len(shape) == 3 else int(np.prod(shape[1:]))
        weight = weight * fan_in**-0.5
    else:
        weight = 0.1 * weight + float(name.endswith(("weight", "gamma")))
    return (weight * GAINS.get(name, 1.0) + SHIFTS.get(name, 0.0)).astype(np.float32)


def seeded_weights(seed: int, shapes: Mapping[str, Sequence[int]]) -> Weights:
    """Every weight of a model, by official name."""
    return {name: seeded_weight(seed, name, shape) for name, shape in shapes.items()}
