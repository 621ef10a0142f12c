"""What happens in the scripted clips: actors, and the stories that drive every branch of the video loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

PEAK = 8.0  # of mask logits
HOMES = tuple((x, y) for y in (0.18, 0.5, 0.82) for x in (0.17, 0.5, 0.83))


@dataclass
class Actor:
    """A disc over time, in units of the picture; arrays are [T]."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    radius: float
    score: NDArray[np.float64]  # of its detection, 0: none
    present: NDArray[np.float64]  # added to the tracker's object score
    drift: NDArray[np.float64]  # of the tracked mask from the disc, in radii
    peak: NDArray[np.float64]  # of the tracked mask's logits; negative: an empty mask
    hole: NDArray[np.int64]  # side of a hole in the tracked mask, in pixels of it
    speck: NDArray[np.int64]  # side of a sprinkle beside it
    twice: NDArray[np.float64]  # score of a second detection, 0: none
    bitten: bool = False  # detections have a hole


@dataclass
class Scene:
    """What stories write into."""

    frames: int
    random: np.random.RandomState
    homes: list[tuple[float, float]]
    actors: list[Actor] = field(default_factory=list)

    def enter(self, radius: float, *, slow: float = 0.003) -> Actor:
        """A new actor in a free place, undetected, but there; it moves up to `slow` a frame."""
        r, t = self.random, np.arange(self.frames, dtype=np.float64)
        home = self.homes.pop() if self.homes else HOMES[r.randint(len(HOMES))]
        x, y = (
            np.asarray(at + r.uniform(-0.03, 0.03) + r.uniform(-slow, slow) * t, np.float64) for at in home
        )
        zeros, whole = np.zeros(self.frames), np.zeros(self.frames, np.int64)
        calm = r.uniform(1.0, 6.0, self.frames)
        drift = r.uniform(0, 0.12, self.frames)
        actor = Actor(
            x, y, radius, zeros.copy(), calm, drift, zeros + PEAK, whole.copy(), whole.copy(), zeros.copy()
        )
        actor.bitten = r.rand() < 0.4
        self.actors.append(actor)
        return actor

    def between(self, low: int, high: int) -> int:
        """A whole number in [low, high], not beyond the clip."""
        return int(min(self.random.randint(low, high + 1), self.frames - 1))

    def seen(self, actor: Actor, first: int, last: int) -> None:
        """Detected well on frames first..last."""
        actor.score[first : last + 1] = self.random.uniform(0.82, 0.97, len(actor.score[first : last + 1]))

    def hide(self, actor: Actor, first: int, last: int) -> None:
        """Neither detected nor tracked on frames first..last."""
        actor.score[first : last + 1] = 0
        actor.present[first : last + 1] = -self.random.uniform(3.0, 6.0)


def steady(scene: Scene, start: int | None = None) -> Actor:
    """Seen almost always; now and then missed, doubted or badly tracked."""
    r, actor = scene.random, scene.enter(scene.random.uniform(0.11, 0.15))
    first = scene.between(0, 6) if start is None else start
    scene.seen(actor, first, scene.frames)
    if first == 0 and r.rand() < 0.4:
        actor.score[0] = r.uniform(0.53, 0.66)  # born all the same where nothing else is tracked
    for _ in range(2):
        at = scene.between(first + 2, scene.frames - 4)
        actor.score[at : at + 3] = r.choice([0.0, 0.6, 0.76])
        at = scene.between(first + 2, scene.frames - 4)
        actor.drift[at : at + 3] = r.uniform(0.5, 1.0)
    return actor


def hider(scene: Scene) -> None:
    """Goes out of sight once or twice; the memory must skip those frames."""
    actor = steady(scene, scene.between(0, 3))
    for _ in range(2):
        at = scene.between(9, scene.frames - 8)
        scene.hide(actor, at, at + scene.between(0, 5))
    if scene.random.rand() < 0.5:
        actor.peak[scene.between(9, scene.frames - 3)] = -PEAK  # an empty mask with a good score


def ghost(scene: Scene) -> None:
    """Seen once to three times, then tracked but never seen again: removed. Sometimes two of them."""
    for _ in range(scene.between(1, 2)):
        actor = scene.enter(scene.random.uniform(0.08, 0.14))
        first = scene.between(1, scene.frames - 16)
        scene.seen(actor, first, first + scene.between(0, 2))


