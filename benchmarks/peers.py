"""The same work, with the same weights, by `transformers` and by our bundles, in turns in one run.

    python -m sam3_edge.benchmarks.peers runs/full/random-r336 --output benchmarks/results/peers.json

A picture: one phrase, encoded before, JPEG in and one mask out. A clip: one object followed through it.
Which object counts as found is decided for both: random weights find what they like. Compiled are the image
encoder and the parts of the detector, by `torch.compile`; the tracker runs as it is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np

from sam3_edge import console, registry
from sam3_edge.alone import alone
from sam3_edge.bundle import Bundle
from sam3_edge.phrases import read_tokenizer
from sam3_edge.picture import prepare
from sam3_edge.segmenter import Segmenter, load
from sam3_edge.timing.comparison import of_turns
from sam3_edge.timing.following import NONE, SURE, Following, begin
from sam3_edge.timing.footage import PHRASE, generated
from sam3_edge.timing.ratio import interval
from sam3_edge.timing.turns import Rounds, Step, Turn, take_turns, working

from .document import errors_told, write_document
from .machine import facts
from .parity_full import random_model
from .streaming_peer import made, opened

WORKS = ("picture", "clip")
PEERS = {"transformers, eager": False, "transformers, torch.compile": True}
PARTS = ("vision_encoder", "geometry_encoder", "detr_encoder", "detr_decoder", "mask_decoder")
WARM = 2  # one frame gives birth, the next follows: all has run then, and is compiled


@contextmanager
def ours(bundle: Path, work: str, threads: int) -> Iterator[Step]:
    """A bundle that does the work, one frame a step."""
    frames = generated().endless()
    with load(bundle, threads=threads) as model:
        if work == "clip":
            tracker = begin(model, (PHRASE,), 1)
            yield warm(lambda: tracker.step(next(frames)))
        else:
            session = Following(model.session, model.config, objects=1)
            sure = Segmenter(model.config, session, model.phrases)
            yield warm(lambda: sure.segment(next(frames), [PHRASE]))


@contextmanager
def theirs(folder: Path, bundle: Path, work: str, threads: int, compiled: bool) -> Iterator[Step]:
    """The same by `transformers`, from the `folder` that `save` wrote."""
    import torch

    torch.set_num_threads(threads)
    found = Bundle.open(bundle)
    model = opened(folder, found.config.memory_dim)
    model.detector_model.register_forward_hook(certain)
    if compiled:
        for name in PARTS:
            getattr(model.detector_model, name).compile()
    model.max_num_objects = 1
    step = follow_clip if work == "clip" else cut_pictures
    with torch.inference_mode():
        yield warm(step(model, *encoded(found), found.config.image_size))


def save(bundle: Path, checkpoint: Path | None, folder: Path) -> None:
    """The bundle's weights, as `transformers` reads them. No checkpoint: those of `parity_full`."""
    if checkpoint is not None:
        found = registry.load_module("export", "checkpoint").load(checkpoint)
    else:
        config = Bundle.open(bundle).config
        found = SimpleNamespace(config=config, model=random_model(config))
    made(found).save_pretrained(folder)


def warm(step: Step) -> Step:
    """The step, after a few untimed ones."""
    for _ in range(WARM):
        step()
    return step


def certain(module: Any, inputs: Any, out: Any) -> Any:
    """The first query is found and no other."""
    out.pred_logits.fill_(NONE)
    out.pred_logits[:, 0] = SURE
    out.presence_logits.fill_(SURE)
    return out


def encoded(bundle: Bundle) -> tuple[Any, Any]:
    """The phrase's tokens and which of them count, as `transformers` wants them."""
    import torch

    ids, valid = read_tokenizer(bundle).encode(PHRASE, bundle.config.text_length)
    return torch.from_numpy(ids).long(), torch.from_numpy(valid).long()


def cut_pictures(model: Any, ids: Any, valid: Any, side: int) -> Step:
    """A picture a step: JPEG in, the found objects' masks of its size on the host out."""
    import torch

    detector, frames = model.detector_model, generated().endless()
    text = detector.get_text_features(input_ids=ids, attention_mask=valid, return_dict=True)

    def step() -> Any:
        frame = next(frames)
        seen = detector.get_vision_features(pixel_values=torch.from_numpy(prepare(frame, side)))
        out = detector(vision_embeds=seen, text_embeds=text, attention_mask=valid)
        sure = (out.pred_logits.sigmoid() * out.presence_logits.sigmoid())[0] > 0.5
        return drawn(out.pred_masks[0][sure][:, None], frame.shape[:2])

    return step


