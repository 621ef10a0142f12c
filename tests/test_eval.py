"""`sam3-edge eval`: results and bundles, judged; intervals, strata, references, and refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from commands import Command
from judged import clip_cases, found, picture_cases, right, right_clips, saco, tracked, veval, write
from PIL import Image
from scripted import CONFIG, PICTURE, scripted

from sam3_edge import Box, Concept
from sam3_edge.judge import datasets
from sam3_edge.judge.answering import answer_pictures
from sam3_edge.judge.case import Masks, PictureCase

PICTURES, CLIPS = picture_cases(8), clip_cases(3)
ANSWERS, TRACKS = right(PICTURES), right_clips(CLIPS)
OF_PICTURES = {"cg_f1", "pm_f1", "pm_f1@0.5", "il_mcc", "il_fpr", "ar"}
OF_PICTURES |= {f"ap{part}" for part in ("", "_50", "_75", "_small", "_medium", "_large")}
OF_CLIPS = {"j_and_f", "j", "f", "p_hota", "det_a", "ass_a", "id_switches"}
COMPARED = {"kept_precision", "kept_recall", "kept_f1", "mask_iou_mean", "mask_iou_p5", "score_change_max"}


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    return write(tmp_path / "gold.json", saco(PICTURES))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return write(tmp_path / "found.json", found(PICTURES, ANSWERS))


@pytest.fixture
def worse(tmp_path: Path) -> Path:
    """Without the first of every three objects."""
    rows = found(PICTURES, ANSWERS)
    return write(tmp_path / "worse.json", [row for i, row in enumerate(rows) if i % 3])


def test_pictures(command: Command, gold: Path, results: Path, tmp_path: Path) -> None:
    words = ("eval", results, "--dataset", gold)
    done = command(*words, "--json", "-o", tmp_path / "new" / "report.json")
    assert done.code == 0 and done.err == "judging: 16 cases in 1 strata\n"
    report = done.document
    assert json.loads((tmp_path / "new/report.json").read_text()) == report
    assert (report["dataset"], report["results"], report["reference"]) == ("gold.json", str(results), None)
    (whole,) = report["strata"]
    assert (whole["tag"], whole["cases"]) == ("all", 16) and set(whole["scores"]) == OF_PICTURES
    assert whole["scores"]["il_mcc"]["value"] == pytest.approx(1, abs=1e-3)
    low, high = whole["scores"]["pm_f1"]["interval"]
    assert low <= whole["scores"]["pm_f1"]["value"] <= high
    assert whole["scores"]["ap"]["value"] == pytest.approx(1) and whole["scores"]["ap"]["interval"] is None
    shown = command(*words)
    assert shown.code == 0 and all(name in shown.out for name in OF_PICTURES)


def test_a_reference(command: Command, gold: Path, results: Path, worse: Path) -> None:
    words = ("eval", worse, "--dataset", gold, "--reference", results)
    scores = command(*words, "--json").document["strata"][0]["scores"]
    assert set(scores) == OF_PICTURES | COMPARED | {"no_regression"}
    pm = scores["pm_f1"]
    assert pm["difference"] == pytest.approx(pm["value"] - pm["reference"]) and pm["difference"] < -0.1
    assert pm["difference_interval"][1] < 0
    rows = found(PICTURES, ANSWERS)
    left = len(json.loads(worse.read_text())) / len(rows)
    assert scores["kept_recall"]["value"] == pytest.approx(left) == scores["no_regression"]["value"]
    assert scores["kept_precision"]["value"] == scores["mask_iou_p5"]["value"] == 1
    assert scores["kept_recall"]["reference"] is None
    shown = command(*words)
    assert "difference" in shown.out and f"-{abs(pm['difference']):.3f}" in shown.out


def test_clips(command: Command, tmp_path: Path) -> None:
    truth = write(tmp_path / "veval.json", veval(CLIPS))
    mine = write(tmp_path / "found.json", tracked(CLIPS, TRACKS))
    words = ("eval", mine, "--dataset", truth, "--json")
    scores = command(*words).document["strata"][0]["scores"]
    assert set(scores) == OF_CLIPS
    assert (
        scores["p_hota"]["value"] == scores["j_and_f"]["value"] == 1 and scores["id_switches"]["value"] == 0
    )
    rows = tracked(CLIPS, TRACKS)
    unsure = write(tmp_path / "unsure.json", [row | {"score": 0.5} for row in rows[:2]] + rows[2:])
    again = command("eval", unsure, "--dataset", truth, "--reference", mine, "--json").document
    scores = again["strata"][0]["scores"]
    assert set(scores) == OF_CLIPS | {"no_regression"}
    # Two of nine objects are not sure enough to count.
    for name in ("det_a", "j_and_f", "no_regression"):
        assert scores[name]["value"] == pytest.approx(7 / 9)


def test_a_folder_keeps_its_identities(command: Command, tmp_path: Path) -> None:
    """As DAVIS scores it: another identity is another object, and the clip's ends are given."""
    frames = np.zeros((4, 20, 20), np.uint8)
    frames[:, 2:8, 2:8], frames[:, 12:18, 12:18] = 1, 2
    crossed = np.choose(frames, (0, 2, 1)).astype(np.uint8)
    ends = np.where(np.isin(np.arange(4), (0, 3))[:, None, None], 0, frames).astype(np.uint8)
    for name, drawn in (("truth", frames), ("crossed", crossed), ("ends", ends)):
        (tmp_path / name / "bear").mkdir(parents=True)
        for number, frame in enumerate(drawn):
            Image.fromarray(frame).save(tmp_path / name / "bear" / f"{number:05}.png")
    for name, want in (("truth", 1), ("crossed", 0), ("ends", 1)):
        done = command("eval", tmp_path / name, "--dataset", tmp_path / "truth", "--json")
        assert done.document["strata"][0]["scores"]["j_and_f"]["value"] == want, name


