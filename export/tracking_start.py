"""A tracker's first weights, from which a short training gets somewhere.

With weights as random as they come, attention is uniform: a click is lost among 256 cells, and what is
remembered of an object's place is smeared over the picture. After 400 steps on pictures one click gave an IoU
of 0.19; with the starts below 0.76.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sam3_edge.spec import ModelConfig

from .layers import Attention
from .mask_decoder import MaskDecoder, TwoWayLayer
from .memory_attention import MemoryRead
from .memory_encoder import MemoryEncoder
from .sam_prompts import SamPrompts
from .tracker import Tracker
from .tracker_features import TrackerFeatures

SAME = 1.5  # gain of a query and a key that are alike: logits of about 4 for a click's own cell
NEAR = (0.5, 1.0, 1.2, 1.0)  # logits by falling rotary frequency: a cell gives itself a tenth of its weight
TOKEN, LABEL = 0.7, 0.5  # standard deviations; the places that they are told apart from have 0.7
SURE = 4.0  # a mask prompt of 0 and 1 comes as logits of -4 and 4


@torch.no_grad()
def prepare(tracker: Tracker, config: ModelConfig, generator: torch.Generator) -> None:
    """Change a tracker's random weights in place."""
    prepare_prompts(tracker.prompts, generator)
    prepare_decoder(tracker.decoder, generator)
    tracker.decoder.matrix.copy_(tracker.prompts.matrix)  # clicks and cells are placed alike
    tracker.shrink.weight.fill_(2 * SURE / tracker.shrink.weight.numel())
    tracker.get_parameter("shrink.bias").fill_(-SURE)
    prepare_features(tracker.features)
    prepare_memories(tracker.memory_encoder)
    for i in range(config.memory_layers):
        look_near(tracker.memory_attention.layer(i).read)


def prepare_prompts(prompts: SamPrompts, generator: torch.Generator) -> None:
    """Places encoded finely enough to tell neighbouring cells apart; labels that places do not drown."""
    prompts.matrix.normal_(generator=generator)
    prompts.labels.normal_(std=LABEL, generator=generator)
    prompts.nowhere.normal_(std=TOKEN, generator=generator)
    scale(prompts.mask.project, 2)


def prepare_decoder(decoder: MaskDecoder, generator: torch.Generator) -> None:
    """Tokens that differ, and attention that agrees where places and contents are the same."""
    for token in (decoder.score_token, decoder.iou_token, decoder.mask_tokens):
        token.normal_(std=TOKEN, generator=generator)
    for layer in decoder.layers:
        assert isinstance(layer, TwoWayLayer)
        for linear in (layer.to_tokens.value, layer.to_tokens.out):
            linear.weight.normal_(std=linear.in_features**-0.5, generator=generator)
        for attention in (layer.self_attention, layer.to_image, layer.to_tokens):
            match(attention, generator)
    match(decoder.to_image, generator)
    for head in decoder.mask_heads:
        scale(head.get_submodule("layers.2"), 0.3)  # unsure, not wrong


def match(attention: Attention, generator: torch.Generator) -> None:
    """Attention to what is most like the query."""
    weight = attention.query.weight
    alike = SAME * torch.linalg.qr(torch.empty_like(weight.T).normal_(generator=generator)).Q.T
    weight.copy_(alike)
    attention.key.weight.copy_(alike)


def look_near(read: MemoryRead) -> None:
    """Every cell looks around where it is itself, in all memories alike.

    What is constant in queries and keys is rotated alike, so its product falls with the distance between two
    cells, as a sum of the cosines of their rotary angles.
    """
    dim = read.query.out_features
    near: Tensor = torch.zeros(2, 2, dim // 4)  # cosine and sine, x and y, frequencies
    near[0, :, : len(NEAR)] = (torch.tensor(NEAR) * math.sqrt(dim)).sqrt()
    for linear in (read.query, read.key):
        linear.bias.copy_(near.flatten())
    scale(read.get_submodule("value"), 2, bias=False)


def prepare_features(features: TrackerFeatures) -> None:
    """The neck's levels come with standard deviations of 1.4, 4 and 2.3: prompts drown in them."""
    scale(features.narrow[0], 0.7)
    scale(features.narrow[1], 0.25)
    scale(features.neck.levels[2].get_submodule("smooth"), 0.4)


def prepare_memories(encoder: MemoryEncoder) -> None:
    """A memory, which comes with 4, at 1; the mask in it as strong as the features."""
    scale(encoder.mask.project, 3)
    scale(encoder.project, 0.25)
    for block in encoder.fuser:
        block.get_parameter("scale").fill_(0.1)  # 1e-6 would take longer than the training has


def scale(part: nn.Module, by: float, *, bias: bool = True) -> None:
    """Multiply a layer's weight, and its bias."""
    part.get_parameter("weight").mul_(by)
    if bias:
        part.get_parameter("bias").mul_(by)
