"""Labels of clips from a teacher: what a bundle follows for a list of phrases, as a SA-Co document of clips.

The rules are those of pictures (`labelling`), object by object through the clip: every object must have been
born from a detection well above the threshold, and be followed again through the mirrored clip; some frames
are also asked as pictures, and what is found there must be one of the objects. A phrase counts as absent only
if nothing is followed, and nothing comes near the threshold in those frames.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam3_edge.clip_labels import ClipLabels
from sam3_edge.concept import Concept
from sam3_edge.errors import SourceError, UsageError
from sam3_edge.judge.case import Clip, Masks
from sam3_edge.judge.clip_answering import gather
from sam3_edge.judge.region import overlaps, presence
from sam3_edge.labelling import THRESHOLD, Gates, hardest
from sam3_edge.loop.delayed import Delayed
from sam3_edge.loop.events import FrameResult
from sam3_edge.run import PICTURES, VIDEOS
from sam3_edge.segmentation import Segmentation
from sam3_edge.segmenter import Segmenter
from sam3_edge.tracking import begin
from sam3_edge.video.frames import Video
from sam3_edge.video.reading import by_number, open_video

LOOKS = 8  # frames of a clip that are also asked as pictures
SAME = 0.5  # IoU from which on what is found in such a frame is one of the objects

Looks = list[tuple[int, Segmentation]]


def find_clips(sources: Sequence[Path]) -> dict[str, Path]:
    """By name: videos, folders of frames, and folders of either.

    Raises `SourceError` for what is none of these, `UsageError` for two of one name.
    """
    found: dict[str, Path] = {}
    for source in sources:
        inside = sorted(source.iterdir()) if source.is_dir() and not has_frames(source) else [source]
        clips = [path for path in inside if path.suffix.lower() in VIDEOS or has_frames(path)]
        if not source.exists() or not clips:
            raise SourceError(
                f"{source}: no clips here: give videos, folders of frames, or folders of either"
            )
        for path in clips:
            name = path.name if path.is_dir() else path.stem
            if found.setdefault(name, path) != path:
                raise UsageError(f"{path} and {found[name]} have one name: labels could not tell them apart")
    return found


def has_frames(path: Path) -> bool:
    """Whether it is a folder with pictures in it."""
    return path.is_dir() and any(inside.suffix.lower() in PICTURES for inside in path.iterdir())


def label_clips(
    segmenter: Segmenter,
    clips: Mapping[str, Path],
    phrases: Sequence[str],
    gates: Gates,
    *,
    advance: Callable[[int], object] = lambda count: None,
) -> ClipLabels:
    """Label every clip. One that cannot be read, or that was there before, is skipped and named.

    Raises `UsageError` for a bundle without a tracker.
    """
    made, seen = ClipLabels(), dict[str, str]()
    for name, path in clips.items():
        advance(1)
        try:
            video = open_video(path)
            size, frames, pixels = measured(video)
            if (twin := seen.setdefault(pixels, name)) != name:
                raise SourceError(f"the same pixels as {twin}")
            found = asked_thrice(segmenter, video, frames, phrases, gates)
        except SourceError as error:
            made.skipped.append({"video_name": name, "reason": str(error)})
            continue
        made.videos.append(
            {
                "id": len(made.videos) + 1,
                "video_name": name,
                "file_names": frame_names(name, path, frames),
                "height": size[0],
                "width": size[1],
                "length": frames,
            }
        )
        judge_clip(found, size, frames, gates, made)
    made.counts["skipped"] = len(made.skipped)
    return made


def measured(video: Video) -> tuple[tuple[int, int], int, str]:
    """Height and width, frames, and the hash of all pixels."""
    hashed, size, frames = hashlib.sha256(), (0, 0), 0
    for frames, frame in enumerate(video.frames(), 1):  # noqa: B007
        hashed.update(frame.pixels.tobytes())
        size = (frame.pixels.shape[0], frame.pixels.shape[1])
    return size, frames, hashed.hexdigest()


def frame_names(name: str, path: Path, frames: int) -> list[str]:
    """A folder's pictures; of a video, what they would be called in a folder of its name."""
    if path.is_dir():
        paths = sorted((p for p in path.iterdir() if p.suffix.lower() in PICTURES), key=by_number)
        return [f"{name}/{picture.name}" for picture in paths]
    return [f"{name}/{index:05d}.jpg" for index in range(frames)]


