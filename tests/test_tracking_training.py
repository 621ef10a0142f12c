"""Teaching the built-in model to track: only the tracker learns, by the loop's rules; runs can be stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from sam3_edge.errors import UsageError
from sam3_edge.export import checkpoint, train_tracking
from sam3_edge.export.following import Follower, as_clicks
from sam3_edge.export.mask_decoder import Decoded
from sam3_edge.export.merges import learn_merges
from sam3_edge.export.shapes_model import SHAPES_CONFIG, TRACKING_CONFIG, first_model, with_tracker
from sam3_edge.export.staged import copied
from sam3_edge.export.tracker import GRAPHS, StepGraph
from sam3_edge.export.tracking_batch import Sequences, draw_sequences, draw_stills, roughly
from sam3_edge.export.tracking_losses import GONE, decoded_loss, iou_of
from sam3_edge.export.tracking_past import Past
from sam3_edge.export.train_tracking import STAGES, Stage, Training
from sam3_edge.loop.history import History
from sam3_edge.shapes.scenes import WORDS

SMALL = {
    "image_size": 56,
    "window": 2,
    "pretrain_size": 28,
    "trunk_dim": 32,
    "trunk_mlp": 64,
    "trunk_layers": 1,
    "trunk_heads": 2,
    "global_layers": (0,),
    "text_dim": 32,
    "text_mlp": 32,
    "text_layers": 1,
    "text_heads": 2,
    "dim": 32,
    "heads": 2,
    "mlp": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "queries": 4,
    "mask_queries": 4,
}
DETECTOR = replace(SHAPES_CONFIG, **SMALL)  # type: ignore[arg-type]
TRACKING = replace(TRACKING_CONFIG, **SMALL, memory_dim=8, sam_heads=2)  # type: ignore[arg-type]
SIDE = TRACKING.mask_size


def small(stage: Stage) -> Stage:
    """The same kind of stage in hundredths of a second a step."""
    return replace(stage, steps=2, pictures=1, rounds=2, clips=min(stage.clips, 1), frames=3, objects=2)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A detector without a tracker, and training of the small model."""
    monkeypatch.setattr(train_tracking, "TRACKING_CONFIG", TRACKING)
    monkeypatch.setattr(train_tracking, "STAGES", tuple(small(stage) for stage in STAGES))
    folder = tmp_path / "detector"
    folder.mkdir()
    checkpoint.save(first_model(DETECTOR, 3), folder / "model.safetensors")
    (folder / "merges.txt").write_text(learn_merges(WORDS))
    return folder / "model.safetensors"


def state(run: Training) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in run.model.state_dict().items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def clips(seed: int = 0, *, frames: int = 4) -> Sequences:
    return draw_sequences(np.random.default_rng(seed), TRACKING, clips=2, frames=frames, objects=2)


def test_only_the_tracker_learns(weights: Path, tmp_path: Path) -> None:
    run = Training(tmp_path / "run", weights, seed=0)
    before = state(run)
    run.run_stage(small(STAGES[-1]))
    moved = {name for name, weight in state(run).items() if not torch.equal(weight, before[name])}
    assert {name.split(".")[0] for name in moved} == {"tracker"}
    parts = {name.split(".")[1] for name in moved}
    assert parts >= {"features", "memory_attention", "memory_encoder", "prompts", "decoder", "shrink"}
    assert not {"tracker.prompts.matrix", "tracker.decoder.matrix"} & moved


def test_a_batch_is_learned(weights: Path, tmp_path: Path) -> None:
    """On one batch again and again, following it and clicking on it cost less and less."""
    run, batch = Training(tmp_path / "run", weights, seed=0), clips(5)
    stage, losses = replace(small(STAGES[1]), rate=3e-3, steps=60), []
    run.step = 20
    for number in range(30):
        follower = Follower(run.model, batch, np.random.default_rng(number % 3))
        loss = sum(follower.follow().values(), follower.clicks(2))
        run.update(stage, loss)
        losses.append(loss.item())
    assert np.isfinite(losses).all() and np.mean(losses[-6:]) < 0.8 * np.mean(losses[:6])


