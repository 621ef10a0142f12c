"""Pictures and phrases that a teacher answers and its student learns from.

A source draws one picture and its questions from one generator, so that a batch is the same however many
processes share it. The first question of a picture is one with an answer and the second a hard one without,
as far as the source knows: a student that is never asked in vain finds everything everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam3_edge.errors import SourceError, UsageError
from sam3_edge.judge.case import PictureCase
from sam3_edge.judge.datasets import AnySet, ClipSet, open_dataset
from sam3_edge.phrases import read_phrases
from sam3_edge.picture import read_picture
from sam3_edge.resize import resize_picture
from sam3_edge.run import find_pictures
from sam3_edge.shapes.clips import STAGE
from sam3_edge.shapes.photographs import TRAINING, read
from sam3_edge.shapes.questions import Question, ask, ask_for, ask_in_vain
from sam3_edge.shapes.scenes import UNSEEN, Scene, draw_scene
from sam3_edge.spec import MASKED, ModelConfig
from sam3_edge.tokenizer import Tokenizer

from .shapes_batch import LENGTH, Asked, exemplar_feeds, to_tensor

HELD = 20  # every so many pictures in files are of no batch
POOL = 1 << 31  # seeds of a pool's scenes begin with it
Drawn = tuple[NDArray[np.uint8], list[Question]]


class Source(Protocol):
    """Where pictures come from. `length`: tokens kept of a phrase, None for all."""

    @property
    def length(self) -> int | None: ...

    def draw(self, rng: np.random.Generator, size: int, questions: int, *, held: bool) -> Drawn:
        """A picture for a model of `size`, of that side or less, and so many questions about it.

        `held`: a picture of no batch.
        """
        ...


class Shapes:
    """Generated pictures, always new ones, or out of a `pool` of so many, which is faster.

    Nothing of what is kept to judge by is drawn or asked.
    """

    length: int | None = LENGTH

    def __init__(self, *, photographs: bool, pool: int = 0) -> None:
        self.photographs = read(TRAINING) if photographs else []
        self.pool, self.kept = pool, dict[tuple[int, int], Scene]()

    def draw(self, rng: np.random.Generator, size: int, questions: int, *, held: bool) -> Drawn:
        side = min(size, STAGE)  # a larger model sees it enlarged, as it does what it is judged by
        scene = self.scene(rng, side) if held or not self.pool else self.pooled(rng, side)
        asked = [ask_for(rng, scene), ask_in_vain(rng, scene, withheld=UNSEEN)]
        more = (ask(rng, scene, withheld=UNSEEN) for _ in range(questions - 2))
        return scene.picture, [*asked[:questions], *more]

    def scene(self, rng: np.random.Generator, size: int) -> Scene:
        """A new one."""
        return draw_scene(rng, size=size, most=8, photographs=self.photographs, withheld=UNSEEN, crowd=0.3)

    def pooled(self, rng: np.random.Generator, size: int) -> Scene:
        """One of the pool, drawn when it is first asked for."""
        number = int(rng.integers(self.pool))
        if (number, size) not in self.kept:
            self.kept[number, size] = self.scene(np.random.default_rng((POOL, number)), size)
        return self.kept[number, size]


@dataclass(frozen=True)
class Phrased:
    """Pictures in files: the phrases that are in each, and those that are known to be asked in vain."""

    pictures: Sequence[Path]
    present: Sequence[Sequence[str]]
    absent: Sequence[Sequence[str]]
    length: int | None = None

    def draw(self, rng: np.random.Generator, size: int, questions: int, *, held: bool) -> Drawn:
        number = self.number(rng, held=held)
        picture = resize_picture(read_picture(self.pictures[number]), size).transpose(1, 2, 0)
        kinds = [self.present[number], self.absent[number]]
        asked = []
        for place in range(questions):
            kind = kinds[place % 2] or kinds[1 - place % 2]
            asked.append(Question(str(kind[int(rng.integers(len(kind)))]), (), ()))
        return picture, asked

    def number(self, rng: np.random.Generator, *, held: bool) -> int:
        """Of a picture. Where there are few, all are of batches, and held ones too."""
        count = len(self.pictures)
        if count < HELD:
            return int(rng.integers(count))
        among = -(-count // HELD)
        if held:
            return HELD * int(rng.integers(among))
        chosen = int(rng.integers(count - among))
        return chosen + chosen // (HELD - 1) + 1


def open_source(
    data: str, *, pictures: Path | None, phrases: Path | None, photographs: bool, pool: int = 0
) -> Source:
    """`shapes`, a folder of pictures with a file of phrases, or a COCO or SA-Co document with its pictures.

    Raises `UsageError` for what does not go together, and what reading raises.
    """
    if data == "shapes":
        return Shapes(photographs=photographs, pool=pool)
    if Path(data).is_dir():
        if phrases is None:
            raise UsageError(f"data {data}: a folder needs a file of phrases: set `phrases`")
        words, found = read_phrases(phrases), find_pictures([Path(data)])
        return Phrased(found, [words] * len(found), [()] * len(found))
    if pictures is None:
        raise UsageError(f"data {data}: a document needs the folder of its pictures: set `pictures`")
    documented = open_dataset([data])
    if isinstance(documented, ClipSet) and not documented.frames:
        raise UsageError(f"data {data}: it does not name the frames of its clips; give a SA-Co document")
    return labelled(mentions(documented), pictures)


def mentions(found: AnySet) -> Iterator[tuple[str, str, bool]]:
    """Picture, phrase, and whether it is there. A clip's frames are pictures; a phrase of the clip is absent
    only from clips without it: behind something else it may be there all the same."""
    for case in found.cases:
        name, phrase = found.asked[case.key]
        if isinstance(case, PictureCase):
            yield name, phrase, any(len(masks) for masks in case.truths)
            continue
        objects = case.truth.objects.values()
        assert isinstance(found, ClipSet)
        for frame, file in enumerate(found.frames[name]):
            if (seen := any(masklet[frame] for masklet in objects)) or not objects:
                yield file, phrase, seen


def labelled(mentioned: Iterable[tuple[str, str, bool]], folder: Path) -> Phrased:
    """By picture. Where a document knows no phrase that is absent, those of other pictures are asked.

    Raises `SourceError` if the folder lacks a picture.
    """
    present: dict[str, list[str]] = {}
    absent: dict[str, list[str]] = {}
    for name, phrase, there in mentioned:
        present.setdefault(name, []).extend([phrase] * there)
        absent.setdefault(name, []).extend([phrase] * (not there))
    every = sorted({phrase for phrases in present.values() for phrase in phrases})
    names = sorted(present)
    if lacking := next((folder / name for name in names if not (folder / name).is_file()), None):
        raise SourceError(f"{lacking}: no such picture; if it is a frame of a video, write its frames there")
    others = [absent[name] or [word for word in every if word not in present[name]] for name in names]
    return Phrased([folder / name for name in names], [present[name] for name in names], others)


def draw_asked(
    source: Source,
    tokenizer: Tokenizer,
    config: ModelConfig,
    *,
    seeds: Sequence[tuple[int, ...]],
    questions: int,
    drawn: int,
    held: bool = False,
) -> Asked:
    """One picture for each seed, `held` ones of no batch, and `questions` about each: `drawn` get masks."""
    rows = [draw_one(source, tokenizer, config, seed=seed, questions=questions, held=held) for seed in seeds]

    def by_question(column: int) -> Tensor:
        """[P, Q, ...] -> [Q * P, ...]: the questions that are drawn come first."""
        return torch.stack([row[1][column] for row in rows]).transpose(0, 1).flatten(0, 1)

    ids, bias, exemplar_bias, *feeds = (by_question(i) for i in range(len(rows[0][1])))
    return Asked(
        pictures=to_tensor([row[0] for row in rows], config.image_size),
        picture_of=torch.arange(len(rows)).repeat(questions),
        token_ids=ids,
        text_bias=bias,
        exemplars=tuple(feeds),
        exemplar_bias=exemplar_bias,
        drawn=len(rows) * drawn,
    )


def draw_one(
    source: Source,
    tokenizer: Tokenizer,
    config: ModelConfig,
    *,
    seed: tuple[int, ...],
    questions: int,
    held: bool,
) -> tuple[NDArray[np.uint8], list[Tensor]]:
    """A picture, and what its questions feed: ids, their bias, the exemplars' bias and inputs, [Q, ...]."""
    rng = np.random.default_rng(seed)
    picture, asked = source.draw(rng, config.image_size, questions, held=held)
    encoded = [tokenizer.encode(question.phrase, source.length or config.text_length) for question in asked]
    valid = np.concatenate([mask for _, mask in encoded])
    bias = np.where(valid, 0, MASKED).astype(np.float32)[:, None, None]
    feeds, exemplar_bias = exemplar_feeds(
        rng, asked, config, side=len(picture), limit=min(2, config.max_boxes)
    )
    ids = np.concatenate([ids for ids, _ in encoded])
    return picture, [torch.from_numpy(ids), torch.from_numpy(bias), exemplar_bias, *feeds]


def on_device(batch: Asked, device: torch.device) -> Asked:
    """The same batch there."""
    if device.type == "cpu":
        return batch
    moved: dict[str, Any] = {n: v.to(device) if isinstance(v, Tensor) else v for n, v in vars(batch).items()}
    moved["exemplars"] = tuple(x.to(device) for x in batch.exemplars)
    return Asked(**moved)
