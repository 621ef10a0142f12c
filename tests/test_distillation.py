"""Distilling: passes learn, a stopped run goes on as if not, two processes are one with both shares."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_export import CONFIG, MERGES, make_checkpoint, tiny_model

from sam3_edge.boxes import pooling_matrices
from sam3_edge.errors import CheckError, SourceError, UsageError
from sam3_edge.export import checkpoint
from sam3_edge.export.distillation import STUDENT, Distillation
from sam3_edge.export.distillation_cache import FeatureCache
from sam3_edge.export.distillation_corrections import corrected, kept
from sam3_edge.export.distillation_cost import estimate
from sam3_edge.export.distillation_data import Phrased, draw_asked, open_source
from sam3_edge.export.distillation_log import LOG, plot
from sam3_edge.export.distillation_losses import output_losses, weights_of
from sam3_edge.export.distillation_recipe import Data, Pass, Recipe, Trunk, read_recipe
from sam3_edge.export.distillation_run import distil
from sam3_edge.export.processes import rank, together
from sam3_edge.export.shapes_batch import Answers, Asked
from sam3_edge.tokenizer import Tokenizer

PASSES = (Pass("features", 3, 3e-3, 2, 2, 1), Pass("outputs", 3, 3e-3, 2, 2, 2))


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    teacher = make_checkpoint(tmp_path / "teacher") / "model.safetensors"
    trunk = Trunk("toy", {"width": 8, "blocks": 1})
    return Recipe(str(tmp_path / "run"), trunk, PASSES, teacher=str(teacher))


def rows_of(folder: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in (Path(folder) / LOG).read_text().splitlines()]


@pytest.mark.parametrize("place", [0, 1])
def test_a_pass_learns_a_batch(recipe: Recipe, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On one batch again and again the losses fall, and nothing but the trunk moves."""
    run = Distillation(recipe)
    run.place = place
    it = replace(PASSES[place], steps=80)
    batch, losses, weights = run.asked(it, 0), [], weights_of(it.kind, it.anchor)
    monkeypatch.setattr(run, "asked", lambda it, step, part: batch)
    heads = {n: w.clone() for n, w in run.student.state_dict().items() if not n.startswith("backbone.")}
    for _ in range(40):
        row = run.update(it)
        losses.append(sum([v * weights[n] for n, v in row.items() if n != "rate"], 0.0))
    assert np.isfinite(losses).all() and np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    assert all(torch.equal(w, run.student.state_dict()[n]) for n, w in heads.items())


def test_the_teacher_itself_has_nothing_to_learn(recipe: Recipe) -> None:
    """Every loss that compares is zero, and every entropy is as small as soft targets let it be."""
    run = Distillation(recipe)
    batch = run.asked(PASSES[1], 0)
    feature = run.teacher.backbone(batch.pictures)
    shuffled = run.seen(feature.flip(1))
    exact = run.losses(PASSES[0], replace(batch, pictures=batch.pictures))
    assert exact["trunk"][0] > 0.1
    seen = run.seen(feature)
    same, other = (output_losses(*run.answers(batch, seen, it)) for it in (seen, shuffled))
    assert same["scores"][1] > 0, "the tiny teacher finds nothing: this test proves nothing"
    assert same["encoded"][0] == 0 and same["boxes"][0] < 1e-4 and same["overlap"][0] < 1e-4
    for name in ("encoded", "presence", "boxes", "overlap", "masks", "semantic"):
        assert same[name][0] < other[name][0], name


def test_presence_is_learned_beyond_its_clamp(recipe: Recipe) -> None:
    """A student that says no with a logit of -12 still feels a teacher that says yes."""
    run = Distillation(recipe)
    with torch.no_grad():
        run.teacher.detector.presence_head.layers[-1].get_parameter("bias").fill_(-30)
    batch = run.asked(PASSES[1], 0)
    feature = run.teacher.backbone(batch.pictures).detach().requires_grad_()
    want, got = run.answers(batch, run.wanted(batch), run.seen(feature))
    assert got.layers[-1][2].max() < -10
    want = replace(want, layers=[(*layer[:2], layer[2] * 0 + 5) for layer in want.layers])
    output_losses(want, got)["presence"][0].backward()  # type: ignore[no-untyped-call]
    assert feature.grad is not None and feature.grad.abs().max() > 0


