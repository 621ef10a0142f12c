"""Training the built-in model: every stage learns, and a run that was stopped goes on as if it had not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from sam3_edge.builtin import builtin_checkpoint
from sam3_edge.export import checkpoint, train_shapes
from sam3_edge.export.losses import Truth, concept_loss, detection_loss
from sam3_edge.export.merges import learn_merges
from sam3_edge.export.processes import rank, share_gradients, together
from sam3_edge.export.shapes_batch import Batch, draw_batch
from sam3_edge.export.shapes_model import SHAPES_CONFIG, first_model, resized
from sam3_edge.export.shapes_stages import STAGES, Stage
from sam3_edge.export.train_shapes import Training, finish, mean
from sam3_edge.shapes.scenes import ABSENT, UNSEEN, WORDS
from sam3_edge.tokenizer import FIXED, Tokenizer

SMALL = replace(
    SHAPES_CONFIG,
    image_size=56,
    window=2,
    pretrain_size=28,
    trunk_dim=32,
    trunk_mlp=64,
    trunk_layers=2,
    trunk_heads=2,
    global_layers=(1,),
    text_dim=32,
    text_mlp=64,
    text_layers=1,
    text_heads=2,
    dim=32,
    heads=2,
    mlp=64,
    encoder_layers=1,
    decoder_layers=2,
    queries=4,
    mask_queries=4,
)
NAMES = tuple(stage.name for stage in STAGES)


def small(stage: Stage, *, steps: int = 4) -> Stage:
    """The same kind of stage in hundredths of a second a step."""
    return replace(stage, steps=steps, image_size=56, pictures=2, questions=2, most=2)


@pytest.fixture(autouse=True)
def small_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_shapes, "SHAPES_CONFIG", SMALL)
    monkeypatch.setattr(train_shapes, "STAGES", tuple(small(stage) for stage in STAGES))


def batch_of(run: Training, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    return draw_batch(rng, run.tokenizer, run.model.config, pictures=4, questions=2, most=2)


def begin(folder: Path, seed: int) -> Training:
    return Training(folder, seed)


def weights(run: Training) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in run.model.state_dict().items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_learns_a_batch(tmp_path: Path, name: str) -> None:
    """On one batch again and again, the loss falls by a tenth at least; no number is lost on the way."""
    run = Training(tmp_path, seed=0)
    stage = replace(small(STAGES[NAMES.index(name)], steps=60), rate=3e-3)
    model = resized(run.model, 56)
    for ours, theirs in zip(run.model.parameters(), model.parameters(), strict=True):
        theirs.data = ours.data
    batch, losses = batch_of(run), []
    run.step = 20  # past the slowest of the warm-up
    for _ in range(30):
        loss = sum(run.loss(model, stage, batch).values(), torch.zeros(()))
        run.update(model, stage, loss)
        losses.append(loss.item())
    assert np.isfinite(losses).all()
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    assert all(torch.isfinite(weight).all() for weight in run.model.state_dict().values())


@pytest.mark.parametrize("name", NAMES)
def test_a_stage_moves_the_weights_it_uses(tmp_path: Path, name: str) -> None:
    run = Training(tmp_path, seed=0)
    before = weights(run)
    run.run_stage(small(STAGES[NAMES.index(name)], steps=2))
    moved = {
        key.split(".")[0] for key, weight in weights(run).items() if not torch.equal(weight, before[key])
    }
    unused: dict[str, set[str]] = {"dense": {"text", "exemplar", "detector", "masks"}, "heads": {"backbone"}}
    unused["frames"] = unused["heads"]
    assert moved == {"backbone", "detector_features", "text", "exemplar", "detector", "masks"} - unused.get(
        name, set()
    )
    assert (tmp_path / "state.pt").is_file() and not (tmp_path / "state.part").exists()


def test_nothing_but_the_seed_decides(tmp_path: Path) -> None:
    runs = [begin(tmp_path / str(i), seed) for i, seed in enumerate((3, 3, 4))]
    for run in runs:
        run.run_stage(small(STAGES[1], steps=2))
    first, again, other = map(weights, runs)
    assert equal(first, again) and not equal(first, other)


class Stop(Exception):
    """The power went."""


def test_a_run_that_was_stopped_goes_on_as_if_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the middle of a stage after a save, in the next stage before one, and once between two."""
    stages = [small(STAGES[0]), small(STAGES[2]), small(STAGES[3])]

    def go_on(folder: Path, stop: tuple[int, int] | None = None, *, save: bool = True) -> Training:
        run = begin(folder, seed=5)
        run.resume()

        def draw(*words: object, **options: object) -> Batch:
            if (run.stage, run.step) == stop:
                if save:
                    run.save()
                raise Stop
            return draw_batch(*words, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(train_shapes, "draw_batch", draw)
        while run.stage < len(stages):
            run.run_stage(stages[run.stage])
            run.enter(run.stage + 1)
        return run

    whole = go_on(tmp_path / "whole")
    for stop, save in (((0, 2), True), ((1, 1), False), ((2, 0), False), ((2, 3), True)):
        with pytest.raises(Stop):
            go_on(tmp_path / "parts", stop, save=save)
    parts = go_on(tmp_path / "parts")
    assert equal(weights(whole), weights(parts))
    assert equal(whole.average, parts.average)
    assert equal(whole.cells.state_dict(), parts.cells.state_dict())


def test_the_command(tmp_path: Path) -> None:
    """All stages to a checkpoint that `export` reads; a second call has nothing left to do."""
    for _ in range(2):
        done = CliRunner().invoke(train_shapes.main, [str(tmp_path), "--processes", "1"])
        assert done.exit_code == 0, done.output
        assert f"saved {tmp_path / 'model.safetensors'}" in done.output
    found = checkpoint.load(tmp_path / "model.safetensors")
    assert found.config == SMALL and found.licence == "Apache-2.0"
    assert (tmp_path / "merges.txt").read_text() == learn_merges(WORDS)


def test_frames_start_from_the_mean_of_two_ends(tmp_path: Path) -> None:
    run = begin(tmp_path, seed=0)
    ends = {}
    for name in ("refine", "heads"):
        run.enter(NAMES.index(name))
        run.run_stage(small(STAGES[run.stage], steps=2))
        ends[name] = {key: weight.clone() for key, weight in run.average.items()}
        assert not run.manner.muon
        finish(run)
    assert STAGES[run.stage].name == "frames" and run.manner.muon
    expected = mean(ends["refine"], ends["heads"])
    assert equal(weights(run), expected) and equal(run.average, expected)
    assert not equal(expected, ends["heads"])


def test_trained_weights_go_on_with_a_stage(tmp_path: Path) -> None:
    first, more = tmp_path / "first", tmp_path / "more"
    train_shapes.train(first, 0, None, "refine")
    run = Training(more, seed=1)
    run.start_from(first / "model.safetensors", "heads")
    assert STAGES[run.stage].name == "heads" and equal(run.average, weights(run))
    kept = run.model.backbone.state_dict()
    train_shapes.train(more, 1, first / "model.safetensors", "heads")
    trained = checkpoint.load(more / "heads.safetensors").model
    assert equal(kept, trained.backbone.state_dict())
    assert not equal(run.model.detector.state_dict(), trained.detector.state_dict())


def give_own_gradient(folder: Path) -> None:
    """In each of two processes: gradients 1 and 3 for one weight, one of them none for the other."""
    number = rank()
    both, one = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(3))
    both.grad = torch.full((2, 2), 1.0 + 2 * number)
    one.grad = torch.ones(3) if number else None
    share_gradients([both, one])
    torch.save((both.grad, one.grad), folder / f"{number}.pt")


