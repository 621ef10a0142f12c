"""The built-in model's weights in the official layout, which is how the official session gets them."""

from __future__ import annotations

from pathlib import Path

import torch
from trained_clips import draw, poured_back, trained

from sam3_edge.export import checkpoint


def test_weights_that_are_poured_back_load_as_what_they_were(tmp_path: Path) -> None:
    found = trained()
    torch.save({"model": poured_back(found.model)}, tmp_path / "sam3.pt")
    again = checkpoint.load(tmp_path / "sam3.pt", official=True, config=found.config).model
    ours, theirs = found.model.state_dict(), again.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_clips_are_all_different() -> None:
    one, other = draw(0), draw(1)
    assert one.pictures.shape[1:3] != other.pictures.shape[1:3] and one.phrase != other.phrase
