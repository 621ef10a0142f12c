"""Train the built-in model on `shapes`, from scratch: `python -m sam3_edge.export.train_shapes runs/shapes`.

Stages, because detection losses alone stay on a plateau for more than 800 steps: `dense` teaches the backbone
colour, shape and texture of every cell without words; `semantic` teaches words through the concept's whole
mask; `detect` adds queries, boxes and presence; `full` repeats that on full-size pictures; `words` asks more
of each picture and draws fewer masks, `photographs` adds grounds that are photographs, `refine` goes on
with that, slower, and so does `heads`, on a trunk that stays as it is. The first three run on quarter-size
pictures, four times cheaper, with shapes of the same size in pixels. From the mean of the ends of the last
two, 0.005 better than either on 400 pictures of no test, `frames` goes on with frames of clips, and ends
halfway: on 128 pictures of no test pmF1 at IoU 0.5 was 0.79 at its start, 0.82 at its end, 0.84 between.
`enlarged` shows the same pictures at 336 px: things of 10 to 30 px were one or two cells of the trunk, and
small was most that was lost in clips. J&F by phrase on 24 clips of no test rose from 0.69 to 0.75.

Two processes, each with pictures of its own, share the gradient: on two cores twice the pictures a second,
where two threads in one process gain nothing.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor, nn

from sam3_edge.shapes.photographs import TRAINING, read
from sam3_edge.shapes.scenes import WORDS
from sam3_edge.tokenizer import Tokenizer, number_merges

from .cell_heads import CellHeads
from .losses import concept_loss, detection_loss
from .merges import learn_merges
from .model import Sam3
from .processes import rank, share_gradients, together
from .resuming import keep_state, kept_state
from .schedule import average_into, set_rate
from .shapes_batch import Batch, draw_batch, forward
from .shapes_model import SHAPES_CONFIG, first_model, resized
from .shapes_stages import STAGES, Stage
from .staged import Staged, copied

MERGES = "merges.txt"
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class Training(Staged):
    """All state of a run, so that it can stop at any step and go on: weights, average, optimiser, dice."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        torch.manual_seed(seed)  # for the cell heads; the model and the pictures have generators of their own
        self.model = first_model(SHAPES_CONFIG, seed)
        self.cells = CellHeads(SHAPES_CONFIG.dim)
        learner = nn.ModuleList([self.model, self.cells])
        super().__init__(STAGES, learner, copied(self.model.state_dict()))
        self.tokenizer = Tokenizer(number_merges(learn_merges(WORDS).splitlines()[1:], MERGES))

    def start_from(self, weights: Path, stage: str) -> None:
        """Go on from trained weights, with a stage. The cell heads, which nobody keeps, start anew."""
        self.put(read_weights(weights))
        self.enter([it.name for it in STAGES].index(stage))

    def put(self, weights: dict[str, Tensor]) -> None:
        """Take over weights, for the average too."""
        self.model.load_state_dict(weights)
        self.average = copied(weights)

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "cells": self.cells.state_dict(),
            "average": self.average,
            "seed": self.seed,
            "place": self.place(),
        }
        keep_state(self.folder, state)

    def resume(self) -> None:
        if (state := kept_state(self.folder)) is None:
            return
        self.model.load_state_dict(state["model"])
        self.cells.load_state_dict(state["cells"])
        self.average = state["average"]
        self.seed = state["seed"]
        self.go_back(state["place"])

    def loss(self, model: Sam3, stage: Stage, batch: Batch) -> dict[str, Tensor]:
        if stage.name == "dense":
            return {
                "cells": self.cells(model.detector_features(model.backbone(batch.pictures)), batch.scenes)
            }
        answers = forward(model, batch, detect=stage.name != "semantic")
        losses = {"concept": concept_loss(answers.semantic, batch.truths)}
        if stage.cells:
            losses["cells"] = 0.3 * self.cells(answers.levels, batch.scenes)
            losses["boxes"] = self.cells.boxes(answers, batch)
        if answers.masks is not None:
            losses["detect"] = detection_loss(answers.layers, answers.masks, batch.truths)
        return losses

    def run_stage(self, stage: Stage) -> None:
        """Train to the end of one stage, saving every few minutes."""
        self.begin()
        model = resized(self.model, stage.image_size)
        for ours, theirs in zip(self.model.parameters(), model.parameters(), strict=True):
            theirs.data = ours.data  # one storage, so the optimiser of the run serves every stage
        for weights in (self.model.backbone, model.backbone):
            weights.requires_grad_(not stage.frozen_trunk)
        photographs = read(TRAINING) if stage.photographs else []
        saved, sums = time.monotonic(), {"loss": 0.0}
        while self.step < stage.steps:
            rng = np.random.default_rng((self.seed, self.stage, self.step, rank()))
            batch = draw_batch(
                rng,
                self.tokenizer,
                model.config,
                pictures=stage.pictures,
                questions=stage.questions,
                most=stage.most,
                drawn=stage.drawn,
                photographs=photographs,
                clips=stage.clips,
            )
            losses = self.loss(model, stage, batch)
            self.update(model, stage, sum(losses.values(), torch.zeros(())))
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

    def update(self, model: Sam3, stage: Stage, loss: Tensor) -> None:
        """One optimiser step: warm-up, cosine decay, gradients clipped, weights averaged."""
        set_rate(self.optimisers, stage.rate, self.step, stage.steps)
        model.zero_grad()
        self.cells.zero_grad()
        loss.backward()
        for ours, theirs in zip(self.model.parameters(), model.parameters(), strict=True):
            ours.grad = theirs.grad
        learning = (*self.model.parameters(), *self.cells.parameters())
        share_gradients([weight for weight in learning if weight.requires_grad])
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.move()
        average_into(self.average, self.model, self.step)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The detector's weights in a file that lies beside its merges."""
    from .checkpoint import load

    weights = load(path, tokenizer=path.with_name(MERGES)).model.state_dict()
    return {name: weight for name, weight in weights.items() if not name.startswith("tracker.")}


