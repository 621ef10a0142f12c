"""The built-in model: small, honest about where it comes from, and good at what it was made for."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from commands import Command, sam3_edge
from PIL import Image

import sam3_edge as package
from sam3_edge.agreement import pair
from sam3_edge.builtin import builtin_bundle, builtin_checkpoint
from sam3_edge.bundle import verify
from sam3_edge.demo import CAPTION, PICTURES, TILE
from sam3_edge.doctor import check
from sam3_edge.export.checkpoint import load as load_checkpoint
from sam3_edge.golden import read_golden, replay
from sam3_edge.judge import frozen_pictures
from sam3_edge.judge.answering import answer_pictures
from sam3_edge.judge.case import PictureAnswer, PictureCase
from sam3_edge.judge.measures import PictureJudge
from sam3_edge.shapes.scenes import draw_scene

SEED = 990
FROZEN = 40  # of the frozen pictures; all of them: `make judge`
# Measured on these, less a margin: what a change may not lose.
FLOOR = {"phrase": 0.70, "exemplar": 0.65, "il_mcc": 0.70, "mask": 0.78}
MOST_BYTES, MOST_PARAMETERS = 7_000_000, 3_500_000
HEAVY = ("torch", "onnx", "onnx_ir", "onnxscript", "transformers", "torchvision", "safetensors", "scipy")
NOT_THERE = "".join(f"sys.modules[{name!r}] = None; " for name in HEAVY)


@dataclass(frozen=True)
class Answered:
    """What the model says to some frozen pictures."""

    cases: list[PictureCase]
    answers: dict[str, PictureAnswer]

    def score(self, tag: str, name: str) -> float:
        where = [i for i, case in enumerate(self.cases) if {tag, "seen"} <= case.tags]
        return PictureJudge(self.cases, self.answers).score(where)[name].value


@pytest.fixture(scope="module")
def answered() -> Answered:
    asked = list(islice(frozen_pictures.questions(), 5 * FROZEN))
    with package.load() as segmenter:
        return Answered([case for case, _, _ in asked], answer_pictures(segmenter, asked))


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_it_finds_what_phrases_name(answered: Answered) -> None:
    assert answered.score("phrase", "pm_f1@0.5") >= FLOOR["phrase"]


def test_it_finds_what_looks_like_the_example(answered: Answered) -> None:
    assert answered.score("exemplar", "pm_f1@0.5") >= FLOOR["exemplar"]


def test_it_knows_what_is_not_there(answered: Answered) -> None:
    assert answered.score("phrase", "il_mcc") >= FLOOR["il_mcc"]


def test_its_masks_are_tight(answered: Answered) -> None:
    ious: list[float] = []
    for case in answered.cases:
        table = case.truths[0].iou(answered.answers[case.key].above(0.5).masks)
        ious += [float(table[row, column]) for row, column in pair(table)]
    assert len(ious) > FROZEN and np.mean(ious) >= FLOOR["mask"]


def test_it_is_small() -> None:
    assert size_of(builtin_checkpoint()) <= MOST_BYTES and size_of(builtin_bundle()) <= MOST_BYTES
    model = load_checkpoint(builtin_checkpoint()).model
    assert sum(weight.numel() for weight in model.parameters()) <= MOST_PARAMETERS


def test_the_bundle_is_made_from_the_weights_beside_it() -> None:
    bundle = verify(builtin_bundle())
    weights = (builtin_checkpoint() / "model.safetensors").read_bytes()
    assert bundle.source.sha256 == hashlib.sha256(weights).hexdigest()
    assert (bundle.target, bundle.scheme, bundle.licence) == ("onnx", "fp16", "Apache-2.0")
    assert bundle.config == load_checkpoint(builtin_checkpoint()).config
    merges = (builtin_checkpoint() / "merges.txt").read_bytes()
    assert bundle.file("tokenizer/merges.txt").read_bytes() == merges


def test_its_receipt_passes_and_compares_masks() -> None:
    bundle = verify(builtin_bundle())
    answers = bundle.report["answers"]
    assert answers["objects"] >= 6 and not answers["missing"] + answers["extra"]
    assert answers["mean_iou"] >= 0.995 and answers["min_iou"] >= 0.98
    assert set(bundle.report["relative_error"]) == set(bundle.graphs)


def test_its_golden_answers_replay() -> None:
    bundle = verify(builtin_bundle())
    with package.load(threads=1) as segmenter:
        check(replay(segmenter, read_golden(bundle)))


def test_the_default_of_load_is_the_builtin_bundle() -> None:
    rng = np.random.default_rng(SEED)
    picture = draw_scene(rng).picture
    with package.load() as default, package.load(package.builtin_bundle()) as named:
        a, b = (segmenter.segment(picture, "shape")[0] for segmenter in (default, named))
    assert len(a) and np.array_equal(a.masks, b.masks) and np.array_equal(a.scores, b.scores)


def test_doctor_selftest(command: Command) -> None:
    done = command("doctor", "--selftest", "--json")
    assert done.code == 0 and not done.err
    test = done.document["selftest"]
    assert test["answers"]["objects"] >= 6 and test["seconds"] < 30
    assert test["bundle"] == verify(builtin_bundle()).hash
    assert "ok  selftest: " in command("doctor", "--selftest").out


def test_doctor_finds_a_damaged_installation(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import shutil

    copy = shutil.copytree(builtin_bundle(), tmp_path / "shapes")
    data = bytearray((copy / "graphs/detector/model.onnx.data").read_bytes())
    data[500] ^= 4
    (copy / "graphs/detector/model.onnx.data").write_bytes(data)
    monkeypatch.setattr("sam3_edge.doctor.builtin_bundle", lambda: copy)
    done = command("doctor", "--selftest")
    assert done.code == 5 and "model.onnx.data is damaged" in done.error


def test_demo_without_torch(tmp_path: Path) -> None:
    done = sam3_edge("demo", "--run-only", "-o", "out", before=NOT_THERE, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    made = ["contact_sheet.png", "clip.gif", "clip.overlay.mp4", "clip.mp4"]
    assert done.stdout.split() == [f"out/{name}" for name in made] and "\x1b" not in done.stderr
    assert "sam3-edge run out/picture.png" in done.stderr  # what to paste next
    with Image.open(tmp_path / "out/contact_sheet.png") as sheet:
        assert sheet.size == (4 * TILE, PICTURES * (TILE + CAPTION))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"picture.png", *made}


def test_run_without_a_bundle_is_the_builtin_model(tmp_path: Path) -> None:
    scene = draw_scene(np.random.default_rng(SEED))
    Image.fromarray(scene.picture).save(tmp_path / "scene.png")
    words = ("run", "scene.png", "--prompt", "shape", "--json")
    done = sam3_edge(*words, before=NOT_THERE, folder=tmp_path)
    assert done.returncode == 0 and not done.stderr
    (row,) = json.loads(done.stdout)["pictures"]
    assert row["objects"] and (tmp_path / "results/results.json").is_file()
