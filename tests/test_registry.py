"""Plugins by file name, and the contract of each kind: a new file is tested by being there."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import pytest

from sam3_edge import registry
from sam3_edge.errors import BackendError, UsageError

FOLDERS = {
    "target": ("export", "to_*.py"),
    "runtime": ("runtimes", "on_*.py"),
    "scheme": ("quantize", "as_*.py"),
    "student": ("export", "student_*.py"),
}


@pytest.mark.parametrize("kind", registry.PREFIXES)
def test_names_are_the_files(kind: str) -> None:
    folder, pattern = FOLDERS[kind]
    prefix = pattern.partition("*")[0]
    files = [path.stem for path in (Path(__file__).parents[1] / folder).glob(pattern)]
    want = sorted(name.removeprefix(prefix) for name in files if not name.startswith("_"))
    assert registry.names(kind) == want and want


def test_every_target_has_a_runtime() -> None:
    assert set(registry.names("target")) <= set(registry.names("runtime"))


def test_an_unknown_name() -> None:
    with pytest.raises(UsageError) as caught:
        registry.load("target", "abacus")
    assert (
        str(caught.value) == f"there is no target 'abacus': choose from {', '.join(registry.names('target'))}"
    )
    for name in ("", "../to_onnx", "onnx.", "__init__"):
        with pytest.raises(UsageError):
            registry.load("scheme", name)


@pytest.mark.parametrize(
    ("folder", "name", "lacking", "extra"),
    [
        ("export", "to_onnx", "torch", "export"),
        ("export", "to_onnx", "onnx_ir", "export"),
        ("quantize", "as_fp16", "onnx_ir", "quantize"),
        ("runtimes", "on_onnx", "numpy", "onnx"),
    ],
)
def test_a_missing_dependency(
    monkeypatch: pytest.MonkeyPatch, folder: str, name: str, lacking: str, extra: str
) -> None:
    monkeypatch.delitem(sys.modules, f"sam3_edge.{folder}.{name}", raising=False)
    monkeypatch.setitem(sys.modules, lacking, None)
    with pytest.raises(BackendError) as caught:
        registry.load_module(folder, name)
    assert str(caught.value) == f"{folder} needs {lacking}: pip install 'sam3-edge[{extra}]'"


def test_a_missing_module_of_our_own_is_a_bug() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"sam3_edge\.export\.to_nowhere"):
        registry.load_module("export", "to_nowhere")


@pytest.mark.parametrize("name", registry.names("target"))
def test_targets(name: str) -> None:
    target = registry.load("target", name)
    module, spec, folder, *settings = inspect.signature(target.lower).parameters
    recipe = inspect.signature(target.Recipe).parameters if settings == ["settings"] else settings
    assert (module, spec, folder) == ("module", "spec", "folder") and set(recipe) == target.SETTINGS
    assert set(target.SCHEMES) <= set(target.GATES) and callable(target.open_session)
    tools = target.tools()
    assert tools and all(isinstance(value, str) for pair in tools.items() for value in pair)


@pytest.mark.parametrize("name", registry.names("runtime"))
def test_runtimes(name: str) -> None:
    runtime = registry.load("runtime", name)
    assert {"bundle", "threads"} <= inspect.signature(runtime.open).parameters.keys()
    assert callable(runtime.selfcheck)


def test_selfcheck_gives_a_version() -> None:
    for name in ("onnx", "script"):
        assert "." in registry.load("runtime", name).selfcheck()


@pytest.mark.parametrize("name", registry.names("scheme"))
def test_schemes(name: str) -> None:
    scheme = registry.load("scheme", name)
    assert scheme.TARGETS and set(scheme.TARGETS) <= set(registry.names("target"))
    check = ("check",) if getattr(scheme, "CALIBRATED", False) else ()  # accuracy control is for these
    assert tuple(inspect.signature(scheme.compress).parameters) == ("path", "config", "keep", "feeds", *check)
    assert scheme.ABOUT and scheme.NEEDS and scheme.Config() == scheme.Config()