def write_weights(run: Training, name: str) -> Path:
    """The averaged weights as a file of the run's folder, the merges beside it. Only the first process's."""
    from .checkpoint import save

    path = run.folder / f"{name}.safetensors"
    if rank() == 0:
        model = Sam3(run.model.config)
        model.load_state_dict(run.average)
        run.folder.mkdir(parents=True, exist_ok=True)
        (run.folder / MERGES).write_text(learn_merges(WORDS))
        save(model, path)
    return path


def mean(before: dict[str, Tensor], last: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of the weights of two stages; the trunk is the last one's, on which the tracker will be trained."""
    return {
        name: weight if name.startswith("backbone.") else (before[name] + weight) / 2
        for name, weight in last.items()
    }


def train(folder: Path, seed: int, weights: Path | None, stage: str) -> None:
    """Go through the stages, from where a run in this folder was stopped.

    With `weights`, the end of the stage before, a new run starts at `stage`.
    """
    run = Training(folder, seed)
    if weights is not None:
        run.start_from(weights, stage)
        if run.stage:
            write_weights(run, STAGES[run.stage - 1].name)
    run.resume()
    while run.stage < len(STAGES):
        run.run_stage(STAGES[run.stage])
        finish(run)
    if rank() == 0:
        print(f"saved {write_weights(run, 'model')}")


def finish(run: Training) -> None:
    """Keep what a stage ended with, and go on to the next."""
    ended = run.stage
    run.end()
    write_weights(run, STAGES[ended].name)
    run.enter(ended + 1)
    if ended + 1 < len(STAGES) and STAGES[ended + 1].from_mean:
        before = read_weights(run.folder / f"{STAGES[ended - 1].name}.safetensors")
        run.put(mean(before, run.average))


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--seed", default=0, show_default=True)
@click.option("--processes", default=2, show_default=True, help="Each takes one core and its own pictures.")
@click.option("--weights", type=FILE, help="Start from trained weights.")
@click.option("--stage", default="refine", show_default=True, help="The first stage after --weights.")
def main(folder: Path, seed: int, processes: int, weights: Path | None, stage: str) -> None:
    """Train, resuming from FOLDER/state.pt if it is there; the weights end up in FOLDER/model.safetensors."""
    together(train, folder, seed, weights, stage, processes=processes)


if __name__ == "__main__":
    main()