@dataclass(frozen=True)
class Said:
    """What was said of one phrase: of the clip, of its mirror image, and of some frames as pictures."""

    phrase: str
    clip: Clip
    mirrored: Clip
    looks: Looks


def asked_thrice(
    segmenter: Segmenter, video: Video, frames: int, phrases: Sequence[str], gates: Gates
) -> list[Said]:
    """Follow all phrases through the clip and through its mirror image, and ask some frames by themselves."""
    views = [followed(segmenter, video, phrases, mirror=mirror) for mirror in (False, True)]
    wanted = set(np.linspace(0, frames - 1, min(LOOKS, frames)).round().astype(int).tolist())
    looks: dict[str, Looks] = {phrase: [] for phrase in phrases}
    for frame in video.frames():
        if frame.index in wanted:
            seen = segmenter.segment(frame.pixels, list(phrases), threshold=THRESHOLD - gates.absence)
            for phrase, found in zip(phrases, seen, strict=True):
                looks[phrase].append((frame.index, found))
    clip, mirrored = views
    return [Said(phrase, clip[phrase], mirrored[phrase], looks[phrase]) for phrase in phrases]


def followed(segmenter: Segmenter, video: Video, phrases: Sequence[str], *, mirror: bool) -> dict[str, Clip]:
    """The phrases' objects. Of the mirror image, as they lie in the clip itself."""
    tracker = begin(segmenter, [Concept(phrase) for phrase in phrases])
    pictures = (frame.pixels for frame in video.frames())
    if not mirror:
        return gather(Delayed(tracker).follow(pictures), phrases)
    turned = (np.ascontiguousarray(picture[:, ::-1]) for picture in pictures)
    return gather(turned_back(Delayed(tracker).follow(turned)), phrases)


def turned_back(results: Iterator[FrameResult]) -> Iterator[FrameResult]:
    """Results of a mirrored clip with their masks as they lie in the clip itself."""
    return (replace(result, masks=np.ascontiguousarray(result.masks[:, :, ::-1])) for result in results)


def judge_clip(
    found: Sequence[Said], size: tuple[int, int], frames: int, gates: Gates, made: ClipLabels
) -> None:
    """Keep what all three are sure of."""
    absent, present = [], []
    for said in found:
        if is_absent(said):
            absent.append((said.phrase, max(seen.presence for _, seen in said.looks)))
        elif is_sure(said, gates):
            present.append(said.phrase)
            made.add(said.phrase, said.clip)
        else:
            made.counts["unsure"] += 1
    for phrase in hardest(absent, present)[: gates.negatives]:
        made.counts["negatives"] += 1
        made.add(phrase, Clip(size, frames, {}))
    made.counts["positives"] += len(present)
    made.counts["clips"] += 1


def is_absent(said: Said) -> bool:
    """Whether nothing is followed, and no frame shows anything near the threshold."""
    return not said.clip.objects and not said.mirrored.objects and not any(len(s) for _, s in said.looks)


def is_sure(said: Said, gates: Gates) -> bool:
    """Whether clip and mirror image have the same objects, all sure, and no frame shows another one."""
    a, b = said.clip, said.mirrored
    scores = [*a.scores.values(), *b.scores.values()]
    if not a.objects or len(a.objects) != len(b.objects) or min(scores) < THRESHOLD + gates.margin:
        return False
    alike = agreement(a, b)
    if len(set(alike.argmax(1).tolist())) < len(a.objects) or alike.max(1).min() < gates.agreement:
        return False
    return all(is_known(a, frame, seen) for frame, seen in said.looks)


def agreement(a: Clip, b: Clip) -> NDArray[np.float64]:
    """Mean IoU [N, M] of every pair of objects, over the frames that show one of the two."""
    either = presence(a)[:, :, None] | presence(b)[:, None, :]
    mean: NDArray[np.float64] = overlaps(a, b).sum(0) / np.maximum(either.sum(0), 1)
    return mean


def is_known(clip: Clip, frame: int, seen: Segmentation) -> bool:
    """Whether what a frame shows by itself is the clip's objects there: none that is sure is missing, and
    none is followed where nothing comes near the threshold."""
    followed = clip.at(frame)[1]
    iou = Masks.of(seen.masks).iou(followed) >= SAME
    sure = seen.scores > THRESHOLD
    if not sure.any() and not len(followed):
        return True
    return bool(iou.shape[1]) and bool(iou[sure].any(1).all() and iou.any(0).all())
