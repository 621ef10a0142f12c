"""The metrics of pictures against the official evaluators, and against answers worked out by hand."""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracles.official_metrics import FOLDER, KINDS, OFTEN, Dataset, coco, datasets, digest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sam3_edge.errors import UsageError
from sam3_edge.judge.average_precision import AveragePrecision, average_precision
from sam3_edge.judge.case import Masks, PictureAnswer, PictureCase
from sam3_edge.judge.concept_f1 import IOUS, ConceptF1, Counts, table, tally

OFFICIAL = {
    "cg_f1": "cgF1",
    "pm_f1": "positive_micro_F1",
    "pm_precision": "positive_micro_precision",
    "macro_f1": "positive_macro_F1",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "il_mcc": "IL_MCC",
    "il_f1": "IL_F1",
    "il_precision": "IL_precision",
    "il_recall": "IL_recall",
    "il_fpr": "IL_FPR",
}
DRAWN = datasets()
SIZE = (10, 40)


def judged(pairs: Dataset) -> tuple[list[PictureCase], dict[str, PictureAnswer]]:
    cases = [PictureCase(str(i), tuple(map(Masks.of, pair.truths))) for i, pair in enumerate(pairs)]
    answers = {str(i): PictureAnswer(Masks.of(pair.answers), pair.scores) for i, pair in enumerate(pairs)}
    return cases, answers


def tallied(pairs: Dataset) -> list[Counts]:
    cases, answers = judged(pairs)
    return [tally(case, answers[case.key]) for case in cases]


def bars(*spans: tuple[int, int]) -> Masks:
    """Full-height bars from one column up to another."""
    masks = np.zeros((len(spans), *SIZE), bool)
    for mask, (start, end) in zip(masks, spans, strict=True):
        mask[:, start:end] = True
    return Masks.of(masks)


def one(
    truths: Sequence[Masks], found: Masks, scores: Sequence[float] = ()
) -> tuple[PictureCase, PictureAnswer]:
    return PictureCase("a", tuple(truths)), PictureAnswer(found, tuple(scores) or (0.9,) * len(found))


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


# --- cgF1


def test_the_datasets_are_those_that_were_recorded() -> None:
    info = json.loads((FOLDER / "metrics.json").read_text())
    assert digest(DRAWN) == info["digest"]
    assert len(DRAWN) == len(KINDS) * OFTEN >= 200


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_the_official_evaluator(kind: str) -> None:
    names = json.loads((FOLDER / "metrics.json").read_text())["names"]
    with np.load(FOLDER / "metrics.npz", allow_pickle=False) as file:
        recorded = file["scores"]
    for (drawn, pairs), scores in zip(DRAWN, recorded, strict=True):
        if drawn == kind:
            found = {official(name): float(s) for name, s in ConceptF1.of(tallied(pairs)).values().items()}
            assert found == pytest.approx(dict(zip(names, scores, strict=True)), abs=1e-9)


def official(name: str) -> str:
    score, at, iou = name.partition("@")
    return OFFICIAL[score] + at + iou


def test_pm_f1_and_cg_f1_by_hand() -> None:
    truth = bars((0, 10), (20, 30))
    counts = [
        tally(*one([truth], bars((0, 10), (22, 32), (35, 40)))),  # IoU 1 and 2/3, and one false
        tally(*one([truth], bars())),
        tally(*one([bars()], bars((0, 5)))),  # counts for IL_MCC, not for pmF1
        tally(*one([bars()], bars())),
        tally(*one([bars()], bars())),
    ]
    score = ConceptF1.of(counts)
    precision, recall = np.where(IOUS < 2 / 3, 2, 1) / 3, np.where(IOUS < 2 / 3, 2, 1) / 4
    f1 = 2 * precision * recall / (precision + recall)
    mcc = (1 * 2 - 1 * 1) / (2 * 2 * 3 * 3) ** 0.5
    np.testing.assert_allclose(score.pm_f1, f1, atol=2e-4)
    assert float(score.il_mcc) == pytest.approx(mcc, abs=1e-6)
    np.testing.assert_allclose(score.cg_f1, f1 * mcc, atol=2e-4)
    np.testing.assert_allclose(score.f1, [4 / 8] * 4 + [2 / 8] * 6, atol=2e-4)  # here it does count


def test_an_iou_and_a_score_on_the_threshold_count() -> None:
    case, answer = one([bars((0, 10))], bars((0, 20)), (0.5,))  # IoU 1/2
    assert tally(case, answer).hits.tolist() == [1] + [0] * 9
    assert tally(case, answer, threshold=0.51).answers == 0


def test_the_matching_has_the_largest_total_iou() -> None:
    # The other pairing (14 / 20, 20 / 32) would hit twice at 0.5, but its total is smaller than 1 + 14 / 32.
    assert tally(*one([bars((0, 20), (0, 32))], bars((0, 20), (0, 14)))).hits.tolist() == [1] * 10
    # The best pair first (18 / 22) would leave 11 / 25 for the second; 16 / 20 and 17 / 23 are more together.
    assert tally(*one([bars((0, 20), (5, 25))], bars((2, 22), (0, 16)))).hits.tolist()[:6] == [2] * 5 + [1]


