"""The table of tiers: what is measured of each, beside the first."""

from __future__ import annotations

from pathlib import Path

from sam3_edge.benchmarks.tiers import TIERS, Tier, follow, judged, markdown
from sam3_edge.builtin import builtin_bundle


def test_tiers_are_judged_beside_the_first(tmp_path: Path) -> None:
    often, seldom = Tier("often"), Tier("seldom", every=8)
    (tmp_path / often.made).symlink_to(builtin_bundle())
    found = [(tier, follow(tier, tmp_path, 2)) for tier in (often, seldom)]
    first, second = judged(found, 2)
    assert first["j_and_f"]["difference"] == 0
    assert second["j_and_f"]["value"] != first["j_and_f"]["value"]
    lines = markdown({"rows": [first, second]}).splitlines()
    assert lines[2].startswith("| often |") and lines[2].endswith("| - |") and "| seldom |" in lines[3]


def test_tiers_that_differ_have_bundles_of_their_own() -> None:
    made = {tier.made for tier in TIERS}
    assert len(made) == len({(tier.scheme, str(tier.export), str(tier.settings)) for tier in TIERS})
