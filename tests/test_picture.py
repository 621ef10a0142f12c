"""Pictures in every form a camera, a scanner or a web page writes, and the resize against PyTorch."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from sam3_edge import picture as picture_module
from sam3_edge.errors import EdgeError, SourceError, UsageError
from sam3_edge.picture import prepare, read_picture
from sam3_edge.resize import enlarge, line, resize_picture, upsample

Pixels = NDArray[np.uint8]


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def saved(folder: Path, image: Image.Image, name: str, **options: Any) -> Path:
    image.save(folder / name, **options)
    return folder / name


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.ppm", "a.tiff", "a.webp"])
def test_reads_lossless_files_exactly(tmp_path: Path, name: str) -> None:
    pixels = noise(5, 7)
    options = {"lossless": True} if name.endswith("webp") else {}
    path = saved(tmp_path, Image.fromarray(pixels), name, **options)
    assert np.array_equal(read_picture(path), pixels)
    assert np.array_equal(read_picture(str(path)), pixels)


def test_reads_jpeg_as_pillow_does(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(noise(33, 17)), "a.jpg")
    assert np.array_equal(read_picture(path), np.asarray(Image.open(path)))


def test_arrays_and_images_pass_through() -> None:
    pixels = noise(4, 6)
    assert np.array_equal(read_picture(pixels), pixels)
    assert np.array_equal(read_picture(Image.fromarray(pixels)), pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turns_upright(tmp_path: Path, orientation: int) -> None:
    upright = noise(3, 5)
    # How each orientation stores the upright picture (EXIF 2.3, tag 0x0112).
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(np.ascontiguousarray(stored)), "a.png", exif=exif)
    assert np.array_equal(read_picture(path), upright)


def test_sixteen_bit_grey_is_scaled(tmp_path: Path) -> None:
    values = np.array([[0, 127, 128, 257, 32768, 65535]], np.uint16)
    path = saved(tmp_path, Image.fromarray(values), "a.png")
    assert read_picture(path)[0, :, 0].tolist() == [0, 0, 0, 1, 128, 255]
    assert read_picture(path).shape == (1, 6, 3)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr"])
def test_other_colour_spaces_become_rgb(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(noise(6, 6)).convert(mode)
    path = saved(tmp_path, image, "a.tiff")
    assert np.array_equal(read_picture(path), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_alpha_is_dropped_not_composited(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (2, 2), (200, 200, 200, 0)).convert(mode)
    path = saved(tmp_path, image, "a.png" if mode != "PA" else "a.tiff")
    assert (read_picture(path) == 200).all()


def test_transparent_palette_does_not_warn(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    image = Image.fromarray(noise(8, 8)).convert("P")
    path = saved(tmp_path, image, "a.png", transparency=bytes(range(256)))
    assert np.array_equal(read_picture(path), np.asarray(image.convert("RGB")))
    assert not recwarn.list


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.jpg: no such file"):
        read_picture(tmp_path / "gone.jpg")


@pytest.mark.parametrize("data", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_not_a_picture(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(SourceError, match="is not a picture"):
        read_picture(tmp_path / "a.jpg")


def test_a_folder_is_not_a_picture(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        read_picture(tmp_path)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP"])
def test_broken_files_are_refused_or_read_whole(tmp_path: Path, form: str) -> None:
    file = io.BytesIO()
    Image.fromarray(noise(40, 40)).save(file, form)
    data, path, refusals = file.getvalue(), tmp_path / "a", list[str]()
    rng = np.random.default_rng(1)
    for _ in range(60):
        broken = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            broken[place] = rng.integers(256)
        path.write_bytes(broken[: rng.integers(1, len(data))])
        try:
            assert read_picture(path).ndim == 3
        except SourceError as error:
            refusals.append(str(error))
    assert len(refusals) > 30 and not any("\n" in refusal for refusal in refusals)


def test_truncated_files(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        path = saved(tmp_path, Image.fromarray(noise(64, 64)), name)
        path.write_bytes(path.read_bytes()[:-400])
        with pytest.raises(SourceError, match="is broken"):
            read_picture(path)


@pytest.mark.filterwarnings("error")
def test_huge_pictures_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, Image.new("1", (20_000, 20_000)), "bomb.png")
    with pytest.raises(SourceError, match="above 178 megapixels"):
        read_picture(path)
    below = saved(tmp_path, Image.new("1", (12_000, 8_000)), "big.png")
    monkeypatch.setattr(picture_module, "decode", lambda image, name: image.size)
    assert read_picture(below) == (12_000, 8_000)  # Pillow warns from 89 megapixels on; that is no reason


def test_twenty_megapixels_and_one_pixel(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("RGB", (5472, 3648), (10, 20, 30)), "a.jpg", quality=95)
    large = prepare(read_picture(path), 28)
    assert large.shape == (1, 3, 28, 28) and np.ptp(large, axis=(2, 3)).max() == 0
    small = prepare(read_picture(np.array([[[0, 255, 51]]], np.uint8)), 28)
    assert small[0, :, 3, 4] == pytest.approx([-1, 1, -0.6], abs=1e-7)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.float32),
    ],
)
def test_other_arrays_are_refused(array: NDArray[Any]) -> None:
    with pytest.raises(UsageError, match="want uint8"):
        read_picture(array)


def test_float_pictures_are_refused() -> None:
    with pytest.raises(SourceError, match="holds floats"):
        read_picture(Image.new("F", (3, 3), 0.5))
    with pytest.raises(EdgeError, match="values from"):
        read_picture(Image.new("I", (3, 3), 70_000))


SIZES = [(48, 64, 36), (200, 31, 84), (31, 200, 28), (7, 5, 84), (1, 1, 28), (300, 5, 16), (34, 33, 34)]


@pytest.mark.parametrize(("height", "width", "size"), [*SIZES, (36, 36, 36), (270, 480, 252)])
def test_resize_equals_the_official_one_to_the_bit(height: int, width: int, size: int) -> None:
    pixels = noise(height, width, seed=height)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    want = F.interpolate(tensor, (size, size), mode="bilinear", antialias=True, align_corners=False)[0]
    assert np.array_equal(resize_picture(pixels, size), want.numpy())
    scaled = (want.float().mul_(1 / 255) - 0.5) / 0.5
    assert np.array_equal(prepare(pixels, size)[0], scaled.numpy())


@pytest.mark.parametrize(("height", "width"), [(108, 192), (16, 16), (5, 40), (1, 1), (480, 33)])
def test_masks_are_upsampled_as_torch_does(height: int, width: int) -> None:
    logits = np.random.default_rng(3).normal(size=(4, 16, 16)).astype(np.float32)
    logits[0] = -1  # an empty mask
    logits[1] = np.where(np.arange(256).reshape(16, 16) == 255, 3.0, -1.0)  # in one corner
    logits[2] = 2.0  # everywhere
    want = F.interpolate(torch.from_numpy(logits)[None], (height, width), mode="bilinear")[0].numpy()
    x, y = line(16, width), line(16, height)
    got = np.stack([upsample(m, x, y, rows=slice(0, height), columns=slice(0, width)) for m in logits])
    assert np.abs(got - want).max() < 1e-5
    assert np.array_equal(enlarge(logits, height, width), got > 0)
    sure = np.abs(want) > 1e-5
    assert np.array_equal((got > 0)[sure], (want > 0)[sure])
