"""Students as they are committed: `python -m sam3_edge.benchmarks.distill_trunks TRUNK -o FOLDER`.

A student of the built-in model is 4.1 MB, of which 0.3 are its own. The rest are its teacher's heads, kept
once, in `teacher` beside the trunks: the built-in model may have become another since.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import click
import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save

from sam3_edge import registry
from sam3_edge.builtin import builtin_checkpoint
from sam3_edge.errors import CheckError
from sam3_edge.writing import write_file

from .document import errors_told

TRUNK, STUDENT = "backbone.", "sam3_edge_student"
TEACHER = "teacher"  # the folder of its checkpoint


def write_trunk(student: Path, place: Path) -> str:
    """Keep the trunk of a student's checkpoint; returns the sha256 of what was written."""
    tensors = {n.removeprefix(TRUNK): v for n, v in load_file(student).items() if n.startswith(TRUNK)}
    data = save(tensors, {STUDENT: told(student)})
    write_file(place, data, overwrite=True)
    return hashlib.sha256(data).hexdigest()


def write_teacher(folder: Path) -> None:
    """Keep the built-in checkpoint beside the trunks of its students."""
    for name in ("model.safetensors", "merges.txt"):
        write_file(folder / TEACHER / name, (builtin_checkpoint() / name).read_bytes(), overwrite=True)


def told(place: Path) -> str:
    """What the file says of its student."""
    with safe_open(place, "np") as file:
        return str(file.metadata()[STUDENT])


def restore(place: Path, folder: Path) -> Path:
    """The whole checkpoint of a kept trunk: its teacher's heads behind it, the tokenizer's merges beside it.

    Raises `CheckError` for the trunk of another teacher.
    """
    import torch

    load = registry.load_module("export", "checkpoint")
    students = registry.load_module("export", "student")
    teacher = load.load(place.parent / TEACHER)
    student = students.Student.from_json(told(place), origin=str(place))
    if student.teacher != teacher.sha256:
        raise CheckError(
            f"{place}: its teacher is {str(student.teacher)[:12]}, the one beside it {teacher.sha256[:12]}; "
            "use the folder of trunks that it came with"
        )
    model = students.put_before(teacher.model, student, seed=0)
    tensors = {name: torch.from_numpy(value.astype(np.float32)) for name, value in load_file(place).items()}
    model.backbone.load_state_dict(tensors)
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / "merges.txt", teacher.merges.read_bytes(), overwrite=True)
    load.save(model, folder / "student.safetensors", half=True, licence=teacher.licence)
    return folder / "student.safetensors"


@click.command()
@click.argument("trunk", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), required=True)
def main(trunk: Path, output: Path) -> None:
    """Write the checkpoint of a committed TRUNK into a folder, to export it."""
    with errors_told():
        click.echo(restore(trunk, output))


if __name__ == "__main__":
    main()
