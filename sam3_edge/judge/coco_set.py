"""Plain COCO documents of instances as picture cases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sam3_edge.errors import CheckError
from sam3_edge.judge.case import Masks, PictureCase, Size
from sam3_edge.judge.datasets import Asked, PictureSet, key_of, questions_in
from sam3_edge.judge.reading import AGAIN, identity, runs_of, size_of, take, twice


def read_coco(path: Path, document: Any, *, pictures: Path | None, negatives: bool) -> PictureSet:
    """One case for each picture and category that is in it, with the category's name as the phrase.

    A category that a picture has none of is no case unless `negatives` is set. A picture's category with a
    crowd region is left out: objects in it are not drawn one by one, and finding them would count as wrong.
    """
    images = entries(document, "images", where=str(path))
    names = labels(document, "categories", "name", where=str(path))
    sizes = {number: size_of(row, where=f"{path}, image {number}") for number, row in images.items()}
    media = labels(document, "images", "file_name", where=str(path))
    found, crowded = annotated(path, document, sizes, names)
    every = {(image, name) for image in images for name in names} if negatives else set(found)
    cases, asked = [], {}
    for image, name in sorted(every - crowded):
        key = key_of(media[image], names[name])
        asked[key] = Asked(media[image], names[name])
        tags = frozenset((names[name],))
        cases.append(PictureCase(key, (Masks(sizes[image], tuple(found.get((image, name), ()))),), tags))
    made = None if pictures is None else questions_in(pictures, cases, asked)
    return PictureSet(path.name, tuple(cases), asked, media, names, len(crowded), questions=made)


Pair = tuple[str, str]


def annotated(
    path: Path, document: Any, sizes: Mapping[str, Size], names: Mapping[str, str]
) -> tuple[dict[Pair, list[bytes]], set[Pair]]:
    """The masks of each picture and category, and the pairs that hold a crowd region."""
    found: dict[Pair, list[bytes]] = {}
    crowded = set()
    for number, row in enumerate(take(document, "annotations", list, where=str(path))):
        where = f"{path}, annotation {number}"
        pair = identity(row, "image_id", where=where), identity(row, "category_id", where=where)
        if pair[0] not in sizes or pair[1] not in names:
            raise CheckError(f"{where}: there is no image {pair[0]} or category {pair[1]}: {AGAIN}")
        runs = runs_of(row.get("segmentation"), sizes[pair[0]], where=where)
        found.setdefault(pair, []).append(runs)
        if row.get("iscrowd"):
            crowded.add(pair)
    return found, crowded


def entries(document: Any, name: str, *, where: str) -> dict[str, Any]:
    """The objects of a list by their ids. Raises `CheckError` when two have one id."""
    rows = take(document, name, list, where=where)
    numbers = [identity(row, "id", where=f"{where}, {name} entry {i}") for i, row in enumerate(rows)]
    if (double := twice(numbers)) is not None:
        raise CheckError(f"{where}: two entries of {name} have the id {double:.80}: {AGAIN}")
    return dict(zip(numbers, rows, strict=True))


def labels(document: Any, name: str, label: str, *, where: str) -> dict[str, str]:
    """id -> one text field, which must differ from entry to entry: results are matched by it."""
    rows = entries(document, name, where=where)
    made = {number: take(row, label, str, where=f"{where}, {name} {number}") for number, row in rows.items()}
    if (double := twice(made.values())) is not None:
        raise CheckError(f"{where}: {double!r:.80} occurs twice in {name}: {AGAIN}")
    return made
