"""Students: other trunks with the teacher's heads, saved, refused and exported like the teacher."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_export import CONFIG, MERGES, copying, tiny_model
from torch import nn

from sam3_edge import load as open_bundle
from sam3_edge import registry
from sam3_edge.errors import BackendError, CheckError, UsageError
from sam3_edge.export import checkpoint
from sam3_edge.export.backbone import Backbone
from sam3_edge.export.model import Sam3
from sam3_edge.export.pipeline import Job, export
from sam3_edge.export.shapes_model import TRACKING_CONFIG
from sam3_edge.export.student import Student, put_before, with_size
from sam3_edge.spec import GraphSpec

SMALL: dict[str, dict[str, object]] = {
    "toy": {"width": 8, "blocks": 1},
    "pruned": {"removed": [0]},
    "repvit": {"model": "repvit_m0_9"},
}


def student(name: str, **settings: object) -> Sam3:
    return put_before(tiny_model(), Student(name, {**SMALL[name], **settings}, "0" * 64), seed=3)


@pytest.mark.parametrize("name", registry.names("student"))
def test_a_student_gives_the_trunk_feature_and_keeps_the_heads(name: str) -> None:
    teacher, made = tiny_model(), student(name)
    feature = made.backbone(torch.zeros(2, 3, CONFIG.image_size, CONFIG.image_size))
    assert feature.shape == (2, CONFIG.grid**2, CONFIG.trunk_dim) and feature.isfinite().all()
    heads = {n: w for n, w in teacher.state_dict().items() if not n.startswith("backbone.")}
    assert heads and all(torch.equal(weight, made.state_dict()[n]) for n, weight in heads.items())


@pytest.mark.parametrize("name", registry.names("student"))
def test_a_student_is_saved_and_loaded(tmp_path: Path, name: str) -> None:
    made = student(name)
    checkpoint.save(made, tmp_path / "student.safetensors")
    found = checkpoint.load(tmp_path / "student.safetensors").model
    assert found.student == made.student
    assert found.state_dict().keys() == made.state_dict().keys()
    assert all(torch.equal(w, found.state_dict()[n]) for n, w in made.state_dict().items())


def test_the_exported_student_is_a_bundle_like_any_other(
    tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`export` compares every graph with PyTorch; those that are not the trunk's are the teacher's own."""
    target = registry.load("target", "onnx")
    lower, copied = target.lower, copying(exported)

    def trunk_alone(module: nn.Module, spec: GraphSpec, folder: Path) -> str:
        chosen = lower if spec.name == "backbone" else copied
        return str(chosen(module, spec, folder))

    monkeypatch.setattr(target, "lower", trunk_alone)
    path = tmp_path / "student.safetensors"
    checkpoint.save(student("toy"), path)
    (tmp_path / "merges.txt").write_text(MERGES)
    bundle, parity = export(Job(output=tmp_path / "bundle", target="onnx", checkpoint=str(path)))
    assert not parity.failures() and {row.graph for row in parity.outputs} == bundle.specs.keys()
    with open_bundle(bundle.path) as segmenter:
        assert len(segmenter.segment(np.zeros((40, 40, 3), np.uint8), "red shape")) == 1


def test_a_pruned_student_starts_as_the_teacher_without_its_blocks() -> None:
    teacher, made = tiny_model(), student("pruned", removed=[0])
    image = torch.rand(1, 3, CONFIG.image_size, CONFIG.image_size)
    assert isinstance(teacher.backbone, Backbone)
    teacher.backbone.blocks = torch.nn.ModuleList([teacher.backbone.blocks[1]])
    assert torch.equal(teacher.backbone(image), made.backbone(image))


def test_folding_repvit_changes_no_answer() -> None:
    made = student("repvit")
    for layer in made.backbone.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):  # statistics that folding would get wrong if it could
            layer.running_mean.normal_(std=0.2)  # type: ignore[union-attr]
            layer.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    image = torch.rand(1, 3, CONFIG.image_size, CONFIG.image_size)
    with torch.no_grad():
        before, count = made.backbone(image), len(list(made.backbone.modules()))
        made.backbone.fold()  # type: ignore[operator]
        torch.testing.assert_close(made.backbone(image), before, rtol=1e-3, atol=1e-4)
    assert len(list(made.backbone.modules())) < count
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in made.backbone.modules())


def test_repvit_without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BackendError, match=r"needs timm: pip install 'sam3-edge\[distill\]'"):
        Student("repvit").build(CONFIG)


def test_the_toy_student_has_a_quarter_of_the_teachers_operations() -> None:
    from sam3_edge.export.distillation_cost import multiplications

    config = replace(TRACKING_CONFIG, image_size=224)  # the teacher's in docs/distill.md
    made = Student("toy").build(config)
    teacher = multiplications(Backbone(config), config)
    assert 0.2 < multiplications(made, config) / teacher <= 0.25


def test_a_student_may_see_larger_pictures_on_the_same_grid() -> None:
    wider = with_size(CONFIG, 64)
    assert (wider.grid, wider.patch_size) == (CONFIG.grid, 16)
    assert Student("toy").build(wider)(torch.zeros(1, 3, 64, 64)).shape == (1, 16, CONFIG.trunk_dim)
    with pytest.raises(UsageError, match="a multiple of 4, the teacher's grid"):
        with_size(CONFIG, 66)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("toi", {}, "no student 'toi'"),
        ("toy", {"depth": 3}, "student toy has no setting 'depth'"),
        ("toy", {"blocks": "3"}, "blocks is '3'"),
        ("toy", {"reach": 4}, "odd reach"),
        ("pruned", {"removed": [7]}, "blocks 0 to 1"),
        ("pruned", {"removed": [0, 1]}, "blocks 0 to 1"),
        ("repvit", {"model": "repvit_m99"}, "no model 'repvit_m99'"),
    ],
)
def test_what_no_student_can_be(name: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Student(name, settings).build(CONFIG)


def edited(path: Path, **changes: object) -> Path:
    """The same tensors under a student with other values."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    values = json.loads(metadata[checkpoint.STUDENT])
    metadata[checkpoint.STUDENT] = json.dumps({**values, **changes})
    save_file(load_file(path), path, metadata)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "later"}, "its trunk is the student 'later', and this version has"),
        ({"settings": 3}, "its student is not readable"),
        ({"settings": {"width": 8, "blocks": 2}}, "with the trunk of student toy: .* missing .*blocks.1"),
        ({"settings": {"width": 16, "blocks": 1}}, "with the trunk of student toy: .* misshapen"),
        ({"name": "pruned", "settings": {"removed": [0]}}, "student pruned: .* missing .*; .* unknown"),
    ],
)
def test_a_checkpoint_that_is_not_what_it_says(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = tmp_path / "student.safetensors"
    checkpoint.save(student("toy"), path)
    with pytest.raises((CheckError, UsageError), match=message):
        checkpoint.load(edited(path, **changes))
