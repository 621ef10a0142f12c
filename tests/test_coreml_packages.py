"""Core ML packages: the same every time, of every system and precision, for one object at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import ROOT
from coreml_bundles import GATE, asked, relative, remade
from tiny_bundle import snapshot
from tiny_export import CONFIG, job, tiny_model

from sam3_edge import Bundle
from sam3_edge.buckets import Part, part_feeds, parts
from sam3_edge.errors import UsageError
from sam3_edge.export import pipeline, to_coreml
from sam3_edge.export.eager import EagerSession
from sam3_edge.export.mil_evaluate import Evaluator
from sam3_edge.export.mil_program import CONTENT, WEIGHTS, read_program, read_spec
from sam3_edge.export.model import Sam3, fold
from sam3_edge.manifest import GraphFile
from sam3_edge.picture import prepare
from sam3_edge.spec import TensorSpec, graph_specs

TRACKER = ("tracker_features", "tracker_init", "tracker_step", "tracker_refine", "memorize")


@pytest.fixture(scope="module")
def folded() -> Sam3:
    """Sure that its objects are there."""
    model = tiny_model()
    bias = model.tracker.decoder.score_head.layers[2].bias
    assert isinstance(bias, torch.Tensor)
    bias.data.fill_(4.0)
    return fold(model)


@pytest.mark.parametrize("name", TRACKER)
def test_the_tracker_is_for_one_object_and_for_four(folded: Sam3, tmp_path: Path, name: str) -> None:
    """Both functions of a package, with the weights of one."""
    spec, call = graph_specs(CONFIG)[name], asked(folded, name, objects=4)
    package = tmp_path / to_coreml.lower(folded.graph(name), spec, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [to_coreml.PACKAGE]
    functions = read_program(package).functions
    assert set(functions) == ({"objects_1", "objects_4"} if spec.per_object else {"main"})
    assert to_coreml.function(package) == ("objects_1" if spec.per_object else None)
    for function in functions.values():
        kinds = function.kinds()
        count = next((kinds[t.name].shape[0] for t in spec.inputs if t.per_object), 1)
        feeds = part_feeds(spec, call.feeds, Part(0, count, count))
        got = Evaluator.of(function, rounded=True).run({n: torch.from_numpy(x) for n, x in feeds.items()})
        for tensor in spec.outputs:
            wanted = call.answers[tensor.name][: count if tensor.per_object else None]
            assert got[tensor.name].shape == wanted.shape == tensor.sized(count)
            error = np.linalg.norm(got[tensor.name].numpy() - wanted) / np.linalg.norm(wanted)
            assert 0 < error <= GATE.relative, (tensor.name, count)
    one, *_ = functions.values()
    held = (x for x in one.constants.values() if isinstance(x, torch.Tensor) and x.numel() > 10)
    stored = sum(file.stat().st_size for file in (package / CONTENT / WEIGHTS).iterdir())
    assert stored < 1.25 * sum(x.numel() * x.element_size() for x in held)


@pytest.mark.parametrize("ios", [17, 18])
def test_any_number_of_objects(folded: Sam3, exported_coreml: Path, tmp_path: Path, ios: int) -> None:
    """Six are four and two, and the two run with what fills their bucket."""
    bundle = Bundle.open(exported_coreml)
    if ios == 17:
        bundle = remade(exported_coreml, tmp_path / "b", folded, "memorize", ios=17)
        assert bundle.graphs["memorize"] == GraphFile("graphs/memorize/objects_1.mlpackage")
    session, spec = to_coreml.open_session(bundle), bundle.specs["memorize"]
    # Of noise, hard masks are cut where rounding decides.
    feeds = asked(folded, "memorize", objects=6).feeds | {"hard": np.zeros(6, np.float32)}
    (all_six,) = session.run("memorize", feeds).values()
    wanted = EagerSession(folded).run("memorize", feeds)["memory"]
    assert all_six.shape == wanted.shape
    assert 0 < np.linalg.norm(all_six - wanted) / np.linalg.norm(wanted) <= GATE.relative
    for row in range(6):
        one = session.run("memorize", part_feeds(spec, feeds, Part(row, row + 1, 1)))["memory"][0]
        assert np.linalg.norm(one - all_six[row]) <= 1e-3 * np.linalg.norm(one)


@pytest.mark.parametrize(
    ("objects", "wanted"),
    [
        (0, []),
        (1, [(0, 1, 1)]),
        (2, [(0, 2, 4)]),
        (4, [(0, 4, 4)]),
        (5, [(0, 4, 4), (4, 5, 1)]),
        (11, [(0, 4, 4), (4, 8, 4), (8, 11, 4)]),
    ],
)
def test_the_smallest_bucket_that_fits(objects: int, wanted: list[tuple[int, int, int]]) -> None:
    assert parts(objects, (1, 4)) == [Part(*each) for each in wanted]
    assert parts(objects, (1,)) == [Part(i, i + 1, 1) for i in range(objects)]


@pytest.mark.parametrize("layout", to_coreml.LAYOUTS)
def test_a_picture_goes_in_as_pixels(
    folded: Sam3, exported_coreml: Path, tmp_path: Path, layout: str
) -> None:
    """With the normalisation inside, which rounds what it gives as the plain package's input is rounded."""
    bundle = remade(
        exported_coreml, tmp_path / "b", folded, "backbone", image_input=True, layout=layout, strict_ane=False
    )
    (described,) = read_spec(bundle.graph("backbone")).description.input
    kind = described.type.imageType
    assert (described.name, kind.width, kind.height, kind.colorSpace) == ("image", 56, 56, kind.RGB)
    pixels = np.random.default_rng(2).integers(0, 256, (56, 56, 3), np.uint8)
    feeds = {"image": prepare(pixels, CONFIG.image_size)}
    plain = to_coreml.open_session(Bundle.open(exported_coreml)).run("backbone", feeds)["trunk_feature"]
    wanted = EagerSession(folded).run("backbone", feeds)["trunk_feature"]
    got = to_coreml.open_session(bundle).run("backbone", feeds)["trunk_feature"]
    assert 0 < np.linalg.norm(got - plain) / np.linalg.norm(plain) <= 2e-3
    assert np.linalg.norm(got - wanted) / np.linalg.norm(wanted) <= 2e-3
    exact = to_coreml.open_session(bundle, exact=True).run("backbone", feeds)["trunk_feature"]
    assert np.linalg.norm(exact - wanted) / np.linalg.norm(wanted) <= 1e-3


