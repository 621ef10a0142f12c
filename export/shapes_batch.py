"""Batches of `shapes` for training: several questions share each picture, and so one backbone pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam3_edge.boxes import pooling_matrices
from sam3_edge.resize import resize_picture
from sam3_edge.shapes.clips import STAGE
from sam3_edge.shapes.questions import Question, ask
from sam3_edge.shapes.scenes import UNSEEN, Scene, draw_scene
from sam3_edge.spec import MASKED, ModelConfig
from sam3_edge.tokenizer import Tokenizer

from .clip_scenes import draw_clip_scene
from .losses import Truth
from .model import Sam3, prompt_of

LENGTH = 8  # tokens kept of a phrase while training; the text encoder is causal, so padding changes nothing


@dataclass(frozen=True, kw_only=True)
class Asked:
    """P pictures and N questions; `picture_of` [N] says which picture a question is about.

    Only the first `drawn` questions get masks: pixels at stride 3.5 are two thirds of a question's cost.
    """

    pictures: Tensor
    picture_of: Tensor
    token_ids: Tensor
    text_bias: Tensor
    exemplars: tuple[Tensor, ...]
    exemplar_bias: Tensor
    drawn: int


@dataclass(frozen=True, kw_only=True)
class Batch(Asked):
    """Scenes asked about, and what is true of them."""

    scenes: list[Scene]
    truths: list[Truth]


def scene_size(config: ModelConfig) -> int:
    """Of what is drawn for a model: 224 px at most, as what judges it; larger models see it enlarged."""
    return min(config.image_size, STAGE)


def to_tensor(pictures: Sequence[NDArray[np.uint8]], size: int) -> Tensor:
    """P pictures, uint8 [s, s, 3], as a backbone of `size` sees them: [P, 3, size, size] in [-1, 1]."""
    resized = [resize_picture(picture, size) for picture in pictures]
    return torch.from_numpy(np.stack(resized)).float() / 127.5 - 1


def truth_of(scene: Scene, answer: Sequence[int]) -> Truth:
    """The items that answer a question, as tensors."""
    size = len(scene.picture)
    items = [scene.items[i] for i in answer]
    corners = np.array([item.box for item in items], np.float32).reshape(-1, 4) / size
    boxes = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)
    masks = np.array([item.mask for item in items], np.float32).reshape(-1, size, size)
    return Truth(torch.from_numpy(boxes), torch.from_numpy(masks))


def exemplar_feeds(
    rng: np.random.Generator, questions: list[Question], config: ModelConfig, *, side: int, limit: int
) -> tuple[tuple[Tensor, ...], Tensor]:
    """The exemplar graph's inputs but the features, for hand-drawn (jittered) boxes, and its bias.

    `side`: of the picture that the boxes are in, pixels.
    """
    boxes = np.tile(np.array([0.5, 0.5, 1, 1], np.float32), (len(questions), limit, 1))
    labels = np.zeros((len(questions), limit), np.float32)
    bias = np.full((len(questions), 1, 1, limit + 1), MASKED, np.float32)
    bias[..., -1] = 0
    for n, question in enumerate(questions):
        for k, (box, positive) in enumerate(question.boxes):
            x0, y0, x1, y1 = np.array(box) / side
            extent = np.array([x1 - x0, y1 - y0])
            drawn = np.concatenate([(x0 + extent[0] / 2, y0 + extent[1] / 2), extent])
            boxes[n, k] = np.clip(drawn + rng.normal(0, 0.05, 4) * np.tile(extent, 2), 0.01, 1)
            labels[n, k], bias[n, ..., k] = positive, 0
    pools = [pooling_matrices(row, config.grid, config.roi_size) for row in boxes]
    pool_y, pool_x = (np.stack(side) for side in zip(*pools, strict=True))
    return tuple(torch.from_numpy(x) for x in (boxes, labels, bias, pool_y, pool_x)), torch.from_numpy(bias)


def draw_batch(
    rng: np.random.Generator,
    tokenizer: Tokenizer,
    config: ModelConfig,
    *,
    pictures: int,
    questions: int,
    most: int,
    drawn: int | None = None,
    photographs: Sequence[NDArray[np.uint8]] = (),
    clips: float = 0.0,
) -> Batch:
    """Draw scenes and ask `questions` of each, of which `drawn` (all) get masks.

    Nothing of `UNSEEN` is drawn or asked: those pairs are kept to judge by. `clips`: the share, 0 to 1, of
    pictures that are frames of clips.
    """

    side = scene_size(config)

    def draw() -> Scene:
        if clips and rng.random() < clips:
            return draw_clip_scene(rng, side)
        return draw_scene(
            rng,
            size=side,
            most=most,
            photographs=photographs,
            withheld=UNSEEN,
            crowd=0.3,
        )

    scenes = [draw() for _ in range(pictures)]
    asked = [ask(rng, scene, withheld=UNSEEN) for _ in range(questions) for scene in scenes]
    encoded = [tokenizer.encode(question.phrase, LENGTH) for question in asked]
    valid = np.concatenate([mask for _, mask in encoded])
    feeds, exemplar_bias = exemplar_feeds(rng, asked, config, side=side, limit=2)
    return Batch(
        scenes=scenes,
        pictures=to_tensor([scene.picture for scene in scenes], config.image_size),
        picture_of=torch.arange(pictures).repeat(questions),
        token_ids=torch.from_numpy(np.concatenate([ids for ids, _ in encoded])),
        text_bias=torch.from_numpy(np.where(valid, 0, MASKED).astype(np.float32))[:, None, None],
        exemplars=feeds,
        exemplar_bias=exemplar_bias,
        truths=[truth_of(scenes[n % pictures], question.answer) for n, question in enumerate(asked)],
        drawn=pictures * (questions if drawn is None else drawn),
    )


@dataclass(frozen=True)
class Answers:
    """What the model says to a batch: the shared features, the encoder's state, each decoder layer, masks."""

    levels: tuple[Tensor, ...]
    encoded: Tensor
    layers: list[tuple[Tensor, Tensor, Tensor]]  # boxes, logits, presence
    masks: Tensor | None
    semantic: Tensor


def forward(model: Sam3, batch: Asked, *, detect: bool) -> Answers:
    """One backbone pass for the pictures, everything else for each question."""
    return answer(model, model.detector_features(model.backbone(batch.pictures)), batch, detect=detect)


def answer(
    model: Sam3, levels: tuple[Tensor, ...], batch: Asked, *, detect: bool, limit: float = 10
) -> Answers:
    """What follows the features. `limit` of the presence logits."""
    fine, middle, coarse = (level[batch.picture_of] for level in levels)
    prompt, bias = prompt_of(
        model.text(batch.token_ids),
        batch.text_bias,
        model.exemplar(coarse, *batch.exemplars),
        batch.exemplar_bias,
    )
    encoded = model.detector.encode(coarse, prompt, bias)
    seen = [x[: batch.drawn] for x in (fine, middle, encoded, prompt, bias)]
    if not detect:
        pixels = model.masks.embed_pixels(*seen)
        return Answers(levels, encoded, [], None, model.masks.semantic(pixels))
    decoded = model.detector.decode(encoded, prompt, bias, limit=limit)
    layers = [(boxes, model.detector.scorer(x, prompt, bias), presence) for x, boxes, presence in decoded]
    masks, semantic = model.masks(*seen, decoded[-1][0][: batch.drawn])
    return Answers(levels, encoded, layers, masks, semantic)
