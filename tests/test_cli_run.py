"""`sam3-edge run`: good pictures are written, bad ones are named, nothing is half-done."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import Command, sam3_edge
from PIL import Image
from pycocotools.coco import COCO
from tiny_bundle import snapshot

from sam3_edge import load
from sam3_edge.overlay import SMALLEST

PHRASES = ("word " * 500, "x" * 5000, "ein Kreis für 🚌", "<end_of_text>", "-p", "\udcff", "a:b, c")
HEAVY = ("torch", "onnx", "onnx_ir", "transformers", "torchvision")
NOT_THERE = "".join(f"sys.modules[{name!r}] = None; " for name in HEAVY)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder: two pictures, one of one pixel, one that is none, one that is cut, and a text."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, size in (("a.png", (40, 60)), ("b.jpg", (50, 30)), ("dot.bmp", (1, 1))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / name)
    (folder / "letter.png").write_text("dear picture")
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:200])
    (folder / "notes.txt").write_text("no picture, and not called one")
    return folder


def test_a_picture(command: Command, exported: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    words = ("run", pictures / "a.png", "--bundle", exported, "--prompt", "red shape", "--prompt", "dog")
    done = command(*words, "-o", out, "--threshold", "0.3")
    assert done.code == 0 and not done.err
    overlay, results = out / "a.overlay.png", out / "results.json"
    with load(exported, threads=1) as segmenter:
        first, second = segmenter.segment(pictures / "a.png", ["red shape", "dog"], threshold=0.3)
    counts = f"{len(first)} x red shape, {len(second)} x dog"
    assert done.out == f"{pictures / 'a.png'}: {counts} -> {overlay}\n{results}\n"
    assert len(first) + len(second) > 0 and set(out.iterdir()) == {overlay, results}
    coco = COCO(results)
    masks = [coco.annToMask(annotation) for annotation in coco.loadAnns(coco.getAnnIds())]
    assert np.array_equal(np.array(masks, bool), np.concatenate([first.masks, second.masks]))
    with Image.open(overlay) as image:
        assert max(image.size) >= SMALLEST


def test_json_is_one_document(command: Command, exported: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("run", pictures, "--bundle", exported, "--prompt", "shape", "-o", out, "--json")
    done = command(*words, "--threshold", "0")
    assert done.code == 3
    rows = {Path(row["picture"]).name: row for row in done.document["pictures"]}
    assert list(rows) == ["a.png", "b.jpg", "cut.png", "dot.bmp", "letter.png"]
    assert done.document["results"] == str(out / "results.json")
    for name in ("a.png", "b.jpg", "dot.bmp"):
        assert Path(rows[name]["overlay"]).is_file()
        assert [set(found) for found in rows[name]["objects"]] == [{"concept", "score", "box"}] * 6
    assert "is not a picture" in rows["letter.png"]["error"] and "is broken" in rows["cut.png"]["error"]
    images = json.loads((out / "results.json").read_bytes())["images"]
    assert [image["file_name"] for image in images] == ["a.png", "b.jpg", "dot.bmp"]


def test_bad_pictures_are_named_once_each_and_the_good_are_written(
    command: Command, exported: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = command("run", pictures, "--bundle", exported, "--prompt", "shape", "-o", out)
    assert done.code == 3
    overlays = {"a.overlay.png", "b.overlay.png", "dot.overlay.png"}
    assert {path.name for path in out.iterdir()} == {*overlays, "results.json"}
    lines = done.err.splitlines()
    assert len(lines) == 2 and all(line.startswith("error: ") for line in lines)
    assert [done.err.count(str(pictures / name)) for name in ("letter.png", "cut.png")] == [1, 1]


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("absent.png", "absent.png: no such file or folder"),
        ("letter.png", "letter.png is not a picture: want JPEG, "),
        ("cut.png", "cut.png is broken: "),
        ("empty", "empty: no pictures in this folder"),
    ],
)
def test_one_bad_picture(
    command: Command, exported: Path, pictures: Path, tmp_path: Path, name: str, fact: str
) -> None:
    (pictures / "empty").mkdir()
    done = command("run", pictures / name, "--bundle", exported, "--prompt", "x", "-o", tmp_path / "out")
    assert done.code == 3 and fact in done.error and not done.out
    assert not (tmp_path / "out").exists()


def test_existing_results_are_kept(command: Command, exported: Path, pictures: Path, tmp_path: Path) -> None:
    (out := tmp_path / "out").mkdir()
    words = ("run", pictures / "a.png", "--bundle", exported, "--prompt", "shape", "-o", out)
    for name in ("results.json", "a.overlay.png"):
        (out / name).write_text("mine")
        before = snapshot(out)
        done = command(*words)
        assert done.code == 2 and done.error == f"{out / name} exists: pass --overwrite or another -o"
        assert snapshot(out) == before
        (out / name).unlink()
    (out / "results.json").write_text("mine")
    assert command(*words, "--overwrite").code == 0
    assert json.loads((out / "results.json").read_bytes())["images"]


def test_two_pictures_of_one_name(command: Command, exported: Path, pictures: Path, tmp_path: Path) -> None:
    (pictures / "more").mkdir()
    Image.new("RGB", (9, 9)).save(pictures / "more" / "a.jpg")
    words = ("run", pictures / "a.png", pictures / "more", "--bundle", exported, "--prompt", "x")
    assert command(*words, "-o", tmp_path / "out").code == 0
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"a.overlay.png", "a-2.overlay.png"}


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        ((), "nothing to look for: give --prompt"),
        (("--prompt", ""), "the phrase is empty"),
        (("--prompt", "  "), "the phrase is empty"),
        (("--prompt", "\x01"), "is empty"),
        (("--prompt", "a", "--prompt", "b", "--box", "1,1,9,9"), "--box with several --prompt"),
        (("--box", "1,1,9"), "box '1,1,9': want x0,y0,x1,y1[:neg]"),
        (("--box", "1,1,9,x"), "box '1,1,9,x': want"),
        (("--box", "1,1,9,9:maybe"), "want x0,y0,x1,y1[:neg]"),
        (("--box", "1,1,9,inf"), "want four finite numbers"),
        (("--box", "9,1,1,9"), "is inverted: x1 = 1 must be above x0 = 9"),
        (("--box", "1,9,9,9"), "is empty: y1 = 9 must be above y0 = 9"),
        (("--box", "1,1,9,9:neg"), "negative boxes alone name nothing"),
        (("--box", "60,0,70,9"), "is outside the picture of 60 x 40 pixels: want x in 0..60"),
        (("--prompt", "a", *("--box", "1,1,9,9") * 3), "3 boxes for 'a': this bundle takes 2 at most"),
        (("--prompt", "a", "--threshold", "nan"), "threshold nan: want 0 to 1"),
    ],
)
def test_a_wrong_question(
    command: Command, exported: Path, pictures: Path, tmp_path: Path, words: tuple[str, ...], fact: str
) -> None:
    out = tmp_path / "out"
    done = command("run", pictures / "a.png", "--bundle", exported, "-o", out, *words)
    assert done.code == 2 and fact in done.error and not done.out and not out.exists()


def test_boxes(command: Command, exported: Path, pictures: Path, tmp_path: Path) -> None:
    words = ("run", pictures / "a.png", "--bundle", exported, "--json", "--threshold", "0")
    asked = {
        "box": ("--box", "5,5,30.5,30"),
        "both": ("--prompt", "shape", "--box", "5,5,30,30"),
        "not": ("--prompt", "shape", "--box", "5,5,30,30:neg"),
        "over the edge": ("--box=-20,-20,30,30",),
    }
    scores = {}
    for name, more in asked.items():
        done = command(*words, *more, "-o", tmp_path / name)
        assert done.code == 0, done.err
        found = done.document["pictures"][0]["objects"]
        assert {row["concept"] for row in found} == {"shape" if "--prompt" in more else "visual"}
        scores[name] = tuple(row["score"] for row in found)
    assert len(set(scores.values())) == len(asked)  # every question has its own answer


def test_a_box_that_is_outside_one_of_two_pictures(
    command: Command, exported: Path, pictures: Path, tmp_path: Path
) -> None:
    """The other picture's results are complete, also in the document that is written last."""
    out = tmp_path / "out"
    words = ("run", pictures / "a.png", pictures / "b.jpg", "--bundle", exported, "--box", "40,5,55,20")
    done = command(*words, "-o", out)
    assert done.code == 2 and f"picture {pictures / 'b.jpg'}: box 40,5,55,20 is outside" in done.error
    assert {path.name for path in out.iterdir()} == {"a.overlay.png", "results.json"}
    assert len(json.loads((out / "results.json").read_bytes())["images"]) == 1


