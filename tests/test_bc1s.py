"""The Neural Engine's layout computes what the plain one does, and nothing keeps it off the Neural Engine."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_export import tiny_model
from torch import Tensor

from sam3_edge.builtin import builtin_checkpoint
from sam3_edge.errors import CheckError, UsageError
from sam3_edge.export import checkpoint, to_coreml
from sam3_edge.export.bc1s import bc1s
from sam3_edge.export.coreml_report import survey
from sam3_edge.export.mil_evaluate import Evaluator
from sam3_edge.export.mil_program import read_program
from sam3_edge.export.model import Sam3
from sam3_edge.spec import graph_specs

LEAST_DB = 70.0
GRAPHS = ("backbone", "text")


@pytest.fixture(scope="module")
def builtin() -> Sam3:
    return checkpoint.load(builtin_checkpoint()).model.eval()


def feed(model: Sam3, graph: str) -> Tensor:
    """A picture of noise, or words."""
    generator = torch.Generator().manual_seed(8)
    (spec,) = graph_specs(model.config)[graph].inputs
    if graph == "text":
        return torch.randint(0, model.config.text_vocab, spec.sized(), generator=generator, dtype=torch.int32)
    return torch.rand(spec.sized(), generator=generator) * 2 - 1


@torch.no_grad()
def decibels(model: Sam3, graph: str) -> float:
    """Signal over difference of the two layouts in PyTorch."""
    x, module = feed(model, graph), model.graph(graph)
    plain, other = module(x), bc1s(module)(x)
    return 20 * math.log10(float(plain.norm() / (plain - other).norm()))


@pytest.mark.parametrize("graph", GRAPHS)
def test_it_computes_the_same(builtin: Sam3, graph: str) -> None:
    """The tiny model has four windows and norms with scale and shift; the built-in one has four heads."""
    for model in (builtin, tiny_model().eval()):
        assert LEAST_DB < decibels(model, graph) < 200  # and is another computation


def test_queries_are_cut(builtin: Sam3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam3_edge.export.bc1s.QUERIES", 24)
    for graph in GRAPHS:
        assert decibels(builtin, graph) > LEAST_DB


@pytest.mark.parametrize("graph", GRAPHS)
def test_its_package_is_clean_and_right(builtin: Sam3, tmp_path: Path, graph: str) -> None:
    spec, module, x = graph_specs(builtin.config)[graph], builtin.graph(graph), feed(builtin, graph)
    to_coreml.lower(module, spec, tmp_path, layout="bc1s", strict_ane=True)
    package = tmp_path / to_coreml.PACKAGE
    assert [each["neural_engine"] for each in survey(tmp_path)] == [[]]
    with torch.no_grad():
        (got,) = (
            Evaluator.of(read_program(package).function(), rounded=True)
            .run({spec.inputs[0].name: x})
            .values()
        )
        wanted = module(x)
    assert 0 < float((got - wanted).norm() / wanted.norm()) <= 5e-3


def test_the_plain_layout_is_refused_there(builtin: Sam3, tmp_path: Path) -> None:
    module, spec = builtin.backbone, graph_specs(builtin.config)["backbone"]
    fact = r"graph backbone stays off the Neural Engine: .*last axis under 32: \d+"
    with pytest.raises(CheckError, match=fact):
        to_coreml.lower(module, spec, tmp_path, strict_ane=True)
    with pytest.raises(UsageError, match="layout 'nchw': want plain or bc1s"):
        to_coreml.lower(module, spec, tmp_path, layout="nchw")


def test_other_graphs_keep_their_layout(builtin: Sam3) -> None:
    for name in set(graph_specs(builtin.config)) - {*GRAPHS}:
        module = builtin.graph(name)
        assert bc1s(module) is module
    assert np.prod(feed(builtin, "text").shape) == builtin.config.text_length
