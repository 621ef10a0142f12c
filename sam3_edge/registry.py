"""Plugins by file name: `export/to_onnx.py` is the target `onnx`, `runtimes/on_onnx.py` its backend.

A new target, student, scheme or backend is one new file; nothing else is edited. Listing imports nothing.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from sam3_edge.errors import BackendError, UsageError

PREFIXES = {
    "target": ("export", "to_"),
    "runtime": ("runtimes", "on_"),
    "scheme": ("quantize", "as_"),
    "student": ("export", "student_"),
}


def names(kind: str) -> list[str]:
    """The names of all plugins of one kind (`target`, `runtime`, `scheme`, `student`), sorted."""
    folder, prefix = PREFIXES[kind]
    package = importlib.import_module(f"sam3_edge.{folder}")
    files = (file for place in package.__path__ for file in Path(place).glob(f"{prefix}*.py"))
    return sorted({file.stem.removeprefix(prefix) for file in files if not file.stem.startswith("_")})


def load(kind: str, name: str) -> ModuleType:
    """Import one plugin. Raises `UsageError` for a name that no file answers to."""
    if name not in names(kind):
        raise UsageError(f"there is no {kind} {name!r}: choose from {', '.join(names(kind))}")
    folder, prefix = PREFIXES[kind]
    return load_module(folder, prefix + name)


def load_module(folder: str, name: str) -> ModuleType:
    """Import a module of a spoke. Raises `BackendError`, with the remedy, if a dependency is missing."""
    try:
        return importlib.import_module(f"sam3_edge.{folder}.{name}")
    except ImportError as error:  # also a library that is there and does not load
        if str(error.name).startswith("sam3_edge"):
            raise
        extra = name.removeprefix("on_") if folder == "runtimes" else folder
        missing = isinstance(error, ModuleNotFoundError)
        fact = f"needs {error.name}" if missing else f"does not load ({error})"
        raise BackendError(f"{folder} {fact}: pip install 'sam3-edge[{extra}]'") from error