def test_processes_share_the_mean_gradient(tmp_path: Path) -> None:
    together(give_own_gradient, tmp_path, processes=2)
    for number in range(2):
        both, one = torch.load(tmp_path / f"{number}.pt")
        assert torch.equal(both, torch.full((2, 2), 2.0)) and torch.equal(one, torch.full((3,), 0.5))


def test_nothing_withheld_is_drawn_or_asked() -> None:
    run, said = Training(Path(), seed=0), set()
    for seed in range(40):
        batch = batch_of(run, seed)
        drawn = {(item.shape, item.colour) for scene in batch.scenes for item in scene.items}
        assert not drawn & UNSEEN
        said |= {tuple(ids) for ids in batch.token_ids.tolist()}
    for shape, colour in UNSEEN:
        phrase = run.tokenizer.encode(f"{colour} {shape}", 8)[0][0]
        assert tuple(phrase.tolist()) not in said
    assert any(
        item.colour == "cyan" for seed in range(9) for s in batch_of(run, seed).scenes for item in s.items
    )


def test_larger_pictures_need_no_other_weights() -> None:
    model = first_model(SMALL, 0)
    larger = resized(model, 112)
    assert larger.config.image_size == 112 and equal(dict(model.state_dict()), dict(larger.state_dict()))
    assert larger.backbone(torch.zeros(1, 3, 112, 112)).shape == (1, 64, SMALL.trunk_dim)