@pytest.mark.parametrize("phrase", PHRASES)
def test_any_phrase(command: Command, exported: Path, pictures: Path, tmp_path: Path, phrase: str) -> None:
    words = ("run", pictures / "a.png", "--bundle", exported, f"--prompt={phrase}", "-o", tmp_path / "out")
    done = command(*words, "--threshold", "0")
    assert done.code == 0 and len(done.out) < 1000
    assert not done.err or (done.err.startswith("warning: ") and done.err.count("\n") == 1)
    assert ("only the first 8 count" in done.err) == (len(phrase) > 6)
    assert len(json.loads((tmp_path / "out/results.json").read_bytes())["annotations"]) == 6


def test_polygons(command: Command, exported: Path, pictures: Path, tmp_path: Path) -> None:
    words = ("run", pictures / "a.png", "--bundle", exported, "--prompt", "shape", "--threshold", "0")
    areas = []
    for name, flags in (("a", ()), ("b", ("--polygons",))):
        assert command(*words, "-o", tmp_path / name, *flags).code == 0
        coco = COCO(tmp_path / name / "results.json")
        found = coco.loadAnns(coco.getAnnIds())
        assert all(isinstance(row["segmentation"], list if flags else dict) for row in found)
        areas.append([int(coco.annToMask(row).sum()) for row in found])
    assert areas[0] == areas[1] and sum(areas[0]) > 0


