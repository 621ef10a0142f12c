"""Our side of `speed`: the graphs of a bundle in the order of a frame, on inputs that both sides share."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge import registry
from sam3_edge.bundle import Bundle
from sam3_edge.query import no_boxes
from sam3_edge.session import open_session
from sam3_edge.spec import MASKED, GraphSpec, ModelConfig, TensorSpec, graph_specs
from sam3_edge.tracker_spec import bank_specs

Array = NDArray[Any]
WORDS = 5  # tokens of the phrase that count
AT_ONCE = 4  # objects of one call, as the loop makes it (`Settings.batch`)
MEMORIES, POINTERS = 7, 16
SEED = 11
FRAME = (
    "backbone",
    "detector_features",
    "exemplar",
    "detector",
    "masks",
    "tracker_features",
    "tracker_step",
    "memorize",
)


@dataclass(frozen=True, eq=False)
class Inputs:
    """What both sides are given: a prepared picture, the tokens of a phrase, and what objects left behind."""

    image: Array  # [1, 3, H, H]
    words: Array  # [1, L, D]
    memories: Array  # [B, 7, G * G, M]
    pointers: Array  # [B, 16, D]

    @classmethod
    def random(cls, config: ModelConfig, objects: int) -> Inputs:
        rng, c = np.random.default_rng(SEED), config
        shapes = ((1, 3, c.image_size, c.image_size), (1, c.text_length, c.dim))
        shapes += ((objects, MEMORIES, c.memory_tokens, c.memory_dim), (objects, POINTERS, c.dim))  # type: ignore[assignment]
        return cls(*(rng.standard_normal(shape, np.float32) for shape in shapes))


def bank(inputs: Inputs, config: ModelConfig, part: slice) -> dict[str, Array]:
    """The bank's inputs: a conditioning memory and six recent ones in the lowest slots, as in the loop."""
    objects = len(inputs.memories[part])
    feeds = {t.name: np.zeros(t.sized(objects), t.dtype) for t in bank_specs(config)}
    feeds["memory_bias"][:], feeds["pointer_bias"][:] = MASKED, MASKED
    feeds["memory"][:, :MEMORIES], feeds["memory_bias"][:, :MEMORIES] = inputs.memories[part], 0
    feeds["pointers"][:, :POINTERS], feeds["pointer_bias"][:, :POINTERS] = inputs.pointers[part], 0
    feeds["memory_time"][:, :MEMORIES] = np.arange(MEMORIES)[::-1]
    feeds["pointer_time"][:, :POINTERS] = np.arange(1, POINTERS + 1, dtype=np.float32) / np.float32(15)
    return feeds


class Frame:
    """One bundle. Nothing but its graphs is timed: the loop's host code has a benchmark of its own."""

    def __init__(self, bundle: Path, objects: int, threads: int) -> None:
        opened = Bundle.open(bundle)
        self.config, self.session = opened.config, open_session(opened, threads=threads)
        self.inputs = Inputs.random(self.config, objects)
        self.parts = [slice(at, min(at + AT_ONCE, objects)) for at in range(0, objects, AT_ONCE)]

    def prompt(self, coarse: Array, *, cls: bool) -> dict[str, Array]:
        """The phrase and the picture's token, which `transformers` leaves out where there are no boxes."""
        c, hidden = self.config, np.float32(MASKED)
        pool_y, pool_x = no_boxes(c)
        bias = np.full((1, 1, 1, c.max_boxes + 1), hidden)
        bias[..., -1] = 0
        feeds = {"boxes": np.zeros((1, c.max_boxes, 4), np.float32), "exemplar_bias": bias}
        feeds |= {
            "labels": np.zeros((1, c.max_boxes), np.float32),
            "pool_y": pool_y[None],
            "pool_x": pool_x[None],
        }
        tokens = self.session.run("exemplar", {"features_1x": coarse, **feeds})["exemplar_tokens"]
        words = np.full((1, 1, 1, c.text_length), hidden)
        words[..., :WORDS] = 0
        seen = bias if cls else np.full_like(bias, hidden)
        return {
            "prompt": np.concatenate((self.inputs.words, tokens), axis=1),
            "prompt_bias": np.concatenate((words, seen), axis=3),
        }

    def picture(self, *, cls: bool = True) -> dict[str, Array]:
        """One phrase asked of the picture, with masks of the best 32 queries."""
        run = self.session.run
        trunk = run("backbone", {"image": self.inputs.image})
        return self.detect(trunk, cls=cls)

    def detect(self, trunk: Mapping[str, Array], *, cls: bool = True) -> dict[str, Array]:
        """Everything of the detector, on the trunk feature."""
        features = self.session.run("detector_features", trunk)
        prompt = self.prompt(features["features_1x"], cls=cls)
        found = self.session.run("detector", {"features_1x": features["features_1x"], **prompt})
        best = np.argsort(-found["logits"][0], kind="stable")[: self.config.mask_queries]
        fine = {name: features[name] for name in ("features_4x", "features_2x")}
        chosen = {"encoded": found["encoded"], "queries": found["queries"][:, best]}
        masks = self.session.run("masks", {**fine, **prompt, **chosen})
        return {"boxes": found["boxes"], "logits": found["logits"], "masks": masks["masks"]}

    def frame(self) -> dict[str, Array]:
        """A frame of a video: detection, every object followed from its memories, and remembered."""
        trunk = self.session.run("backbone", {"image": self.inputs.image})
        self.detect(trunk)
        seen = self.session.run("tracker_features", trunk)
        coarse = {"tracker_1x": seen.pop("tracker_1x")}
        found: list[Array] = []
        for part in self.parts:
            out = self.session.run("tracker_step", {**seen, **bank(self.inputs, self.config, part)})
            present = (out["object_score"] > 0).astype(np.float32)
            feeds = {"mask": out["mask"][:, None], "present": present, "hard": np.zeros_like(present)}
            self.session.run("memorize", {**coarse, **feeds})
            found.append(out["mask"])
        return {"mask": np.concatenate(found)}


