"""Teach the built-in model to track: `python -m sam3_edge.export.train_tracking FOLDER --weights FILE`.

FILE holds a detector that `train_shapes` trained. It is frozen, so that what it finds stays exactly the same;
only what is the tracker's alone learns. First `clicks` teaches the mask decoder to segment what it is pointed
to, on single pictures; then `pairs` finds objects again on the next two frames of clips, `clips` follows them
through a few more, and `paths`, `recall`, `crossings` and `slowly` through many, where things cross and hide;
`enlarged` does so again on the trunk that `train_shapes` ends with. All go on with clicks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from sam3_edge.errors import UsageError
from sam3_edge.shapes.photographs import TRAINING, read

from .checkpoint import load, save
from .following import Follower
from .model import Sam3
from .processes import rank, share_gradients, together
from .resuming import keep_state, kept_state
from .schedule import average_into, set_rate
from .shapes_model import TRACKING_CONFIG, with_tracker
from .staged import Staged, copied
from .tracking_batch import LONGEST, draw_sequences, draw_stills

MERGES = "merges.txt"
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True)
class Stage:
    """A part of the training: for how long, how fast, and on what. Without clips, on pictures alone.

    `rounds`: clicks on each object of a picture, at most; pictures come with every `pictures_every`-th batch.
    `fastest`: frames of a clip from one frame of a sequence to the next, at most.
    `muon`, `halfway`: see `staged.Manner`.
    """

    name: str
    steps: int
    rate: float
    pictures: int
    rounds: int
    clips: int
    frames: int
    objects: int
    eventful: bool = False
    pictures_every: int = 1
    muon: bool = False
    fastest: int = LONGEST
    halfway: bool = False


CROSSINGS = Stage("crossings", 560, 7e-4, 1, 5, 1, 13, 3, eventful=True, pictures_every=3, muon=True)
STAGES = (
    Stage("clicks", 600, 2e-3, 6, 3, 0, 0, 4),
    Stage("pairs", 700, 1.5e-3, 2, 5, 3, 3, 4),
    Stage("clips", 700, 1.2e-3, 2, 5, 2, 6, 4),
    Stage("paths", 500, 1e-3, 1, 5, 1, 10, 4, eventful=True),
    Stage("recall", 950, 1e-3, 1, 5, 1, 10, 4, eventful=True, pictures_every=3, muon=True),
    CROSSINGS,
    replace(CROSSINGS, name="slowly", fastest=3, halfway=True),
    replace(CROSSINGS, name="enlarged", steps=420, frames=11, fastest=4),
)


class Training(Staged):
    """All state of a run, so that it can stop at any step and go on. The detector is no part of it."""

    def __init__(self, folder: Path, weights: Path, seed: int) -> None:
        self.folder, self.weights, self.seed = folder, weights, seed
        found = load(weights, tokenizer=weights.with_name(MERGES))
        self.model = with_tracker(found.model, TRACKING_CONFIG, seed)
        self.model.requires_grad_(False)
        self.tracker = self.model.tracker.requires_grad_()
        for fixed in (self.tracker.prompts.matrix, self.tracker.decoder.matrix):
            fixed.requires_grad_(False)  # drawn once, and alike
        self.learned = [weight for weight in self.tracker.parameters() if weight.requires_grad]
        super().__init__(STAGES, self.tracker, copied(self.tracker.state_dict()))
        self.photographs = read(TRAINING)

    def start_from(self, weights: Path, stage: str) -> None:
        """Go on from a trained tracker, with a stage."""
        known = load(weights, tokenizer=weights.with_name(MERGES)).model
        if not known.config.tracks:
            raise UsageError(
                f"{weights}: holds no tracker to go on with: leave --stage out to begin with a new one"
            )
        self.tracker.load_state_dict(known.tracker.state_dict())
        self.average = copied(self.tracker.state_dict())
        self.enter([it.name for it in STAGES].index(stage))

    def save(self) -> None:
        state = {
            "tracker": self.tracker.state_dict(),
            "average": self.average,
            "seed": self.seed,
            "place": self.place(),
        }
        keep_state(self.folder, state)

    def resume(self) -> None:
        if (state := kept_state(self.folder)) is None:
            return
        self.tracker.load_state_dict(state["tracker"])
        self.average = state["average"]
        self.seed = state["seed"]
        self.go_back(state["place"])

    def losses(self, stage: Stage, rng: np.random.Generator) -> dict[str, Tensor]:
        """What the tracker gets wrong on a new batch."""
        config, losses = self.model.config, dict[str, Tensor]()
        if self.step % stage.pictures_every == 0:
            stills = draw_stills(
                rng, config, pictures=stage.pictures, objects=stage.objects, photographs=self.photographs
            )
            rounds = int(rng.integers(1, stage.rounds + 1))
            losses["clicks"] = Follower(self.model, stills, rng).clicks(rounds)
        if stage.clips:
            clips = draw_sequences(
                rng,
                config,
                clips=stage.clips,
                frames=stage.frames,
                objects=stage.objects,
                eventful=stage.eventful,
                fastest=stage.fastest,
            )
            losses |= Follower(self.model, clips, rng).follow()
        return losses

    def run_stage(self, stage: Stage) -> None:
        """Train to the end of one stage, saving every few minutes."""
        self.begin()
        saved, sums = time.monotonic(), {"loss": 0.0}
        while self.step < stage.steps:
            rng = np.random.default_rng((self.seed, self.stage, self.step, rank()))
            losses = self.losses(stage, rng)
            self.update(stage, sum(losses.values(), torch.zeros(())))
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value.item()
            if self.step % 50 == 0 and rank() == 0:
                text = "  ".join(f"{name} {value / 50:.3f}" for name, value in sums.items() if value)
                print(
                    f"{stage.name} {self.step}/{stage.steps}  {text}  cpu {time.process_time():.0f}s",
                    flush=True,
                )
                sums = {}
            if time.monotonic() - saved > 120:
                self.save()
                saved = time.monotonic()
        self.save()

    def update(self, stage: Stage, loss: Tensor) -> None:
        """One optimiser step."""
        set_rate(self.optimisers, stage.rate, self.step, stage.steps)
        self.tracker.zero_grad()
        loss.backward()
        share_gradients(self.learned)
        torch.nn.utils.clip_grad_norm_(self.learned, 1.0)
        self.move()
        average_into(self.average, self.tracker, self.step)

    def finished(self) -> Sam3:
        """The model with the averaged weights."""
        self.tracker.load_state_dict(self.average)
        return self.model


def train(folder: Path, weights: Path, seed: int, stage: str | None) -> None:
    """Go through the stages, from where a run in this folder was stopped."""
    run = Training(folder, weights, seed)
    if stage is not None:
        run.start_from(weights, stage)
    run.resume()
    while run.stage < len(STAGES):
        run.run_stage(STAGES[run.stage])
        run.end()
        run.enter(run.stage + 1)
    if rank() == 0:
        (folder / MERGES).write_bytes(weights.with_name(MERGES).read_bytes())
        save(run.finished(), folder / "model.safetensors")
        print(f"saved {folder / 'model.safetensors'}")


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--weights", type=FILE, required=True, help="The trained detector, its merges.txt beside it.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--stage",
    type=click.Choice([stage.name for stage in STAGES]),
    help="Begin here, with the tracker that FILE holds too, instead of with a new one.",
)
@click.option("--processes", default=2, show_default=True, help="Each takes one core and its own clips.")
def main(folder: Path, weights: Path, seed: int, stage: str | None, processes: int) -> None:
    """Train, resuming from FOLDER/state.pt if it is there; the weights end up in FOLDER/model.safetensors."""
    together(train, folder, weights, seed, stage, processes=processes)


if __name__ == "__main__":
    main()