def test_a_phrase_that_the_bundle_does_not_know(
    command: Command, exported_half: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = command("run", pictures, "--bundle", exported_half, "--prompt", "dog", "-o", out)
    assert done.code == 2 and "phrase 'dog': this bundle has no text encoder" in done.error
    assert not out.exists()
    assert (
        command("run", pictures / "a.png", "--bundle", exported_half, "--prompt", "RED shape", "-o", out).code
        == 0
    )


@pytest.mark.parametrize(("kind", "code"), [("absent", 3), ("damaged", 5)])
def test_a_bad_bundle(
    command: Command, exported: Path, pictures: Path, tmp_path: Path, kind: str, code: int
) -> None:
    place = tmp_path / kind
    if kind == "damaged":
        place.mkdir()
    done = command("run", pictures / "a.png", "--bundle", place, "--prompt", "x", "-o", tmp_path / "out")
    assert done.code == code and str(place) in done.error and not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written(
    command: Command, exported: Path, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    words = (
        "run",
        pictures / "a.png",
        "--bundle",
        exported,
        "--prompt",
        "x",
        "-o",
        tmp_path / "file" / "out",
    )
    done = command(*words)
    assert done.code == 2 and "cannot be written" in done.error


def test_without_torch_and_without_ornaments(exported: Path, pictures: Path, tmp_path: Path) -> None:
    words = ("run", "a.png", "--bundle", exported, "--prompt", "shape", "-o", tmp_path / "out", "--json")
    done = sam3_edge(*words, before=NOT_THERE, folder=pictures)
    assert done.returncode == 0 and not done.stderr and "\x1b" not in done.stdout
    assert json.loads(done.stdout)["pictures"][0]["picture"] == "a.png"
