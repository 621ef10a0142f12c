"""SAM 3: one module per graph, and how the prompt of a picture is put together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sam3_edge.spec import ModelConfig

from .backbone import Backbone
from .detector import Detector
from .exemplar import Exemplar
from .features import Features
from .masks import Masks
from .student import Student
from .text import Text
from .tracker import GRAPHS, Tracker


class Sam3(nn.Module):
    """The whole model. Attribute names are graph names (`sam3_edge.spec.graph_specs`), but for the tracker's.

    Its graphs share most of their weights, which all stand below `tracker`. With a student the trunk is its.
    """

    def __init__(self, config: ModelConfig, student: Student | None = None) -> None:
        super().__init__()
        self.config, self.student = config, student
        self.backbone = Backbone(config) if student is None else student.build(config)
        self.detector_features = Features(config)
        self.text = Text(config)
        self.exemplar = Exemplar(config)
        self.detector = Detector(config)
        self.masks = Masks(config)
        if config.tracks:
            self.tracker = Tracker(config)

    def graph(self, name: str) -> nn.Module:
        """The module behind a graph's name."""
        if name in GRAPHS:
            graph = GRAPHS[name](self.tracker)
            graph.training = self.training  # `train` would walk all weights, 5 ms for each run
            return graph
        module = getattr(self, name)
        assert isinstance(module, nn.Module)
        return module

    def initialise(self, seed: int) -> Sam3:
        """Random weights for training from scratch or for shape and parity checks, in place."""
        generator = torch.Generator().manual_seed(seed)
        for name, weight in self.named_parameters():
            if weight.ndim > 1:
                fan_in = weight[0].numel() if weight.ndim != 3 else weight.shape[-1]
                std = 0.02 if "position" in name or "token" in name else fan_in**-0.5
                nn.init.normal_(weight, std=std, generator=generator)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)
        return self


def fold(model: Sam3) -> Sam3:
    """Apply every exact weight fold, in place, and leave the model ready to lower."""
    model.detector_features.fold()
    if callable(merge := getattr(model.backbone, "fold", None)):
        merge()
    if model.config.tracks:
        model.tracker.fold()
    return model.eval()


def prompt_of(
    text_tokens: Tensor, text_bias: Tensor, exemplar_tokens: Tensor, exemplar_bias: Tensor
) -> tuple[Tensor, Tensor]:
    """Prompt tokens and their bias: the phrase, then the boxes and CLS. Order carries no meaning."""
    return torch.cat((text_tokens, exemplar_tokens), dim=1), torch.cat((text_bias, exemplar_bias), dim=3)
