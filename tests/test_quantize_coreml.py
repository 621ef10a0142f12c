"""What the schemes of Core ML keep to, on a small package through coremltools."""

from __future__ import annotations

import shutil
from pathlib import Path

from sam3_edge.quantize import as_palette6
from sam3_edge.quantize.keep import TABLE, Keep


def test_what_is_to_be_kept_is_kept(exported_coreml: Path, tmp_path: Path) -> None:
    """Names in a package are not those of the modules; a compressed patch also stops coremltools."""
    folder = Path(shutil.copytree(exported_coreml / "graphs" / "backbone", tmp_path / "backbone"))
    (package,) = folder.glob("*.mlpackage")
    before = sum(path.stat().st_size for path in package.rglob("weight.bin"))
    tally = as_palette6.compress(package, keep=Keep(TABLE))
    patch = next(row.reason for row in TABLE if row.places == "backbone/patch")
    assert tally.kept[patch] == 1 and tally.compressed["linear"] == 6
    assert sum(path.stat().st_size for path in package.rglob("weight.bin")) < before
