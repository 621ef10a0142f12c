"""Pooled memories: what is exact of them, and that bundles of them are compared like others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import Command
from torch import Tensor

from sam3_edge.bundle import Bundle
from sam3_edge.errors import UsageError
from sam3_edge.export.layers import pooled
from sam3_edge.export.memory_attention import Slots
from sam3_edge.export.model import Sam3
from sam3_edge.export.shapes_model import TRACKING_CONFIG as CONFIG
from sam3_edge.spec import MASKED, ModelConfig, graph_specs

SIDE = CONFIG.grid


def models() -> tuple[Sam3, Sam3]:
    """One with all cells of a memory and one with a quarter of them, with the same random weights."""
    torch.manual_seed(5)
    plain, quarter = (Sam3(replace(CONFIG, memory_pool=pool)).eval() for pool in (1, 2))
    for weight in plain.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    quarter.load_state_dict(plain.state_dict())
    return plain, quarter


def spread(tokens: Tensor) -> Tensor:
    """Each token in all the cells that it stands for: [T / 4, D] -> [T, D]."""
    cells = tokens.reshape(SIDE // 2, 1, SIDE // 2, 1, -1).expand(-1, 2, -1, 2, -1)
    return cells.reshape(SIDE**2, -1)


@torch.no_grad()
def test_a_token_counts_for_its_cells() -> None:
    """Four equal memories at one place are one memory with the logarithm of four on its logit."""
    plain, quarter = (model.tracker.memory_attention for model in models())
    for name in ("memory_cos", "memory_sin", "memory_place"):
        setattr(plain, name, spread(getattr(quarter, name)))
    plain.pool = 2  # what is remembered lies where these say
    torch.manual_seed(1)
    memory = torch.randn(2, 3, (SIDE // 2) ** 2, CONFIG.memory_dim)
    time, bias = torch.tensor([[6, 0, 1], [6, 2, 0]]), torch.tensor([[0, 0, MASKED], [0, 0, 0]])
    pointers = Slots(torch.randn(2, 4, CONFIG.dim), torch.rand(2, 4), torch.zeros(2, 4))
    queries = torch.randn(1, SIDE**2, CONFIG.dim)
    whole = torch.stack([torch.stack([spread(one) for one in some]) for some in memory])
    wanted = plain(queries, plain.bank(Slots(whole, time, bias), pointers))
    found = quarter(queries, quarter.bank(Slots(memory, time, bias), pointers))
    assert torch.allclose(found, wanted, atol=2e-5)
    quarter.count_bias = 0.0
    assert not torch.allclose(
        quarter(queries, quarter.bank(Slots(memory, time, bias), pointers)), wanted, atol=1e-3
    )


def test_angles_are_kept_once() -> None:
    """Where nothing is pooled; they cost the built-in bundle 64 kB."""
    plain, quarter = (model.tracker.memory_attention for model in models())
    assert plain.memory_angles()[0] is plain.cos and plain.memory_angles()[1] is plain.sin
    assert quarter.memory_angles()[0].shape[0] == SIDE**2 // 4


@torch.no_grad()
def test_a_memory_is_written_pooled() -> None:
    """The mean over its cells; the same with pooling and last product folded."""
    plain, quarter = models()
    features = torch.randn(1, CONFIG.dim, SIDE, SIDE)
    mask, present = torch.randn(2, 1, 16 * SIDE, 16 * SIDE).sigmoid(), torch.tensor([1.0, 0.0])
    wanted = plain.tracker.memory_encoder(features, mask, present)
    found = quarter.tracker.memory_encoder(features, mask, present)
    assert found.shape[1:] == graph_specs(quarter.config)["memorize"].outputs[0].shape[1:]
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, pooled(other, SIDE, 2), atol=1e-5)
    quarter.tracker.memory_encoder.fold()
    assert torch.allclose(quarter.tracker.memory_encoder(features, mask, present), found, atol=1e-5)


def test_cells_must_fill_tokens() -> None:
    with pytest.raises(UsageError, match=f"memory pool 5: want a divisor of {CONFIG.grid}"):
        replace(CONFIG, memory_pool=5)
    assert (
        ModelConfig().memory_tokens == 72**2 and replace(ModelConfig(), memory_pool=2).memory_tokens == 36**2
    )


def test_a_bundle_with_pooled_memories(tiny_checkpoint: Path, tmp_path: Path, command: Command) -> None:
    """It is exported, compared and replayed as any other; its bank is a quarter the size."""
    words = ("export", "--checkpoint", tiny_checkpoint, "--target", "onnx", "--memory-pool", "2")
    done = command(*words, "-o", tmp_path / "pooled", "--threads", "1", "--json")
    assert done.code == 0, done.err
    bundle = Bundle.open(tmp_path / "pooled")
    assert bundle.config.memory_pool == 2
    (memory,) = (t for t in bundle.specs["tracker_step"].inputs if t.name == "memory")
    assert memory.shape[2] == (bundle.config.grid // 2) ** 2
    assert command("verify", bundle.path, "--replay").code == 0
