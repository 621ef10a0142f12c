"""The built-in model before training: its size, and its first weights."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from sam3_edge.spec import ModelConfig

from .layers import inverse_sigmoid
from .memory_encoder import FuserBlock
from .model import Sam3

SHAPES_CONFIG = ModelConfig(
    image_size=224,
    trunk_dim=128,
    trunk_mlp=384,
    trunk_layers=4,
    trunk_heads=4,
    window=8,
    global_layers=(1, 3),
    pretrain_size=112,
    text_vocab=595,
    text_dim=64,
    text_mlp=256,
    text_layers=2,
    text_heads=4,
    dim=64,
    heads=4,
    mlp=256,
    exemplar_layers=1,
    encoder_layers=2,
    decoder_layers=3,
    queries=25,
    mask_queries=25,
    max_boxes=4,
    memory_layers=0,
    memory_dim=16,
)

# The same with a tracker: what ships. Small where SAM 3 is wide, as long a memory as SAM 3's.
TRACKING_CONFIG = replace(
    SHAPES_CONFIG,
    memory_layers=2,
    memory_mlp=64,
    fuser_layers=1,
    sam_heads=4,
    sam_mlp=48,
    sam_score_dim=32,
)

LOOK = 0.87  # with 64 channels, logits of 6 for a cell's own place


def first_model(config: ModelConfig, seed: int) -> Sam3:
    """Random weights, with the queries' first boxes laid out over the picture instead of at random."""
    model = Sam3(config).initialise(seed)
    side = math.isqrt(config.queries)
    centre = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(centre, centre, indexing="ij")
    boxes = torch.stack(
        [x.flatten(), y.flatten(), torch.full((side**2,), 0.3), torch.full((side**2,), 0.3)], dim=1
    )
    with torch.no_grad():
        model.detector.reference.copy_(inverse_sigmoid(boxes))
        for weight in model.detector.box_head.layers[-1].parameters():
            weight.zero_()  # the first answer is the query's own box, not a random one
        # What the encoder gives the decoder at its start has a standard deviation of 8. With plain weights
        # attention's logits are 12, the boxes' bias of 1 is drowned, and 400 steps taught it nothing.
        for name, weight in model.detector.named_parameters():
            if name.endswith(("image_attention.key.weight", "image_attention.value.weight")):
                weight.mul_(0.125)
            elif name.startswith("box_bias") and name.endswith("layers.1.weight"):
                weight.mul_(3)
    return model


def resized(model: Sam3, image_size: int) -> Sam3:
    """The same weights in a model for another picture size: positions tile and stretch, no weight changes."""
    other = Sam3(replace(model.config, image_size=image_size))
    other.load_state_dict(model.state_dict())
    return other


def with_tracker(model: Sam3, config: ModelConfig, seed: int) -> Sam3:
    """The same detector in a model with a new tracker; `config` differs from the model's in that alone.

    The tracker's neck starts as the detector's: both make three levels of one trunk feature, and masks are
    drawn from both. Its other weights are random. A tracker that `model` has is left behind.
    """
    other = Sam3(config).initialise(seed)
    for name, part in model.named_children():
        if name != "tracker":
            other.get_submodule(name).load_state_dict(part.state_dict())
    tracker = other.tracker
    tracker.features.neck.load_state_dict(model.detector_features.state_dict())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        # Places of clicks and of cells are encoded alike, and finely enough to tell neighbours apart.
        tracker.prompts.matrix.normal_(generator=generator)
        tracker.decoder.matrix.copy_(tracker.prompts.matrix)
        # What the neck gives has standard deviations of 1.4, 4 and 2.3. Prompts drown in that, and 500 steps
        # taught the decoder nothing: all of it is brought to about 1, and a mask prompt to logits of +-4.
        coarse = tracker.features.neck.levels[2].get_submodule("smooth")
        for part, scale in (
            (coarse, 0.4),
            (tracker.features.narrow[1], 0.25),
            (tracker.features.narrow[0], 0.7),
        ):
            for weight in part.parameters():
                weight.mul_(scale)
        tracker.shrink.weight.fill_(8 / tracker.shrink.weight.numel())
        tracker.get_parameter("shrink.bias").fill_(-4)
        tracker.prompts.mask.project.weight.mul_(2)
        for head in tracker.decoder.mask_heads:
            head.get_parameter("layers.2.weight").mul_(0.3)  # first masks are unsure, not wrong
        # A memory's place weighs nothing beside contents of 4. At first, every cell looks where it is itself in
        # all memories: what is constant in queries and keys is rotated alike, and agrees most at its own place.
        for weight in tracker.memory_encoder.project.parameters():
            weight.mul_(0.25)
        for i in range(config.memory_layers):
            read = tracker.memory_attention.layer(i).read
            read.query.bias.fill_(LOOK)
            read.key.bias.fill_(LOOK)
            read.get_parameter("value.weight").mul_(2)
        for block in tracker.memory_encoder.fuser:
            assert isinstance(block, FuserBlock)
            block.scale.fill_(0.1)  # 1e-6 would take longer than the training has
    return other
