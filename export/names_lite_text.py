"""SAM3-LiteText: SAM 3's image model with a small text encoder, and its convolutions folded as they are read.

The first and last layer of the encoder mix neighbouring tokens (RepMixer: Vasu et al. 2023): three batch
normalisations around a depthwise convolution, scaled and added to what came in. All of that is linear, so it
is one convolution with a bias, exactly; the same for what stands before and after each of the two MLPs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor

from sam3_edge.errors import CheckError
from sam3_edge.spec import ModelConfig

from .names_huggingface import LAYOUT as SAM3
from .names_huggingface import QKV
from .weights import Names, Source, under

LENGTH = 32  # tokens of a phrase: its processor pads to SAM 3's, and the table of positions is stretched
EPSILON = 1e-5  # of a batch normalisation
MIXER = re.compile(r"(.*text_encoder\.layers\.\d+\.)token_mixer\.layer_scale")
BEFORE = "text_encoder.text_model"  # what names of SAM 3's own encoder start with

Take = Callable[..., Tensor]


def stretched(positions: Tensor) -> Tensor:
    """A table [1, 1, P, C] at `LENGTH` rows, between them in straight lines."""
    if positions.ndim != 4:
        return positions
    size = (LENGTH, positions.shape[-1])
    return F.interpolate(positions.float(), size, mode="bilinear", align_corners=False)[0, 0]


TEXT: Names = {
    "token": "embeddings.token_embedding",
    "position": Source(("embeddings.position_embedding.position_embedding",), reshape=stretched),
    "blocks.#.attention_norm": "layers.#.layer_norm1",
    "blocks.#.attention.qkv": Source(tuple(f"layers.#.self_attn.{part}" for part in QKV)),
    "blocks.#.attention.out": "layers.#.self_attn.out_proj",
    "blocks.#.mlp_norm": "layers.#.layer_norm2",
    "blocks.#.mlp.layers.0": "layers.#.mlp.fc1",
    "blocks.#.mlp.layers.1": "layers.#.mlp.fc2",
    "blocks.#.mix": "layers.#.mix",
    "blocks.#.near": "layers.#.near",
    "norm": "final_layer_norm",
}
LAYOUT = replace(
    SAM3,
    sources={
        **{ours: it for ours, it in SAM3.sources.items() if not it.names[0].startswith(BEFORE)},
        **under("text", "text_encoder", TEXT),
        "text.project": Source(("text_projection",)),
    },
    ignored=(
        *SAM3.ignored,
        "text_encoder.projection.weight",  # of a whole phrase; the prompt is made of the single tokens
        "text_encoder.layers.*.num_batches_tracked",
    ),
)


class Folded(Mapping[str, Tensor]):
    """The tensors of a file with its mixers folded, as if they had been saved so."""

    def __init__(self, weights: Mapping[str, Tensor], config: ModelConfig, *, origin: str) -> None:
        self.weights, self.origin = weights, origin
        self.used: set[str] = set()
        self.made: dict[str, Tensor] = {}
        for stem in [found[1] for name in weights if (found := MIXER.fullmatch(name))]:
            parts = fold_mixer(lambda name, *shape, stem=stem: self.take(stem + name, shape), config)
            self.made |= {stem + name: value for name, value in parts.items()}

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """One tensor, in double precision. Raises `CheckError` if it is missing or misshapen."""
        if name not in self.weights:
            raise CheckError(f"{self.origin}: missing {name}: want a whole SAM3-LiteText checkpoint")
        self.used.add(name)
        value = self.weights[name]
        if tuple(value.shape) != shape:
            raise CheckError(f"{self.origin}: misshapen {name} is {list(value.shape)}, {list(shape)} fits")
        return value.double()

    def __getitem__(self, name: str) -> Tensor:
        return self.made[name] if name in self.made else self.weights[name]

    def __iter__(self) -> Iterator[str]:
        yield from self.made
        yield from (name for name in self.weights if name not in self.used)

    def __len__(self) -> int:
        return len(self.made) + len(self.weights) - len(self.used)


def fold_mixer(take: Take, config: ModelConfig) -> dict[str, Tensor]:
    """Two convolutions and an MLP from one layer that mixes: x <- mix(x); x <- x + mlp(near(x))."""
    dim, wide, taps = config.text_dim, config.text_mlp, config.text_taps

    def norm(name: str) -> tuple[Tensor, Tensor]:
        weight, bias, mean, var = (
            take(f"{name}.{part}", dim) for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = weight / (var + EPSILON).sqrt()
        return scale, bias - mean * scale

    gain = take("token_mixer.layer_scale", dim, 1, 1).flatten()
    (around, a), (skip, b), (reference, c) = map(
        norm,
        (
            "token_mixer.mixer.batchnorm_conv",
            "token_mixer.mixer.batchnorm_skip",
            "token_mixer.reference_batchnorm",
        ),
    )
    mix = take("token_mixer.mixer.conv.weight", dim, 1, 1, taps)[:, :, 0] * (gain * around)[:, None, None]
    mix[:, 0, taps // 2] += gain * (skip - reference) + 1
    scale, shift = norm("conv_feed_forward.depthwise_batchnorm")
    near = take("conv_feed_forward.depthwise_conv.weight", dim, 1, 1, taps)[:, :, 0] * scale[:, None, None]
    last = take("layer_scale", dim, 1, 1).flatten()
    mlp = "conv_feed_forward.mlp"
    made = {
        "mix.weight": mix,
        "mix.bias": gain * (a + b - c),
        "near.weight": near,
        "near.bias": shift,
        "mlp.fc1.weight": take(f"{mlp}.fc1.weight", wide, dim, 1, 1)[:, :, 0, 0],
        "mlp.fc1.bias": take(f"{mlp}.fc1.bias", wide),
        "mlp.fc2.weight": take(f"{mlp}.fc2.weight", dim, wide, 1, 1)[:, :, 0, 0] * last[:, None],
        "mlp.fc2.bias": take(f"{mlp}.fc2.bias", dim) * last,
    }
    return {name: value.float() for name, value in made.items()}
