"""Both sides of the comparison answer the same, in processes that take turns."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_export import CONFIG

from sam3_edge.benchmarks import speed_ours, speed_theirs
from sam3_edge.benchmarks.document import write_document
from sam3_edge.benchmarks.speed import Row, failures, merged
from sam3_edge.benchmarks.turns import side
from sam3_edge.errors import CheckError, ResourceError
from sam3_edge.export.threads import use_threads

TRACKED = replace(CONFIG, memory_times=7, memory_slots=9, pointer_slots=17)


def tasks(number: int) -> Mapping[str, Callable[[], Any]]:
    def fail() -> None:
        raise CheckError("it fails")

    return {"double": lambda: 2 * number, "fail": fail}


def test_a_side_works_in_its_own_process() -> None:
    with side("it", tasks, 21) as it:
        times, found = it.ask("double")
        assert found == 42 and times.wall > 0
        assert it.peak_gb() > 0.01
        with pytest.raises(CheckError, match="it fails"):
            it.ask("fail")
        with pytest.raises(ResourceError, match="ended"):
            it.ask("double")


def test_attention_is_theirs() -> None:
    with use_threads(1):
        want, got = (
            made["attention"]()["seen"]
            for made in (speed_theirs.attention(TRACKED, 1), speed_ours.attention(TRACKED, True, 1))
        )
    assert np.linalg.norm(got - want) <= 1e-5 * np.linalg.norm(want)


def measured(ratio: float, ours: float) -> dict[str, Any]:
    row = Row("picture", 1008, "fused")
    found = {"ratio": {"processor": {"median": ratio}}, "peak_gb": {"theirs": 10.0, "ours": ours}}
    return {"row": str(row), "layers": 32, "target": row.target, **found}


def test_targets() -> None:
    assert failures(measured(1.2, 6.9)) == []
    slow, large = failures(measured(0.9, 7.1))
    assert "0.90 times as fast" in slow and "7.1 GB" in large


def test_rows_of_earlier_runs_stay(tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    other = measured(1, 1) | {"row": "attention 336 px, fused"}
    for row in (measured(1, 1), other, measured(2, 1)):
        write_document(path, merged(path, row))
    rows = merged(path, other)["rows"]
    assert [row["row"] for row in rows] == ["picture 1008 px, fused", "attention 336 px, fused"]
    assert rows[0]["ratio"]["processor"]["median"] == 2


def test_our_side_holds_no_torch() -> None:
    """0.2 GB of it would count as ours."""
    names = ("speed", "speed_ours", "turns", "peers")
    modules = ", ".join(f"sam3_edge.benchmarks.{name}" for name in names)
    code = f"import sys, {modules}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
