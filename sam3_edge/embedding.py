"""A picture as the model sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from sam3_edge.session import Session, Value


@dataclass(frozen=True, eq=False)
class Embedding:
    """A picture as the model sees it, to be asked again and again. The features may live on a device.

    `trunk` is what the backbone, the costly part, gave out; the rest is computed when first asked for.
    """

    size: tuple[int, int]  # height and width in pixels
    trunk: Mapping[str, Value]
    session: Session

    @cached_property
    def features(self) -> Mapping[str, Value]:
        """The outputs of `detector_features`."""
        return self.session.run("detector_features", self.trunk)

    @cached_property
    def tracker(self) -> Mapping[str, Value]:
        """The outputs of `tracker_features`, from which clicks are answered too."""
        return self.session.run("tracker_features", self.trunk)
