"""The tracker on training sequences: objects are shown, clicked on, followed; and what it gets wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sam3_edge.judge.clicking import next_click
from sam3_edge.loop.prompts import LEFT_TOP, LIMIT, NO_POINT, RIGHT_BOTTOM
from sam3_edge.loop.propagation import SURE
from sam3_edge.loop.settings import Settings
from sam3_edge.spec import MASKED

from .attention_loss import attention_loss, marks_of, watched
from .mask_decoder import Decoded
from .model import Sam3
from .tracker import Clicks, InitGraph, MemorizeGraph, RefineGraph, StepGraph, enlarged
from .tracking_batch import Sequences, roughly
from .tracking_losses import decoded_loss, iou_of
from .tracking_past import Past

CLICKED = 0.3  # of the sequences begin with clicks or a box instead of a mask
ANEW = 0.15  # of the frames are followed by a mask of the detector, or by a click, that conditions
FORGOTTEN = 50  # frames at most between the first of a sequence and the second, as the memory counts
GONE_BY = 0.5  # of the sequences have such a gap
LOOK = 0.3  # weight of the loss of attention
WIDTHS = (5, 9, 13)  # pixels of a mask, of the square in which a mask grows: 1.4 cells at most, to each side
STRAY = 0.5  # of the sequences have memories that strayed, on half of their frames

Drawn = list[tuple[float, float, int]]
"""What is drawn of one object: x, y in pixels of the model's image, label."""


@dataclass(frozen=True)
class View:
    """One frame as each of B objects is looked for in it: the outputs of `tracker_features`, row by row."""

    fine: Tensor
    middle: Tensor
    coarse: Tensor
    queries: Tensor


@dataclass(frozen=True)
class Said:
    """What was said of B objects on a frame, to be remembered: mask logits [B, s, s] and pointers [B, D]."""

    logits: Tensor
    pointers: Tensor
    loss: Tensor