class Frozen(SimpleNamespace):
    """A frozen set of the scripted picture: two phrases and a box, asked of two pictures."""

    @staticmethod
    def cases() -> list[PictureCase]:
        truth = np.zeros((1, *PICTURE.shape[:2]), bool)
        truth[0, :5] = True
        nothing = Masks((PICTURE.shape[0], PICTURE.shape[1]))
        return [
            PictureCase(datasets.key_of(f"{n}.png", text), (masks,), frozenset((tag,)))
            for n in range(2)
            for text, masks, tag in (
                ("shape", Masks.of(truth), "here"),
                ("dog", nothing, "away"),
                ("visual\t2", nothing, "away"),
            )
        ]

    @classmethod
    def questions(cls) -> Iterator[datasets.Question]:
        concepts = (Concept("shape"), Concept("dog"), Concept(None, (Box(1, 1, 9, 9),)))
        made = cls.cases()
        for first in (0, 3):
            picture = PICTURE.copy()
            for case, concept in zip(made[first : first + 3], concepts, strict=True):
                yield case, picture, concept


def frozen_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "import_module", lambda name: Frozen)


def test_the_backbone_runs_once_per_picture() -> None:
    segmenter, session = scripted((0.9, 0.3, 0.04))
    steps: list[int] = []
    answers = answer_pictures(segmenter, Frozen.questions(), advance=steps.append)
    assert list(answers) == [case.key for case in Frozen.cases()] and steps == [3, 3]
    assert len(session.ran("backbone")) == 2 and len(session.ran("detector")) == 6
    for answer in answers.values():
        assert answer.scores == pytest.approx((0.9, 0.3)) and len(answer.masks) == 2
        assert len(answer.above(0.5).masks) == 1
    assert CONFIG.mask_queries >= 2


def test_a_bundle(command: Command, monkeypatch: pytest.MonkeyPatch, exported: Path, tmp_path: Path) -> None:
    frozen_set(monkeypatch)
    saved = tmp_path / "saved.json"
    words = ("eval", exported, "--dataset", "shapes", "--json")
    done = command(*words, "--save-results", saved)
    assert done.code == 0, done.err
    assert [(s["tag"], s["cases"]) for s in done.document["strata"]] == [("all", 6), ("away", 4), ("here", 2)]
    rows = json.loads(saved.read_text())
    assert {row["image_id"] for row in rows} <= {case.key for case in Frozen.cases()} and rows
    # Judged again without running, and compared with the bundle itself: the same.
    again = command("eval", saved, "--dataset", "shapes", "--json", "--reference", exported).document
    for before, after in zip(done.document["strata"], again["strata"], strict=True):
        for name, score in before["scores"].items():
            assert after["scores"][name]["value"] == score["value"], name
    kept_there = command(*words, "--save-results", saved)
    assert kept_there.code == 2 and f"{saved} exists: pass --overwrite" in kept_there.error
    assert json.loads(saved.read_text()) == rows


