"""The tracker's first weights: what is said of a place is heard there, before anything is learned."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sam3_edge.export.mask_decoder import TwoWayLayer
from sam3_edge.export.memory_attention import MemoryAttention, Slots
from sam3_edge.export.model import Sam3
from sam3_edge.export.sam_prompts import fourier
from sam3_edge.export.shapes_model import SHAPES_CONFIG, TRACKING_CONFIG, first_model, with_tracker
from sam3_edge.spec import MASKED


@pytest.fixture(scope="module")
def model() -> Sam3:
    detector, both = (replace(config, image_size=224) for config in (SHAPES_CONFIG, TRACKING_CONFIG))
    return with_tracker(first_model(detector, 0), both, 0).requires_grad_(False)


def test_a_click_looks_at_its_own_cell(model: Sam3) -> None:
    decoder = model.tracker.decoder
    layer = decoder.layers[0]
    assert isinstance(layer, TwoWayLayer)
    places = fourier(decoder.cells, decoder.matrix)
    for attention in (layer.to_image, layer.to_tokens):
        logits = attention.query(places) @ attention.key(places).T
        own = logits.argmax(1) == torch.arange(len(places))
        assert own.float().mean() > 0.95  # with independent weights: 0.02


def test_the_tokens_of_the_decoder_differ(model: Sam3) -> None:
    tokens = torch.cat((model.tracker.decoder.mask_tokens, model.tracker.decoder.iou_token))
    distances = torch.cdist(tokens, tokens) + 100 * torch.eye(len(tokens))
    assert distances.min() > 4  # of 64 channels; alike, four masks would be one


def test_what_is_remembered_of_a_cell_is_read_there(model: Sam3) -> None:
    config, attention = model.config, model.tracker.memory_attention
    queries = torch.zeros(1, config.grid**2, config.dim)  # cells that know nothing but where they are
    cell = 7 * config.grid + 9
    other = torch.zeros(1, 1, config.grid**2, config.memory_dim)
    other[0, 0, cell] = 0.2
    difference = read(attention, queries, other) - read(attention, queries, torch.zeros_like(other))
    moved = difference.norm(dim=-1)[0].unflatten(0, (config.grid, config.grid))
    near = torch.zeros_like(moved, dtype=torch.bool)
    near[5:10, 7:12] = True
    assert moved[near].mean() > 5 * moved[~near].mean()


def read(attention: MemoryAttention, queries: Tensor, memory: Tensor) -> Tensor:
    """The first layer's read of one memory [1, 1, T, M] with no pointer."""
    nothing = Slots(torch.zeros(1, 1, queries.shape[-1]), torch.zeros(1, 1), torch.full((1, 1), MASKED))
    bank = attention.bank(Slots(memory, torch.zeros(1, 1), torch.zeros(1, 1)), nothing)
    found: Tensor = attention.layer(0).read(queries, bank, (attention.cos, attention.sin))
    return found
