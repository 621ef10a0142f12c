"""The file that says how to distil: teacher, student, data, passes. Everything is checked before it runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from sam3_edge.errors import SourceError, UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KINDS = ("features", "outputs")
T = TypeVar("T")


@dataclass(frozen=True)
class Pass:
    """A part of the distillation. `kind` is what the student learns: the teacher's features or its outputs.

    `rate`: the highest; `pictures` in a batch over all processes, which each process takes in so many
    `parts`, one after the other, if its memory does not hold them; of each, `questions`, of which `drawn` get
    masks. `corrections`: how often what the student got wrong is asked again with a box for it. `anchor`: how
    much the losses of features count beside those of outputs. `gate`: what the pass must reach on pictures of
    no batch before the next one starts (features: the cosine; outputs: F1 of the teacher's objects), 0 for
    none.
    """

    kind: str
    steps: int
    rate: float = 1e-3
    pictures: int = 4
    questions: int = 4
    drawn: int = 2
    gate: float = 0.0
    corrections: int = 0
    parts: int = 1
    anchor: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"pass {self.kind!r}: want one of {', '.join(KINDS)}")
        if min(self.steps, self.pictures, self.drawn, self.parts) < 1 or not 0 < self.rate < 1:
            raise UsageError(
                f"pass {self.kind}: want steps, pictures, drawn and parts of 1 or more, a rate in 0..1"
            )
        if self.questions < max(2, self.drawn):
            raise UsageError(
                f"pass {self.kind}: {self.questions} questions; want 2 or more, one with an answer and one "
                "in vain, and no fewer than are drawn"
            )
        if self.corrections < 0 or (self.corrections and self.kind != "outputs"):
            raise UsageError(f"pass {self.kind}: {self.corrections} corrections; want 0, or more of outputs")
        if self.anchor < 0 or (self.anchor and self.kind != "outputs"):
            raise UsageError(f"pass {self.kind}: anchor {self.anchor}; want 0, or more of outputs")
        if not 0 <= self.gate < 1:
            raise UsageError(f"pass {self.kind}: gate {self.gate}: want 0 to 1")


@dataclass(frozen=True)
class Data:
    """`source`: shapes, a folder of pictures with `phrases`, or a COCO or SA-Co document with `pictures`.

    `cache`: a folder for the teacher's trunk features. `pool`: of so many pictures that are drawn for
    `shapes`, instead of a new one each time.
    """

    source: str = "shapes"
    pictures: str = ""
    phrases: str = ""
    photographs: bool = False
    cache: str = ""
    pool: int = 0

    def __post_init__(self) -> None:
        if self.pool < 0 or (self.pool and self.source != "shapes"):
            raise UsageError(f"data {self.source}: pool {self.pool}; want 0, or more of shapes")
        if self.cache and self.source == "shapes" and not self.pool:
            raise UsageError(
                "data shapes: every picture is a new one, and a cache would only grow: give a `pool`"
            )


@dataclass(frozen=True)
class Trunk:
    """The student's `name` and `settings`; `image_size` 0 for the teacher's; `weights` to go on from."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    image_size: int = 0
    weights: str = ""


@dataclass(frozen=True)
class Recipe:
    """A distillation. `teacher` empty is the built-in model; paths are relative to the recipe's folder.

    `device`: cpu or cuda; `half`: products in bf16, for a GPU. `processes` share each batch, one core or GPU
    each; those that `torchrun` starts, on one machine or several, must be as many.
    """

    folder: str
    student: Trunk
    passes: tuple[Pass, ...]
    data: Data = Data()
    teacher: str = ""
    official: bool = False
    tokenizer: str = ""
    seed: int = 0
    processes: int = 1
    device: str = "cpu"
    half: bool = False
    save_every: int = 200

    def __post_init__(self) -> None:
        if not self.passes:
            raise UsageError("recipe: no passes; give at least one [[passes]]")
        if self.processes < 1 or self.save_every < 1:
            raise UsageError("recipe: want processes and save_every of 1 or more")
        for it in self.passes:
            if it.pictures % (self.processes * it.parts):
                raise UsageError(
                    f"pass {it.kind}: {it.pictures} pictures do not divide among {self.processes} processes "
                    f"with {it.parts} parts each"
                )

    @property
    def steps(self) -> int:
        """Of all passes."""
        return sum(it.steps for it in self.passes)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def settled(recipe: Recipe) -> dict[str, Any]:
    """What must not change when a run goes on."""
    free = ("folder", "save_every")
    return {
        name: value for name, value in json.loads(json.dumps(recipe.to_json())).items() if name not in free
    }


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """The names of values that are not the same."""
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


def read_recipe(path: Path) -> Recipe:
    """Read a TOML file. Raises `SourceError` if it is not one, `UsageError` for what it must not say."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read as TOML: {error}") from error
    passes = values.pop("passes", [])
    parts: dict[str, Any] = {
        "student": checked(Trunk, values.pop("student", {}), f"{path}: [student]"),
        "data": checked(Data, values.pop("data", {}), f"{path}: [data]"),
        "passes": tuple(checked(Pass, it, f"{path}: [[passes]]") for it in passes),
    }
    recipe = checked(Recipe, {**values, **parts}, str(path))
    return placed(recipe, path.parent)


def checked(kind: type[T], values: Any, where: str) -> T:
    """A part of the recipe, every name and kind of value known. Raises `UsageError`."""
    if not isinstance(values, Mapping):
        raise UsageError(f"{where} is {values!r:.60}, want a table")
    known: dict[str, Any] = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in known:
            raise UsageError(f"{where}: {name!r} is unknown; it has {', '.join(known)}")
        wanted = str(known[name].type).split("[")[0]
        given = type(value).__name__
        if (
            wanted in ("str", "int", "float", "bool")
            and given != wanted
            and (given, wanted) != ("int", "float")
        ):
            raise UsageError(f"{where}: {name} is {value!r:.60}, want {wanted}")
    lacking = [
        n
        for n, f in known.items()
        if f.default is MISSING and f.default_factory is MISSING and n not in values
    ]
    if lacking:
        raise UsageError(f"{where}: {lacking[0]} is missing")
    return kind(**values)


def placed(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with its paths seen from where we are. A teacher that is no path there is a hub id."""

    def at(text: str) -> str:
        return str(folder / text) if text and (folder / text).exists() else text

    data = replace(
        recipe.data,
        source=recipe.data.source if recipe.data.source == "shapes" else at(recipe.data.source),
        pictures=at(recipe.data.pictures),
        phrases=at(recipe.data.phrases),
        cache=str(folder / recipe.data.cache) if recipe.data.cache else "",
    )
    return replace(
        recipe,
        folder=str(folder / recipe.folder),
        teacher=at(recipe.teacher),
        tokenizer=at(recipe.tokenizer),
        data=data,
        student=replace(recipe.student, weights=at(recipe.student.weights)),
    )
