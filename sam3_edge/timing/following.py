"""A tracker that follows as many objects as are asked for, with every graph and every part of it timed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sam3_edge.errors import UsageError
from sam3_edge.loop.settings import Settings
from sam3_edge.loop.tracker import Tracker
from sam3_edge.segmenter import Segmenter
from sam3_edge.session import Session, Value
from sam3_edge.spec import ModelConfig, graph_specs
from sam3_edge.stopwatch import TimedSession, timed

SURE, NONE = 4.0, -9.0  # logits


class Following(TimedSession):
    """A timed session whose detector is sure of its first `objects` queries, and of nothing else.

    Every graph runs, on its own inputs; its answers take as long whatever they are, but how many objects are
    followed decides what a frame costs. `objects` None: what the model finds. `wait`: each graph is waited
    for where it runs, so that a device which answers later is charged for it there, not in the next fetch.
    """

    def __init__(
        self, session: Session, config: ModelConfig, *, objects: int | None = None, wait: bool = False
    ) -> None:
        super().__init__(session)
        self.objects, self.wait, self.specs = objects, wait, graph_specs(config)

    def run(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        out: dict[str, Value] = timed(graph)(self.finished)(graph, feeds)
        if graph == "detector" and self.objects is not None:
            shapes = {tensor.name: tensor.sized() for tensor in self.specs[graph].outputs}
            logits = np.full(shapes["logits"], NONE, np.float32)
            logits[0, : self.objects] = SURE
            out |= {"logits": logits, "presence": np.full(shapes["presence"], SURE, np.float32)}
        return out

    def finished(self, graph: str, feeds: Mapping[str, Value]) -> dict[str, Value]:
        """Run a graph, to its end if it is to be waited for: its smallest output is fetched."""
        out = self.session.run(graph, feeds)
        if self.wait:
            smallest = min(self.specs[graph].outputs, key=lambda tensor: int(np.prod(tensor.sized())))
            self.session.fetch(out[smallest.name])
        return out


def settings_for(objects: int | None) -> Settings:
    """The loop's own, or such that so many objects stay: nobody gives way, nobody is taken back."""
    if objects is None:
        return Settings()
    return Settings(nms=0, occlusion=0, hot_start=0, max_objects=objects)


def begin(model: Segmenter, phrases: tuple[str, ...], objects: int | None, *, wait: bool = False) -> Tracker:
    """A tracker before its first frame; the phrases are encoded here, not in a frame.

    Raises `UsageError` for more objects than the model has queries, or with several phrases.
    """
    if objects is not None and objects > model.config.queries:
        raise UsageError(
            f"{objects} objects: this bundle finds {model.config.queries} at most; ask for fewer"
        )
    if objects is not None and len(phrases) != 1:
        raise UsageError("several phrases and a number of objects: leave one of them out")
    session = Following(model.session, model.config, objects=objects, wait=wait)
    tracker = Tracker(session, model.config, model.phrases, settings=settings_for(objects))
    for phrase in phrases:
        tracker.add(phrase)
    return tracker


def check_born(tracker: Tracker, objects: int | None) -> None:
    """Raises `UsageError` if not as many objects are followed as are to be."""
    if objects is not None and len(tracker.tracks) != objects:
        raise UsageError(f"of {objects} objects {len(tracker.tracks)} are followed: ask for fewer")


def describe(tracker: Tracker, objects: int | None) -> dict[str, Any]:
    """What a report says of how the loop was run."""
    how = "as the model finds them" if objects is None else "so many queries of the detector are made sure"
    return {"objects": objects, "how": how, "settings": tracker.settings.to_json()}