def test_a_mistake_is_asked_again_with_its_box(recipe: Recipe) -> None:
    """Missed objects get a positive box, invented ones a negative, where a slot is free; else nothing."""
    run = Distillation(recipe)
    batch = run.asked(replace(PASSES[1], pictures=4), 0)
    seen = run.wanted(batch)
    both = run.answers(batch, seen, seen)
    want = both[0]
    boxes, logits, presence = want.layers[-1]
    silent = replace(want, layers=[(boxes, logits - 100, presence)])
    found = [n for n in range(len(boxes)) if len(kept(want, n))]
    free = [n for n in found if batch.exemplars[2][n, 0, 0, 0] < 0]
    assert free, "the tiny teacher finds nothing: this test proves nothing"

    def given(said: Answers, by: Answers) -> Asked:
        return corrected(batch, said, by, CONFIG)

    for a, b in zip(given(*both).exemplars, batch.exemplars, strict=True):
        assert torch.equal(a, b)
    for asked, label in ((given(want, silent), 1.0), (given(silent, want), 0.0)):
        for n in free:
            assert torch.equal(asked.exemplars[0][n, 0], kept(want, n)[0].clamp(0, 1))
            assert asked.exemplars[1][n, 0] == label
            pools = pooling_matrices(asked.exemplars[0][n].numpy(), CONFIG.grid, CONFIG.roi_size)
            assert np.array_equal(asked.exemplars[3][n], pools[0])
            assert np.array_equal(asked.exemplars[4][n], pools[1])
        still = asked.exemplars[2][:, 0, 0] < 0
        assert torch.equal(asked.exemplar_bias, asked.exemplars[2]) and not still[free][:, 0].any()
    full = corrected(given(want, silent), want, silent, CONFIG)
    assert (full.exemplars[2][free] == 0).all()
    assert torch.equal(corrected(full, silent, want, CONFIG).exemplars[1][free], full.exemplars[1][free])


def test_corrections_are_learned_from(recipe: Recipe) -> None:
    """What is asked again counts as much as what was asked first, and gives another gradient."""
    run, gradients = Distillation(recipe), list[torch.Tensor]()
    for corrections in (0, 2):
        it = replace(PASSES[1], corrections=corrections)
        run.student.zero_grad()
        losses = run.losses(it, run.asked(it, 0))
        assert losses["encoded"][1] == it.pictures * it.questions * (1 + corrections)
        losses["encoded"][0].backward()  # type: ignore[no-untyped-call]
        found = run.learned[0].grad
        assert found is not None
        gradients.append(found.clone() / (1 + corrections))
    assert not torch.allclose(gradients[0], gradients[1])


def test_a_run_that_was_stopped_goes_on_as_if_not(recipe: Recipe, tmp_path: Path) -> None:
    """Stopped between two saves, at a pass's end, and right after a save: every loss and weight the same."""
    whole = replace(recipe, folder=str(tmp_path / "whole"), save_every=2)
    distil(whole)
    parts = replace(whole, folder=str(tmp_path / "parts"))
    for stop in (1, 2, 1):
        left = stop

        def advance() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt

        run = Distillation(parts)
        run.resume()
        with pytest.raises(KeyboardInterrupt):
            run.run(advance)
    distil(parts)
    assert rows_of(whole.folder) == rows_of(parts.folder) and len(rows_of(parts.folder)) == whole.steps
    both = [checkpoint.load(Path(it.folder) / STUDENT).model.state_dict() for it in (whole, parts)]
    assert all(torch.equal(weight, both[1][name]) for name, weight in both[0].items())