def test_a_package_is_the_same_in_another_process(exported_coreml: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from tiny_export import CONFIG, tiny_model\n"
        "from sam3_edge.export import to_coreml\n"
        "from sam3_edge.export.model import fold\n"
        "from sam3_edge.spec import graph_specs\n"
        "spec = graph_specs(CONFIG)['memorize']\n"
        "to_coreml.lower(fold(tiny_model()).graph('memorize'), spec, Path(sys.argv[1]))"
    )
    words = [sys.executable, "-c", code, str(tmp_path), str(ROOT / "tests")]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stdout + done.stderr
    assert snapshot(tmp_path) == snapshot(exported_coreml / "graphs" / "memorize")


def test_packages_hold_nothing_of_the_machine(exported_coreml: Path) -> None:
    files = [path for path in (exported_coreml / "graphs").rglob("*") if path.is_file()]
    names = {path.relative_to(exported_coreml).parts[3:] for path in files}
    content = ("Data", "com.apple.CoreML")
    assert names == {("Manifest.json",), (*content, "model.mlmodel"), (*content, "weights", "weight.bin")}
    for path in files:
        data = path.read_bytes()
        for word in ("site-packages", ".py", "/tmp", "/home", "conversion_date", str(ROOT)):
            assert word.encode() not in data, (path, word)


def test_features_pass_in_half_precision_and_places_do_not() -> None:
    def dtype(name: str, kind: str = "float32", *, half: bool = True) -> Any:
        return to_coreml.edge(TensorSpec(name, (1, 4), kind), half=half).dtype.__name__

    assert dtype("features_1x") == dtype("queries") == "fp16"
    assert dtype("boxes") == dtype("points") == dtype("logits") == dtype("queries", half=False) == "fp32"
    assert dtype("labels", "int32").startswith("int")


@pytest.mark.parametrize(
    ("options", "limit"),
    [({"ios": 17}, 2e-3), ({"scheme": "fp32"}, 1e-5), ({"scheme": "fp32", "ios": 17}, 1e-5)],
)
def test_older_systems_and_full_precision(
    folded: Sam3, exported_coreml: Path, tmp_path: Path, options: dict[str, Any], limit: float
) -> None:
    bundle = remade(exported_coreml, tmp_path / "b", folded, "text", **options)
    assert relative(bundle, asked(folded, "text")) <= limit
    kinds = {o.kind for o in read_program(bundle.graph("text")).function().operations}
    assert ("scaled_dot_product_attention" in kinds) == ("ios" not in options)


def test_wrong_requests(folded: Sam3, tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="iOS 16: want 17 or 18"):
        to_coreml.lower(folded.graph("text"), graph_specs(CONFIG)["text"], tmp_path, ios=16)
    with pytest.raises(UsageError, match="target onnx has no setting 'ios'"):
        pipeline.export(job(tiny_checkpoint, tmp_path / "b", settings={"ios": 18}))
