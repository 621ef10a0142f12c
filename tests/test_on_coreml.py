"""The Core ML session, with a coremltools whose models are evaluated: what it feeds, keeps and refuses."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sam3_edge import Bundle
from sam3_edge.errors import BackendError, CheckError, UsageError
from sam3_edge.export import to_coreml
from sam3_edge.export.mil_evaluate import Evaluator
from sam3_edge.export.mil_program import read_program, read_spec
from sam3_edge.runtimes import on_coreml
from sam3_edge.runtimes.on_coreml import Held

Arrays = dict[str, NDArray[Any]]


class EvaluatedModel:
    """What `coremltools.models.MLModel` does on macOS, as far as the session uses it."""

    def __init__(self, path: str, *, compute_units: str, function_name: str | None) -> None:
        if compute_units == "CPU_AND_NE":
            raise RuntimeError("no Neural Engine\nand a long report")
        self.path, self.fed = Path(path), list[Mapping[str, Any]]()
        self.evaluator = Evaluator.of(read_program(self.path).function(function_name), rounded=True)

    def get_spec(self) -> Any:
        return read_spec(self.path)

    def predict(self, feeds: Arrays) -> Arrays:
        self.fed.append(feeds)
        kinds = self.evaluator.function.kinds()
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in feeds.items()}
        made = self.evaluator.run(tensors)
        return {
            name: value.half().numpy() if kinds[name].dtype == "FLOAT16" else value.numpy()
            for name, value in made.items()
        }


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a Mac, as far as the runtime looks."""
    names = ("ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE")
    units = SimpleNamespace(**{name: name for name in names})
    tools = SimpleNamespace(ComputeUnit=units, models=SimpleNamespace(MLModel=EvaluatedModel))
    monkeypatch.setattr(on_coreml, "runtime", lambda: tools)


@pytest.fixture
def bundle(exported_coreml: Path) -> Bundle:
    return Bundle.open(exported_coreml)


def feeds_of(bundle: Bundle, graph: str, objects: int = 1) -> Arrays:
    rng = np.random.default_rng(3)
    return {t.name: rng.random(t.sized(objects), np.float32) for t in bundle.specs[graph].inputs}


@pytest.mark.usefixtures("mac")
def test_values_go_on_as_they_are(bundle: Bundle) -> None:
    session = on_coreml.open(bundle)
    fed = feeds_of(bundle, "backbone")
    trunk = session.run("backbone", fed)
    assert isinstance(trunk["trunk_feature"], Held) and trunk["trunk_feature"].array.dtype == np.float16
    levels = session.run("detector_features", trunk)
    assert session.model("detector_features").fed[0]["trunk_feature"] is trunk["trunk_feature"].array
    assert session.fetch(levels["features_4x"]).dtype == np.float32
    assert set(session.load_seconds) == {"backbone", "detector_features"}
    measured = to_coreml.open_session(bundle)
    wanted = measured.run("detector_features", measured.run("backbone", fed))
    for name, value in wanted.items():
        assert np.array_equal(session.fetch(levels[name]), value)
    session.close()
    assert not session.loaded


@pytest.mark.usefixtures("mac")
def test_objects_run_one_by_one_and_are_remembered_in_an_arena(bundle: Bundle) -> None:
    session = on_coreml.open(bundle, device="cpu")
    memory = session.run("memorize", feeds_of(bundle, "memorize", 2))["memory"]
    assert len(session.model("memorize").fed) == 2 and len(session.fetch(memory)) == 2
    (spec,) = bundle.specs["memorize"].outputs
    arena = session.alloc(spec)
    session.write(arena, (slice(0, 1),), Held(memory.array[:1]))
    assert arena.dtype == np.float32 and np.array_equal(session.rows(arena, 0, 1), session.fetch(memory)[:1])


@pytest.mark.usefixtures("mac")
def test_what_is_wrong_is_said(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="there is no device 'tpu': choose from all, cpu"):
        on_coreml.open(bundle, device="tpu")
    with pytest.raises(UsageError, match="threads 0: want at least 1"):
        on_coreml.open(bundle, threads=0)
    with pytest.raises(UsageError, match="there is no graph 'trunk'"):
        on_coreml.open(bundle).run("trunk", {})
    with pytest.raises(BackendError, match=r"does not load .*mlpackage on cpu\+ane: no Neural Engine$"):
        on_coreml.open(bundle, device="cpu+ane").run("backbone", feeds_of(bundle, "backbone"))
    session = on_coreml.open(bundle)
    with pytest.raises(UsageError, match="graph backbone: input image is not fed"):
        session.run("backbone", {})
    monkeypatch.setattr(EvaluatedModel, "get_spec", lambda model: read_spec(bundle.graph("text")))
    with pytest.raises(CheckError, match="inputs are token_ids, want trunk_feature: export it again"):
        session.run("detector_features", feeds_of(bundle, "detector_features"))


def test_elsewhere_than_on_macos_it_says_so(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for ask in (on_coreml.selfcheck, lambda: on_coreml.open(bundle)):
        with pytest.raises(BackendError, match=r"Core ML runs on macOS and iOS.* `eval --emulate`"):
            ask()
