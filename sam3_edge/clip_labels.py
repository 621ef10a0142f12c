"""A SA-Co document of clips (VEval): phrases asked of clips, and a masklet for each object."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sam3_edge.judge.case import Clip


@dataclass
class ClipLabels:
    """A SA-Co document of clips as it grows, and what did not get into it."""

    videos: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    phrases: dict[str, int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    skipped: list[dict[str, str]] = field(default_factory=list)

    def add(self, phrase: str, clip: Clip) -> None:
        """A phrase of the last clip with its objects; none of them: a negative."""
        video = self.videos[-1]["id"]
        category = self.phrases.setdefault(phrase, len(self.phrases) + 1)
        self.pairs.append(
            {
                "id": len(self.pairs) + 1,
                "video_id": video,
                "category_id": category,
                "noun_phrase": phrase,
                "num_masklets": len(clip.objects),
            }
        )
        height, width = clip.size
        for number, masklet in clip.objects.items():
            shapes = [
                None if runs is None else {"size": [height, width], "counts": runs.decode("ascii")}
                for runs in masklet
            ]
            self.annotations.append(
                {
                    "id": len(self.annotations) + 1,
                    "video_id": video,
                    "category_id": category,
                    "segmentations": shapes,
                    "height": height,
                    "width": width,
                    "iscrowd": 0,
                    "score": round(clip.scores[number], 4),
                }
            )

    def to_json(self) -> dict[str, Any]:
        """The document; `info` counts what was left out and names every clip that was skipped."""
        return {
            "info": {"counts": dict(sorted(self.counts.items())), "skipped": self.skipped},
            "videos": self.videos,
            "categories": [{"id": number, "name": phrase} for phrase, number in self.phrases.items()],
            "video_np_pairs": self.pairs,
            "annotations": self.annotations,
        }
