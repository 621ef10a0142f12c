"""The built-in model's weights in other layouts, which is how other programs get them."""

from __future__ import annotations

from pathlib import Path

import torch
from trained_clips import draw, poured_back, trained

from sam3_edge.benchmarks.streaming_peer import their_weights
from sam3_edge.export import checkpoint, names_huggingface
from sam3_edge.export.model import Sam3
from sam3_edge.export.weights import fill


def test_weights_that_are_poured_back_load_as_what_they_were(tmp_path: Path) -> None:
    found = trained()
    torch.save({"model": poured_back(found.model)}, tmp_path / "sam3.pt")
    again = checkpoint.load(tmp_path / "sam3.pt", official=True, config=found.config).model
    assert same(found.model, again)


def test_weights_under_the_names_of_transformers_load_as_what_they_were() -> None:
    found = trained()
    again = Sam3(found.config)
    fill(again, their_weights(found.model), names_huggingface.LAYOUT, origin="poured back")
    assert same(found.model, again)


def same(one: Sam3, other: Sam3) -> bool:
    """Whether two models have the same names and weights, bit for bit."""
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_clips_are_all_different() -> None:
    one, other = draw(0), draw(1)
    assert one.pictures.shape[1:3] != other.pictures.shape[1:3] and one.phrase != other.phrase