def keep_gradients(recipe: Recipe, place: int, name: str) -> None:
    """One step's gradients, left beside the folder."""
    run = Distillation(recipe)
    run.place = place
    run.update(recipe.passes[place])
    if rank() == 0:
        torch.save([weight.grad for weight in run.learned], Path(f"{recipe.folder}-{name}.pt"))


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(("processes", "parts"), [(2, 1), (1, 2)])
def test_shares_of_a_batch_give_its_gradient(recipe: Recipe, place: int, processes: int, parts: int) -> None:
    """Two processes, or two parts one after the other, are one process with all pictures."""
    passes = [replace(it, pictures=4, corrections=i) for i, it in enumerate(PASSES)]
    whole = replace(recipe, passes=tuple(passes))
    shared = replace(recipe, passes=tuple(replace(it, parts=parts) for it in passes), processes=processes)
    for it, name in ((whole, "whole"), (shared, "shared")):
        together(keep_gradients, it, place, name, processes=it.processes)
    one, two = (torch.load(f"{recipe.folder}-{name}.pt") for name in ("whole", "shared"))
    largest = max(float(gradient.abs().max()) for gradient in one)
    assert largest > 0
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5 * largest)


SHARED = """
folder = "{folder}"
teacher = "{teacher}"
processes = 2
[student]
name = "toy"
settings = {{ width = 8, blocks = 1 }}
[[passes]]
kind = "outputs"
steps = 2
pictures = 2
questions = 2
drawn = 1
"""


def test_processes_of_torchrun_are_those_of_our_own(recipe: Recipe, tmp_path: Path) -> None:
    """The same losses, bit for bit; one report on stdout. Another number of processes is refused."""
    for folder in ("ours", "theirs"):
        text = SHARED.format(folder=folder, teacher=recipe.teacher)
        (tmp_path / f"{folder}.toml").write_text(text)
    distil(read_recipe(tmp_path / "ours.toml"))

    def launch(count: int) -> subprocess.CompletedProcess[str]:
        start = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}", "--standalone"]
        verb = ["-m", "sam3_edge", "distill", "--config", str(tmp_path / "theirs.toml"), "--json"]
        return subprocess.run([*start, *verb], capture_output=True, text=True, check=False)

    refused = launch(1)
    assert refused.returncode and "1 processes were launched; the recipe wants 2" in refused.stderr
    done = launch(2)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["passes"][0]["pass"] == "outputs"
    assert rows_of(str(tmp_path / "theirs")) == rows_of(str(tmp_path / "ours"))


def test_a_student_is_exported_from_what_distil_writes(recipe: Recipe) -> None:
    report = distil(recipe)
    found = checkpoint.load(report["student"])
    assert found.merges is not None and found.merges.read_text() == MERGES
    assert found.model.student is not None and found.model.student.teacher is not None
    assert [row["pass"] for row in report["passes"]] == ["features", "outputs"]
    assert (Path(recipe.folder) / "curve.svg").read_text().count("<polyline") >= 8
    assert distil(recipe) == report  # nothing is left to do


def test_a_gate_stops_what_is_not_good_enough(recipe: Recipe) -> None:
    strict = replace(recipe, passes=(replace(PASSES[0], gate=0.999), PASSES[1]))
    with pytest.raises(CheckError, match=r"pass features reached cosine .* its gate is 0.999"):
        distil(strict)
    assert len(rows_of(recipe.folder)) == 3


def test_a_folder_of_another_recipe(recipe: Recipe) -> None:
    distil(recipe)
    with pytest.raises(UsageError, match=r"another recipe \(seed differ\)"):
        distil(replace(recipe, seed=1))


def test_weights_of_another_student_or_teacher(recipe: Recipe, tmp_path: Path) -> None:
    done = distil(recipe)["student"]
    again = replace(recipe, folder=str(tmp_path / "again"))
    going = replace(again, student=replace(recipe.student, weights=done))
    assert Distillation(going).student.student is not None
    other = replace(going, student=Trunk("toy", {"width": 16, "blocks": 1}, weights=done))
    with pytest.raises(CheckError, match=r"holds student toy .*'width': 8.* wants toy .*'width': 16"):
        Distillation(other)
    model = tiny_model()
    checkpoint.save(model, tmp_path / "other.safetensors", half=True)
    (tmp_path / "merges.txt").write_text(MERGES)
    with pytest.raises(CheckError, match="of the teacher"):
        Distillation(replace(going, teacher=str(tmp_path / "other.safetensors")))


