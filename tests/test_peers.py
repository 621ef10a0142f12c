"""The same work beside `transformers`: one object each, of the same size, and ratios of what was taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sam3_edge.benchmarks import peers
from sam3_edge.builtin import builtin_bundle, builtin_checkpoint
from sam3_edge.timing.footage import SIZE
from sam3_edge.timing.turns import Turn


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in weights as `transformers` reads them."""
    path = tmp_path_factory.mktemp("peers") / "theirs"
    peers.save(builtin_bundle(), builtin_checkpoint(), path)
    return path


def test_a_picture_is_the_same_work(folder: Path) -> None:
    with peers.theirs(folder, builtin_bundle(), "picture", 1, False) as theirs:
        mask = theirs()
    with peers.ours(builtin_bundle(), "picture", 1) as ours:
        (answer,) = ours()
    assert mask.shape == (1, 1, *SIZE) and answer.masks.shape == (1, *SIZE)


def test_a_clip_is_the_same_work(folder: Path) -> None:
    with peers.theirs(folder, builtin_bundle(), "clip", 1, False) as theirs:
        (mask,) = theirs()
    with peers.ours(builtin_bundle(), "clip", 1) as ours:
        result = ours()
    assert mask.shape == (1, 1, *SIZE) and result.masks.shape == (1, *SIZE)


def turns(seconds: float, resident: list[float]) -> list[Turn]:
    return [Turn((seconds, seconds), 4 * seconds, (held, held + 1), 2 * held) for held in resident]


def test_a_row(tmp_path: Path) -> None:
    they, we = turns(2.0, [100.0 + 20 * number for number in range(6)]), turns(0.5, [50.0] * 6)
    row = peers.row(they, we)
    assert row["ratio"] == {"median": 4.0, "low": 4.0, "high": 4.0} == row["processor_ratio"]
    assert row["theirs"]["median_ms"] == 2000 and row["ours"]["processor_ms"] == 1000
    assert row["theirs"]["growth_mb_a_frame"] == 10.0 and row["ours"]["growth_mb_a_frame"] == 0.0
    assert (row["theirs"]["peak_mb"], row["ours"]["peak_mb"]) == (400, 100)
    text = peers.markdown({"rows": [{"image_size": 336, "work": "clip", "peer": "x", **row}]})
    assert (
        "| clip, 336 px | x | 2000 / 500 | 4.00 (4.00-4.00) | 4.00 (4.00-4.00) | 0.4 / 0.1 | +10.0 / +0.0 |"
        in text
    )
    assert np.isfinite(row["ratio"]["low"])
