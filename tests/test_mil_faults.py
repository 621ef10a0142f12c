"""The gate catches wrong packages, whatever made them wrong; compressed ones are read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coreml_bundles import GATE, asked, relative, resealed
from mil_edits import Edit, constant, edit, half_weights, of_kind, swap
from tiny_export import tiny_model

from sam3_edge import Bundle
from sam3_edge.agreement import Agreement
from sam3_edge.errors import CheckError
from sam3_edge.export import to_coreml
from sam3_edge.export.coreml_tools import coremltools
from sam3_edge.export.eager import Call
from sam3_edge.export.mil_program import read_program
from sam3_edge.export.model import fold
from sam3_edge.export.parity import Parity, Trial, compare_graph

NO_OBJECTS = Agreement(0, 0, 0, None, None, 0, 0.0)


def failures(bundle: Bundle, call: Call) -> list[str]:
    """What the gate says of one graph."""
    trial = Trial(to_coreml.open_session, GATE, 1)
    outputs, exact = (compare_graph(bundle, [call], trial, exact=exact) for exact in (False, True))
    return Parity(tuple(outputs), NO_OBJECTS, GATE, tuple(exact)).failures()


def swapped_axis(block: Any, weights: Path) -> None:
    """Queries and keys have one shape, so their axes may be taken for one another."""
    turned = next(of_kind(block, "scaled_dot_product_attention"))
    swap(block, turned, "query", "key")


def wrong_epsilon(block: Any, weights: Path) -> None:
    for norm in of_kind(block, "layer_norm"):
        value = constant(block, norm, "epsilon").immediateValue.tensor
        value.bytes.values = np.float16(3e-2).tobytes()


def zeroed_weight(block: Any, weights: Path) -> None:
    last = list(of_kind(block, "linear"))[-1]
    half_weights(constant(block, last, "weight"), weights, np.zeros_like)


def missing_output(block: Any, weights: Path) -> None:
    del block.outputs[0]


def overflow(block: Any, weights: Path) -> None:
    first = next(of_kind(block, "linear"))
    half_weights(constant(block, first, "weight"), weights, lambda w: np.full_like(w, 6e4))


def turned_rotation(block: Any, weights: Path) -> None:
    """The halves of a rotary pair in the other order."""
    pair = next(of_kind(block, "concat")).inputs["values"].arguments
    pair[0].name, pair[1].name = pair[1].name, pair[0].name


def wrong_normalisation(block: Any, weights: Path) -> None:
    """A deviation of 0.229, as of other models, where ours is 0.5."""
    patch = next(of_kind(block, "conv"))
    half_weights(constant(block, patch, "weight"), weights, lambda w: w * 0.229 / 0.5)


def one_wrong_bit(block: Any, weights: Path) -> None:
    """The exponent of one number of a bias."""
    last = list(of_kind(block, "linear"))[-1]
    half_weights(constant(block, last, "weight"), weights, lambda w: np.where(np.arange(len(w)) == 3, 64, w))


def wrong_layer(block: Any, weights: Path) -> None:
    """Two norms with each other's scale."""
    first, second = list(of_kind(block, "layer_norm"))[-2:]
    a, b = (norm.inputs["gamma"].arguments[0] for norm in (first, second))
    a.name, b.name = b.name, a.name


FAULTS: list[tuple[str, Edit]] = [
    ("backbone", swapped_axis),
    ("backbone", wrong_epsilon),
    ("backbone", zeroed_weight),
    ("backbone", missing_output),
    ("backbone", overflow),
    ("backbone", turned_rotation),
    ("backbone", wrong_normalisation),
    ("text", one_wrong_bit),
    ("text", wrong_layer),
]


@pytest.fixture(scope="module")
def calls() -> dict[str, Call]:
    model = fold(tiny_model())
    return {name: asked(model, name) for name in ("backbone", "text")}


@pytest.mark.parametrize(("graph", "fault"), FAULTS, ids=[fault.__name__ for _, fault in FAULTS])
def test_a_wrong_package_is_caught(
    exported_coreml: Path, tmp_path: Path, calls: dict[str, Call], graph: str, fault: Edit
) -> None:
    copy = shutil.copytree(exported_coreml, tmp_path / "b")
    sound = resealed(copy, Bundle.open(exported_coreml))
    assert failures(sound, calls[graph]) == []
    edit(copy / "graphs" / graph / to_coreml.PACKAGE, fault)
    broken = resealed(copy, Bundle.open(exported_coreml))
    if fault is missing_output:
        with pytest.raises(CheckError, match="outputs are"):
            failures(broken, calls[graph])
    else:
        assert failures(broken, calls[graph])


def palettised(package: Path) -> None:
    """Weights as 6-bit indices into palettes, by coremltools."""
    from coremltools.optimize import coreml

    palettes = coreml.OpPalettizerConfig(mode="uniform", nbits=6, weight_threshold=64)
    model = coremltools.models.MLModel(str(package), skip_model_load=True)
    coreml.palettize_weights(model, coreml.OptimizationConfig(palettes)).save(str(package))


def quantised(package: Path) -> None:
    """Weights in eight bits, by coremltools."""
    from coremltools.optimize import coreml

    config = coreml.OptimizationConfig(coreml.OpLinearQuantizerConfig(weight_threshold=64))
    model = coremltools.models.MLModel(str(package), skip_model_load=True)
    coreml.linear_quantize_weights(model, config).save(str(package))


@pytest.fixture
def compressible(exported_coreml: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported_coreml, tmp_path / "b")


def test_compressed_weights_are_read_and_a_wrong_palette_is_caught(
    exported_coreml: Path, compressible: Path, calls: dict[str, Call]
) -> None:
    package = compressible / "graphs/text" / to_coreml.PACKAGE
    palettised(package)
    kinds = [o.kind for o in read_program(package).function().operations]
    assert kinds.count("constexpr_lut_to_dense") >= 4
    sound = relative(resealed(compressible, Bundle.open(exported_coreml)), calls["text"])
    assert 1e-3 < sound < 0.2

    def wrong_palette(block: Any, weights: Path) -> None:
        stored = list(of_kind(block, "constexpr_lut_to_dense"))[-1]
        half_weights(constant(block, stored, "lut"), weights, lambda w: w[::-1])

    edit(package, wrong_palette)
    assert relative(resealed(compressible, Bundle.open(exported_coreml)), calls["text"]) > 4 * sound


def test_eight_bit_weights_are_read(
    exported_coreml: Path, compressible: Path, calls: dict[str, Call]
) -> None:
    package = compressible / "graphs/text" / to_coreml.PACKAGE
    quantised(package)
    kinds = {o.kind for o in read_program(package).function().operations}
    assert any(kind.startswith("constexpr_") for kind in kinds)
    assert 1e-4 < relative(resealed(compressible, Bundle.open(exported_coreml)), calls["text"]) < 0.05
