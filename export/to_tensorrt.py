"""Target `tensorrt`: typed ONNX that every TensorRT from 10.3 to 11 builds strongly typed, and its rungs.

A graph's folder holds one file for each rung of the ladder (`sam3_edge.engines.rungs`), all on the same
weights, which are stored once: fp16 where the first rung reads them so. Engines are built on the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx_ir as ir
from torch import nn

from sam3_edge.bundle import Bundle
from sam3_edge.engines.rehearsal import write_tracked
from sam3_edge.engines.rungs import RUNGS
from sam3_edge.errors import CheckError, UsageError
from sam3_edge.session import Session
from sam3_edge.spec import GraphSpec

from . import tensorrt_check, to_onnx, typed
from .eager import Call
from .footprint import footprint
from .layers import attention_budget
from .parity import Gate
from .precision import RECIPES
from .rounding import RoundingSession, ranges
from .tensorrt_floor import above_floor

SCHEMES = ("fp16", "fp32")
SETTINGS = frozenset({"scheme", "board"})
# Bytes of attention logits at once, by the memory of the board. The smallest takes a windowed layer whole at
# 1008 px (286 MB); more at once means fewer and larger products.
BOARDS = {"8GB": 300_000_000, "16GB": 600_000_000, "64GB": 2_400_000_000}
GATES = {"fp16": Gate(2e-2, 0.995, 0.98), "fp32": Gate(1e-4, 0.99, 0.99)}
FIRST = {
    scheme: next(rung for rung in RUNGS if rung.name == name)
    for scheme, name in (("fp16", "typed"), ("fp32", "fp32"))
}
PROVED = "casts, ranges and accuracy of the typed graphs, run by ONNX Runtime on the CPU"
NOT_PROVED = "TensorRT's own kernels: `sam3-edge build` judges them on the device, with the golden answers"


def lower(
    module: nn.Module, spec: GraphSpec, folder: Path, *, scheme: str = SCHEMES[0], board: str = "8GB"
) -> str:
    """Write one graph and its rungs into `folder` and return the name of the first.

    Raises `UsageError` for a board that `BOARDS` does not have.
    """
    if board not in BOARDS:
        raise UsageError(f"there is no board {board!r}: choose from {', '.join(BOARDS)}")
    with attention_budget(BOARDS[board]):
        file = to_onnx.lower(module, spec, folder)
    if scheme == "fp16":
        write_rungs(folder / file)
    return file


def write_rungs(path: Path) -> None:
    """Replace the fp32 graph at `path` by its rungs. Raises `CheckError` for a weight above 65504."""
    model = ir.load(path)
    typed.store(model, RECIPES[RUNGS[0].name].table)
    data = path.with_name(to_onnx.DATA)
    ir.external_data.load_to_model(model)  # the new data file takes the old one's name
    data.unlink()
    ir.save(model, path, external_data=data.name)
    stored = path.read_bytes()
    for rung in reversed(RUNGS):  # the first takes the place of the file that the others are read from
        path.write_bytes(stored)
        model = ir.load(path)
        recipe = RECIPES[rung.name]
        typed.settle(model, recipe.table)
        if recipe.probed:
            typed.probe_attention(model)
        ir.save(model, path.with_name(rung.file))


def open_session(bundle: Bundle, *, threads: int | None = None) -> Session:
    """The typed graphs in ONNX Runtime, rounded as they say: what stands for TensorRT where there is none."""
    return RoundingSession(bundle, threads=threads)


def examine(bundle: Bundle, calls: Mapping[str, Sequence[Call]]) -> dict[str, Any]:
    """What can be said of the graphs without a GPU, for the report; and what `build` judges a tracker by.

    Raises `CheckError` for a graph that TensorRT would not take, or whose values fp16 does not hold.
    """
    if bundle.config.tracks:
        step, refine = (calls[name][-1].answers for name in ("tracker_step", "tracker_refine"))
        write_tracked(bundle.path, {"tracker_step": step, "tracker_refine": refine})
    report: dict[str, Any] = {"proves": PROVED, "does not prove": NOT_PROVED, "graphs": {}}
    report["builder"] = builder = tensorrt_check.builder_version()
    for name in bundle.graphs:
        path = bundle.graph(name)
        rungs = [path.with_name(rung.file) for rung in RUNGS if path.with_name(rung.file).exists()]
        for file in rungs:
            if bad := above_floor(file):
                raise CheckError(f"graph {name}, {file.name}: TensorRT 10.3 does not take it: {bad[0]}")
        row: dict[str, Any] = {"floor": "10.3", "largest_fp16": ranges(path, calls[name])}
        row["memory"] = footprint(path)
        if builder is not None:
            row["built"] = tensorrt_check.check([path], build=True)
            row["parsed"] = tensorrt_check.check(rungs[1:], build=False) if rungs[1:] else []
        report["graphs"][name] = row
    return report


def tools() -> dict[str, str]:
    """Versions of what made the files, for the bundle."""
    return {**to_onnx.tools(), "onnx-ir": version("onnx-ir")}
