"""What the built-in model is trained on, stage by stage; `train_shapes` says why."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Stage:
    """A part of the training: which losses, on what, for how long, how fast.

    `clips`: the share of pictures that are frames of clips. `from_mean`: it starts from the mean of the ends
    of the two stages before. `cells`: with what every cell must know, which is for a trunk that learns.
    `muon`, `halfway`: see `staged.Manner`.
    """

    name: str
    steps: int
    rate: float
    image_size: int
    pictures: int
    questions: int
    drawn: int
    most: int
    photographs: bool = False
    frozen_trunk: bool = False
    clips: float = 0.0
    muon: bool = False
    from_mean: bool = False
    cells: bool = True
    halfway: bool = False


FRAMES = Stage(
    name="frames",
    steps=1400,
    rate=7e-4,
    image_size=224,
    pictures=4,
    questions=10,
    drawn=3,
    most=8,
    photographs=True,
    frozen_trunk=True,
    clips=0.6,
    muon=True,
    from_mean=True,
    cells=False,
    halfway=True,
)
STAGES = (
    Stage("dense", 1200, 1.5e-3, 112, 16, 1, 1, 3),
    Stage("semantic", 2500, 8e-4, 112, 10, 4, 4, 3),
    Stage("detect", 1200, 6e-4, 112, 8, 4, 4, 3),
    Stage("full", 1500, 4e-4, 224, 4, 4, 4, 7),
    Stage("words", 1700, 4e-4, 224, 4, 10, 3, 7),
    Stage("photographs", 5000, 4e-4, 224, 4, 10, 3, 8, photographs=True),
    Stage("refine", 2200, 3e-4, 224, 4, 10, 3, 8, photographs=True),
    Stage("heads", 1300, 2.5e-4, 224, 4, 10, 3, 8, photographs=True, frozen_trunk=True),
    FRAMES,
    replace(
        FRAMES,
        name="enlarged",
        steps=1100,
        image_size=336,
        frozen_trunk=False,
        from_mean=False,
        halfway=False,
    ),
)
