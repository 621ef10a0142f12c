"""How much of each loss's gradient is signal: `python -m sam3_edge.benchmarks.distill_signal --help`.

A student of `distill_arms` is asked batch after batch, and nothing is learned. What the gradients of all
batches have in common is signal, the rest is noise of which pictures and questions a batch held: a pass
moves a student by the first, and shakes it by the second.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from sam3_edge import console, registry
from sam3_edge.verbs.options import COUNT

from .distill_arms import AFTER, STAGES, recipe_of
from .document import errors_told, write_document
from .machine import facts

SEED = 77
COLUMNS = ("loss", "value", "weight", "gradient of a batch", "signal")


def gradients(run: Any, batches: int) -> Iterator[tuple[str, float, NDArray[np.float32]]]:
    """Each loss of each batch: its name, its value and its gradient by all weights of the trunk."""
    import torch

    (it,) = run.recipe.passes
    for number in range(batches):
        for name, (total, count) in run.losses(it, run.asked(it, number)).items():
            mean = total / max(count, 1.0)
            if mean.requires_grad:
                found = torch.autograd.grad(mean, run.learned, retain_graph=True, materialize_grads=True)
                yield name, float(mean.detach()), torch.cat([g.flatten() for g in found]).numpy()


def signal(rows: NDArray[np.float32]) -> float:
    """The length of what gradients [N, W] have in common, as a share of their mean length.

    The square of a mean of N counts noise as a Nth: products of two batches only do not. Below 0: 0.
    """
    products = rows @ rows.T
    count = len(rows)
    common = (products.sum() - np.trace(products)) / (count * (count - 1))
    return float(np.sqrt(max(0.0, common)) / np.sqrt(np.diag(products)).mean())


def measure(student: Path, batches: int) -> list[dict[str, Any]]:
    """A row for each loss."""
    recipe = recipe_of(
        student.parent / "signal", {AFTER: 1e-3}, 1, SEED, str(student / "student.safetensors")
    )
    run, stage = registry.load_module("export", "distillation").Distillation(recipe), STAGES[AFTER]
    weights = registry.load_module("export", "distillation_losses").weights_of(stage.kind, stage.anchor)
    values: dict[str, list[float]] = {}
    vectors: dict[str, list[NDArray[np.float32]]] = {}
    for name, value, vector in gradients(run, batches):
        values.setdefault(name, []).append(value)
        vectors.setdefault(name, []).append(vector)
    return [
        {
            "loss": name,
            "value": round(float(np.mean(values[name])), 4),
            "weight": weights[name],
            "gradient": round(weights[name] * float(np.linalg.norm(rows, axis=1).mean()), 3),
            "signal": round(signal(np.array(rows)), 3),
        }
        for name, rows in vectors.items()
    ]


@click.command()
@click.option(
    "--student", type=click.Path(exists=True, path_type=Path), required=True, help="A run's folder."
)
@click.option("--batches", type=COUNT, default=16, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The JSON.")
def main(student: Path, batches: int, output: Path) -> None:
    """Compare the gradients of many batches, loss by loss, weighted as a pass weighs them."""
    with errors_told():
        rows = measure(student, batches)
        what = "gradients of each loss by the weights of a student's trunk, over many batches"
        document = {"what": what, "batches": batches, "losses": rows, "machine": facts("torch", "numpy")}
        write_document(output, document)
    console.table("Gradients", COLUMNS, [list(map(str, row.values())) for row in rows], out=True)


if __name__ == "__main__":
    main()