def test_the_cost(recipe: Recipe) -> None:
    found = estimate(recipe)
    assert found["share_of_the_teacher"] > 0 and found["hours_in_one_process"] >= 0
    assert [row["steps"] for row in found["passes"]] == [3, 3]
    assert not Path(recipe.folder).exists()


def write_pictures(folder: Path) -> None:
    folder.mkdir()
    for number in range(2):
        Image.new("RGB", (30, 20), (90 * number, 50, 50)).save(folder / f"{number}.png")


def test_sources(tmp_path: Path) -> None:
    """A folder with phrases, COCO and SA-Co: a phrase that is there, then one that is not."""
    pictures, phrases = tmp_path / "pictures", tmp_path / "phrases.txt"
    write_pictures(pictures)
    phrases.write_text("red shape\nstar\n")
    images = [{"id": n, "file_name": f"{n}.png", "width": 30, "height": 20} for n in range(2)]
    box = {"segmentation": [[1, 1, 9, 1, 9, 9, 1, 9]], "iscrowd": 0}
    coco = {
        "images": images,
        "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "shape"}],
        "annotations": [{"id": n, "image_id": n, "category_id": n + 1, **box} for n in range(2)],
    }
    rows = [("red", 0), ("star", 0), ("shape", 1)]
    saco = {
        "images": [{**images[p], "id": n, "text_input": word} for n, (word, p) in enumerate(rows)],
        "annotations": [{"id": 0, "image_id": 0, **box}, {"id": 1, "image_id": 2, **box}],
    }
    for name, document in (("coco", coco), ("saco", saco)):
        (tmp_path / f"{name}.json").write_text(json.dumps(document))

    def asked(source: str, **options: Path) -> list[tuple[str, ...]]:
        kept = open_source(
            source, pictures=options.get("pictures"), phrases=options.get("phrases"), photographs=False
        )
        found = set()
        for seed in range(20):
            picture, questions = kept.draw(np.random.default_rng(seed), 56, 2, held=False)
            assert picture.shape == (56, 56, 3)
            found.add(tuple(question.phrase for question in questions))
        return sorted(found)

    words = {"red shape", "star"}
    assert {word for pair in asked(str(pictures), phrases=phrases) for word in pair} == words
    assert asked(str(tmp_path / "coco.json"), pictures=pictures) == [("red", "shape"), ("shape", "red")]
    assert asked(str(tmp_path / "saco.json"), pictures=pictures) == [("red", "star"), ("shape", "red")]
    with pytest.raises(UsageError, match="set `phrases`"):
        asked(str(pictures))
    with pytest.raises(UsageError, match="set `pictures`"):
        asked(str(tmp_path / "coco.json"))


def test_the_teacher_sees_a_picture_once(recipe: Recipe, tmp_path: Path) -> None:
    """With a cache, in all passes and runs together; what is read again gives the same losses."""
    write_pictures(tmp_path / "pictures")
    (tmp_path / "phrases.txt").write_text("red shape\nstar\n")
    cached = Data(
        str(tmp_path / "pictures"), "", str(tmp_path / "phrases.txt"), cache=str(tmp_path / "cache")
    )
    seen: list[int] = []

    def rows(folder: str, data: Data) -> list[dict[str, float]]:
        run = Distillation(replace(recipe, folder=str(tmp_path / folder), data=data))
        run.teacher.backbone.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
        run.run()
        return rows_of(str(run.folder))

    first, files = rows("first", cached), sorted((tmp_path / "cache").rglob("*.npy"))
    assert sum(seen) == len(files) == 2
    assert rows("again", cached) == first and sum(seen) == 2
    plain = rows("plain", replace(cached, cache=""))
    assert sum(seen) > 8 and plain[0] != first[0]
    assert plain[0]["trunk"] == pytest.approx(first[0]["trunk"], rel=1e-2)
    files[0].write_bytes(files[0].read_bytes()[:-9])
    with pytest.raises(CheckError, match=f"{files[0].name} is damaged"):
        rows("damaged", cached)


