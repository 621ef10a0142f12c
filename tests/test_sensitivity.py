"""`quantize --sensitivity` finds the block that was made fragile, and what it proposes passes."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import float_bundle
import pytest
from commands import Command

from sam3_edge.quantize.gate import Figure, Verdict
from sam3_edge.quantize.mixed import share
from sam3_edge.quantize.sensitivity import Part

FRAGILE = float_bundle.FRAGILE
OTHERS = ("text", "detector", "detector_features", "masks", "tracker_features")
SMALL = ("--gate-pictures", "6", "--gate-clips", "0", "--threads", "1")


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return float_bundle.make_fragile(tmp_path_factory.mktemp("fragile") / "whole")


def test_the_fragile_block_is_found_and_kept(fragile: Path, tmp_path: Path, command: Command) -> None:
    keep = [word for name in OTHERS for word in ("--keep", f"{name}=fp32")]
    words = (
        "quantize",
        fragile,
        "--scheme",
        "w8",
        "--sensitivity",
        *keep,
        *SMALL,
        "-o",
        tmp_path / "found",
        "--json",
    )
    done = command(*words)
    assert done.code == 0, done.err
    found = json.loads((tmp_path / "found" / "sensitivity.json").read_bytes())
    assert done.document == {"path": str(tmp_path / "found"), **found}
    shares = {row["part"]: row["share"] for row in found["parts"]}
    assert set(shares) == {f"backbone.blocks.{block}" for block in range(4)}
    worst = f"backbone.{FRAGILE}"
    assert found["parts"][0]["part"] == worst and shares[worst] > 1 > max(
        share for part, share in shares.items() if part != worst
    )
    assert not found["all_compressed"]["gate"]["passed"]
    proposal = found["proposal"]
    assert proposal["keep"] == [f"{worst}=fp32"] and proposal["gate"]["passed"]
    assert proposal["bytes"] > found["all_compressed"]["bytes"]
    assert all(row["bytes_saved"] > 1000 for row in found["parts"])
    drawn = ElementTree.fromstring((tmp_path / "found" / "sensitivity.svg").read_text())
    assert worst in "".join(drawn.itertext())
    again = command(*words)
    assert again.code == 2 and "pass --overwrite" in again.error


def test_names_of_parts() -> None:
    assert Part.of("backbone/blocks.3.mlp.layers.1").keep == "backbone.blocks.3=fp32"
    assert Part.of("backbone/blocks_3_mlp_layers_1") == Part("backbone", "blocks.3")
    assert Part.of("detector_features/levels.0.up.0") == Part("detector_features", "levels")
    assert Part.of("masks/prompt_attention.out").module == "prompt_attention"


def test_a_share_is_of_the_worst_threshold() -> None:
    figures = (Figure("kept_f1", 0.99, 0.98), Figure("il_mcc", -0.02, -0.01), Figure("j_and_f", None, -0.005))
    assert share(Verdict(figures, 1, 0, 1)) == pytest.approx(2)
