"""The video tracker: its weights, which several graphs share, and those graphs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam3_edge.spec import ModelConfig

from .layers import MLP
from .mask_decoder import Decoded, MaskDecoder, draw
from .memory_attention import MemoryAttention, Slots
from .memory_encoder import MemoryEncoder
from .sam_prompts import SamPrompts
from .tracker_features import TrackerFeatures

ABSENT = -1024.0  # mask logits of an object that is not there


def positive(x: Tensor) -> Tensor:
    """1 where x > 0, else 0, as a float: comparisons are slow or absent on some targets."""
    return F.relu(x.sign())


def enlarged(mask: Tensor, side: int) -> Tensor:
    """Masks [B, 1, s, s] bilinearly to a larger side."""
    return F.interpolate(mask, size=(side, side), mode="bilinear", align_corners=False)


def best(iou: Tensor) -> Tensor:
    """The first of the highest of three, one-hot [B, 3]: what argmax would choose, without a gather."""
    top = 1 - (iou.amax(dim=1, keepdim=True) - iou).sign()
    first, second, third = top.chunk(3, dim=1)
    return torch.cat((first, second * (1 - first), third * (1 - first) * (1 - second)), dim=1)


@dataclass(frozen=True)
class Clicks:
    """What was drawn of B objects: `points` [B, K, 2] in pixels of the model's image, `labels` and `bias`.

    Labels and bias [B, K] are those of `sam3_edge.tracker_spec.correction_specs`.
    """

    points: Tensor
    labels: Tensor
    bias: Tensor


class Tracker(nn.Module):
    """All weights of the tracker. The graphs below run parts of it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, self.image_size = config.dim, config.image_size
        self.features = TrackerFeatures(config)
        self.memory_attention = MemoryAttention(config)
        self.memory_encoder = MemoryEncoder(config)
        self.prompts = SamPrompts(config)
        self.decoder = MaskDecoder(config)
        self.pointer = MLP(dim, dim, dim, dim)
        self.no_pointer = nn.Parameter(torch.zeros(1, dim))
        self.no_memory = nn.Parameter(torch.zeros(1, 1, dim))
        self.shrink = nn.Conv2d(1, 1, 4, 4)

    def gated(self, pointers: Tensor, present: Tensor) -> Tensor:
        """pointers [..., D], the no-object pointer where present [..., 1] is 0."""
        return present * pointers + (1 - present) * self.no_pointer

    def decode(
        self,
        features: Tensor,
        fine: Tensor,
        middle: Tensor,
        *,
        points: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Decoded:
        """The decoder on features [B, D, G, G] with the mask prompt in them, with or without point tokens."""
        if points is None or bias is None:
            points = self.prompts.without_points()
            bias = points.new_zeros(1, 2)
        return self.decoder(features, points, bias, fine=fine, middle=middle)

    def fold(self) -> None:
        """Apply the exact weight folds, in place."""
        self.features.fold()
        self.memory_attention.fold()
        self.memory_encoder.fold()


class TrackerGraph(nn.Module):
    """A graph on the tracker's weights."""

    def __init__(self, tracker: Tracker) -> None:
        super().__init__()
        self.tracker = tracker


class FeaturesGraph(TrackerGraph):
    """Graph `tracker_features`."""

    def forward(self, trunk_feature: Tensor) -> tuple[Tensor, ...]:
        fine, middle, coarse = self.tracker.features(trunk_feature)
        return fine, middle, coarse, self.tracker.memory_attention.queries(coarse)


class InitGraph(TrackerGraph):
    """Graph `tracker_init`: the pointer of an object whose mask is given. The mask itself is the answer.

    Without memory, and without what stands for no memory: the official code leaves it out here.
    """

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor, mask: Tensor) -> Tensor:
        return self.answer(self.look(fine, middle, coarse, mask), mask)

    def look(self, fine: Tensor, middle: Tensor, coarse: Tensor, mask: Tensor) -> Decoded:
        """The decoder on the frame with the mask in it."""
        t = self.tracker
        return t.decode(coarse + t.prompts.mask(t.shrink(mask)), fine, middle)

    def answer(self, found: Decoded, mask: Tensor) -> Tensor:
        """The pointers [B, D]."""
        t = self.tracker
        seen = positive(mask.flatten(1).amax(dim=1, keepdim=True)) * positive(found.score)[:, None]
        return t.gated(t.pointer(found.tokens[:, :1].squeeze(1)), seen)