def test_strata(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    frozen_set(monkeypatch)
    case = Frozen.cases()[0]
    (runs,) = case.truths[0].runs
    mask = {"size": list(PICTURE.shape[:2]), "counts": runs.decode()}
    mine = write(tmp_path / "mine.json", [{"image_id": case.key, "score": 1, "segmentation": mask}])
    words = ("eval", mine, "--dataset", "shapes")
    report = command(*words, "--json", "--tag", "here").document
    assert [stratum["tag"] for stratum in report["strata"]] == ["all", "here"]
    shown = command(*words, "--tag", "here")
    assert "By stratum" in shown.out and "here" in shown.out and "away" not in shown.out
    done = command(*words, "--tag", "blue")
    assert done.code == 2 and "no case has the tag 'blue': choose from away, here" in done.error


def test_pictures_at_hand(command: Command, exported: Path, tmp_path: Path) -> None:
    """A bundle asked the phrases of a document about the pictures of a folder."""
    (tmp_path / "pictures").mkdir()
    names = sorted({case.key.split("\t")[0] for case in PICTURES})
    for number, name in enumerate(names):
        grey = np.full((96, 96, 3), 20 * number, np.uint8)
        Image.fromarray(grey).save(tmp_path / "pictures" / name)
    gold = write(tmp_path / "gold.json", saco(PICTURES))
    words = ("eval", exported, "--dataset", gold, "--json")
    saved = tmp_path / "saved.json"
    done = command(*words, "--pictures", tmp_path / "pictures", "--save-results", saved)
    assert done.code == 0, done.err
    assert all(isinstance(row["image_id"], int) for row in json.loads(saved.read_text()))
    (tmp_path / "pictures" / names[3]).unlink()
    done = command(*words, "--pictures", tmp_path / "pictures")
    assert done.code == 3 and f"{names[3]}: no such file" in done.error and not done.out
    done = command(*words)
    assert done.code == 2 and "names pictures only: give --pictures DIR" in done.error


def test_what_is_left_out_is_said(command: Command, gold: Path, results: Path) -> None:
    document = saco(PICTURES)
    document["images"][0]["is_instance_exhaustive"] = 0
    write(gold, document)
    done = command("eval", results, "--dataset", gold, "--json")
    count = len(PICTURES[0].truths[0])
    assert done.document["left_out"] == 1 and done.document["unasked"] == count > 0
    assert "1 cases of gold.json are left out" in done.err
    assert f"{count} objects of {results} answer what no case asks" in done.err


def test_refusals(command: Command, gold: Path, results: Path, exported: Path, tmp_path: Path) -> None:
    clips = write(tmp_path / "veval.json", veval(CLIPS))
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "report.json").write_text("mine")
    rows: tuple[tuple[tuple[Any, ...], int, str], ...] = (
        ((results,), 2, "Missing option '--dataset'"),
        ((results, "--dataset", tmp_path / "absent"), 3, "no such file or folder"),
        ((tmp_path / "absent", "--dataset", gold), 3, "cannot be read"),
        ((gold, "--dataset", gold), 5, "'00.png' occurs twice in images"),
        ((folder, "--dataset", gold), 2, "is a folder of clips, gold.json is of pictures"),
        ((folder, "--dataset", clips), 3, "name a DAVIS folder"),
        ((exported, "--dataset", clips), 2, "names clips only: give a results file of clips"),
        (("--dataset", clips), 2, "names clips only: give a results file of clips"),  # the built-in model
        ((results, "--dataset", clips), 2, "wants video_ids"),
        ((results, "--dataset", gold, "--save-results", tmp_path / "x"), 2, "is no bundle whose answers"),
        ((results, "--dataset", gold, "-o", tmp_path / "report.json"), 2, "exists: pass --overwrite"),
        ((results, "--dataset", gold, "--reference", clips), 5, "want a list of objects"),
        ((results, "--dataset", gold, "--tag", "x"), 2, "no case has the tag 'x': choose from none"),
    )
    for words, code, fact in rows:
        done = command("eval", *words)
        assert (done.code, done.out) == (code, ""), (words, done)
        assert fact in done.error, words
    assert (tmp_path / "report.json").read_text() == "mine"
