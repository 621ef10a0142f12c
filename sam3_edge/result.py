"""What every result has in common, and the way from it to other programs: supervision, COCO, Label Studio."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge.errors import BackendError, UsageError


class Result(ABC):
    """Objects of a picture or frame: masks bool [N, H, W], boxes float32 [N, 4] xyxy, scores float32 [N]."""

    masks: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """What was looked for, each once."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """What each object is, one of `classes`: [N]."""

    @property
    def object_ids(self) -> NDArray[np.int64] | None:
        """The objects' identities [N]; None where there are none, as in a picture."""
        return None

    def to_supervision(self, classes: Sequence[str] | None = None) -> Any:
        """As `supervision.Detections`: class ids are places in `classes`, names are `data["class_name"]`.

        `classes`: this result's own if None; name them to keep one id for one phrase over many results.
        Raises `BackendError` without the package, `UsageError` for an object of another class.
        """
        try:
            import supervision
        except ImportError as error:
            raise BackendError("supervision is not installed: pip install supervision") from error
        known = list(self.classes if classes is None else classes)
        if other := sorted(set(self.names) - set(known)):
            raise UsageError(f"{other[0]!r:.80} is not among the classes: name it, or leave the classes out")
        return supervision.Detections(
            xyxy=self.boxes.astype(np.float32),
            mask=self.masks,
            confidence=self.scores,
            class_id=np.array([known.index(name) for name in self.names], np.int64),
            tracker_id=self.object_ids,
            data={"class_name": np.array(self.names, np.str_)},
        )

    def to_coco(self, file_name: str, *, polygons: bool = False) -> dict[str, Any]:
        """As a COCO document of one picture; `CocoDocument` collects many. An identity is a `track_id`."""
        from sam3_edge.coco import CocoDocument

        document = CocoDocument(polygons=polygons)
        document.add(file_name, (self.masks.shape[1], self.masks.shape[2]), [self])
        return document.to_json()

    def to_labelstudio(self, image: str) -> dict[str, Any]:
        """As a Label Studio task with one prediction, a brush region for each object.

        `image`: the picture's address as Label Studio knows it. Clips: `labelstudio.clip_task`.
        """
        from sam3_edge.labelstudio import picture_task

        return picture_task(image, [self])
