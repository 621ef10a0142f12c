"""`sam3-edge demo`: the built-in model finds shapes by phrase and by example, and shows them on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sam3_edge.agreement import overlaps, pair
from sam3_edge.boxes import Box
from sam3_edge.concept import Concept
from sam3_edge.overlay import draw
from sam3_edge.segmentation import Segmentation
from sam3_edge.segmenter import Segmenter
from sam3_edge.shapes.questions import Question, ask_by_box, ask_for, ask_in_vain
from sam3_edge.shapes.scenes import Scene, draw_scene

# Pictures that show what the model can do; how often it errs on others: `make judge`.
SEED = 8
PICTURES = 3
TILE, CAPTION = 480, 30


@dataclass(frozen=True)
class Answer:
    """One question of the demo, what was found, and how many of the true items that is."""

    picture: np.ndarray
    boxes: tuple[Box, ...]
    found: Segmentation
    right: int
    wanted: int

    @property
    def caption(self) -> str:
        """What was asked, and the score: right answers of wanted ones, and wrong ones if there are any."""
        asked = str(self.found.concept) if self.found.concept.phrase else "like this box"
        wrong = len(self.found) - self.right
        return f"{asked}: {self.right} of {self.wanted}" + (f", {wrong} wrong" if wrong else "")


def concept_of(question: Question) -> Concept:
    """A generated question as a concept; `visual` is the phrase of boxes alone."""
    boxes = tuple(Box.of(box, positive=positive) for box, positive in question.boxes)
    return Concept(None if question.phrase == "visual" else question.phrase, boxes)


def questions(rng: np.random.Generator, scene: Scene) -> list[Question]:
    """Two phrases that are true, one that is not, one question by example."""
    return [ask_for(rng, scene), ask_for(rng, scene), ask_in_vain(rng, scene), ask_by_box(rng, scene)]


def ask_all(segmenter: Segmenter) -> list[Answer]:
    """Segment the demo's pictures, which no training has seen, and count what is right."""
    rng = np.random.default_rng(SEED)
    answers = []
    for _ in range(PICTURES):
        scene = draw_scene(rng)
        asked = questions(rng, scene)
        concepts = [concept_of(question) for question in asked]
        for question, found in zip(asked, segmenter.segment(scene.picture, concepts), strict=True):
            truth = np.array([scene.items[i].mask for i in question.answer]).reshape(
                -1, *scene.picture.shape[:2]
            )
            right = len(pair(overlaps(truth.astype(bool), found.masks)))
            answers.append(Answer(scene.picture, found.concept.boxes, found, right, len(truth)))
    return answers


def tile(answer: Answer) -> Image.Image:
    """One answer: the picture with masks, the example boxes (white: like this, black: unlike), a caption."""
    image = draw(answer.picture, [answer.found])
    factor = image.width / answer.picture.shape[1]
    pen = ImageDraw.Draw(image)
    for box in answer.boxes:
        colour = "white" if box.positive else "black"
        pen.rectangle([edge * factor for edge in box.edges], outline=colour, width=4)
    sheet = Image.new("RGB", (TILE, TILE + CAPTION), "white")
    sheet.paste(image.resize((TILE, TILE), Image.Resampling.LANCZOS), (0, CAPTION))
    ImageDraw.Draw(sheet).text((6, 5), answer.caption, fill="black", font=ImageFont.load_default(18))
    return sheet


def contact_sheet(answers: Sequence[Answer]) -> Image.Image:
    """All answers: a row per picture, a column per question."""
    columns = len(answers) // PICTURES
    sheet = Image.new("RGB", (columns * TILE, PICTURES * (TILE + CAPTION)), "white")
    for number, answer in enumerate(answers):
        row, column = divmod(number, columns)
        sheet.paste(tile(answer), (column * TILE, row * (TILE + CAPTION)))
    return sheet
