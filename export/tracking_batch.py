"""Batches of moving `shapes` for training the tracker: frames of clips, and whom to follow there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sam3_edge.shapes.clips import draw_frame, draw_masks
from sam3_edge.shapes.scenes import UNSEEN, draw_scene
from sam3_edge.shapes.scripts import KINDS, write_script
from sam3_edge.spec import ModelConfig

from .clip_scenes import COMMON
from .losses import shrink
from .shapes_batch import scene_size, to_tensor

LEAST = 60  # pixels of an object on the frame on which it is shown to the tracker
LONGEST = 7  # frames of a clip from one frame of a sequence to the next
EVENTFUL = {"crossing": 0.6, "occlusion": 0.5, "leaving": 0.4, "look-alikes": 0.25, "scale": 0.15}


@dataclass(frozen=True)
class Sequences:
    """C clips of T frames, and B objects in them: `clip_of` [B] says in which.

    `pictures` [C, T, 3, S, S] in [-1, 1]; `masks` [B, T, s, s], how much of each pixel of a mask is visible
    of the object, 0..1. On the first frame every object is.
    """

    pictures: Tensor
    masks: Tensor
    clip_of: Tensor

    @property
    def frames(self) -> int:
        return self.masks.shape[1]


def draw_sequences(
    rng: np.random.Generator,
    config: ModelConfig,
    *,
    clips: int,
    frames: int,
    objects: int,
    eventful: bool = False,
    fastest: int = LONGEST,
) -> Sequences:
    """Clips in which any of the kinds of events happen, and up to `objects` of each to follow.

    Every clip has a pace of its own, 1 to `fastest` frames a step, so that some sequences show a whole event
    and others how little changes from frame to frame. `eventful` ones are about the middle of a clip, where
    things cross, hide and leave, and follow those to whom it happens first. Nothing of `UNSEEN` is drawn.
    """
    chances = EVENTFUL if eventful else {}
    pictures: list[Tensor] = []
    masks, clip_of = [], []
    while len(pictures) < clips:
        kinds = [kind for kind in KINDS if rng.random() < chances.get(kind, COMMON)]
        script = write_script(rng, kinds, size=scene_size(config), withheld=UNSEEN)
        start, pace = window(rng, script.frames, frames, fastest, eventful=eventful)
        there = rng.permutation(np.flatnonzero(draw_masks(script, start).sum((1, 2)) >= LEAST))
        if not len(there):
            continue
        if eventful:
            there = np.array(sorted(there, key=lambda place: not script.actors[place].events))
        chosen = np.sort(there[:objects])
        drawn = [draw_frame(script, start + pace * i) for i in range(frames)]
        clip_of += [len(pictures)] * len(chosen)
        pictures.append(to_tensor([frame.picture for frame in drawn], config.image_size))
        masks.append(np.stack([frame.masks[chosen] for frame in drawn], axis=1))
    return Sequences(torch.stack(pictures), small(np.concatenate(masks), config), torch.tensor(clip_of))


def window(
    rng: np.random.Generator, length: int, frames: int, fastest: int, *, eventful: bool
) -> tuple[int, int]:
    """Where in a clip of `length` frames a sequence starts, and its pace, at most `fastest`."""
    pace = int(rng.integers(1, min(fastest, (length - 1) // (frames - 1)) + 1))
    span = pace * (frames - 1)
    if not eventful:
        return int(rng.integers(0, length - span)), pace
    return int(np.clip(length / 2 - rng.uniform(0.3, 0.7) * span, 0, length - 1 - span)), pace


def draw_stills(
    rng: np.random.Generator,
    config: ModelConfig,
    *,
    pictures: int,
    objects: int,
    photographs: Sequence[NDArray[np.uint8]],
) -> Sequences:
    """Crowded pictures of one frame each, half before photographs, and up to `objects` items of each."""
    scenes = [
        draw_scene(
            rng,
            size=scene_size(config),
            most=8,
            photographs=photographs,
            withheld=UNSEEN,
            crowd=0.5,
        )
        for _ in range(pictures)
    ]
    items = [
        (place, scene.items[i].mask)
        for place, scene in enumerate(scenes)
        for i in rng.permutation(len(scene.items))[:objects]
    ]
    return Sequences(
        to_tensor([scene.picture for scene in scenes], config.image_size)[:, None],
        small(np.stack([mask for _, mask in items])[:, None], config),
        torch.tensor([place for place, _ in items]),
    )


def small(masks: NDArray[np.bool_], config: ModelConfig) -> Tensor:
    """Masks [B, T, S, S] at the resolution of mask logits."""
    flat = torch.from_numpy(masks).flatten(0, 1).float()
    return shrink(flat, config.mask_size).unflatten(0, masks.shape[:2])


def roughly(masks: Tensor, rng: np.random.Generator) -> Tensor:
    """Masks [B, s, s], 0..1, as logits of what a detector or a person might have drawn in their place.

    Their edges are moved by smooth noise, up to about two pixels; a pixel of each is always kept.
    """
    noise = torch.from_numpy(rng.standard_normal((len(masks), 1, 9, 9), np.float32))
    noise = F.interpolate(noise, size=masks.shape[1:], mode="bicubic", align_corners=True)[:, 0]
    soft = F.avg_pool2d(masks[:, None], 3, stride=1, padding=1)[:, 0]
    strength = torch.from_numpy(rng.uniform(0, 0.35, (len(masks), 1, 1)).astype(np.float32))
    logits = 2 * (0.5 * masks + 0.5 * soft) - 1 + strength * noise * (soft > 0)
    peak = masks == masks.amax((1, 2), keepdim=True)
    return torch.where(peak, logits.clamp(min=0.5), logits)