class StepGraph(TrackerGraph):
    """Graph `tracker_step`: one frame of every object, from its memories."""

    def forward(
        self,
        fine: Tensor,
        middle: Tensor,
        queries: Tensor,
        memory: Tensor,
        memory_time: Tensor,
        memory_bias: Tensor,
        pointers: Tensor,
        pointer_time: Tensor,
        pointer_bias: Tensor,
    ) -> tuple[Tensor, ...]:
        frames = Slots(memory, memory_time, memory_bias)
        past = Slots(pointers, pointer_time, pointer_bias)
        return self.answer(self.look(fine, middle, queries, frames, past))

    def look(self, fine: Tensor, middle: Tensor, queries: Tensor, frames: Slots, pointers: Slots) -> Decoded:
        """The decoder on the frame as the memories let it be seen."""
        t = self.tracker
        x = t.memory_attention(queries, t.memory_attention.bank(frames, pointers))
        features = x.transpose(1, 2).unflatten(2, (t.decoder.grid, t.decoder.grid))
        return t.decode(features + t.prompts.without_mask(), fine, middle)

    def answer(self, found: Decoded) -> tuple[Tensor, ...]:
        """The best mask [B, 4G, 4G], its IoU [B], the object's score [B], its pointer [B, D]."""
        t = self.tracker
        chosen, present = best(found.iou[:, 1:])[:, None], positive(found.score)[:, None]
        mask = draw(chosen @ found.weights[:, 1:], found.pixels).squeeze(1)
        mask = present[..., None] * mask + (1 - present[..., None]) * ABSENT
        pointer = t.gated(t.pointer((chosen @ found.tokens[:, 1:]).squeeze(1)), present)
        return mask, found.iou[:, 1:].amax(dim=1), found.score, pointer


class RefineGraph(TrackerGraph):
    """Graph `tracker_refine`: clicks, a box or the last mask to four masks.

    The host chooses, and empties them where the object is not there: on a picture, a click says that it is.
    """

    def forward(
        self,
        fine: Tensor,
        middle: Tensor,
        coarse: Tensor,
        points: Tensor,
        labels: Tensor,
        point_bias: Tensor,
        previous: Tensor,
        has_previous: Tensor,
    ) -> tuple[Tensor, ...]:
        drawn = Clicks(points, labels, point_bias)
        return self.answer(self.look(fine, middle, coarse, drawn, previous, has_previous))

    def look(
        self,
        fine: Tensor,
        middle: Tensor,
        coarse: Tensor,
        drawn: Clicks,
        previous: Tensor,
        has_previous: Tensor,
    ) -> Decoded:
        """The decoder on the frame with what was drawn."""
        t = self.tracker
        has = has_previous[:, None, None, None]
        dense = has * t.prompts.mask(previous) + (1 - has) * t.prompts.without_mask()
        features = coarse + t.no_memory.reshape(1, -1, 1, 1) + dense
        tokens = t.prompts.point_tokens(drawn.points, drawn.labels)
        return t.decode(features, fine, middle, points=tokens, bias=drawn.bias)

    def answer(self, found: Decoded) -> tuple[Tensor, ...]:
        """The masks [B, 4, 4G, 4G], their IoUs [B, 4], the object's score [B], a pointer for each mask."""
        t = self.tracker
        present = positive(found.score)[:, None, None]
        masks = draw(found.weights, found.pixels)
        return masks, found.iou, found.score, t.gated(t.pointer(found.tokens), present)


class MemorizeGraph(TrackerGraph):
    """Graph `memorize`: mask logits to one memory of each object, without its position.

    A hard mask is made binary at the picture's size and enlarged from there, as the official code does with
    masks that were given, not tracked: binary at the larger size, memories differ by 2e-3.
    """

    def forward(self, coarse: Tensor, mask: Tensor, present: Tensor, hard: Tensor) -> Tensor:
        fine = enlarged(mask, 4 * mask.shape[-1])
        given = enlarged(positive(enlarged(mask, self.tracker.image_size)), 4 * mask.shape[-1])
        hard = hard[:, None, None, None]
        return self.tracker.memory_encoder(coarse, hard * given + (1 - hard) * fine.sigmoid(), present)


GRAPHS: dict[str, type[TrackerGraph]] = {
    "tracker_features": FeaturesGraph,
    "tracker_init": InitGraph,
    "tracker_step": StepGraph,
    "tracker_refine": RefineGraph,
    "memorize": MemorizeGraph,
}
