"""SA-Co documents: phrases asked of pictures (Gold, Silver) and of clips (VEval)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sam3_edge.errors import CheckError
from sam3_edge.judge.case import Clip, ClipCase, Masklet, Masks, PictureCase, Size
from sam3_edge.judge.coco_set import entries
from sam3_edge.judge.datasets import Asked, ClipSet, PictureSet, key_of, questions_in
from sam3_edge.judge.reading import AGAIN, identity, runs_of, size_of, take


def read_saco(paths: Sequence[Path], documents: Sequence[Any], *, pictures: Path | None) -> PictureSet:
    """One case for each entry of `images`, which is a picture and a phrase; its id is the key.

    A document per annotator, all with the same entries. What one of them did not annotate exhaustively is
    left out, and so are crowd regions: the benchmark's own rules.
    """
    images = entries(documents[0], "images", where=str(paths[0]))
    truths: dict[str, list[Masks]] = {key: [] for key in images}
    whole = dict.fromkeys(images, True)
    for path, document in zip(paths, documents, strict=True):
        rows = entries(document, "images", where=str(path))
        if set(rows) != set(images):
            raise CheckError(
                f"{path} and {paths[0]} are not about the same pictures and phrases: name others"
            )
        for key, masks in annotated(path, document, rows).items():
            truths[key].append(masks)
            whole[key] = whole[key] and bool(rows[key].get("is_instance_exhaustive", True))
    asked = {key: asked_by(row, where=f"{paths[0]}, image {key}") for key, row in images.items()}
    cases = tuple(PictureCase(key, tuple(masks)) for key, masks in truths.items() if whole[key])
    made = None if pictures is None else questions_in(pictures, cases, asked)
    lost = len(images) - len(cases)
    return PictureSet(paths[0].name, cases, asked, {key: key for key in images}, None, lost, questions=made)


def asked_by(row: Any, *, where: str) -> Asked:
    """The picture and the phrase of one entry."""
    return Asked(take(row, "file_name", str, where=where), take(row, "text_input", str, where=where))


def annotated(path: Path, document: Any, images: Mapping[str, Any]) -> dict[str, Masks]:
    """What one annotator drew for each entry; nothing for a phrase that is not in the picture."""
    sizes = {key: size_of(row, where=f"{path}, image {key}") for key, row in images.items()}
    found: dict[str, list[bytes]] = {key: [] for key in images}
    for number, row in enumerate(take(document, "annotations", list, where=str(path))):
        where = f"{path}, annotation {number}"
        key = identity(row, "image_id", where=where)
        if key not in found:
            raise CheckError(f"{where}: there is no image {key:.80}: {AGAIN}")
        if not row.get("iscrowd"):
            found[key].append(runs_of(row.get("segmentation"), sizes[key], where=where))
    return {key: Masks(sizes[key], tuple(runs)) for key, runs in found.items()}


def read_veval(path: Path, document: Any) -> ClipSet:
    """One case for each pair of a clip and a phrase: those of `video_np_pairs`, also phrases asked in vain.

    In a document without them (YT-VIS), those that have an annotation. The key is `key_of(clip, phrase)`.
    """
    videos = entries(document, "videos", where=str(path))
    phrases = {
        key: take(row, "name", str, where=f"{path}, category {key}")
        for key, row in entries(document, "categories", where=str(path)).items()
    }
    names = {key: clip_name(row, where=f"{path}, video {key}") for key, row in videos.items()}
    objects = masklets(path, document, videos)
    pairs = document.get("video_np_pairs")
    if pairs is not None:
        where = f"{path}, video_np_pairs"
        both = [
            (identity(p, "video_id", where=where), identity(p, "category_id", where=where)) for p in pairs
        ]
        objects = {pair: objects.get(pair, {}) for pair in both}
    cases, asked = [], {}
    for (video, category), found in objects.items():
        if video not in videos or category not in phrases:
            raise CheckError(f"{path}: there is no video {video} or category {category}: {AGAIN}")
        asked[key := key_of(names[video], phrases[category])] = Asked(names[video], phrases[category])
        size, frames = clip_size(videos[video], where=f"{path}, video {video}")
        cases.append(ClipCase(key, Clip(size, frames, found)))
    files = {names[key]: [str(file) for file in row["file_names"]] for key, row in videos.items()}
    return ClipSet(path.name, tuple(cases), asked, names, phrases, frames=files)


def clip_name(row: Any, *, where: str) -> str:
    """SA-Co names its clips; YT-VIS names only their frames, in a folder of the clip's name."""
    if "video_name" in row:
        return take(row, "video_name", str, where=where)
    files = take(row, "file_names", list, where=where)
    return str(Path(str(files[0] if files else "")).parent)


def clip_size(row: Any, *, where: str) -> tuple[Size, int]:
    """Size and number of frames."""
    return size_of(row, where=where), len(take(row, "file_names", list, where=where))


Pair = tuple[str, str]


def masklets(path: Path, document: Any, videos: Mapping[str, Any]) -> dict[Pair, dict[int, Masklet]]:
    """The true objects of each clip and phrase by the annotations' ids."""
    found: dict[Pair, dict[int, Masklet]] = {}
    for number, row in enumerate(take(document, "annotations", list, where=str(path))):
        where = f"{path}, annotation {number}"
        pair = identity(row, "video_id", where=where), identity(row, "category_id", where=where)
        if pair[0] not in videos:
            raise CheckError(f"{where}: there is no video {pair[0]:.80}: {AGAIN}")
        if row.get("iscrowd"):
            continue
        size, frames = clip_size(videos[pair[0]], where=where)
        objects = found.setdefault(pair, {})
        objects[take(row, "id", int, where=where)] = masklet_of(row, size, frames=frames, where=where)
    return found


def masklet_of(row: Any, size: Size, *, frames: int, where: str) -> Masklet:
    """One object through a clip. An empty mask is an object that is not seen."""
    from pycocotools import mask as rle

    shapes = take(row, "segmentations", list, where=where)
    if len(shapes) != frames:
        raise CheckError(f"{where}: {len(shapes)} masks, the clip has {frames} frames: {AGAIN}")
    runs = [None if shape is None else runs_of(shape, size, where=where) for shape in shapes]
    return tuple(
        packed if packed and rle.area({"size": list(size), "counts": packed}) else None for packed in runs
    )