def whole(bundle: Path, objects: int, threads: int) -> dict[str, Callable[[], Any]]:
    """The tasks of one bundle."""
    frame = Frame(bundle, objects, threads)
    return {
        "picture": frame.picture,
        "check picture": partial(frame.picture, cls=False),
        "frame": frame.frame,
    }


def ready(bundle: str) -> None:
    """Load all that a frame needs."""
    opened = Bundle.open(bundle)
    session = registry.load_module("runtimes", "on_onnx").open(opened, threads=1)
    for graph in FRAME:
        session.session(graph)


def small(config: ModelConfig) -> ModelConfig:
    """The tracker at its size behind a trunk of one layer: what is not asked is not loaded."""
    less = {"trunk_layers": 1, "global_layers": (0,), "text_layers": 1, "text_vocab": 600, "text_dim": 64}
    return replace(config, **less)  # type: ignore[arg-type]


def attention_graph(config: ModelConfig) -> tuple[Any, GraphSpec]:
    """Memory attention as a graph, its first self-attention included, which a frame needs but once."""
    import torch

    model = registry.load_module("benchmarks", "parity_full").random_model(small(config))
    model.tracker.fold()
    slots = registry.load_module("export", "memory_attention").Slots

    class Alone(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = model.tracker.memory_attention

        def forward(self, coarse: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
            held = self.attention.bank(slots(a, b, c), slots(d, e, f))
            return self.attention(self.attention.queries(coarse), held)

    coarse = next(t for t in graph_specs(config)["tracker_features"].outputs if t.name == "tracker_1x")
    seen = TensorSpec("seen", ("objects", config.grid**2, config.dim))
    return Alone().eval(), GraphSpec("memory_attention", (coarse, *bank_specs(config)), (seen,))


def coarse_features(config: ModelConfig) -> Array:
    """What both sides look from: [1, D, G, G]."""
    rng = np.random.default_rng(SEED)
    return rng.standard_normal((1, config.dim, config.grid, config.grid), np.float32)


def attention(config: ModelConfig, fused: bool, threads: int) -> dict[str, Callable[[], Any]]:
    """The task of memory attention alone, one object."""
    runtime = registry.load_module("runtimes", "on_onnx")
    module, spec = attention_graph(config)
    with tempfile.TemporaryDirectory() as folder:
        file = registry.load_module("export", "to_onnx").lower(module, spec, Path(folder), fused=fused)
        session = runtime.start(str(Path(folder) / file), name=spec.name, threads=threads)
    del module
    feeds = {"tracker_1x": coarse_features(config), **bank(Inputs.random(config, 1), config, slice(0, 1))}

    def answers() -> dict[str, Array]:
        given = runtime.without_empty(feeds) if runtime.any_slots(session) else feeds
        return {"seen": session.run(None, given)[0]}

    return {"attention": answers}
