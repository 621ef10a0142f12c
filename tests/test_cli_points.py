"""`sam3-edge run --point`: one object of a picture, pointed at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import Command
from PIL import Image
from pycocotools.coco import COCO

from sam3_edge import Box, load
from sam3_edge.loop.prompts import Point, Prompt


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path := tmp_path / "a.png")
    return path


def test_clicks_and_a_box_cut_out_one_object(
    command: Command, exported: Path, picture: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("run", picture, "--bundle", exported, "--point", "30.5,20", "--point", "2,3:neg")
    done = command(*words, "--box", "5,5,50,35", "-o", out)
    assert done.code == 0 and done.out.startswith(f"{picture}: 1 x object -> {out / 'a.overlay.png'}\n")
    coco = COCO(out / "results.json")
    (found,) = coco.loadAnns(coco.getAnnIds())
    with load(exported, threads=1) as model:
        selection = model.click(picture)
        selection.ask(Prompt((Point(30.5, 20), Point(2, 3, False)), Box(5, 5, 50, 35)))  # all of it at once
    assert found["score"] == pytest.approx(float(selection.scores[0]), abs=1e-6)
    assert np.array_equal(coco.annToMask(found).astype(bool), selection.masks[0])


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (("--point", "1"), "point '1': want x,y[:neg]"),
        (("--point", "1,2,3"), "point '1,2,3': want x,y[:neg]"),
        (("--point", "1,2:no"), "point '1,2:no': want x,y[:neg]"),
        (("--point", "nan,2"), "finite"),
        (("--point", "1,2", "--prompt", "dog"), "--point is for one object"),
        (("--point", "1,2", "--box", "1,2,3,4", "--box", "1,2,3,5"), "--point is for one object"),
        (("--point", "1,2", "--box", "1,2,3,4:neg"), "draw a box around the object"),
        (("--point", "61,2"), "point 61,2 is outside the picture"),
    ],
)
def test_what_cannot_be_pointed_at(
    command: Command, exported: Path, picture: Path, tmp_path: Path, words: tuple[str, ...], fact: str
) -> None:
    done = command("run", picture, "--bundle", exported, *words, "-o", tmp_path / "out")
    assert done.code == 2 and fact in done.error and not (tmp_path / "out").exists()
