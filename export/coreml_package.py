"""A Core ML package that is the same, byte by byte, whenever and wherever it is made."""

from __future__ import annotations

import contextlib
import io
import json
import uuid
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

from .coreml_tools import coremltools
from .mil_program import CONTENT, MODEL, WEIGHTS, read_spec

# Who wrote an item, and what coremltools calls it in every package.
ITEMS = {MODEL: "CoreML Model Specification", WEIGHTS: "CoreML Model Weights"}
AUTHOR = "com.apple.CoreML"
MAIN = "main"  # the only function of a package that was converted
DATED = "com.github.apple.coremltools.conversion_date"


def normalise(package: Path) -> None:
    """Take date, random identifiers and debugging notes out of a package that coremltools wrote, in place."""
    spec = read_spec(package)
    spec.description.metadata.userDefined.pop(DATED, None)
    path = package / CONTENT / MODEL
    path.write_bytes(spec.SerializeToString(deterministic=True))
    path.chmod(0o644)
    (package / CONTENT / WEIGHTS).chmod(0o755)
    for weight in (package / CONTENT / WEIGHTS).iterdir():
        weight.chmod(0o644)
    for entry in package.iterdir():
        if entry.name not in ("Data", "Manifest.json"):
            entry.unlink()
    (package / "Manifest.json").write_text(manifest(), encoding="ascii")


def manifest() -> str:
    """What lies where in the package. An identifier only has to differ from the others in it."""
    entries = {
        str(uuid.uuid5(uuid.NAMESPACE_URL, f"{AUTHOR}/{name}")): {
            "author": AUTHOR,
            "description": description,
            "name": name,
            "path": f"{AUTHOR}/{name}",
        }
        for name, description in ITEMS.items()
    }
    document = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": entries,
        "rootModelIdentifier": next(key for key, entry in entries.items() if entry["name"] == MODEL),
    }
    return json.dumps(document, indent=4) + "\n"


def join_functions(packages: Mapping[str, Path], place: Path) -> None:
    """All in one package, a function each, the first the default; equal weights are stored once."""
    joined = coremltools.utils.MultiFunctionDescriptor()
    for name, package in packages.items():
        joined.add_function(str(package), MAIN, name)
    joined.default_function_name = next(iter(packages))
    with quiet():
        coremltools.utils.save_multifunction(joined, str(place))
    normalise(place)


def default_function(package: Path) -> str | None:
    """The function that runs if none is named; None for a package of one."""
    name: str = read_spec(package).description.defaultFunctionName
    return name or None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without coremltools' progress bars and warnings."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