def test_the_most_favourable_annotator_counts() -> None:
    found = bars((0, 10))
    near, far, nothing = bars((0, 12)), bars((30, 40)), bars()
    assert tally(*one([far, near, nothing], found)).hits[0] == 1
    assert tally(*one([far, nothing], found)).truths == 1  # equally bad: the first
    assert tally(*one([nothing, far], found)).truths == 0
    assert tally(*one([near, nothing, far], bars())).empty


def test_a_bootstrap_of_two_thousand_cases_takes_a_second_at_most() -> None:
    counts = (tallied(DRAWN[0][1]) + tallied(DRAWN[-1][1])) * 600
    stream = np.random.RandomState(0)
    rows = table(counts[:2000])
    draws = stream.multinomial(2000, np.full(2000, 1 / 2000), size=1000).astype(np.float64)
    assert min(seconds(lambda: ConceptF1(draws @ rows).values()) for _ in range(2)) < 1
    resampled = ConceptF1(draws @ rows).values()
    assert {score.shape for score in resampled.values()} == {(1000,)}
    drawn = [counts[i] for i in np.repeat(np.arange(2000), draws[17].astype(int))]
    for name, score in ConceptF1.of(drawn).values().items():
        assert float(score) == pytest.approx(resampled[name][17], abs=1e-12), name


def test_no_cases_score_nothing() -> None:
    assert float(ConceptF1.of([]).values()["cg_f1"]) == 0


# --- mask AP


def coco_scores(pairs: Dataset, folder: Path) -> list[float]:
    """By way of files, as everybody uses pycocotools."""
    truth, answers = coco(pairs, 0)
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "answers.json").write_text(json.dumps(answers))
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(str(folder / "truth.json"))
        judge: Any = COCOeval(known, known.loadRes(str(folder / "answers.json")), "segm")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return [float(judge.stats[i]) for i in (0, 1, 2, 3, 4, 5, 8)]


@pytest.mark.parametrize("kind", KINDS)
def test_ap_is_that_of_pycocotools(kind: str, tmp_path: Path) -> None:
    for drawn, pairs in DRAWN:
        if drawn == kind and any(pair.scores for pair in pairs):  # loadRes refuses no answers at all
            found = list(average_precision(*judged(pairs)).values().values())
            assert found == pytest.approx(coco_scores(pairs, tmp_path), abs=1e-9)


def precision_at(*answers: tuple[Masks, Masks, Sequence[float]]) -> AveragePrecision:
    cases = [PictureCase(str(i), (truth,)) for i, (truth, _, _) in enumerate(answers)]
    return average_precision(
        cases, {str(i): PictureAnswer(found, tuple(s)) for i, (_, found, s) in enumerate(answers)}
    )


def test_ap_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    thing, other = bars((0, 10)), bars((20, 30))
    assert precision_at((thing, thing, [0.1])).values() == pytest.approx(
        {"ap": 1, "ap_50": 1, "ap_75": 1, "ap_small": 1, "ap_medium": -1, "ap_large": -1, "recall": 1}
    )
    # A better scored error, on a picture without the concept, halves the precision at every recall.
    assert precision_at((thing, thing, [0.1]), (bars(), other, [0.2])).ap == pytest.approx(0.5)
    assert precision_at((thing, thing, [0.3]), (bars(), other, [0.2])).ap == pytest.approx(1)
    # Of two objects one is found: precision 1 at the recalls 0, 0.01, ... 0.5, which are 51 of 101.
    assert precision_at((thing, thing, [0.1]), (other, bars(), [])).ap == pytest.approx(51 / 101)
    assert precision_at((thing, bars((0, 8)), [0.5])).ap == pytest.approx(0.7)  # IoU 0.8: 7 of 10 thresholds
    assert precision_at((thing, bars(), [])).ap == 0
    assert precision_at((bars(), thing, [0.9])).ap == -1
    assert precision_at((bars(), bars(), [])).ap == -1
    assert capsys.readouterr().out == ""


def test_ap_by_size() -> None:
    def square(side: int) -> Masks:
        mask = np.zeros((1, 120, 120), bool)
        mask[0, :side, :side] = True
        return Masks.of(mask)

    nothing = Masks((120, 120))
    sizes = precision_at(
        (square(20), square(20), [0.9]), (square(50), nothing, []), (square(100), square(100), [0.8])
    )
    assert (sizes.ap_small, sizes.ap_medium, sizes.ap_large) == pytest.approx((1, 0, 1))
    assert sizes.recall == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (PictureAnswer(Masks((40, 10))), r"a: masks of different sizes .*\(10, 40\), \(40, 10\)"),
        (PictureAnswer(bars((0, 5)), (0.5, 0.5)), "a: 1 masks with 2 scores"),
    ],
)
def test_an_answer_that_cannot_be_judged_is_refused(answer: PictureAnswer, said: str) -> None:
    case = PictureCase("a", (bars((0, 10)),))
    with pytest.raises(UsageError, match=said):
        tally(case, answer)
    with pytest.raises(UsageError, match=said):
        average_precision([case], {"a": answer})