def test_a_batch_is_consistent() -> None:
    run = Training(Path(), seed=0)
    batch = batch_of(run)
    assert batch.pictures.shape == (4, 3, 56, 56) and batch.pictures.abs().max() <= 1
    assert batch.picture_of.tolist() == [0, 1, 2, 3, 0, 1, 2, 3] and batch.drawn == 8
    assert len(batch.truths) == len(batch.token_ids) == 8
    for truth in batch.truths:
        assert len(truth.boxes) == len(truth.masks)
        for box, mask in zip(truth.boxes, truth.masks, strict=True):
            rows, columns = torch.nonzero(mask, as_tuple=True)
            low, high = box[:2] - box[2:] / 2, box[:2] + box[2:] / 2
            assert torch.allclose(low * 56, torch.stack([columns.min(), rows.min()]).float(), atol=1e-4)
            assert torch.allclose(high * 56, torch.stack([columns.max(), rows.max()]) + 1.0, atol=1e-4)


def perfect(truths: list[Truth], queries: int) -> tuple[list[tuple[Tensor, Tensor, Tensor]], Tensor]:
    """One decoder layer that answers as well as can be, and its masks of 14 x 14."""
    boxes, logits = torch.full((len(truths), queries, 4), 0.5), torch.full((len(truths), queries), -12.0)
    masks, presence = torch.full((len(truths), queries, 14, 14), -12.0), torch.full((len(truths), 1), -12.0)
    for n, truth in enumerate(truths):
        for i, (box, mask) in enumerate(zip(truth.boxes, truth.masks, strict=True)):
            boxes[n, i], logits[n, i], presence[n] = box, 12, 12
            masks[n, i] = 24 * torch.nn.functional.avg_pool2d(mask[None], 4)[0] - 12
    return [(boxes, logits, presence)], masks


def test_the_right_answer_costs_least() -> None:
    truths = batch_of(Training(Path(), seed=0)).truths
    layers, masks = perfect(truths, 4)
    (boxes, logits, presence), best = layers[0], detection_loss(layers, masks, truths)
    for worse in (
        [(boxes + 0.05, logits, presence)],
        [(boxes, -logits, presence)],
        [(boxes, logits, -presence)],
    ):
        assert detection_loss(worse, masks, truths) > best + 0.1
    assert detection_loss(layers, -masks, truths) > best + 0.1
    order = torch.tensor([2, 0, 3, 1])
    shuffled = [(boxes[:, order], logits[:, order], presence)]
    assert detection_loss(shuffled, masks[:, order], truths).item() == pytest.approx(best.item(), rel=1e-3)
    union = torch.stack([t.masks.amax(0) if len(t.masks) else torch.zeros(56, 56) for t in truths])[:, None]
    semantic = 24 * torch.nn.functional.avg_pool2d(union, 4) - 12
    assert concept_loss(semantic, truths) < concept_loss(-semantic, truths)


def test_a_batch_of_vain_questions_has_a_loss() -> None:
    nothing = Truth(torch.zeros(0, 4), torch.zeros(0, 56, 56))
    layers, masks = perfect([nothing] * 2, 4)
    leaves = [tensor.requires_grad_() for tensor in (*layers[0], masks)]
    loss = detection_loss([(leaves[0], leaves[1], leaves[2])], leaves[3], [nothing] * 2)
    assert loss.isfinite() and concept_loss(masks[:, :1], [nothing] * 2).isfinite()
    grads = torch.autograd.grad(loss, leaves, allow_unused=True)
    assert all(grad is None or bool(grad.isfinite().all()) for grad in grads)


def test_the_vocabulary_is_made_of_the_words(tmp_path: Path) -> None:
    text = learn_merges(WORDS)
    shipped = builtin_checkpoint() / "merges.txt"
    assert shipped.read_text(encoding="utf-8") == text
    tokenizer = Tokenizer.read(shipped)
    assert tokenizer.vocab_size == SHAPES_CONFIG.text_vocab == FIXED + len(text.splitlines()) - 1
    assert all(tokenizer.count(word) == 3 for word in WORDS)  # each word is one token
    assert all(tokenizer.count(phrase) > 3 for phrase in ABSENT)
