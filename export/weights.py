"""A file's tensors into a model: every one of them is used or on a named list, and every weight is found."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sam3_edge.errors import CheckError, SourceError

from .model import Sam3

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
TWICE = "tracker_model."  # transformers 5.23 saves a video model with this prefix doubled, as it loads both
SHOWN = 3  # keys named in a message; the rest is counted


@dataclass(frozen=True)
class Source:
    """Where one of our tensors comes from.

    Several `names` are joined along the first axis; of one name, `third` takes a third of the rows. `rotary`
    turns the rows of a fused Wq, Wk, Wv to half layout, `one_head` those of a Wq or Wk with one head;
    `reshape` returns its input where it does not fit. A name that starts with `/` is not below the prefix.
    """

    names: tuple[str, ...]
    third: int | None = None
    rotary: bool = False
    one_head: bool = False
    reshape: Callable[[Tensor], Tensor] | None = None

    def part_shape(self, shape: torch.Size) -> list[int]:
        """The shape that each named tensor must have for ours to be `shape`."""
        rows = shape[0] // len(self.names) if self.third is None else shape[0] * 3
        return [rows, *shape[1:]]


Names = dict[str, str | Source]  # ours to theirs; a lone string means: the same tensor
Table = dict[str, Source]


def under(ours: str, theirs: str, table: Mapping[str, str | Source]) -> Table:
    """A table whose names all stand below two modules."""
    entries = ((name, Source((s,)) if isinstance(s, str) else s) for name, s in table.items())
    return {
        f"{ours}.{name}": replace(s, names=tuple(f"{theirs}.{n}" for n in s.names)) for name, s in entries
    }


@dataclass(frozen=True)
class Layout:
    """The names of one kind of checkpoint.

    `sources` maps our modules and tensors to theirs, `#` stands for a layer's number; a module carries its
    weight and bias along, and a name that is not listed is the same on both sides. `ignored` are patterns of
    tensors that no model has a use for, `tracker` of those that only a model with a tracker has a use for.
    All names may stand below `prefix`.
    """

    sources: Mapping[str, Source] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    tracker: tuple[str, ...] = ()
    prefix: str = ""

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], Source]]:
        escaped = (
            (re.escape(name).replace(r"\#", r"(\d+)"), source) for name, source in self.sources.items()
        )
        return [(re.compile(name + r"(\.weight|\.bias)?"), source) for name, source in escaped]

    def source(self, name: str) -> Source:
        """Where our tensor `name` comes from, without the prefix."""
        for pattern, source in self._patterns:
            if found := pattern.fullmatch(name):
                *layer, kind = found.groups()
                names = (n.replace("#", "".join(layer)) + (kind or "") for n in source.names)
                return replace(source, names=tuple(names))
        return Source((name,))


def as_grid(x: Tensor) -> Tensor:
    """Positions [1, side * side, C] -> [1, side, side, C]."""
    side = math.isqrt(x.shape[1]) if x.ndim == 3 else 0
    return x.reshape(len(x), side, side, -1) if side and side**2 == x.shape[1] else x


def to_half_layout(qkv: Tensor, heads: int) -> Tensor:
    """Reorder each head's rows of Wq and Wk, the first two thirds: rotary pairs go half a head apart.

    Channels 2i and 2i + 1 become i and i + half: q and k change together, so their product does not change.
    """
    *turned, value = qkv.chunk(3)
    return torch.cat((*(half_rows(x, heads) for x in turned), value))


def half_rows(x: Tensor, heads: int) -> Tensor:
    """The rows of one Wq or Wk in half layout."""
    return x.reshape(heads, -1, 2, *x.shape[1:]).transpose(1, 2).flatten(0, 2)


class Weights(Mapping[str, Tensor]):
    """The tensors of one or more safetensors files by name, read when asked for."""

    def __init__(self, stack: ExitStack, paths: list[Path]) -> None:
        self.metadata: dict[str, str] = {}
        self._files: dict[str, tuple[Any, str]] = {}
        for path in paths:
            file = stack.enter_context(open_file(path))
            self.metadata.update(file.metadata() or {})
            for name in file.keys():  # noqa: SIM118  not a mapping
                known = name.removeprefix(TWICE) if name.startswith(2 * TWICE) else name
                if known in self._files:
                    raise CheckError(f"{path}: {name} is in another shard too; download the checkpoint again")
                self._files[known] = file, name

    def __getitem__(self, name: str) -> Tensor:
        file, known = self._files[name]
        tensor: Tensor = file.get_tensor(known)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def open_file(path: Path) -> Any:
    """Open a safetensors file. Raises `SourceError` for one that is missing, cut short or something else."""
    try:
        return safe_open(path, framework="pt")
    except FileNotFoundError as error:
        raise SourceError(f"{path}: no such file; download the checkpoint again") from error
    except (SafetensorError, OSError) as error:
        raise SourceError(
            f"{path} is not a whole safetensors file ({error}); download the checkpoint again"
        ) from error


def shards_of(index: Path) -> list[Path]:
    """The files that a `model.safetensors.index.json` names, all beside it."""
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(
            f"{index} is not an index of shards ({error}); download the checkpoint again"
        ) from error
    if bad := [name for name in names if Path(str(name)).name != name]:
        raise CheckError(f"{index}: shard {bad[0]!r} is not a plain file name; download the checkpoint again")
    return [index.parent / name for name in names]


@torch.no_grad()
def fill(model: Sam3, weights: Mapping[str, Tensor], layout: Layout, *, origin: str) -> None:
    """Copy every weight of the model from the file, as float32.

    Raises `CheckError` that names the first missing, unknown, misshapen and non-finite tensors.
    """
    prefix = layout.prefix if any(name.startswith(layout.prefix) for name in weights) else ""
    problems: dict[str, list[str]] = {}
    used = set()
    for name, target in model.state_dict().items():
        source = layout.source(name)
        names = [part[1:] if part.startswith("/") else prefix + part for part in source.names]
        used.update(names)
        missing = [part for part in names if part not in weights]
        if missing:
            problems.setdefault("missing", []).extend(missing)
            continue
        parts = [weights[part] for part in names]
        for kind, problem in faults(dict(zip(names, parts, strict=True)), source, target):
            problems.setdefault(kind, []).append(problem)
        if not problems:
            target.copy_(convert(parts, source, len(target), heads=model.config.trunk_heads))
    useless = layout.ignored if model.config.tracks else layout.ignored + layout.tracker
    if unknown := [
        name for name in weights if name not in used and not listed(name.removeprefix(prefix), useless)
    ]:
        problems["unknown"] = sorted(unknown)
    if problems:
        raise CheckError(
            f"{origin}: {'; '.join(summary(kind, problems[kind]) for kind in problems)}: "
            "want the tensors of a whole SAM 3 checkpoint that fits its config"
        )


def listed(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns stands for a tensor."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def faults(parts: Mapping[str, Tensor], source: Source, target: Tensor) -> Iterator[tuple[str, str]]:
    """What is wrong with the tensors behind one of ours, as (kind, tensor and fact)."""
    for name, part in parts.items():
        shape = list(source.reshape(part).shape if source.reshape else part.shape)
        want = list(target.shape) if source.reshape else source.part_shape(target.shape)
        if shape != want:
            yield "misshapen", f"{name} is {list(part.shape)}, {want} fits"
        elif part.dtype not in FLOATS:
            yield "not floating point", f"{name} is {str(part.dtype).removeprefix('torch.')}"
        elif not part.isfinite().all():
            yield "not finite", name


def convert(parts: list[Tensor], source: Source, rows: int, *, heads: int) -> Tensor:
    """Our tensor of `rows` rows from theirs."""
    value = parts[0] if len(parts) == 1 else torch.cat(parts)
    if source.third is not None:
        value = value[source.third * rows : (source.third + 1) * rows]
    if source.reshape:
        value = source.reshape(value)
    if source.one_head:
        return half_rows(value, 1)
    return to_half_layout(value, heads) if source.rotary else value


def summary(kind: str, problems: list[str]) -> str:
    """`2 missing (a, b)`, with the first few named."""
    more = ", ..." if len(problems) > SHOWN else ""
    return f"{len(problems)} {kind} ({', '.join(problems[:SHOWN])}{more})"