def follow_clip(model: Any, ids: Any, valid: Any, side: int) -> Step:
    """A frame of one endless clip a step."""
    import torch
    from transformers import Sam3VideoInferenceSession

    shot = generated()
    frames, (height, width) = shot.endless(), shot.size
    session = Sam3VideoInferenceSession(video_height=height, video_width=width, dtype=torch.float32)
    prompt = session.add_prompt(PHRASE)
    session.prompt_input_ids[prompt], session.prompt_attention_masks[prompt] = ids, valid

    def step() -> Any:
        seen = model(session, frame=torch.from_numpy(prepare(next(frames), side))[0])
        assert seen.object_ids is not None and len(seen.object_ids) == 1, seen.object_ids
        return [drawn(mask[None].float(), (height, width)) for mask in seen.obj_id_to_mask.values()]

    return step


def drawn(masks: Any, size: Sequence[int]) -> Any:
    """Logits [N, 1, h, w] as boolean masks of a frame's size, on the host."""
    import torch

    return (torch.nn.functional.interpolate(masks, size=tuple(size), mode="bilinear") > 0).numpy()


def measured(
    bundle: Path, checkpoint: Path | None, rounds: Rounds, threads: int, peers: Sequence[str]
) -> list[dict[str, Any]]:
    """A row for each work and peer. Two processes at a time: three full-size models do not fit 16 GB."""
    side, rows = Bundle.open(bundle).config.image_size, []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "theirs"
        alone(save, bundle, checkpoint, folder)
        for work, peer in product(WORKS, peers):
            with (
                console.status(f"{side} px, {work}, {peer}") as say,
                working("sam3-edge", ours, bundle, work, threads) as we,
                working(peer, theirs, folder, bundle, work, threads, PEERS[peer]) as they,
            ):
                say("measuring")
                turns = take_turns((they, we), rounds)
            rows.append({"image_size": side, "work": work, "peer": peer, **row(*turns)})
    return rows


def row(they: Sequence[Turn], we: Sequence[Turn]) -> dict[str, Any]:
    """What a peer took by what we took, and the memory of both."""
    sides = {"theirs": of_turns(None, they), "ours": of_turns(None, we)}
    ratios = {}
    for name in ("pieces", "processor"):
        first, second = (getattr(side, name) for side in sides.values())
        ratios[name] = interval(np.asarray(first) / np.asarray(second)).to_json()
    told: dict[str, Any] = {"ratio": ratios["pieces"], "processor_ratio": ratios["processor"]}
    for name, side, turns in zip(sides, sides.values(), (they, we), strict=True):
        told[name] = {
            "frames": len(side.samples),
            "median_ms": round(float(np.median(side.samples)), 1),
            "processor_ms": round(float(np.median(side.processor)), 1),
            "peak_mb": round(side.peak_mb),
            # From the first turn's end to the last one's.
            "growth_mb_a_frame": round(
                (turns[-1].resident[-1] - turns[0].resident[-1])
                / max(1, len(side.samples) - len(turns[0].seconds)),
                2,
            ),
            "samples_ms": [round(sample, 1) for sample in side.samples],
        }
    return told


def markdown(document: dict[str, Any]) -> str:
    """The README's comparison."""
    head = (
        "| | beside | median ms: theirs / ours | ratio, 95 % interval | of processor time "
        "| peak GB: theirs / ours | growth, MB a frame: theirs / ours |"
    )
    lines = [head, "|---" * 7 + "|"]
    for one in document["rows"]:
        theirs, ours = one["theirs"], one["ours"]
        cells = (
            f"{one['work']}, {one['image_size']} px",
            one["peer"],
            f"{theirs['median_ms']:.0f} / {ours['median_ms']:.0f}",
            told(one["ratio"]),
            told(one["processor_ratio"]),
            f"{theirs['peak_mb'] / 1e3:.1f} / {ours['peak_mb'] / 1e3:.1f}",
            f"{theirs['growth_mb_a_frame']:+.1f} / {ours['growth_mb_a_frame']:+.1f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def told(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})"


@click.command()
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--checkpoint", type=click.Path(path_type=Path), help="The bundle's. Default: `parity_full`'s.")
@click.option("--rounds", default=Rounds.rounds, show_default=True, type=click.IntRange(1))
@click.option("--frames", default=1, show_default=True, type=click.IntRange(1), help="Of a turn.")
@click.option("--peer", "peers", type=click.Choice(list(PEERS)), multiple=True, default=list(PEERS))
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="JSON; the table beside it.")
def main(
    bundles: tuple[Path, ...],
    checkpoint: Path | None,
    rounds: int,
    frames: int,
    peers: tuple[str, ...],
    threads: int,
    output: Path,
) -> None:
    """Measure BUNDLES beside `transformers` with the same weights. Nothing is judged."""
    with errors_told():
        plan = Rounds(rounds, frames)
        rows = [row for bundle in bundles for row in measured(bundle, checkpoint, plan, threads, peers)]
        document = {
            "machine": facts("torch", "transformers", "onnxruntime"),
            "threads": threads,
            "rounds": rounds,
            "frames_a_turn": frames,
            "bundles": {bundle.name: Bundle.open(bundle).hash for bundle in bundles},
            "rows": rows,
        }
        write_document(output, document)
    click.echo(markdown(document), nl=False)


if __name__ == "__main__":
    main()