def fader(scene: Scene) -> None:
    """Tracked as absent soon after birth: empty, not unmatched, so it stays. May come back."""
    actor = scene.enter(scene.random.uniform(0.08, 0.14))
    first = scene.between(1, 15)
    scene.seen(actor, first, scene.frames)
    at = first + scene.between(2, 6)
    scene.hide(actor, at, at + scene.between(5, 20))


def late(scene: Scene) -> None:
    """Unmatched only when it is too old to be removed."""
    actor = scene.enter(scene.random.uniform(0.09, 0.13))
    first = scene.between(0, 4)
    scene.seen(actor, first, first + 15)
    if scene.random.rand() < 0.5:
        scene.seen(actor, scene.between(first + 26, first + 34), scene.frames)


def weak(scene: Scene) -> None:
    """Too doubtful to be born at first."""
    actor = scene.enter(scene.random.uniform(0.08, 0.14))
    first = scene.between(1, 12)
    scene.seen(actor, first, scene.frames)
    actor.score[first : first + 4] = scene.random.uniform(0.52, 0.68)


def twin(scene: Scene) -> None:
    """Born apart, then tracked where another object is: removed as a duplicate. Sometimes two of them."""
    host = steady(scene, scene.between(0, 2))
    host.drift[:] = np.minimum(host.drift, 0.2)
    for _ in range(scene.between(1, 2)):
        actor = scene.enter(host.radius * scene.random.uniform(0.85, 1.1))
        first = scene.between(3, scene.frames - 18)
        scene.seen(actor, first, first + 1)
        follow(actor, host, first + scene.between(2, 3), scene.frames)
        host.score[first : first + 14] = np.maximum(host.score[first : first + 14], 0.85)


def follow(actor: Actor, host: Actor, first: int, last: int) -> None:
    """From first on the actor is where the host is."""
    actor.x[first : last + 1], actor.y[first : last + 1] = host.x[first : last + 1], host.y[first : last + 1]


def crossing(scene: Scene) -> None:
    """Two objects, both hidden before, lie over one another: the one hidden last is suppressed."""
    a, b = steady(scene, 0), steady(scene, scene.between(0, 2))
    b.radius = a.radius * scene.random.uniform(0.97, 1.03)
    first, second = scene.random.permutation([scene.between(6, 9), scene.between(11, 14)])
    scene.hide(a, first, first + 1)
    scene.hide(b, second, second + 1)
    for low in (18, 31):
        at = scene.between(low, low + 4)
        until = at + scene.between(2, 4)
        follow(b, a, at, until)
        b.score[at : until + 1] = 0
        for one in (a, b):
            one.drift[at : until + 1] *= 0.3


def rider(scene: Scene) -> None:
    """A small object in front of a big one, but less certain: nearly all its pixels go to the big one."""
    host = steady(scene, scene.between(0, 2))
    host.radius = scene.random.uniform(0.15, 0.17)
    actor = scene.enter(scene.random.uniform(0.046, 0.052))
    scene.seen(actor, scene.between(1, 3), scene.frames)
    for low, high in ((8, 14), (22, 30)):
        at = scene.between(low, low + 4)
        until = scene.between(high, high + 8)
        follow(actor, host, at, until)
        actor.peak[at : until + 1] = scene.random.uniform(1.5, 3.0)
        actor.score[at : until + 1] = np.where(
            scene.random.rand(len(actor.score[at : until + 1])) < 0.6, 0.84, 0
        )


STORIES: tuple[Callable[[Scene], object], ...] = (ghost, twin, crossing, rider, fader, hider, late, weak)


def spoil(scene: Scene) -> None:
    """Small faults everywhere: holes, sprinkles, second detections, a frame without any."""
    r = scene.random
    for actor in scene.actors:
        if actor.radius > 0.07:
            actor.hole[:] = np.where(r.rand(scene.frames) < 0.1, r.randint(1, 6, scene.frames), 0)
            actor.speck[:] = np.where(r.rand(scene.frames) < 0.08, r.randint(1, 6, scene.frames), 0)
        again = (r.rand(scene.frames) < 0.08) & (actor.score > 0)
        actor.twice[:] = np.where(again, r.uniform(0.51, 0.97, scene.frames), 0)
    if r.rand() < 0.4:
        at = scene.between(3, scene.frames - 2)
        for actor in scene.actors:
            actor.score[at] = actor.twice[at] = 0
