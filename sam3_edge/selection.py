"""One object of a picture, pointed out by a person: each click, box or mask refines what came before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sam3_edge.antialias import resample
from sam3_edge.boxes import Box
from sam3_edge.concept import Concept
from sam3_edge.embedding import Embedding
from sam3_edge.errors import UsageError
from sam3_edge.loop.events import NAMELESS
from sam3_edge.loop.prompts import Point, Prompt, Proposed, ambiguous, choose, propose
from sam3_edge.loop.regions import bounds
from sam3_edge.loop.settings import Settings
from sam3_edge.query import sigmoid
from sam3_edge.resize import enlarge
from sam3_edge.segmentation import Floats, Segmentation
from sam3_edge.spec import ModelConfig

OBJECT = Concept(NAMELESS)  # of what was pointed out: nobody said what it is
GIVEN = 10.0  # the logit of a pixel of a mask that is given, minus it outside: the reference's scale


@dataclass(frozen=True, eq=False)
class Step:
    """Where a selection stands after a prompt.

    `logits` [N, S, S] and `candidates` are what the prompt may mean, best first; `chosen` is the place of the
    one that the next prompt refines.
    """

    prompt: Prompt | None
    logits: Floats
    candidates: Segmentation
    chosen: int = 0


class Selection:
    """Clicks, a box or a mask, one after the other, and the object that they mean. Made by `Segmenter.click`.

    Every prompt is asked together with those before it and with the mask that they gave. A first click may
    mean a thing or a part of it: it gets three candidates, and a plain prompt one. The rules are those of a
    prompt on a video's frame (`loop.prompts`), but here an object is always there.
    """

    def __init__(
        self,
        config: ModelConfig,
        embedding: Embedding,
        *,
        multimask: bool | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.config, self.embedding, self.multimask = config, embedding, multimask
        self.settings = settings or Settings()
        self.steps: list[Step] = []

    def add(self, x: float, y: float, positive: bool = True) -> Segmentation:
        """A click in pixels of the picture, on the object or beside it; the candidates after it."""
        before = self.prompt
        points = (*(before.points if before else ()), Point(x, y, positive))
        return self.ask(Prompt(points, before.box if before else None))

    def box(self, box: Box | Sequence[float]) -> Segmentation:
        """A box around the object, x0, y0, x1, y1 in pixels, in the place of an earlier one."""
        drawn = box if isinstance(box, Box) else Box.of(box)
        return self.ask(Prompt(self.prompt.points if self.prompt else (), drawn))

    def begin(self, mask: NDArray[np.bool_]) -> Segmentation:
        """Start from a mask bool [H, W], in the place of what the clicks and boxes so far gave."""
        Prompt(mask=mask).check(self.embedding.size)
        signs = np.where(mask, np.float32(1), np.float32(-1))
        side = self.config.mask_size
        return self.ask(None, previous=resample(signs, side, side) * np.float32(GIVEN))

    def choose(self, place: int) -> Segmentation:
        """Go on from the candidate at this place, 0 for the best."""
        if not 0 <= place < len(self.candidates):
            raise UsageError(f"candidate {place}: there are {len(self.candidates)}, counted from 0")
        self.steps.append(replace(self.steps[-1], chosen=place))
        return self.candidates

    def undo(self) -> Segmentation:
        """Take back the last click, box, mask or choice. Raises `UsageError` when there is none."""
        if not self.steps:
            raise UsageError("there is nothing to take back: add a point, a box or a mask first")
        self.steps.pop()
        return self.candidates

    @property
    def prompt(self) -> Prompt | None:
        """The clicks and the box that count now."""
        return self.steps[-1].prompt if self.steps else None

    @property
    def candidates(self) -> Segmentation:
        """What the prompts may mean, best first; nothing before the first. Scores are guessed IoUs."""
        if self.steps:
            return self.steps[-1].candidates
        none = np.zeros((0, *self.embedding.size), np.bool_)
        return Segmentation(OBJECT, none, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.0)

    @property
    def masks(self) -> NDArray[np.bool_]:
        """Of the candidates, bool [N, H, W]."""
        return self.candidates.masks

    @property
    def boxes(self) -> Floats:
        """Of the candidates, float32 [N, 4], the outermost edges of their pixels; zeros without a pixel."""
        return self.candidates.boxes

    @property
    def scores(self) -> Floats:
        """Of the candidates, float32 [N]: the IoU that the model expects of each, 0 to 1."""
        return self.candidates.scores

    @property
    def found(self) -> Segmentation:
        """The chosen candidate alone; no object before the first prompt."""
        kept = slice(self.steps[-1].chosen, self.steps[-1].chosen + 1) if self.steps else slice(0)
        many = self.candidates
        return replace(many, masks=many.masks[kept], boxes=many.boxes[kept], scores=many.scores[kept])

    def ask(self, prompt: Prompt | None, *, previous: Floats | None = None) -> Segmentation:
        """Take a step. `previous`: mask logits [S, S] to refine, those of the last step if None."""
        if prompt is not None:
            prompt.check(self.embedding.size)
        if previous is None and self.steps:
            previous = self.steps[-1].logits[self.steps[-1].chosen]
        proposed = propose(prompt, self.embedding, previous, config=self.config)
        kept = self.kept(prompt, proposed)
        logits = proposed.masks[kept]
        masks = enlarge(logits, *self.embedding.size)
        edges = [(left, top, right, bottom) for top, bottom, left, right in map(bounds, masks)]
        presence = float(sigmoid(np.array([proposed.score], np.float32))[0])
        boxes, scores = np.array(edges, np.float32), proposed.iou[kept]
        self.steps.append(Step(prompt, logits, Segmentation(OBJECT, masks, boxes, scores, presence)))
        return self.candidates

    def kept(self, prompt: Prompt | None, proposed: Proposed) -> NDArray[np.int64]:
        """Which of the four masks are candidates, best first."""
        several = ambiguous(prompt) if self.multimask is None else self.multimask
        if several:
            return 1 + np.argsort(-proposed.iou[1:], kind="stable")
        return np.array([choose(proposed.masks, proposed.iou, several=False, settings=self.settings)])
