"""Our tracker and `transformers`' with the same weights, and a bank of memories to read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tiny_huggingface import saved, tiny_video_model
from torch import Tensor

from sam3_edge.export.checkpoint import load
from sam3_edge.export.model import Sam3
from sam3_edge.spec import MASKED

LAST = 6  # the temporal row of a conditioning frame


@dataclass(frozen=True)
class Remembered:
    """What one object remembers, as lists: memories [N, T, M] and their rows, pointers [P, D] and times."""

    memories: Tensor
    rows: Tensor
    pointers: Tensor
    times: Tensor

    @classmethod
    def random(cls, ours: Sam3, counts: tuple[int, int], seed: int) -> Remembered:
        generator = torch.Generator().manual_seed(seed)
        c, (frames, pointers) = ours.config, counts
        return cls(
            torch.randn(frames, c.grid**2, c.memory_dim, generator=generator),
            torch.randint(0, c.memory_times, (frames,), generator=generator),
            torch.randn(pointers, c.dim, generator=generator),
            torch.randint(1, 40, (pointers,), generator=generator) / 15,
        )

    def padded(self, ours: Sam3, seed: int) -> tuple[Tensor, ...]:
        """The six inputs of a bank for one object: slots in random order, the empty ones full of garbage."""
        generator = torch.Generator().manual_seed(seed)
        c, inputs = ours.config, []
        for slots, values, time in (
            (c.memory_slots, self.memories, self.rows),
            (c.pointer_slots, self.pointers, self.times),
        ):
            place = torch.randperm(slots, generator=generator)[: len(values)]
            row = 30 * torch.randn(slots, *values.shape[1:], generator=generator)
            when = torch.full((slots,), 3).to(time.dtype)
            bias = torch.full((slots,), MASKED)
            row[place], when[place], bias[place] = values, time, 0.0
            inputs += [row[None], (when.int() if values is self.memories else when)[None], bias[None]]
        return tuple(inputs)


class Pair:
    """Our model, theirs, and a frame: its trunk feature, and what their neck makes of it."""

    def __init__(self, folder: Path) -> None:
        video = tiny_video_model()
        self.video, self.theirs = video, video.tracker_model
        self.ours: Sam3 = load(saved(video, folder)).model
        c, generator = self.ours.config, torch.Generator().manual_seed(5)
        self.trunk = torch.randn(1, c.grid**2, c.trunk_dim, generator=generator)
        maps, positions = video.get_vision_features_for_tracker(Held(self.trunk))
        self.levels = [x.permute(1, 2, 0).unflatten(2, (n, n)) for x, n in zip(maps, self.sides, strict=True)]
        self.flat, self.position = maps[-1], positions[-1]

    @property
    def sides(self) -> tuple[int, int, int]:
        grid = self.ours.config.grid
        return 4 * grid, 2 * grid, grid

    def run(self, graph: str, *inputs: Tensor) -> Any:
        """One of our graphs."""
        return self.ours.graph(graph)(*inputs)

    def attended(self, held: Remembered) -> Tensor:
        """Features [1, D, G, G] after their memory attention, on a list of exactly what there is."""
        t, width = self.theirs, self.ours.config.memory_dim
        place = t.memory_encoder.position_encoding((1, width, *self.sides[2:] * 2), "cpu", torch.float32)
        place = place.flatten(2).permute(2, 0, 1)
        outputs = [
            # Their offset 0 is row -1, the last; offset r is row r - 1.
            (int(row) + 1, {"maskmem_features": x[:, None], "maskmem_pos_enc": place})
            for x, row in zip(held.memories, held.rows, strict=True)
        ]
        memory, positions = t._build_memory_attention_inputs(outputs, "cpu")
        pointers, ages = t._process_object_pointers(
            [float(time) for time in held.times], [p[None] for p in held.pointers], 2, 1, t.hidden_dim, "cpu"
        )
        out = t.memory_attention(
            current_vision_features=self.flat,
            current_vision_position_embeddings=self.position,
            memory=torch.cat((*memory, pointers)),
            memory_posision_embeddings=torch.cat((*positions, ages)),
            num_object_pointer_tokens=len(pointers),
        )
        found: Tensor = out.squeeze(1).transpose(1, 2).unflatten(2, self.sides[2:] * 2)
        return found

    def decoded(self, features: Tensor, *, multimask: bool, **prompts: Tensor) -> Any:
        """Their mask decoder on features [1, D, G, G]."""
        return self.theirs._single_frame_forward(
            image_embeddings=[*self.levels[:2], features], multimask_output=multimask, **prompts
        )

    def set_score(self, shift: float) -> None:
        """Move the object's score in both models, so that it is there or not."""
        bias = self.theirs.mask_decoder.pred_obj_score_head.proj_out.bias
        ours = self.ours.tracker.decoder.score_head.layers[2].bias
        assert isinstance(ours, Tensor)
        for value in (bias, ours):
            value.data.fill_(shift)


@dataclass(frozen=True)
class Held:
    """What their video model reads of its vision encoder's output."""

    last_hidden_state: Tensor
