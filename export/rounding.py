"""The typed graphs as hardware with fp16 computes them: inputs and results rounded, sums in fp32.

ONNX Runtime's CPU kernels know no fp16. Left alone it computes neighbouring fp16 nodes in fp32 and drops the
casts between them, explicit ones too: neither a rounding nor an overflow would show. So every fp16 node is
wrapped in casts that it keeps, to fp32 before and back to fp16 behind.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from sam3_edge import registry
from sam3_edge.bundle import Bundle
from sam3_edge.engines.rungs import PROBE
from sam3_edge.errors import CheckError
from sam3_edge.session import HostValues, Session, Value
from sam3_edge.spec import ModelConfig

from .eager import Call
from .precision import FULL, HALF
from .typed import DTYPES, LARGEST, add_probe, cast, float_inputs

ROOM = 4.0  # other pictures than the examples may reach so many times what these reach


def wrap(model: ir.Model) -> list[ir.Value]:
    """Compute every fp16 node in fp32 between casts, in place. Gives the results before they are rounded."""
    graph, exact = model.graph, []
    widened: dict[int, ir.Value] = {}
    for node in list(graph):
        places = float_inputs(node)
        halves = [i for i in places if dtype_of(node, i) == DTYPES[HALF]]
        if node.op_type in ("Cast", "Shape") or not halves:
            continue
        for i in halves:
            value = node.inputs[i]
            assert value is not None
            if id(value) not in widened:
                widened[id(value)] = cast(graph, value, DTYPES[FULL])
            node.replace_input_with(i, widened[id(value)])
        for value in node.outputs:
            if value.dtype == DTYPES[HALF]:
                value.dtype = DTYPES[FULL]
                readers = list(value.uses())
                rounded = cast(graph, value, DTYPES[HALF])
                for reader, place in readers:
                    reader.replace_input_with(place, rounded)
                exact.append(value)
    return exact


def dtype_of(node: ir.Node, place: int) -> ir.DataType | None:
    """The type of one input."""
    value = node.inputs[place]
    return None if value is None else value.dtype


def write_wrapped(path: Path, folder: Path, *, probed: bool = False) -> tuple[Path, list[str]]:
    """The wrapped graph of `path`, in a folder of its own, and the outputs that measure ranges."""
    model = ir.load(path)
    exact = wrap(model)
    own = len(model.graph.outputs)
    if probed:
        for value in exact:
            add_probe(model.graph, value)
    folder.mkdir(parents=True, exist_ok=True)
    for file in path.parent.glob("*.data"):
        shutil.copyfile(file, folder / file.name)
    ir.save(model, folder / path.name)
    return folder / path.name, [str(value.name) for value in model.graph.outputs[own:]]


class Rounded:
    """A bundle whose graphs are wrapped when they are asked for."""

    def __init__(self, bundle: Bundle, folder: Path) -> None:
        self.bundle, self.folder = bundle, folder

    @property
    def config(self) -> ModelConfig:
        return self.bundle.config

    def graph(self, name: str) -> Path:
        return write_wrapped(self.bundle.graph(name), self.folder / name)[0]


class RoundingSession(HostValues):
    """ONNX Runtime on the wrapped graphs of a bundle."""

    def __init__(self, bundle: Bundle, *, threads: int | None = None) -> None:
        self.scratch = tempfile.TemporaryDirectory(dir=bundle.path.parent)
        rounded = Rounded(bundle, Path(self.scratch.name))
        self.session: Session = registry.load("runtime", "onnx").open(rounded, threads=threads)

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        return self.session.run(graph, feeds)

    def close(self) -> None:
        self.session.close()
        self.scratch.cleanup()


def ranges(path: Path, calls: Sequence[Call]) -> dict[str, Any]:
    """The result of the graph at `path` that is largest before it is rounded to fp16: `tensor` and `value`.

    Raises `CheckError` when it leaves no room below 65504.
    """
    worst, place = 0.0, ""
    with tempfile.TemporaryDirectory(dir=path.parents[2].parent) as scratch:
        probed, names = write_wrapped(path, Path(scratch), probed=True)
        session = registry.load("runtime", "onnx").start(str(probed), name=f"graph {path.parent.name}")
        for call in calls if names else ():
            reached = np.nan_to_num(np.array(session.run(names, call.feeds)), nan=np.inf)
            if not reached.max() <= worst:
                worst, place = float(reached.max()), names[int(reached.argmax())].removeprefix(PROBE)
    if not worst * ROOM <= LARGEST:
        raise CheckError(
            f"graph {path.parent.name}: {place} reaches {worst:.3g}, and fp16 ends at 65504: "
            "export with --scheme fp32"
        )
    return {"tensor": place, "value": float(f"{worst:.4g}")}
