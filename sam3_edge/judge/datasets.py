"""What a result is judged on: cases with their truth, and how results files refer to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from sam3_edge.concept import Concept
from sam3_edge.errors import CheckError, SourceError, UsageError
from sam3_edge.judge.case import ClipCase, PictureCase

# The frozen sets: name -> module with `cases()`, and `questions()` to ask a bundle.
FROZEN = {"shapes": "frozen_pictures", "shapes-clips": "frozen_clips"}

Question: TypeAlias = "tuple[PictureCase, NDArray[np.uint8], Concept]"
Questions: TypeAlias = "Callable[[], Iterator[Question]]"
ClipQuestion: TypeAlias = "tuple[ClipCase, NDArray[np.uint8], Concept]"
ClipQuestions: TypeAlias = "Callable[[], Iterator[ClipQuestion]]"
Case = TypeVar("Case", PictureCase, ClipCase)


def key_of(file_name: str, phrase: str) -> str:
    """The key of a question that has no id of its own: a picture or clip, a tab, what is asked."""
    return f"{file_name}\t{phrase}"


class Asked(NamedTuple):
    """Which picture or clip a case is about, and what is asked of it."""

    file_name: str
    phrase: str


@dataclass(frozen=True)
class Dataset(Generic[Case]):
    """Cases, and how results refer to them.

    `asked`: what each case asks, by its key. `media`: id of a picture or clip -> its name, or, where
    `categories` (id -> name) is None, -> the key itself: there one id is one question, as in SA-Co.
    `left_out`: cases that are known and not judged, because their truth is not complete.
    """

    name: str
    cases: tuple[Case, ...]
    asked: Mapping[str, Asked]
    media: Mapping[str, str]
    categories: Mapping[str, str] | None = None
    left_out: int = 0
    by_name: Mapping[str, Sequence[str]] = field(init=False)

    def __post_init__(self) -> None:
        if not self.cases:
            raise CheckError(f"dataset {self.name}: there is no case in it that can be judged: name another")
        if len({case.key for case in self.cases}) < len(self.cases):
            raise CheckError(f"dataset {self.name}: two cases ask the same of one picture: name another")
        names: dict[str, list[str]] = {}
        for key, asked in self.asked.items():
            names.setdefault(key_of(*asked), []).append(key)
        object.__setattr__(self, "by_name", names)

    def key(self, medium: str, category: str | None) -> str:
        """The key that ids in a results file stand for. Raises `KeyError` for ids that the dataset lacks."""
        if self.categories is None:
            return self.media[medium]
        return key_of(self.media[medium], self.categories[str(category)])


@dataclass(frozen=True)
class PictureSet(Dataset[PictureCase]):
    """`questions`: the cases with their pictures, those of one picture in a row; None without pictures."""

    questions: Questions | None = None


@dataclass(frozen=True)
class ClipSet(Dataset[ClipCase]):
    """Concepts in clips. `questions`: the cases with the frames [T, H, W, 3] of their clips, in a row.

    `frames`: file names of a clip's frames, by its name, where the document tells them.
    """

    questions: ClipQuestions | None = None
    frames: Mapping[str, Sequence[str]] = field(default_factory=dict)


AnySet: TypeAlias = "PictureSet | ClipSet"


def open_dataset(words: Sequence[str], *, pictures: Path | None = None, negatives: bool = False) -> AnySet:
    """A frozen set by name, or files: a COCO or SA-Co document (one per annotator), or a DAVIS folder.

    `pictures`: the folder that file names of a picture document are relative to. `negatives`: ask a COCO
    document also for the categories that a picture has none of.
    Raises `SourceError` for what is not there, `UsageError` for what does not go together, `CheckError` for
    what is damaged.
    """
    if not words:
        raise UsageError("no dataset: give --dataset with a name or a path")
    if words[0] in FROZEN:
        if len(words) > 1 or pictures is not None or negatives:
            raise UsageError(
                f"dataset {words[0]} comes with everything: no second file, pictures or negatives"
            )
        return frozen(words[0])
    paths = [Path(word) for word in words]
    for path in paths:
        if not path.exists():
            raise SourceError(f"dataset {path}: no such file or folder, nor one of {', '.join(FROZEN)}")
    return read_dataset(paths, pictures=pictures, negatives=negatives)


def frozen(name: str) -> AnySet:
    """One of our own sets. Keys are `key_of(file_name, what is asked)`, and ids in results are these keys."""
    module: Any = import_module(f"sam3_edge.judge.{FROZEN[name]}")
    cases = tuple(module.cases())
    asked = {case.key: Asked(*case.key.split("\t", 1)) for case in cases}
    media = {key: key for key in asked}
    if isinstance(cases[0], PictureCase):
        return PictureSet(name, cases, asked, media, questions=module.questions)
    return ClipSet(name, cases, asked, media, questions=module.questions)


def read_dataset(paths: Sequence[Path], *, pictures: Path | None, negatives: bool) -> AnySet:
    """By content: a folder is DAVIS, a document says itself what it is."""
    from sam3_edge.judge.coco_set import read_coco
    from sam3_edge.judge.davis import read_davis
    from sam3_edge.judge.reading import read_json
    from sam3_edge.judge.saco import read_saco, read_veval

    first = paths[0]
    document = None if first.is_dir() else read_json(first)
    images = document.get("images") if isinstance(document, dict) else None
    saco = (
        isinstance(images, list)
        and bool(images)
        and isinstance(images[0], dict)
        and "text_input" in images[0]
    )
    if len(paths) > 1 and not saco:
        raise UsageError(f"{first} and {len(paths) - 1} more: only SA-Co pictures have several annotators")
    if negatives and (saco or images is None):
        raise UsageError(f"--negatives with {first}: it says itself what is asked in vain; leave it out")
    if pictures is not None and images is None:
        raise UsageError(f"--pictures with {first}: that is for documents of pictures; leave it out")
    if saco:
        return read_saco(paths, [document, *map(read_json, paths[1:])], pictures=pictures)
    if images is not None:
        return read_coco(first, document, pictures=pictures, negatives=negatives)
    if document is None:
        return read_davis(first)
    if isinstance(document, dict) and "videos" in document:
        return read_veval(first, document)
    raise CheckError(f"dataset {first}: neither images nor videos in it; want a COCO or SA-Co document")


def questions_in(
    folder: Path, cases: Sequence[PictureCase], asked: Mapping[str, Asked]
) -> Callable[[], Iterator[Question]]:
    """The cases with the pictures in `folder`, picture by picture. Raises what `read_picture` raises."""
    from sam3_edge.picture import read_picture

    def questions() -> Iterator[Question]:
        held, picture = None, np.zeros((0, 0, 3), np.uint8)
        for case in sorted(cases, key=lambda case: asked[case.key].file_name):
            file_name, phrase = asked[case.key]
            if file_name != held:
                held, picture = file_name, read_picture(folder / file_name)
            yield case, picture, Concept(phrase)

    return questions
