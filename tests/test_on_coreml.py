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
from coreml_bundles import remade
from numpy.typing import NDArray
from PIL import Image
from tiny_export import tiny_model

from sam3_edge import Bundle
from sam3_edge.errors import BackendError, CheckError, UsageError
from sam3_edge.export import to_coreml
from sam3_edge.export.mil_evaluate import Evaluator
from sam3_edge.export.mil_program import read_program, read_spec
from sam3_edge.export.model import fold
from sam3_edge.runtimes import on_coreml
from sam3_edge.runtimes.on_coreml import Held

Arrays = dict[str, NDArray[Any]]


class EvaluatedModel:
    """What `coremltools.models.MLModel` does on macOS, as far as the session uses it."""

    def __init__(self, path: str, *, compute_units: str, function_name: str | None) -> None:
        if compute_units == "CPU_AND_NE":
            raise RuntimeError("no Neural Engine\nand a long report")
        self.path, self.fed = Path(path), list[Mapping[str, Any]]()
        self.function = function_name
        self.evaluator = Evaluator.of(read_program(self.path).function(function_name), rounded=True)

    def get_spec(self) -> Any:
        return read_spec(self.path)

    def predict(self, feeds: Arrays) -> Arrays:
        self.fed.append(feeds)
        kinds = self.evaluator.function.kinds()
        tensors = {name: torch.from_numpy(planes(array)) for name, array in feeds.items()}
        made = self.evaluator.run(tensors)
        return {
            name: value.half().numpy() if kinds[name].dtype == "FLOAT16" else value.numpy()
            for name, value in made.items()
        }


def planes(value: NDArray[Any] | Image.Image) -> NDArray[Any]:
    """What Core ML makes of an array, and of a picture."""
    if isinstance(value, Image.Image):
        return np.asarray(value).transpose(2, 0, 1)[None].astype(np.float32)
    return np.ascontiguousarray(value)


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a Mac, as far as the runtime looks."""
    names = ("ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE")
    units = SimpleNamespace(**{name: name for name in names})
    tools = SimpleNamespace(
        ComputeUnit=units,
        models=SimpleNamespace(MLModel=EvaluatedModel),
        utils=SimpleNamespace(load_spec=lambda path: read_spec(Path(path))),
    )
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
    loaded = session.models("detector_features")[1].loaded
    assert loaded.fed[0]["trunk_feature"] is trunk["trunk_feature"].array
    assert session.fetch(levels["features_4x"]).dtype == np.float32
    assert set(session.load_seconds) == {"backbone", "detector_features"}
    measured = to_coreml.open_session(bundle)
    wanted = measured.run("detector_features", measured.run("backbone", fed))
    for name, value in wanted.items():
        assert np.array_equal(session.fetch(levels[name]), value)
    session.close()
    assert not session.loaded


@pytest.mark.usefixtures("mac")
def test_objects_run_together_and_are_remembered_in_an_arena(bundle: Bundle) -> None:
    session = on_coreml.open(bundle, device="cpu")
    fed = feeds_of(bundle, "memorize", 5)
    memory = session.run("memorize", fed)["memory"]
    one, four = (session.models("memorize")[count].loaded for count in (1, 4))
    assert (one.function, four.function) == ("objects_1", "objects_4")
    assert len(one.fed) == len(four.fed) == 1
    wanted = to_coreml.open_session(bundle).run("memorize", fed)["memory"]
    assert np.array_equal(session.fetch(memory), wanted)
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


@pytest.mark.usefixtures("mac")
def test_a_picture_is_handed_over_as_pixels(bundle: Bundle, tmp_path: Path) -> None:
    pixels = remade(bundle.path, tmp_path / "b", fold(tiny_model()), "backbone", image_input=True)
    session, fed = on_coreml.open(pixels), feeds_of(bundle, "backbone")
    fed["image"] = np.rint(fed["image"] * 255) / np.float32(127.5) - 1
    got = session.fetch(session.run("backbone", fed)["trunk_feature"])
    handed = session.models("backbone")[1].loaded.fed[0]["image"]
    assert isinstance(handed, Image.Image) and (handed.mode, handed.size) == ("RGB", (56, 56))
    assert np.array_equal(got, to_coreml.open_session(pixels).run("backbone", fed)["trunk_feature"])