def test_memories_stray_into_neighbours_alone(weights: Path, tmp_path: Path) -> None:
    """Pixels of another object near the mask are added; nothing is lost, and nothing else is touched."""
    run, batch = Training(tmp_path / "run", weights, seed=0), clips(3)
    batch.masks[:] = 0
    first, second = (batch.clip_of == batch.clip_of[0]).nonzero().flatten()[:2].tolist()
    batch.masks[first, 1, 2:6, 2:6] = 1
    batch.masks[second, 1, 2:6, 7:12] = 1
    logits = 20 * batch.masks[:, 1] - 10
    changed = set()
    for number in range(40):
        follower = Follower(run.model, batch, np.random.default_rng(number))
        follower.strays = number % 2 == 0
        strayed = follower.strayed(1, logits)
        if torch.equal(strayed, logits):
            continue
        assert follower.strays
        more = (strayed > 0) & ~(logits > 0)
        assert ((strayed > 0) >= (logits > 0)).all() and not more[first][batch.masks[second, 1] < 1].any()
        changed.add(int(more[first].sum()))
    assert len(changed) > 1 and min(changed) > 0


def test_pictures_come_every_so_often(weights: Path, tmp_path: Path) -> None:
    run, stage = Training(tmp_path / "run", weights, seed=0), replace(small(STAGES[-1]), pictures_every=2)
    kinds = []
    for run.step in range(3):
        kinds.append(set(run.losses(stage, np.random.default_rng(run.step))))
    assert kinds == [{"clicks", "said", "track", "look"}, {"said", "track", "look"}, kinds[0]]


class Stop(Exception):
    """The power went."""


