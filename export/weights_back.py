"""A model's tensors under the names of another layout: what the loader reads, the other way round.

Other programs' classes run with our weights this way: the official session that is recorded, and
`transformers`' that is measured beside ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .model import Sam3
from .weights import Layout, Source, convert


def poured_back(model: Sam3, layout: Layout, shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """The tensors of an unfolded model as a checkpoint of `layout` has them, float32.

    The loader only moves numbers. So every number of their tensors gets a number of its own, the loader moves
    these, and where each ends up tells where ours belong. `shapes`: of their tensors, by our names, where the
    loader does more than drop or add a first axis of length 1.
    """
    ours, found = model.state_dict(), dict[str, Tensor]()
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in ours:
        parts = tuple(names_of(layout.source(name), layout))
        groups.setdefault(parts, []).append(name)
    for parts, names in groups.items():
        assert not found.keys() & set(parts), parts  # a tensor of theirs is in one group
        found |= back_of({name: ours[name] for name in names}, layout, shapes, model.config.trunk_heads)
    return found


def back_of(
    ours: Mapping[str, Tensor], layout: Layout, shapes: Mapping[str, Sequence[int]], heads: int
) -> dict[str, Tensor]:
    """The same for tensors of ours that come from the same ones of theirs. SAM 3, all at once: 21 GB."""
    places: dict[str, Tensor] = {}
    count = 0
    for name, target in ours.items():
        source = layout.source(name)
        shape = shapes[name] if name in shapes else their_shape(source, target)
        for part in names_of(source, layout):
            if part not in places:
                places[part] = torch.arange(count, count := count + math.prod(shape)).reshape(*shape)
    values = torch.zeros(count)
    for name, target in ours.items():
        source = layout.source(name)
        parts = [places[part] for part in names_of(source, layout)]
        moved = convert(parts, source, len(target), heads=heads)
        values[moved.reshape(-1)] = target.reshape(-1)
    return {part: values[place] for part, place in places.items()}


def names_of(source: Source, layout: Layout) -> list[str]:
    """Their tensors behind one of ours, in full."""
    return [part[1:] if part.startswith("/") else layout.prefix + part for part in source.names]


def their_shape(source: Source, target: Tensor) -> Sequence[int]:
    """The shape of each of their tensors behind one of ours."""
    return target.shape[1:] if source.reshape else source.part_shape(target.shape)
