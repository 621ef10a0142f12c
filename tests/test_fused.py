"""Graphs spelled with ONNX Runtime's own operators answer as the plain ones do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tiny_export import CONFIG, SEED

from sam3_edge.export import to_onnx
from sam3_edge.export.model import Sam3, fold
from sam3_edge.runtimes.on_onnx import any_slots, start, without_empty
from sam3_edge.spec import MASKED, graph_specs

SPECS = graph_specs(CONFIG)


@pytest.fixture(scope="module")
def model() -> Sam3:
    return fold(Sam3(CONFIG).initialise(SEED))


def lowered(model: Sam3, graph: str, folder: Path, *, fused: bool) -> Path:
    folder.mkdir()
    return folder / to_onnx.lower(model.graph(graph), SPECS[graph], folder, fused=fused)


def fed(graph: str, objects: int = 3) -> dict[str, Any]:
    """Random inputs; of the memory slots the second alone is filled, of the pointers the first two."""
    rng = np.random.default_rng(0)
    feeds = {t.name: rng.standard_normal(t.sized(objects)).astype(t.dtype) for t in SPECS[graph].inputs}
    if graph == "tracker_step":
        feeds["memory_time"] = rng.integers(0, CONFIG.memory_times, feeds["memory_time"].shape, np.int32)
        for name, places in (("memory_bias", [1]), ("pointer_bias", [0, 1])):
            feeds[name][:] = MASKED
            feeds[name][:, places] = len(places)  # not 0, to see whether a bias is added as it is
    return feeds


def used(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path, load_external_data=False).graph.node]


@pytest.mark.parametrize("graph", ["backbone", "detector", "tracker_features", "tracker_step"])
def test_equal(model: Sam3, graph: str, tmp_path: Path) -> None:
    plain, quick = (lowered(model, graph, tmp_path / str(fused), fused=fused) for fused in (False, True))
    assert "MultiHeadAttention" in used(quick) and "MultiHeadAttention" not in used(plain)
    feeds = fed(graph)
    want, got = (start(str(path), name=graph).run(None, feeds) for path in (plain, quick))
    for a, b in zip(want, got, strict=True):
        assert np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(a)


def test_slots_that_nothing_fills_are_left_out(model: Sam3, tmp_path: Path) -> None:
    session = start(str(lowered(model, "tracker_step", tmp_path / "fused", fused=True)), name="step")
    assert any_slots(session)
    feeds = fed("tracker_step")
    fewer = without_empty(feeds)
    assert fewer["memory"].shape[1] == 2 and feeds["memory"].shape[1] == CONFIG.memory_slots
    for a, b in zip(session.run(None, feeds), session.run(None, fewer), strict=True):
        assert np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(a)


def test_a_plain_graph_takes_all_slots(model: Sam3, tmp_path: Path) -> None:
    assert not any_slots(start(str(lowered(model, "tracker_step", tmp_path / "a", fused=False)), name="step"))
