"""`make swapped`: a short run of the command, and that it can fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sam3_edge.benchmarks import swapped
from sam3_edge.benchmarks.swapped import Swapped, summary


def test_masks_follow_their_memories(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        swapped.main, ["--clips", "1", "--threads", "1", "--output", str(tmp_path / "a.json")]
    )
    assert done.exit_code == 0, done.output
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["crossings"] == 1 and document["told_apart"] >= 12 and document["share"] >= 0.8


def test_memories_that_do_not_count_are_found_out() -> None:
    found = summary([Swapped("one", (0, 1), 16, 16), Swapped("other", (2, 3), 16, 8)])
    assert found["share"] == 0.75 and found["verdict"].startswith("masks follow")
    assert summary([])["verdict"] != "pass"


def test_without_the_exchange_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swapped, "exchange", lambda tracker: None)
    done = CliRunner().invoke(swapped.main, ["--clips", "1", "--threads", "1"])
    assert done.exit_code == 1 and json.loads(done.output)["swapped"] == 0