def test_a_run_that_was_stopped_goes_on_as_if_not(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = len(STAGES) - 1

    def go_on(folder: Path, stop: tuple[int, int] | None = None) -> Training:
        run = Training(folder, weights, seed=5)
        run.resume()
        draw = draw_stills

        def stills(*words: object, **options: object) -> Sequences:
            if (run.stage, run.step) == stop:
                run.save()
                raise Stop
            return draw(*words, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(train_tracking, "draw_stills", stills)
        while run.stage <= last:
            if 1 < run.stage < last:  # `clips` and `paths` are as `pairs`
                run.enter(last)
            run.run_stage(replace(small(STAGES[run.stage]), pictures_every=1))
            run.end()
            run.enter(run.stage + 1)
        return run

    whole = go_on(tmp_path / "whole")
    for stop in ((0, 1), (1, 1), (last, 1)):
        with pytest.raises(Stop):
            go_on(tmp_path / "parts", stop)
    parts = go_on(tmp_path / "parts")
    assert equal(state(whole), state(parts)) and equal(whole.average, parts.average)


def test_a_stage_ends_halfway(weights: Path, tmp_path: Path) -> None:
    """Where it says so, and however often a run that has ended is called again."""
    run = Training(tmp_path, weights, seed=0)
    ends = []
    for name in ("crossings", "slowly"):
        run.enter([stage.name for stage in STAGES].index(name))
        start = copied(run.average)
        run.run_stage(small(STAGES[run.stage]))
        came = copied(run.average)
        run.end()
        ends.append((run.manner.halfway, equal(run.average, came)))
        assert not equal(start, came)
    assert ends == [(False, True), (True, False)]
    again = Training(tmp_path, weights, seed=0)
    again.resume()
    again.run_stage(small(STAGES[again.stage]))
    again.end()
    assert equal(again.average, run.average)
    assert all(torch.allclose(run.average[name], (start[name] + came[name]) / 2) for name in start)


def test_the_command(weights: Path, tmp_path: Path) -> None:
    """To a checkpoint that `export` reads, with the detector as it was; another call has nothing to do."""
    words = [str(tmp_path / "run"), "--weights", str(weights), "--processes", "1"]
    for _ in range(2):
        done = CliRunner().invoke(train_tracking.main, words)
        assert done.exit_code == 0, done.output
    found = checkpoint.load(tmp_path / "run" / "model.safetensors")
    assert found.config == TRACKING and found.merges is not None
    old = checkpoint.load(weights).model.state_dict()
    assert all(torch.equal(weight, found.model.state_dict()[name]) for name, weight in old.items())


def test_a_trained_tracker_goes_on_and_gets_another_detector(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no tracker"):
        Training(tmp_path / "none", weights, seed=0).start_from(weights, STAGES[-1].name)
    train_tracking.train(tmp_path / "run", weights, 0, None)
    trained = tmp_path / "run" / "model.safetensors"
    run = Training(tmp_path / "more", trained, seed=1)
    run.start_from(trained, STAGES[-1].name)
    tracker = checkpoint.load(trained).model.tracker.state_dict()
    assert run.manner.muon and equal(dict(run.tracker.state_dict()), dict(tracker))
    # A run that has ended learns nothing more: another detector is put before its tracker.
    other = tmp_path / "other"
    other.mkdir()
    checkpoint.save(first_model(DETECTOR, 4), other / "model.safetensors")
    (other / "merges.txt").write_text(learn_merges(WORDS))
    train_tracking.train(tmp_path / "run", other / "model.safetensors", 0, None)
    both = checkpoint.load(trained).model.state_dict()
    assert equal(
        {n: w for n, w in both.items() if n.startswith("tracker.")},
        {f"tracker.{n}": w for n, w in tracker.items()},
    )
    wanted = checkpoint.load(other / "model.safetensors").model.state_dict()
    assert equal({n: both[n] for n in wanted}, dict(wanted))


def test_a_detector_gets_a_tracker_and_keeps_everything() -> None:
    detector = first_model(DETECTOR, 3)
    model = with_tracker(detector, TRACKING, seed=1)
    own = {name: w for name, w in model.state_dict().items() if not name.startswith("tracker.")}
    assert equal(own, dict(detector.state_dict()))
    ours, theirs = (dict(x.state_dict()) for x in (model.tracker.features.neck, detector.detector_features))
    for name, weight in theirs.items():
        scale = 0.4 if name.startswith("levels.2.smooth") else 1
        assert torch.allclose(ours[name], scale * weight), name
    again = with_tracker(model, TRACKING, seed=2)
    assert not equal(dict(again.tracker.state_dict()), dict(model.tracker.state_dict()))
    with pytest.raises(RuntimeError, match="size mismatch"):
        with_tracker(detector, replace(TRACKING, mlp=64), seed=1)


def test_training_remembers_as_the_loop_does() -> None:
    """The bank of a sequence, used slots alone, gives what all the slots of the arena give."""
    model = with_tracker(first_model(DETECTOR, 3), TRACKING, seed=1).eval()
    past, history = Past(TRACKING, 1), History(TRACKING)
    generator = torch.Generator().manual_seed(0)
    memory = torch.zeros(1, TRACKING.memory_slots, TRACKING.grid**2, TRACKING.memory_dim)
    pointers = torch.zeros(1, TRACKING.pointer_slots, TRACKING.dim)
    lies: dict[int, int] = {}
    for time in range(9):
        features = torch.randn(1, TRACKING.grid**2, TRACKING.memory_dim, generator=generator)
        pointer = torch.randn(1, TRACKING.dim, generator=generator)
        valid, marks = torch.tensor([time != 4]), torch.full((1, TRACKING.grid**2), float(time))
        if time in (0, 6):
            past.condition(time, features, pointer, marks=marks, where=torch.tensor([True]))
            place = history.condition(time)
        else:
            past.remember(time, features, pointer, marks=marks, valid=valid)
            place = history.remember(time, valid=bool(valid))
        assert place.slot is not None and place.pointer is not None
        memory[:, place.slot], pointers[:, place.pointer] = features, pointer
        lies[place.slot] = time
    choice = history.choose(9, span=15.0)
    bank = [
        torch.from_numpy(np.stack([row]))
        for row in (choice.memory_time, choice.memory_bias, choice.pointer_time, choice.pointer_bias)
    ]
    fine, middle, _, queries = model.graph("tracker_features")(
        torch.randn(1, TRACKING.grid**2, 32, generator=generator)
    )
    step = StepGraph(model.tracker)
    whole = step(fine, middle, queries, memory, bank[0], bank[1], pointers, bank[2], bank[3])
    seen = past.see(9)
    slots = seen.frames.values.shape[1]
    assert slots < TRACKING.memory_slots
    shown = np.flatnonzero(choice.memory_bias == 0)
    assert seen.marks.reshape(slots, -1)[:, 0].tolist() == [lies[int(slot)] for slot in shown]
    found = step.look(fine, middle, queries, seen.frames, seen.pointers)
    for a, b in zip(whole, step.answer(found), strict=True):
        assert torch.allclose(a, b, atol=1e-4)
    assert set(GRAPHS) == {"tracker_features", "tracker_init", "tracker_step", "tracker_refine", "memorize"}


def test_sequences_are_consistent() -> None:
    batch = clips(frames=5)
    assert batch.pictures.shape == (2, 5, 3, 56, 56) and batch.masks.shape[1:] == (5, SIDE, SIDE)
    assert set(batch.clip_of.tolist()) == {0, 1} and batch.masks.min() >= 0 and batch.masks.max() <= 1
    assert (batch.masks[:, 0].flatten(1).amax(1) > 0.5).all()
    stills = draw_stills(np.random.default_rng(1), TRACKING, pictures=2, objects=2, photographs=())
    assert stills.frames == 1 and stills.pictures.shape[:2] == (2, 1)
    rough = roughly(batch.masks[:, 0], np.random.default_rng(2))
    assert (iou_of(rough[:, None], batch.masks[:, 0]) > 0.3).all() and (rough.flatten(1).amax(1) > 0).all()


def perfect(target: Tensor) -> Decoded:
    """An answer that is right about masks, their quality and the object: the second of four masks."""
    masks = torch.full((len(target), 4, SIDE, SIDE), -20.0)
    masks[:, :2] = 40 * target[:, None] - 20
    visible = (target.flatten(1).amax(1) > 0).float()
    return Decoded(
        tokens=torch.zeros(len(target), 4, 8),
        weights=torch.eye(4).expand(len(target), -1, -1),
        pixels=masks,
        iou=torch.cat([visible[:, None].repeat(1, 2), torch.zeros(len(target), 2)], dim=1),
        score=40 * visible - 20,
    )


def test_the_right_answer_costs_least() -> None:
    target = (clips().masks[:, 0] > 0.5).float()
    target[-1] = 0  # one is out of sight
    found = perfect(target)
    best = decoded_loss(found, target, single=True)
    assert best < 0.05
    for worse in (
        replace(found, score=-found.score),
        replace(found, iou=1 - found.iou),
        replace(found, pixels=-found.pixels),
        replace(found, pixels=found.pixels.flip(1)),
    ):
        assert decoded_loss(worse, target, single=True) > best + 0.1
    seen = target.amax((1, 2), keepdim=True)[:, None] > 0
    hidden = replace(found, pixels=torch.where(seen, found.pixels, 9))
    assert decoded_loss(hidden, target, single=True) == best  # masks of what is out of sight teach nothing


def test_showing_what_is_gone_costs_more_than_missing_what_is_there() -> None:
    target = (clips().masks[:, 0] > 0.5).float()
    target[-1] = 0
    found = perfect(target)

    def turned(place: int) -> float:
        wrong = torch.ones(len(target))
        wrong[place] = -1
        return decoded_loss(replace(found, score=wrong * found.score), target, single=True).item()

    best = decoded_loss(found, target, single=True).item()
    assert turned(-1) - best == pytest.approx(GONE * (turned(0) - best), rel=1e-4)
    assert GONE > 1


def test_clicks_close_with_an_empty_point() -> None:
    drawn = as_clicks([[(3.0, 4.0, 1), (5.0, 6.0, 0)], [(1.0, 2.0, 1)], []])
    assert drawn.labels.tolist() == [[1, 0, -1], [1, -1, -1], [-1, -1, -1]]
    assert (drawn.bias == 0).sum(1).tolist() == [3, 2, 1]
