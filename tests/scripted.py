"""A tiny model's numbers, and a session that answers what a test tells it to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3_edge import Segmenter
from sam3_edge.phrases import Phrases
from sam3_edge.session import HostValues, check_feeds
from sam3_edge.spec import ModelConfig, graph_specs
from sam3_edge.tokenizer import FIXED, Tokenizer

Arrays = dict[str, NDArray[Any]]

CONFIG = ModelConfig(
    image_size=56,
    window=2,
    pretrain_size=28,
    trunk_dim=32,
    trunk_mlp=64,
    trunk_layers=2,
    trunk_heads=2,
    global_layers=(1,),
    text_vocab=FIXED,
    text_dim=32,
    text_mlp=64,
    text_layers=2,
    text_heads=2,
    text_length=8,
    dim=32,
    heads=4,
    mlp=64,
    exemplar_layers=1,
    encoder_layers=1,
    decoder_layers=2,
    queries=8,
    mask_queries=2,
    max_boxes=2,
    memory_layers=0,
)
SIDE = CONFIG.mask_size
PICTURE = np.random.default_rng(0).integers(0, 256, (40, 80, 3), dtype=np.uint8)


class Scripted(HostValues):
    """Gives the answers it was told, zeros for the rest, and remembers what it was asked."""

    def __init__(self, **answers: NDArray[Any]) -> None:
        self.answers, self.calls = answers, list[tuple[str, Arrays]]()
        self.specs = graph_specs(CONFIG)

    def run(self, graph: str, feeds: Mapping[str, Any]) -> Arrays:
        check_feeds(self.specs[graph], feeds)
        self.calls.append((graph, {name: np.array(value) for name, value in feeds.items()}))
        out: Arrays = {}
        for tensor in self.specs[graph].outputs:
            out[tensor.name] = self.answers.get(f"{graph}_{tensor.name}", np.zeros(tensor.sized(), "float32"))
            assert out[tensor.name].shape == tensor.sized()
        if graph == "masks" and "draw" in self.answers:
            out["masks"] = self.answers["draw"][feeds["queries"][0, :, 0].astype(int)][None]
        return out

    def close(self) -> None:
        self.calls.clear()

    def ran(self, graph: str) -> list[Arrays]:
        return [feeds for name, feeds in self.calls if name == graph]


def logit(score: float) -> float:
    return float(np.log(score / (1 - score)))


def scripted(scores: tuple[float, ...] = (), **more: NDArray[Any]) -> tuple[Segmenter, Scripted]:
    """A model that is sure of the concept's presence and finds objects of these scores, each in its own row.

    Query i carries the number i + 1, and its mask is the i-th eighth of the picture's height.
    """
    logits = np.full((1, CONFIG.queries), -12, np.float32)
    logits[0, : len(scores)] = [logit(score) for score in scores]
    queries = np.zeros((1, CONFIG.queries, CONFIG.dim), np.float32)
    queries[0, :, 0] = np.arange(CONFIG.queries) + 1
    draw = np.full((CONFIG.queries + 1, SIDE, SIDE), -1, np.float32)
    for number in range(1, CONFIG.queries + 1):
        draw[number, (number - 1) * 2 : number * 2] = 1
    boxes = np.zeros((1, CONFIG.queries, 4), np.float32)
    boxes[0, :, 0], boxes[0, :, 2] = 0.25, 0.5
    boxes[0, :, 1] = np.arange(CONFIG.queries) / CONFIG.queries
    boxes[0, :, 3] = boxes[0, :, 1] + 1 / CONFIG.queries
    answers = {
        "detector_logits": logits,
        "detector_presence": np.full((1, 1), 20, np.float32),
        "detector_queries": queries,
        "detector_boxes": boxes,
        "draw": draw,
    }
    session = Scripted(**{**answers, **more})
    phrases = Phrases(session, length=CONFIG.text_length, tokenizer=Tokenizer({}))
    return Segmenter(CONFIG, session, phrases), session
