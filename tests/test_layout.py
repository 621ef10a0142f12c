"""The architecture, as the folders say it: who may import whom, how flat, how heavy."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sam3_edge import registry
from sam3_edge.loop.events import FrameResult
from sam3_edge.loop.tracker import Tracker

ROOT = Path(__file__).parents[1]
SPOKES = ("export", "quantize", "runtimes", "benchmarks")
ROOMS = ("camera", "engines", "judge", "loop", "machine", "shapes", "timing", "verbs", "video")  # of the hub
HEAVY = {"torch", "transformers", "onnx", "onnx_ir", "onnxscript", "coremltools", "torchvision", "timm"}
OPTIONAL = {"supervision", "cv2", "aiohttp", "pynvml"}  # imported when it is asked for
ON_DEVICE = {"numpy", "PIL", "click", "rich", "pycocotools", "onnxruntime", "tensorrt", "cuda"}
ON_DEVICE |= {"coremltools", "sam3_edge"}


def imports(path: Path) -> Iterator[str]:
    """Absolute names of everything a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def files(folder: str) -> list[Path]:
    rooms = [ROOT / folder, *((ROOT / folder / room) for room in ROOMS if folder == "sam3_edge")]
    found = sorted(path for room in rooms for path in room.glob("*.py"))
    assert found, folder
    return found


@pytest.mark.parametrize("folder", ["sam3_edge", *SPOKES])
def test_a_spoke_imports_the_hub_and_the_hub_imports_no_spoke(folder: str) -> None:
    forbidden = {f"sam3_edge.{spoke}" for spoke in SPOKES if spoke != folder or folder == "sam3_edge"}
    for path in files(folder):
        for name in imports(path):
            assert ".".join(name.split(".")[:2]) not in forbidden, f"{path.name} imports {name}"


@pytest.mark.parametrize("folder", ["sam3_edge", "runtimes"])
def test_the_device_part_imports_only_what_a_device_has(folder: str) -> None:
    for path in files(folder):
        for name in imports(path):
            top = name.split(".")[0]
            assert top in ON_DEVICE | OPTIONAL or top in sys.stdlib_module_names, (
                f"{path.name} imports {name}"
            )


def test_the_main_path_never_imports_torchvision_or_timm() -> None:
    for folder in ("export", "quantize"):
        for path in files(folder):
            if not path.name.startswith("student_"):
                assert not {"torchvision", "timm"} & {n.split(".")[0] for n in imports(path)}, path


def loaded_by(statement: str) -> set[str]:
    """Top-level names in `sys.modules` after a statement in a fresh interpreter."""
    code = f"import sys\n{statement}\nimport json\nprint(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return set(json.loads(out))


def test_hub_cli_and_runtimes_leave_the_heavy_libraries_alone() -> None:
    runtimes = "; ".join(f"import sam3_edge.runtimes.on_{name}" for name in registry.names("runtime"))
    names = (path.relative_to(ROOT).with_suffix("") for path in files("sam3_edge"))
    hub = "; ".join(f"import {'.'.join(name.parts)}" for name in names if name.stem != "__main__")
    modules = loaded_by(f"import sam3_edge.cli; {hub}; {runtimes}")
    assert not OPTIONAL & modules
    assert not HEAVY & modules
    assert not set(SPOKES) & modules  # no top-level `export` or `runtimes`


def test_listing_plugins_imports_none_of_them() -> None:
    modules = loaded_by(
        "from sam3_edge import registry; [registry.names(kind) for kind in registry.PREFIXES]"
    )
    assert not {name for name in modules if name.startswith("sam3_edge.") and name.count(".") > 1}


def test_the_package_loads_its_public_names_when_asked() -> None:
    """numpy and Pillow alone cost 150 ms, and the tracker brings in the whole loop."""
    modules = loaded_by("import sam3_edge; dir(sam3_edge)")
    assert not {"numpy", "PIL", "click", "rich", "pycocotools"} & modules
    assert not {name for name in modules if name.startswith("sam3_edge.")}
    modules = loaded_by("from sam3_edge import FrameResult, Tracker")
    assert {"sam3_edge.loop.events", "sam3_edge.loop.tracker"} <= modules and not HEAVY & modules


def test_folders_are_flat_and_files_short() -> None:
    for folder in ("sam3_edge", *SPOKES):
        inner = {p.name for p in (ROOT / folder).iterdir() if p.is_dir() and not p.is_symlink()}
        assert inner <= {"__pycache__", "data", "results", *ROOMS}, folder
        for path in files(folder):
            assert len(path.read_text().splitlines()) <= 260, f"{path} is too long to read at once"


def test_the_package_holds_every_folder() -> None:
    for spoke in SPOKES:
        link = ROOT / "sam3_edge" / spoke
        assert link.is_symlink()
        assert link.resolve() == ROOT / spoke


def test_public_names() -> None:
    import sam3_edge

    assert set(sam3_edge.__all__) == set(sam3_edge.HOMES) | {"__version__"}
    for name in sam3_edge.__all__:
        assert getattr(sam3_edge, name) is not None
    assert (sam3_edge.Tracker, sam3_edge.FrameResult) == (Tracker, FrameResult)
    with pytest.raises(AttributeError, match="no attribute 'segment'"):
        sam3_edge.segment  # noqa: B018
