"""Students: other trunks for the same model, smaller than the teacher's. `student_<name>.py` is one.

A student gives the trunk feature [1, G * G, C] of the same `ModelConfig`, so every other graph, the tracker
and the contract stay the teacher's. Its file has `SETTINGS`, what it can be told by name with the defaults,
and `build(config, **settings)`; a trunk with a `fold` is folded before it is lowered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from sam3_edge import registry
from sam3_edge.errors import CheckError, UsageError
from sam3_edge.spec import ModelConfig

if TYPE_CHECKING:
    from .model import Sam3


@dataclass(frozen=True)
class Student:
    """Which trunk, and its settings. `teacher`: sha256 of the checkpoint whose heads it was made for."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    teacher: str | None = None

    def build(self, config: ModelConfig) -> nn.Module:
        """The trunk, with random weights. Raises `UsageError` for a name or a setting that nobody knows."""
        plugin = registry.load("student", self.name)
        if strange := sorted(self.settings.keys() - plugin.SETTINGS.keys()):
            known = ", ".join(plugin.SETTINGS) or "none"
            raise UsageError(f"student {self.name} has no setting {strange[0]!r}: it has {known}")
        settings = {**plugin.SETTINGS, **self.settings}
        for name, default in plugin.SETTINGS.items():
            if not isinstance(settings[name], type(default)):
                raise UsageError(
                    f"student {self.name}: {name} is {settings[name]!r}, want the kind of {default!r}"
                )
        trunk: nn.Module = plugin.build(config, **settings)
        return trunk

    def to_json(self) -> dict[str, Any]:
        """For the metadata of a checkpoint."""
        return {"name": self.name, "settings": dict(self.settings), "teacher": self.teacher}

    @classmethod
    def from_json(cls, text: str, *, origin: str) -> Student:
        """The inverse, from a file. Raises `CheckError` for a student that this version cannot build."""
        try:
            values = json.loads(text)
            found = cls(str(values["name"]), dict(values["settings"]), values["teacher"])
        except (ValueError, KeyError, TypeError) as error:
            raise CheckError(f"{origin}: its student is not readable ({error}); distil it again") from error
        if found.name not in registry.names("student"):
            raise CheckError(
                f"{origin}: its trunk is the student {found.name!r}, and this version has "
                f"{', '.join(registry.names('student'))}; use the sam3-edge that made it"
            )
        return found


def initialise(trunk: nn.Module, seed: int) -> None:
    """Random weights of a convolutional trunk, in place: spread by their fan-in, biases zero, scales one."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in trunk.named_parameters():
        if weight.ndim > 1:
            nn.init.normal_(weight, std=weight[0].numel() ** -0.5, generator=generator)
        elif name.endswith("bias"):
            nn.init.zeros_(weight)


def with_size(config: ModelConfig, image_size: int | None) -> ModelConfig:
    """The config of a student that sees pictures of another size on the teacher's grid: 1152 px is 72 x 16.

    Raises `UsageError` if the grid does not divide the size.
    """
    if image_size is None or image_size == config.image_size:
        return config
    if image_size % config.grid:
        raise UsageError(
            f"student image size {image_size}: want a multiple of {config.grid}, the teacher's grid"
        )
    return replace(config, image_size=image_size, patch_size=image_size // config.grid)


def put_before(teacher: Sam3, student: Student, *, seed: int, image_size: int | None = None) -> Sam3:
    """The teacher's heads behind a new trunk: a whole model that has everything to learn, in eval mode.

    The trunk starts at random, or with what the student takes from the teacher's (`start`).
    """
    from .model import Sam3

    made = Sam3(with_size(teacher.config, image_size), student)
    plugin = registry.load("student", student.name)
    if hasattr(plugin, "start"):
        plugin.start(made.backbone, teacher.backbone, **{**plugin.SETTINGS, **student.settings})
    elif not (student.settings.get("pretrained")):
        initialise(made.backbone, seed)
    for name, part in teacher.named_children():
        if name != "backbone":
            made.get_submodule(name).load_state_dict(part.state_dict())
    return made.eval()