class Follower:
    """Runs the graphs of a model's tracker on a batch, as the video loop does, and sums what they cost."""

    def __init__(self, model: Sam3, batch: Sequences, rng: np.random.Generator) -> None:
        self.config, self.batch, self.rng = model.config, batch, rng
        self.init, self.step = InitGraph(model.tracker), StepGraph(model.tracker)
        self.refine, self.memorize = RefineGraph(model.tracker), MemorizeGraph(model.tracker)
        self.memory_attention = model.tracker.memory_attention
        self.strays = False  # whether this sequence's memories do
        with torch.no_grad():  # only the tracker learns
            trunk = model.backbone(batch.pictures.flatten(0, 1))
        levels = model.graph("tracker_features")(trunk)
        self.levels = [level.unflatten(0, batch.pictures.shape[:2]) for level in levels]
        self.pixel = self.config.image_size / self.config.mask_size  # of a mask, in pixels of the image

    def view(self, frame: int) -> View:
        return View(*(level[self.batch.clip_of, frame] for level in self.levels))

    def clicks(self, rounds: int) -> Tensor:
        """First frames alone: a mask that is shown, and `rounds` of clicks on what is still wrong."""
        return self.shown(0).loss + self.clicked(0, None, rounds=rounds).loss

    def follow(self) -> dict[str, Tensor]:
        """Whole sequences, from one mask or a few clicks on."""
        past = Past(self.config, len(self.batch.masks))
        by_click = self.rng.random() < CLICKED
        said = self.clicked(0, None, rounds=int(self.rng.integers(1, 4))) if by_click else self.shown(0)
        everyone = torch.ones(len(self.batch.masks), dtype=torch.bool)
        self.condition(0, 0, past, said, where=everyone)
        self.strays = self.rng.random() < STRAY
        gap = int(self.rng.integers(FORGOTTEN)) if self.rng.random() < GONE_BY else 0
        later = [self.next_frame(frame, past, now=gap + frame) for frame in range(1, self.batch.frames)]
        track, look = (torch.stack(losses).mean() for losses in zip(*later, strict=True))
        return {"said": said.loss, "track": track, "look": LOOK * look}

    def next_frame(self, frame: int, past: Past, *, now: int) -> tuple[Tensor, Tensor]:
        """Find every object on a frame, remember it, and sometimes be told: losses of masks and of attention.

        `now`: the frame as the memory counts.
        """
        view, target, known = self.view(frame), self.batch.masks[:, frame], past.see(now)
        with watched(self.memory_attention) as looks:
            found = self.step.look(view.fine, view.middle, view.queries, known.frames, known.pointers)
        look = attention_loss(looks, known.marks, target, self.config.grid, self.rng)
        return self.told(frame, past, found, now=now), look

    def told(self, frame: int, past: Past, found: Decoded, *, now: int) -> Tensor:
        """What was found on a frame is remembered, and sometimes corrected: the loss of masks."""
        target = self.batch.masks[:, frame]
        loss = decoded_loss(found, target, single=False)
        if frame == self.batch.frames - 1:
            return loss
        mask, iou, score, pointers = self.step.answer(found)
        kept = self.strayed(frame, mask.detach())
        features, marks = self.memory(frame, kept, hard=False), self.marks(frame, kept)
        worth = torch.where(score > 0, score.sigmoid() * 2 - 1, 0) * iou
        past.remember(now, features, pointers, marks=marks, valid=worth > Settings().memory_score)
        visible = target.flatten(1).amax(1) > 0.5
        chance = self.rng.random()
        if chance < ANEW / 2:
            sure = visible & (iou_of(kept[:, None], target)[:, 0] > Settings().sure_iou) & (score > 0)
            past.condition(now, features, self.shown(frame).pointers, marks=marks, where=sure)
        elif chance < ANEW:
            said = self.clicked(frame, kept, rounds=1)
            self.condition(frame, now, past, said, where=visible)
            loss = loss + said.loss
        return loss

    def condition(self, frame: int, now: int, past: Past, said: Said, *, where: Tensor) -> None:
        """What was said of the objects `where` [B] is true conditions what comes after."""
        features = self.memory(frame, said.logits, hard=True)
        past.condition(now, features, said.pointers, marks=self.marks(frame, said.logits), where=where)

    def strayed(self, frame: int, logits: Tensor) -> Tensor:
        """Mask logits [B, s, s], in some sequences grown into their neighbours as masks do in a crossing.

        A mask that takes over its neighbour needs a dozen frames for it; a sequence seldom shows them all.
        """
        if not self.strays or self.rng.random() < 0.5:
            return logits
        target, clip_of = self.batch.masks[:, frame], self.batch.clip_of
        whole = torch.stack([target[clip_of == clip].amax(0) for clip in clip_of])
        others = (whole > 0.5) & (target < 0.5)
        width = int(self.rng.choice(WIDTHS))
        grown = F.max_pool2d(logits[:, None], width, stride=1, padding=width // 2)[:, 0]
        return torch.where(others, grown, logits)

    def marks(self, frame: int, logits: Tensor) -> Tensor:
        """What the tokens of a memory of mask logits [B, s, s] are of."""
        side = self.config.grid // self.config.memory_pool
        return marks_of((logits > 0).float(), self.batch.masks[:, frame], side)

    def memory(self, frame: int, logits: Tensor, *, hard: bool) -> Tensor:
        """The memories of masks [B, s, s]; what comes after them does not change how they are drawn."""
        masks = logits.detach()[:, None]
        present = (masks.flatten(1).amax(1) > 0).float()
        return self.memorize(self.view(frame).coarse, masks, present, torch.full_like(present, float(hard)))

    def shown(self, frame: int) -> Said:
        """Objects whose masks are given, about as they are."""
        view, target = self.view(frame), self.batch.masks[:, frame]
        logits = roughly(target, self.rng)
        mask = (enlarged(logits[:, None], 4 * logits.shape[-1]) > 0).float()
        found = self.init.look(view.fine, view.middle, view.coarse, mask)
        loss = decoded_loss(found, target, single=True)
        return Said(logits * SURE, self.init.answer(found, mask), loss)

    def clicked(self, frame: int, previous: Tensor | None, *, rounds: int) -> Said:
        """Objects that are clicked on, or boxed, and clicked on again where they are wrong: the last answer.

        `previous`: mask logits [B, s, s] that are corrected from the first click on.
        """
        view, target = self.view(frame), self.batch.masks[:, frame]
        truths = (target > 0.5).numpy()
        drawn: list[Drawn] = [[] for _ in truths]
        losses = []
        for _ in range(rounds):
            shown = torch.zeros_like(target) if previous is None else previous.clamp(-LIMIT, LIMIT)
            has = target.new_full((len(target),), float(previous is not None))
            for points, mask, truth in zip(drawn, shown.numpy() > 0, truths, strict=True):
                points += self.corrected(mask, truth) if previous is not None else self.first(truth)
            tokens = as_clicks(drawn)
            found = self.refine.look(view.fine, view.middle, view.coarse, tokens, shown[:, None], has)
            losses.append(decoded_loss(found, target, single=True))
            masks, iou, _, pointers = self.refine.answer(found)
            several = torch.tensor([len(points) <= 1 for points in drawn])
            best = torch.where(several, 1 + iou[:, 1:].argmax(1), 0)
            rows = torch.arange(len(best))
            previous, pointer = masks[rows, best].detach(), pointers[rows, best]
        assert previous is not None
        return Said(previous, pointer, torch.stack(losses).mean())

    def first(self, truth: NDArray[np.bool_]) -> Drawn:
        """A click on a mask [s, s], in its middle or anywhere, or a box around it, not quite tight."""
        if not truth.any():
            return []
        if self.rng.random() < 0.35:
            rows, columns = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
            edges = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)
            extent = np.tile(edges[2:] - edges[:2], 2)
            x0, y0, x1, y1 = self.pixel * (edges + self.rng.normal(0, 0.05, 4) * extent) - 0.5
            return [(x0, y0, LEFT_TOP), (x1, y1, RIGHT_BOTTOM)]
        return self.corrected(np.zeros_like(truth), truth)

    def corrected(self, found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Drawn:
        """A click on what is wrong, if anything is: in the middle of it, or anywhere."""
        click = next_click(found, truth)
        if click is None:
            return []
        column, row, positive = click
        if self.rng.random() < 0.5:
            wrong = np.argwhere(truth & ~found if positive else found & ~truth)
            row, column = wrong[int(self.rng.integers(len(wrong)))]
        x, y = (self.pixel * (place + 0.5) - 0.5 for place in (column, row))
        return [(x, y, int(positive))]


def as_clicks(drawn: list[Drawn]) -> Clicks:
    """What is drawn of each object, with the empty point that closes every list."""
    width = max(map(len, drawn)) + 1
    points, labels = torch.zeros(len(drawn), width, 2), torch.full((len(drawn), width), NO_POINT)
    bias = torch.full((len(drawn), width), MASKED)
    for place, row in enumerate(drawn):
        for number, (x, y, label) in enumerate(row):
            points[place, number], labels[place, number] = torch.tensor((x, y)), label
        bias[place, : len(row) + 1] = 0
    return Clicks(points, labels, bias)
