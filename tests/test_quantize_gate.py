"""The gate is real: what it refuses, and that it lets the same model pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sam3_edge.builtin import builtin_bundle
from sam3_edge.bundle import Bundle
from sam3_edge.errors import CheckError, UsageError
from sam3_edge.quantize.gate import Answers, Questions, Thresholds, ask, judge, questions_for, segmenter_of
from sam3_edge.segmenter import Segmenter
from sam3_edge.session import HostValues, Session, Value

Array = NDArray[np.float32]
PICTURES, CLIPS = 24, 1


class Corrupt(HostValues):
    """A session one of whose answers is not what the model says."""

    def __init__(
        self, inner: Session, graph: str, output: str, change: Callable[[Array], NDArray[Any]]
    ) -> None:
        self.inner, self.graph, self.output, self.change = inner, graph, output, change

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        answers = {
            name: self.inner.fetch(value) for name, value in self.inner.run(graph, dict(feeds)).items()
        }
        if graph == self.graph:
            answers[self.output] = self.change(np.array(answers[self.output])).astype(np.float32)
        return dict(answers)

    def close(self) -> None:
        self.inner.close()


def noise(size: float) -> Callable[[Array], NDArray[Any]]:
    """Added, relative to the spread of each tensor; the same at every call."""
    return lambda x: np.asarray(x + size * x.std() * np.random.default_rng(0).standard_normal(x.shape))


def dead(x: Array) -> NDArray[Any]:
    """Every eighth channel is zero, as after a lost scale."""
    x[..., ::8] = 0
    return x


CORRUPTIONS: dict[str, tuple[str, str, Callable[[Array], NDArray[Any]]]] = {
    "scaled presence head": ("detector", "presence", lambda x: 0.2 * x),
    "presence always": ("detector", "presence", lambda x: np.full_like(x, 8)),
    "zeroed score head": ("detector", "logits", np.zeros_like),
    "shifted scores": ("detector", "logits", lambda x: x - 1.5),
    "rounded boxes": ("detector", "boxes", lambda x: np.round(x * 32) / 32),
    "clipped activations": ("backbone", "trunk_feature", lambda x: x.clip(-0.5, 0.5)),
    "noisy activations": ("backbone", "trunk_feature", noise(0.5)),
    "dead channels": ("detector_features", "features_1x", dead),
    "coarse masks": ("masks", "masks", lambda x: np.repeat(np.repeat(x[..., ::8, ::8], 8, -1), 8, -2)),
    "masks of three levels": ("masks", "masks", lambda x: np.sign(x - 4) + np.sign(x + 4)),
    "memories of noise": ("memorize", "memory", noise(8.0)),
}


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open(builtin_bundle())


@pytest.fixture(scope="module")
def questions(bundle: Bundle) -> Questions:
    return questions_for(bundle, pictures=PICTURES, clips=CLIPS)


@pytest.fixture(scope="module")
def whole(bundle: Bundle) -> Segmenter:
    return segmenter_of(bundle, threads=1)


@pytest.fixture(scope="module")
def answers(whole: Segmenter, questions: Questions) -> Answers:
    return ask(whole, questions, "whole")


def test_the_same_model_passes(whole: Segmenter, questions: Questions, answers: Answers) -> None:
    verdict = judge(questions, answers, ask(whole, questions, "again"), Thresholds())
    assert not verdict.failures() and verdict.objects >= 50
    assert {figure.name for figure in verdict.figures} == set(vars(Thresholds()))
    assert all(figure.value is not None for figure in verdict.figures)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corrupt_model_is_refused(
    name: str, bundle: Bundle, whole: Segmenter, questions: Questions, answers: Answers
) -> None:
    graph, output, change = CORRUPTIONS[name]
    asked = questions
    if graph != "memorize":
        asked = replace(questions, clips=())  # what a picture shows needs no clip
    broken = segmenter_of(bundle, Corrupt(whole.session, graph, output, change))
    verdict = judge(asked, answers, ask(broken, asked, name), Thresholds())
    assert verdict.failures(), verdict.to_json()


def test_silence_proves_nothing(bundle: Bundle, whole: Segmenter) -> None:
    """The uncompressed model must find something. `--dataset` is needed for a model that is not ours."""
    questions = questions_for(bundle, pictures=1, clips=0)
    deaf = segmenter_of(bundle, Corrupt(whole.session, "detector", "logits", lambda x: x - 99))
    none = ask(deaf, questions, "deaf")
    with pytest.raises(CheckError, match="the uncompressed bundle finds no object"):
        judge(questions, none, none, Thresholds())
    other: Any = replace(bundle, source=replace(bundle.source, name="facebook/sam3"))
    with pytest.raises(UsageError, match="give --dataset FILE --pictures DIR"):
        questions_for(other, pictures=1, clips=0)
