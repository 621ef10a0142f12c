"""What a distillation starts from: the teacher, and a student that is new or out of a checkpoint."""

from __future__ import annotations

from pathlib import Path

from sam3_edge.builtin import builtin_checkpoint
from sam3_edge.errors import CheckError, UsageError

from . import checkpoint
from .distillation_recipe import Recipe
from .model import Sam3
from .student import Student, put_before


def read_teacher(recipe: Recipe) -> checkpoint.Checkpoint:
    """Raises `UsageError` without a tokenizer, or for a teacher that is itself a student."""
    found = checkpoint.load(
        recipe.teacher or builtin_checkpoint(),
        official=recipe.official,
        tokenizer=Path(recipe.tokenizer) if recipe.tokenizer else None,
    )
    if found.merges is None:
        raise UsageError(f"{found.name} comes without a tokenizer: set `tokenizer` to its merges.txt")
    return found


def first_student(recipe: Recipe, teacher: checkpoint.Checkpoint) -> Sam3:
    """New, or out of a checkpoint. Raises `CheckError` if that is another student, or another teacher's."""
    trunk = recipe.student
    wanted = Student(trunk.name, trunk.settings, teacher.sha256)
    if not trunk.weights:
        size = trunk.image_size or None
        return put_before(teacher.model, wanted, seed=recipe.seed, image_size=size)
    found = checkpoint.load(trunk.weights)
    if found.model.student != wanted:
        have = found.model.student
        facts = "no student" if have is None else f"student {have.name} {dict(have.settings)}"
        if have is not None and have.teacher != wanted.teacher:
            facts += f" of the teacher {str(have.teacher)[:12]}"
        raise CheckError(
            f"{trunk.weights} holds {facts}; the recipe wants {wanted.name} {dict(wanted.settings)} "
            f"of the teacher {teacher.sha256[:12]}"
        )
    return found.model
