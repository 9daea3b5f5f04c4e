import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel_startup.errors import FileLoadError

from .conftest import Uploads

Image = pytest.importorskip("PIL.Image")


def _picture(kind: str, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    picture = Image.new(mode, (40, 30), "red")
    picture.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "bmp", "webp", "tiff", "ico"])
def test_pictures_are_images_under_any_name(uploads: Uploads, kind: str) -> None:
    content = _picture(kind)
    for name in (f"p.{kind}", "p.csv", "p"):
        image: Any = uploads.load(name, content)
        assert isinstance(image, Image.Image)
        assert image.format == kind.upper()
        assert image.convert("RGB").getpixel((5, 5))[0] > 200  # decoded, its file closed
    assert uploads.load("p", content, mode="L").mode == "L"  # type: ignore[attr-defined]


def test_the_frames_of_an_animation_are_there(uploads: Uploads) -> None:
    buffer = io.BytesIO()
    frames = [Image.new("L", (4, 4), shade) for shade in (0, 100, 200)]
    frames[0].save(buffer, "gif", save_all=True, append_images=frames[1:])
    image: Any = uploads.load("a.gif", buffer.getvalue())
    assert image.n_frames == 3
    image.seek(2)
    image.load()


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "bmp", "webp", "tiff", "ico"])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_cut_off_pictures_are_errors(uploads: Uploads, kind: str, share: float) -> None:
    content = _picture(kind)
    with pytest.raises(FileLoadError):
        uploads.load(f"p.{kind}", content[: max(int(len(content) * share), 20)])


def test_a_picture_too_large_to_decode_is_an_error(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(FileLoadError, match=r"more than 1,000 pixels.*MAX_IMAGE_PIXELS"):
        uploads.load("p.png", _picture("png"))


def test_real_pictures(uploads: Uploads, sample: Callable[[str], Path]) -> None:
    for name, size in {
        "image/fixture-bali.tif": (725, 489),
        "image/fixture.bmp": (200, 133),
        "image/fixture.jpg": (200, 133),
        "image/fixture.webp": (200, 133),
        "image/ico.ico": (13, 7),
        "image/testGIF.gif": (100, 75),
        "image/testPNG.png": (100, 75),
        "image/tiff_strip_planar_lzw.tiff": (278, 374),
    }.items():
        image: Any = uploads.load("upload", sample(name).read_bytes())
        assert image.size == size, name