def test_features_beyond_fp16_are_not_kept(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, "teacher")
    with pytest.raises(CheckError, match="beyond fp16"):
        cache.features(torch.zeros(1, 3, 8, 8), lambda pictures: torch.full((1, 4, 2), 1e5))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_batch_does_not_depend_on_who_draws_it(tmp_path: Path) -> None:
    (tmp_path / "merges.txt").write_text(MERGES)
    tokenizer = Tokenizer.read(tmp_path / "merges.txt", vocab_size=CONFIG.text_vocab)
    source = open_source("shapes", pictures=None, phrases=None, photographs=False)
    both, second = (
        draw_asked(source, tokenizer, CONFIG, seeds=seeds, questions=2, drawn=1)
        for seeds in ([(0, 1), (0, 2)], [(0, 2)])
    )
    assert torch.equal(both.pictures[1:], second.pictures)
    assert torch.equal(both.token_ids[1::2], second.token_ids) and both.drawn == 2
    assert torch.equal(both.exemplars[0][1::2], second.exemplars[0])


def test_a_pool_is_drawn_once_and_what_is_held_lies_outside() -> None:
    pool = open_source("shapes", pictures=None, phrases=None, photographs=False, pool=3)

    def drawn(held: bool) -> set[bytes]:
        found = (pool.draw(np.random.default_rng(seed), 56, 2, held=held)[0] for seed in range(30))
        return {picture.tobytes() for picture in found}

    assert len(drawn(False)) == 3 and not drawn(False) & drawn(True)


def test_every_twentieth_file_is_of_no_batch(tmp_path: Path) -> None:
    colours = [(12 * n, 0, 0) for n in range(21)]
    paths = [tmp_path / f"{n}.png" for n in range(21)]
    for path, colour in zip(paths, colours, strict=True):
        Image.new("RGB", (56, 56), colour).save(path)
    files = Phrased(paths, [["red"]] * 21, [["blue"]] * 21)

    def reds(held: bool) -> set[int]:
        found = (files.draw(np.random.default_rng(seed), 56, 2, held=held)[0] for seed in range(300))
        return {int(picture[0, 0, 0]) for picture in found}

    assert reds(True) == {0, 240} and reds(False) == {12 * n for n in range(1, 20)}


RECIPE = """
folder = "run"
[student]
name = "toy"
[[passes]]
kind = "features"
steps = 5
"""


def test_a_recipe_in_toml(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    found = read_recipe(path)
    assert found.folder == str(tmp_path / "run") and found.passes == (Pass("features", 5),)
    assert found.data == Data() and found.steps == 5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('folder = "run"', "", "folder is missing"),
        ('name = "toy"', 'name = "toy"\nsize = 3', "'size' is unknown"),
        ("steps = 5", "steps = true", "steps is True, want int"),
        ("steps = 5", "steps = 0", "1 or more"),
        ('kind = "features"', 'kind = "words"', "pass 'words'"),
        ("steps = 5", "steps = 5\nquestions = 1", "one in vain"),
        ("steps = 5", "steps = 5\ncorrections = 1", "1 corrections; want 0, or more of outputs"),
        ('folder = "run"', 'folder = "run"\nprocesses = 3', "do not divide among 3"),
        ("steps = 5", "steps = 5\nparts = 3", "with 3 parts each"),
        ('folder = "run"', 'folder = "run"\ndata = 3', "want a table"),
        ('folder = "run"', 'folder = "run"\ndata = {cache = "c"}', "every picture is a new one"),
        ('folder = "run"', 'folder = "run"\ndata = {source = "c", pool = 2}', "pool 2; want 0"),
        ("steps = 5", "steps = 5\nanchor = 2.0", "anchor 2.0; want 0, or more of outputs"),
    ],
)
def test_what_a_recipe_must_not_say(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.replace(old, new))
    with pytest.raises(UsageError, match=message):
        read_recipe(path)
    path.write_text("folder = ")
    with pytest.raises(SourceError, match="as TOML"):
        read_recipe(path)


def test_a_plot_of_nothing() -> None:
    assert plot("").startswith("<svg")
