"""Pictures, camera raw files, vector graphics, sound and video."""

import contextlib
import struct
from collections.abc import Callable
from typing import Any

import pytest

from kernel_startup.errors import FileLoadError
from kernel_startup.fileinfo import FileInfo
from kernel_startup.recognition import type_of_content
from kernel_startup.types import TYPES
from tests.formats.made import media
from tests.formats.uploads import Loading, Sample, samples

#: The sizes of previews that aren't what the manifest says: one photo is cut off at 128 KiB, so
#: that there are no pixels; the other's fact is its first directory's, a smaller picture.
_PREVIEWS = {"fixture.cr3": [160, 120], "testNEF.nef": [64, 48]}
_BROKEN = {"fixture.jpm", "fixture.jpx", "fixture.mj2", "fixture.ogv"}


@pytest.mark.parametrize("sample", samples("image", "rawphoto", "audio", "video"))
def test_samples(sample: Sample, load: Loading, on_demand: Callable[..., None]) -> None:
    name = sample.path.name
    file_type = type_of_content(sample.path)
    assert type_of_content(sample.path, "upload") == file_type
    if file_type.requires:
        on_demand(*file_type.requires)
    if name in _BROKEN:
        with pytest.raises(FileLoadError):
            load(sample.path)
        return
    loaded = load(sample.path)
    found = _facts(loaded, sample.fact)
    if name in _PREVIEWS:
        assert found["size"] == _PREVIEWS[name]
        return
    for fact in ("size", "frames", "rate", "channels", "tracks"):
        if fact in sample.fact and fact in found:
            assert found[fact] == sample.fact[fact], fact
    if sample.status == "verified2":
        assert {f for f in sample.fact if f != "note"} <= found.keys()


def _facts(loaded: Any, wanted: dict[str, Any]) -> dict[str, Any]:
    if isinstance(loaded, tuple):
        signal, rate = loaded
        return {"rate": rate, "channels": 1 if signal.ndim == 1 else signal.shape[1]}
    if isinstance(loaded, FileInfo):
        return {k: list(v) if isinstance(v, tuple) else v for k, v in loaded.facts.items()}
    if hasattr(loaded, "tracks"):
        return {"tracks": len(loaded.tracks)}
    if hasattr(loaded, "ndim"):
        return {"size": [loaded.shape[1], loaded.shape[0]]}
    facts = {"size": list(loaded.size)} if loaded.size else {}
    if "frames" in wanted:
        facts["frames"] = getattr(loaded, "frames", None) or getattr(loaded, "n_frames", 1)
    return facts


def _made(filename: str) -> bytes:
    return next(made for made in media.MADE if made.filename == filename).make()


def test_part_of_a_sound(load: Loading) -> None:
    samples_, rate = load(_made("s.wav"), "s.wav", offset=0.1, duration=0.2)
    assert (samples_.shape, rate) == ((1600, 2), 8000)
    samples_, rate = load(_made("s.m4a"), "s.m4a", offset=0.1, duration=0.2, mono=True)
    assert samples_.shape == (9600,)
    with pytest.raises(FileLoadError, match="seconds"):
        load(_made("s.wav"), "s.wav", offset=-1)


def test_a_video_gives_the_frames_asked_for(load: Loading) -> None:
    video = load(_made("v.mp4"), "v.mp4")
    assert (len(video), video.fps, video.has_audio) == (5, 25.0, False)
    assert video.at(0.08).convert("L").getpixel((5, 5)) == pytest.approx(80, abs=8)
    assert len(video.thumbnails(2)) == 2
    with pytest.raises(IndexError):
        video.frame(5)
    with pytest.raises(ValueError, match="no sound"):
        video.audio()


def test_a_drawing_reads_nothing_outside(load: Loading, tmp_path: Any) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(_made("p.png"))
    drawing = load(
        '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="48">'
        f'<image href="{secret}" width="64" height="48"/></svg>',
        "d.svg",
    )
    assert drawing.image.convert("RGBA").getextrema()[3] == (0, 0)


def test_typescript_is_no_video(load: Loading) -> None:
    assert load("export const x: number = 1\n", "v.ts") == "export const x: number = 1\n"


