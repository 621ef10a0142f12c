"""`make swapped`: a short run of the command, and that it can fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sam3_edge import load
from sam3_edge.benchmarks import swapped
from sam3_edge.benchmarks.swapped import Swapped, summary
from sam3_edge.builtin import builtin_bundle
from sam3_edge.judge import frozen_clips
from sam3_edge.judge.frozen_clips import FrozenClip

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"


@pytest.fixture(scope="module")
def told_apart() -> FrozenClip:
    """The first crossing after which the model that ships tells the two apart."""
    rows = json.loads((RESULTS / "swapped.json").read_text())["rows"]
    first = next(row for row in rows if row["told"] >= 12)
    return frozen_clips.clip(int(first["clip"].removeprefix("clip_")))


def test_masks_follow_their_memories(told_apart: FrozenClip) -> None:
    with load(builtin_bundle(), threads=1) as model:
        found = swapped.compare(model, told_apart)
    assert found is not None and found.told >= 12 and found.swapped >= 0.8 * found.told


def test_memories_that_do_not_count_are_found_out() -> None:
    found = summary([Swapped("one", (0, 1), 16, 16), Swapped("other", (2, 3), 16, 8)])
    assert found["share"] == 0.75 and found["verdict"].startswith("masks follow")
    assert summary([])["verdict"] != "pass"


def test_without_the_exchange_nothing_changes(
    told_apart: FrozenClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swapped, "exchange", lambda tracker: None)
    with load(builtin_bundle(), threads=1) as model:
        found = swapped.compare(model, told_apart)
    assert found is not None and found.told >= 12 and found.swapped == 0


def test_the_command_says_what_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swapped, "compare", lambda model, clip: None)
    done = CliRunner().invoke(swapped.main, ["--clips", "1", "--threads", "1"])
    assert done.exit_code == 1 and json.loads(done.output)["crossings"] == 0
