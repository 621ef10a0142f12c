"""Every call of the TensorRT adapter exists, with these arguments, in the libraries that are installed here.

TensorRT for RTX has TensorRT 11's interface, and NVIDIA's bindings import without a driver. That TensorRT
10.3 has these calls as well is not shown by it. Of timing caches it has the interface only: its hold nothing.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorrt_rtx as trt
from cuda.bindings import runtime as cuda
from test_engine_cache import MACHINE
from test_engine_ladder import GPU
from typed_graphs import typed_from

from sam3_edge.engines.cache import EngineCache
from sam3_edge.engines.timing import Timings
from sam3_edge.runtimes import on_tensorrt, tensorrt_engine

ROOT = Path(__file__).parents[1]
FILES = ("runtimes/tensorrt_engine.py", "sam3_edge/engines/network.py", "runtimes/device_memory.py")
# What the expressions are that calls are made on.
OBJECTS: dict[str, Any] = {
    "trt": trt,
    "library": trt,
    "library()": trt,
    "builder": trt.Builder,
    "parsed.builder": trt.Builder,
    "network": trt.INetworkDefinition,
    "parser": trt.OnnxParser,
    "error": trt.ParserError,
    "config": trt.IBuilderConfig,
    "parsed.config": trt.IBuilderConfig,
    "profile": trt.IOptimizationProfile,
    "tensor": trt.ITensor,
    "timings": trt.ITimingCache,
    "self.runtime": trt.Runtime,
    "self.engine": trt.ICudaEngine,
    "self.context": trt.IExecutionContext,
    "bindings()": cuda,
}
ROOTS = "|".join(re.escape(name) for name in sorted(OBJECTS, key=len, reverse=True))
OURS = {"network.parse", "network.build"}  # the module of that name, not the object


def uses(tree: ast.AST) -> Iterator[tuple[str, str, ast.Call | None]]:
    """Every attribute that is taken of one of the objects, and the call if it is called."""
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) not in OURS:
            found = re.fullmatch(rf"({ROOTS})((?:\.\w+)*)", ast.unparse(node.value))
            if found:
                yield found[1], f"{found[2]}.{node.attr}".lstrip("."), called.get(id(node))


def parameters(function: Any) -> list[set[str]]:
    """The parameters of each overload, as the library documents them; None is for what has no text."""
    lines = re.findall(r"^(?:\d+\. )?\w+\(((?:self[^,)]*)?.*)\) -> ", function.__doc__ or "", re.MULTILINE)
    return [{re.split(r"[:=]", part)[0].strip() for part in split(line)} - {"self"} for line in lines]


def split(line: str) -> list[str]:
    """At the commas that are in no bracket."""
    parts, depth = [""], 0
    for sign in line:
        depth += (sign in "([{<") - (sign in ")]}>")
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return [part for part in parts if part.strip() and part.strip() not in ("*args", "**kwargs")]


def problems(source: str) -> tuple[int, list[str]]:
    """How many uses were looked at, and which of them the libraries do not have."""
    bad, count = [], 0
    for root, path, call in uses(ast.parse(source)):
        found: Any = OBJECTS[root]
        for name in path.split("."):
            found = getattr(found, name, None)
        count += 1
        if found is None:
            bad.append(f"{root}.{path} does not exist")
        elif call is not None and (overloads := parameters(found)):
            words = {word.arg for word in call.keywords}
            plain = [part for part in call.args if not isinstance(part, ast.Starred)]
            size = len(plain) + len(words)
            if not any(size <= len(names) and words <= names for names in overloads if names or not size):
                bad.append(f"{root}.{path} takes {overloads}, is given {size}")
    return count, bad


@pytest.mark.parametrize("file", FILES)
def test_every_call_of_the_adapter_exists(file: str) -> None:
    count, bad = problems((ROOT / file).read_text())
    assert not bad and count >= 4


def test_a_call_that_does_not_exist_is_found() -> None:
    source = "trt.Builder(x)\nself.context.execute_async_v2(1)\nself.engine.get_tensor_name(1, 2)\n"
    source += "trt.BuilderFlag.FP16\nself.context.set_tensor_address(name=1, where=2)\n"
    _, bad = problems(source)
    assert [fact.split()[0] for fact in bad] == [
        "trt.BuilderFlag.FP16",
        "self.context.execute_async_v2",
        "self.engine.get_tensor_name",
        "self.context.set_tensor_address",
    ]


def cuda_calls(source: str) -> Iterator[tuple[str, int]]:
    """Every function of the CUDA runtime that is named, and how many arguments it is given."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func) == "checked":
            name = node.args[0]
            if isinstance(name, ast.Constant):
                yield str(name.value), len(node.args) - 1


def test_every_call_of_the_cuda_runtime_exists() -> None:
    calls = [call for file in FILES for call in cuda_calls((ROOT / file).read_text())]
    assert len(calls) >= 12
    for name, count in calls:
        line = (getattr(cuda, name).__doc__ or "").splitlines()[0]
        inside = line.partition("(")[2].rpartition(")")[0]
        assert line.startswith(name) and len(split(inside)) == count, (line, count)


def test_the_adapter_builds_what_it_will_run(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same code that builds on a device, on the processor: fixed shapes, and any number of objects."""
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    tensorrt_engine.logger.cache_clear()
    graphs = typed_from(exported, tmp_path) / "graphs"
    said: list[str] = []
    timings = Timings(EngineCache(tmp_path / "engines", tmp_path / "engines.key"), MACHINE)
    for name in ("text", "memorize"):
        builder = on_tensorrt.DeviceBuilder(GPU, timings)
        assert len(builder.build(graphs / name / "model.onnx", said.append)) > 100_000
        assert timings.read()  # the next builder's
    assert any(text.startswith("building text: ") for text in said)
    tensorrt_engine.logger.cache_clear()