@pytest.mark.parametrize(
    "made", [pytest.param(m, id=m.filename) for m in media.MADE if not m.requires]
)
def test_damage_is_an_error_at_worst(made: Any, load: Loading) -> None:
    content = made.make()
    flipped = bytearray(content)
    for place in range(8, min(len(content), 600), 37):
        flipped[place] ^= 0x55
    for damaged in (content[: len(content) // 2], content[:20], bytes(flipped)):
        for name in (made.filename, "swapped.wav"):
            with contextlib.suppress(FileLoadError):
                load(damaged, name)


def test_types_name_what_they_require() -> None:
    assert TYPES["nef"].requires == ("rawpy",)


def test_flac_behind_a_tag(load: Loading) -> None:
    import io

    import numpy as np
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.zeros((800, 2), np.float32), 8000, format="FLAC")
    samples, rate = load(b"ID3\4\0\0\0\0\0\x14" + bytes(20) + file.getvalue(), "tagged.flac")
    assert (rate, samples.shape) == (8000, (800, 2))


def test_mpeg_layer_1_is_told(tmp_path: Any) -> None:
    frame = b"\xff\xff\x18\xc4" + bytes(44)  # 32 kbit/s at 32 kHz: 12 slots of 4 bytes
    path = tmp_path / "upload"
    path.write_bytes(frame * 4)
    assert type_of_content(path).name == "mp1"


def test_sound_in_an_unknown_code_is_refused(load: Loading) -> None:
    with pytest.raises(FileLoadError, match="cut off"):
        load(b"Creative Voice File\x1a\x1a\0\x0a\x01\x29\x11", "empty.voc")


def test_eps_between_previews_and_one_of_illustrator(load: Loading) -> None:
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%Creator: Adobe Illustrator(R) 24\n"
    head = b"\xc5\xd0\xd3\xc6" + struct.pack("<6IH", 30, len(script), 0, 0, 0, 0, 0xFFFF)
    assert load(head + script + bytes(9), "a.eps") == script.decode()
    assert load(script + b"%%BoundingBox: 0 0 20 10\n%%EndComments\n", "b.eps").size == (20, 10)


def test_gd_icc_and_other_small_pictures(load: Loading, tmp_path: Any) -> None:
    import PIL.ImageCms

    palette = bytes(range(256)) * 4
    gd = b"\xff\xff" + struct.pack(">HHBHi", 6, 5, 0, 256, -1) + palette + bytes(30)
    thumb = b"P7 332\n#END_OF_COMMENTS\n4 3 255\n" + bytes(12)
    imt = b"*made here\nwidth 4\nheight 3\npixel n8\n\x0c\0" + bytes(11)
    for name, content, size in (
        ("a.gd", gd, (6, 5)),
        ("a.p7", thumb, (4, 3)),
        ("a.imt", imt, (4, 3)),
    ):
        assert load(content, name).size == size
        assert load(content, "upload").size == size
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    assert PIL.ImageCms.getProfileDescription(load(profile, "a.icc")).startswith("sRGB")
    with pytest.raises(FileLoadError):
        load(profile[:200], "b.icc")


def test_flic_that_claims_to_be_huge(load: Loading) -> None:
    head = struct.pack("<IHHHHHHI", 200, 0xAF12, 1, 4096, 36864, 8, 0, 70).ljust(128, b"\0")
    with pytest.raises(FileLoadError):
        load(head + struct.pack("<IHH", 72, 0xF1FA, 1).ljust(72, b"\0"), "huge.flc")


def test_jbig2_is_named(load: Loading) -> None:
    assert load(b"\x97JB2\r\n\x1a\n\1\0\0\0\1" + bytes(40), "upload").type == "jbig2"


@pytest.mark.parametrize("place", [8, 0x01723D30])
def test_raw_without_a_maker_is_what_it_is_called(load: Loading, place: int) -> None:
    content = struct.pack("<2sHIHHHIII", b"II", 42, place, 1, 256, 4, 1, 64, 0) + bytes(90)
    for name in ("nef", "arw", "pef"):
        file_id = load.add(content, f"cut.{name}")
        assert type_of_content(load.files[file_id]).name == name


def test_dng_as_big_tiff(load: Loading) -> None:
    directory = struct.pack("<QHHQ8s", 1, 50706, 1, 4, b"\1\7\0\0")
    content = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) + directory + bytes(8)
    for name in ("a.dng", "upload"):
        assert type_of_content(load.files[load.add(content, name)]).name == "dng"
