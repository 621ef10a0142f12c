"""`sam3-edge distill`: a student learns from its teacher, pass by pass, and can be stopped at any step.

Only the trunk learns: every head stays the teacher's, frozen. In `features` it learns the trunk feature and
what the necks make of it; in `outputs` what the heads say through it, presence before its clamp above all,
about phrases that are in the picture and about phrases that are not. The student is in eval mode throughout:
statistics of batch normalisation stay as they are, as batches of a few pictures would spoil them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sam3_edge.errors import CheckError, UsageError
from sam3_edge.tokenizer import Tokenizer

from . import checkpoint
from .distillation_cache import FeatureCache
from .distillation_corrections import corrected
from .distillation_data import draw_asked, on_device, open_source
from .distillation_log import LOG, cut_log, write_row
from .distillation_losses import Loss, Seen, added, feature_losses, output_losses, weights_of
from .distillation_recipe import Pass, Recipe, differences, settled
from .distillation_start import first_student, read_teacher
from .model import Sam3
from .muon import optimisers
from .processes import everywhere, own_device, rank, share_gradients
from .resuming import keep_state, kept_state
from .schedule import average_into, set_rate
from .shapes_batch import Answers, Asked, answer

STUDENT, MERGES = "student.safetensors", "merges.txt"
UNBOUNDED = 1e4  # of presence logits: they are compared before their clamp
HELD_OUT = 1 << 30  # seeds of pictures to measure on lie above all steps


class Distillation:
    """All state of a run, so that it can stop at any step and go on: weights, average, optimisers, place."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.folder = recipe, Path(recipe.folder)
        self.device = torch.device(own_device(recipe.device))
        found = read_teacher(recipe)
        assert found.merges is not None
        self.merges, self.licence = found.merges, found.licence
        self.cache = FeatureCache(Path(recipe.data.cache), found.sha256) if recipe.data.cache else None
        self.tokenizer = Tokenizer.read(found.merges, vocab_size=found.config.text_vocab)
        self.student = first_student(recipe, found).to(self.device)
        self.teacher = found.model.requires_grad_(False).to(self.device)
        self.student.requires_grad_(False)
        self.student.backbone.requires_grad_()
        self.learned = list(self.student.backbone.parameters())
        self.average = {name: w.clone() for name, w in self.student.backbone.state_dict().items()}
        self.optimisers = self.new_optimisers()
        self.place = self.step = 0
        self.source = open_source(
            recipe.data.source,
            pictures=Path(recipe.data.pictures) if recipe.data.pictures else None,
            phrases=Path(recipe.data.phrases) if recipe.data.phrases else None,
            photographs=recipe.data.photographs,
            pool=recipe.data.pool,
        )

    def new_optimisers(self) -> list[torch.optim.Optimizer]:
        return optimisers(self.student.backbone, decay=1e-2, betas=(0.9, 0.98))

    def save(self) -> None:
        state = {
            "recipe": json.dumps(settled(self.recipe), sort_keys=True),
            "trunk": self.student.backbone.state_dict(),
            "average": self.average,
            "optimisers": [one.state_dict() for one in self.optimisers],
            "place": (self.place, self.step),
        }
        keep_state(self.folder, state)

    def resume(self) -> None:
        """Go on where this recipe was stopped. Raises `UsageError` if the folder holds another one's run."""
        if (state := kept_state(self.folder)) is not None:
            self.take(state)
        if rank() == 0:
            cut_log(self.folder / LOG, sum(it.steps for it in self.recipe.passes[: self.place]) + self.step)

    def take(self, state: dict[str, Any]) -> None:
        """Be where a kept state was."""
        if differing := differences(json.loads(state["recipe"]), settled(self.recipe)):
            raise UsageError(
                f"{self.folder} holds a run of another recipe ({', '.join(differing)} differ): "
                "name another folder, or remove it"
            )
        self.student.backbone.load_state_dict(state["trunk"])
        self.average = state["average"]
        self.place, self.step = state["place"]
        for one, kept in zip(self.optimisers, state["optimisers"], strict=True):
            one.load_state_dict(kept)

    def asked(self, it: Pass, step: int, part: int = 0) -> Asked:
        """This process's share of a step's batch, or one part of it."""
        few = it.pictures // self.recipe.processes // it.parts
        first = (rank() * it.parts + part) * few
        numbers = range(first, first + few)
        wide = max(self.teacher, self.student, key=lambda model: model.config.image_size).config
        batch = draw_asked(
            self.source,
            self.tokenizer,
            wide,
            seeds=[(self.recipe.seed, self.place, step, number) for number in numbers],
            questions=it.questions,
            drawn=it.drawn,
            held=step >= HELD_OUT,
        )
        return on_device(batch, self.device)

    def losses(self, it: Pass, batch: Asked) -> dict[str, Loss]:
        """What the student gets wrong on a batch."""
        want, got = self.wanted(batch), self.seen(trunk_of(self.student, batch.pictures))
        if it.kind == "features":
            return feature_losses(self.teacher, want, got)
        said = self.answers(batch, want, got)
        losses = output_losses(*said)
        for _ in range(it.corrections):
            batch = corrected(batch, *said, self.teacher.config)
            said = self.answers(batch, want, got)
            losses = added(losses, output_losses(*said))
        return losses | (feature_losses(self.teacher, want, got) if it.anchor else {})

    @torch.no_grad()
    def wanted(self, batch: Asked) -> Seen:
        """What the teacher sees, its trunk features from the cache if there is one."""
        if self.cache is None:
            return self.seen(trunk_of(self.teacher, batch.pictures))
        make = partial(trunk_of, self.teacher)
        return self.seen(self.cache.features(batch.pictures, make))

    def seen(self, trunk: Tensor) -> Seen:
        """A trunk feature with what the teacher's neck makes of it."""
        return Seen(trunk, self.teacher.detector_features(trunk))

    def answers(self, batch: Asked, want: Seen, got: Seen) -> tuple[Answers, Answers]:
        """What the heads, the same ones, say of what both see."""
        with torch.no_grad():
            taught = answer(self.teacher, want.levels, batch, detect=True, limit=UNBOUNDED)
        return taught, answer(self.teacher, got.levels, batch, detect=True, limit=UNBOUNDED)

    def share(self, it: Pass, part: int) -> dict[str, Loss]:
        """What the student gets wrong on one part of this process's pictures of this step."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.half):
            return self.losses(it, self.asked(it, self.step, part))

    def update(self, it: Pass) -> dict[str, float]:
        """One step: the gradient of all processes' pictures, clipped; returns the mean of each loss.

        With several parts a first round only counts: what a loss is divided by is known when all have spoken.
        """
        rate = set_rate(self.optimisers, it.rate, self.step, it.steps)
        with torch.set_grad_enabled(it.parts == 1):
            found = [self.share(it, part) for part in range(it.parts)]
        sums = everywhere(torch.stack([table(losses) for losses in found]).sum(0))
        counts = sums[:, 1].clamp(min=1)
        self.student.backbone.zero_grad()
        for part, losses in enumerate(found):
            self.descend(it, losses if it.parts == 1 else self.share(it, part), counts.tolist())
        share_gradients(self.learned)
        torch.nn.utils.clip_grad_norm_(self.learned, 1.0)
        for one in self.optimisers:
            one.step()
        self.step += 1
        average_into(self.average, self.student.backbone, self.step)
        return {"rate": rate, **dict(zip(found[0], (sums[:, 0] / counts).tolist(), strict=True))}

    def descend(self, it: Pass, losses: dict[str, Loss], counts: list[float]) -> None:
        """Add the gradient of some pictures. `share_gradients` takes the mean, and a sum is wanted."""
        world, weights = float(self.recipe.processes), weights_of(it.kind, it.anchor)
        terms = [
            weights[name] * total * world / count
            for (name, (total, _)), count in zip(losses.items(), counts, strict=True)
        ]
        torch.stack(terms).sum().backward()

    def run_pass(self, it: Pass, advance: Callable[[], None]) -> None:
        """Go to the end of one pass, logging each step."""
        before = sum(other.steps for other in self.recipe.passes[: self.place])
        while self.step < it.steps:
            row = self.update(it)
            if not all(map(torch.isfinite, map(torch.tensor, row.values()))):
                raise CheckError(f"pass {it.kind}, step {self.step}: a loss is not finite; lower its rate")
            write_row(self.folder, {"step": before + self.step, "pass": it.kind, **row})
            advance()
            if self.step % self.recipe.save_every == 0:
                self.save()
        self.save()

    def run(self, advance: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """All passes that are left, each measured at its end; returns what was measured."""
        from .distillation_gate import measure

        measured = []
        while self.place < len(self.recipe.passes):
            it = self.recipe.passes[self.place]
            self.run_pass(it, advance)
            found = measure(self.averaged(), self, it)
            measured.append({"pass": it.kind, **found})
            self.write_student()
            if rank() == 0:
                (self.folder / f"pass_{self.place + 1}.json").write_text(json.dumps(measured[-1]) + "\n")
            check_gate(it, found)
            self.place, self.step, self.optimisers = self.place + 1, 0, self.new_optimisers()
            self.save()
        return {"student": str(self.folder / STUDENT), "passes": measured}

    def averaged(self) -> Sam3:
        """The student with the average of its weights."""
        made = Sam3(self.student.config, self.student.student)
        made.load_state_dict(self.student.state_dict())
        made.backbone.load_state_dict(self.average)
        return made.eval().to(self.device)

    def write_student(self) -> None:
        """The checkpoint, with the tokenizer's merges beside it. Only the first process's."""
        if rank() == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / MERGES).write_bytes(self.merges.read_bytes())
            checkpoint.save(self.averaged(), self.folder / STUDENT, half=True, licence=self.licence)


def check_gate(it: Pass, found: dict[str, float]) -> None:
    """Raises `CheckError` if a pass did not reach its gate."""
    name = "cosine" if it.kind == "features" else "f1"
    if it.gate and not found[name] >= it.gate:
        raise CheckError(
            f"pass {it.kind} reached {name} {found[name]:.3f} on pictures of no batch, its gate is "
            f"{it.gate}: give it more steps"
        )


def trunk_of(model: Sam3, pictures: Tensor) -> Tensor:
    """The trunk feature, of pictures at the model's own size."""
    size = model.config.image_size
    if pictures.shape[-1] != size:
        pictures = torch.nn.functional.interpolate(pictures, (size, size), mode="bilinear", antialias=True)
    feature: Tensor = model.backbone(pictures)
    return feature


def table(losses: dict[str, Loss]) -> Tensor:
    """Each loss's sum, and what it is a sum over: [L, 2]."""
    return torch.tensor([[float(total.detach()), count] for total, count in losses.values()])
