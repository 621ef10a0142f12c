"""What is claimed of ways to distil: only what the scores of all seeds bear."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch.nn.functional import cosine_similarity

from sam3_edge.benchmarks import distill_trunks
from sam3_edge.benchmarks.distill_arms import AFTER, STAGES, best_rates, last_loss, recipe_of, thinned
from sam3_edge.benchmarks.distill_claims import claims, plot, summary
from sam3_edge.benchmarks.distill_signal import signal
from sam3_edge.benchmarks.distill_trunks import STUDENT, restore, told, write_teacher, write_trunk
from sam3_edge.builtin import builtin_checkpoint
from sam3_edge.errors import CheckError
from sam3_edge.export import checkpoint
from sam3_edge.export.distillation_data import Shapes
from sam3_edge.export.shapes_batch import to_tensor

TRUNKS = Path(__file__).parents[1] / "benchmarks/results/distill_arms"


def scored(cg_f1: float, il_mcc: float = 0.8, pm_f1: float = 0.5) -> dict[str, Any]:
    return {name: {"value": v} for name, v in (("cg_f1", cg_f1), ("il_mcc", il_mcc), ("pm_f1", pm_f1))}


TEACHER = {"pictures": scored(0.5, 0.85), "clips": {"j_and_f": {"value": 0.6}}}


def students(p1: list[float], both: list[float], il_mcc: float = 0.8) -> list[dict[str, Any]]:
    rows = [("P1", value) for value in p1] + [("P1+P3", value) for value in both]
    return [
        {"arm": arm, "seed": n, "pictures": scored(v, il_mcc), "clips": {"j_and_f": {"value": 1.2 * v}}}
        for n, (arm, v) in enumerate(rows)
    ]


@pytest.mark.parametrize(
    ("runs", "holding"),
    [
        (students([0.2, 0.21, 0.19], [0.44, 0.45, 0.46]), [True, True, True, True]),
        (students([0.2, 0.5, 0.35], [0.44, 0.45, 0.46]), [False, True, True, True]),
        (students([0.2, 0.21, 0.19], [0.40, 0.41, 0.42], 0.7), [True, False, False, False]),
        (students([0.2, 0.21, 0.19], [0.44, 0.45]), [False, False, False, False]),
        ([], [False, False, False, False]),
    ],
)
def test_a_claim_holds_if_all_seeds_bear_it(runs: list[dict[str, Any]], holding: list[bool]) -> None:
    assert [claim["holds"] for claim in claims(TEACHER, runs, 3)] == holding


def test_the_summary_and_the_plot() -> None:
    runs = students([0.2, 0.4], [0.3])
    runs[0]["pictures"]["cg_f1"]["value"] = None  # undefined: no phrase was answered
    found = summary(runs)
    assert found["P1"]["cg_f1"] == 0.2 and found["P1"]["cg_f1 sd"] == pytest.approx(0.2828, abs=1e-4)
    assert found["P1+P3"]["cg_f1 sd"] == 0 and found["P1+P3"]["j_and_f"] == pytest.approx(0.36)
    assert plot(TEACHER, runs).count("<circle") == 3


def test_rates_are_chosen_by_the_last_losses(tmp_path: Path) -> None:
    rows = [
        {"step": n, "pass": "features", "rate": 1e-3, "trunk": 8.0 / n, "boxes": 1.0} for n in range(1, 9)
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    trunk, anchor = (8 / 7 + 1) / 2, STAGES[AFTER].anchor
    assert last_loss(tmp_path, STAGES["features"]) == pytest.approx(trunk)
    assert last_loss(tmp_path, STAGES["outputs"]) == pytest.approx(5.0)
    assert anchor > 0 and last_loss(tmp_path, STAGES[AFTER]) == pytest.approx(anchor * trunk + 5.0)
    assert [row["step"] for row in thinned(tmp_path)] == [8]
    assert best_rates({"features": {"0.001": 2.0, "0.003": 1.0}}) == {"features": 0.003}


def test_ways_take_as_many_steps(tmp_path: Path) -> None:
    rates = {"features": 1e-3, "outputs": 3e-3}
    both = recipe_of(tmp_path, rates, 600, 1)
    assert both.steps == recipe_of(tmp_path, {"features": 1e-3}, 600, 1).steps == 600
    assert [it.rate for it in both.passes] == [1e-3, 3e-3]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_signal_is_what_gradients_have_in_common(share: float) -> None:
    """Noise alone is none of it, however few the gradients."""
    rng = np.random.default_rng(3)
    common, noise = np.ones(100_000), rng.standard_normal((8, 100_000))
    rows = (share * common + np.sqrt(1 - share**2) * noise).astype(np.float32)
    assert signal(rows) == pytest.approx(share, abs=0.05)


def test_a_student_is_its_trunk_and_its_teachers_heads(tmp_path: Path) -> None:
    place, whole = next(iter(sorted(TRUNKS.glob("*.safetensors")))), tmp_path / "student.safetensors"
    again = tmp_path / "again.safetensors"
    assert restore(place, tmp_path) == whole
    write_trunk(whole, again)
    assert again.read_bytes() == place.read_bytes()
    write_teacher(tmp_path)
    ships = checkpoint.load(builtin_checkpoint())
    assert checkpoint.load(tmp_path / distill_trunks.TEACHER).sha256 == ships.sha256
    other = json.loads(told(place)) | {"teacher": "0" * 64}
    save_file({"weight": np.zeros(1, np.float32)}, again, {STUDENT: json.dumps(other)})
    with pytest.raises(CheckError, match="000000000000"):
        restore(again, tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_committed_students_are_those_that_were_judged(tmp_path: Path) -> None:
    """Each is near its teacher's features, as its run measured on other pictures."""
    document = json.loads(TRUNKS.with_suffix(".json").read_text())
    taught = checkpoint.load(TRUNKS / distill_trunks.TEACHER)
    assert document["teacher_sha256"] == taught.sha256
    kept = {path.stem: path for path in TRUNKS.glob("*.safetensors")}
    assert kept.keys() == {f"{run['arm']}_{run['seed']}" for run in document["runs"]}
    assert sum(path.stat().st_size for path in kept.values()) < 4e6
    source, rng = Shapes(photographs=True), np.random.default_rng(5)
    pictures = to_tensor([source.draw(rng, 224, 2, held=True)[0] for _ in range(12)], 224)
    for run in document["runs"]:
        place = kept[f"{run['arm']}_{run['seed']}"]
        assert hashlib.sha256(place.read_bytes()).hexdigest() == run["trunk_sha256"]
        student = checkpoint.load(restore(place, tmp_path)).model
        with torch.no_grad():
            found = cosine_similarity(
                student.backbone(pictures), taught.model.backbone(pictures), dim=2
            ).mean()
        assert found == pytest.approx(run["passes"][-1]["cosine"], abs=0.05)
