"""Pictures, vector graphics, sound and video."""

import io
import struct
import warnings
import wave
from collections.abc import Callable
from typing import Any

from tests.formats.uploads import Made


def _picture(kind: str, mode: str = "RGB", **options: Any) -> Callable[[], bytes]:
    def make() -> bytes:
        import PIL.Image

        if kind == "HEIF":
            import pillow_heif

            pillow_heif.register_heif_opener()
        buffer = io.BytesIO()
        colour = 1 if mode in "1F" else "red"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of formats that are very old
            PIL.Image.new(mode, (64, 48), colour).save(buffer, kind, **options)
        return buffer.getvalue()

    return make


def _is_picture(image: Any) -> None:
    assert image.size == (64, 48)
    image.load()


def _has_size(info: Any) -> None:
    assert tuple(info.facts["size"]) == (64, 48)


def _has_title(info: Any) -> None:
    assert info.facts["title"] == "tune"


def _apng() -> bytes:
    import PIL.Image

    buffer = io.BytesIO()
    frames = [PIL.Image.new("RGB", (64, 48), colour) for colour in ("red", "green", "blue")]
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def _is_three_frames(image: Any) -> None:
    assert (image.size, image.n_frames) == ((64, 48), 3)


def _text(text: str) -> Callable[[], bytes]:
    return text.encode


_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="48">'
    '<rect width="64" height="48" fill="red"/></svg>'
)


def _is_svg(drawing: Any) -> None:
    assert drawing == _SVG
    assert drawing.image.size == (64, 48)
    assert drawing.image.convert("RGB").getpixel((5, 5)) == (255, 0, 0)


def _wav() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(struct.pack("<hh", 16384, -16384) * 4000)
    return buffer.getvalue()


def _sound(kind: str, subtype: str | None = None) -> Callable[[], bytes]:
    def make() -> bytes:
        import numpy as np
        import soundfile

        buffer = io.BytesIO()
        samples = np.tile(np.float32([[0.5, -0.5]]), (4000, 1))
        soundfile.write(buffer, samples, 8000, format=kind, subtype=subtype)
        return buffer.getvalue()

    return make


def _is_sound(loaded: Any) -> None:
    samples, rate = loaded
    assert rate in (8000, 48000)
    assert samples.dtype == "float32"
    assert samples.shape[1] == 2
    assert 0.45 < len(samples) / rate < 0.7


def _encoded(container: str, codec: str, rate: int = 48000) -> Callable[[], bytes]:
    def make() -> bytes:
        import av
        import numpy as np

        buffer = io.BytesIO()
        with av.open(buffer, "w", format=container) as output:
            stream = output.add_stream(codec, rate=rate, layout="stereo")
            stream.bit_rate = 128_000
            samples = np.zeros((2, rate // 2), np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = rate, 0
            resampler = av.AudioResampler(
                format=stream.format, layout="stereo", rate=rate, frame_size=stream.frame_size
            )
            for piece in (*resampler.resample(frame), *resampler.resample(None)):
                output.mux(stream.encode(piece))
            output.mux(stream.encode(None))
        return buffer.getvalue()

    return make


def _video(container: str, codec: str, pixels: str = "yuv420p") -> Callable[[], bytes]:
    def make() -> bytes:
        import av
        import numpy as np

        buffer = io.BytesIO()
        with av.open(buffer, "w", format=container) as output:
            stream = output.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
            for shade in range(5):
                pixel = np.full((48, 64, 3), 40 * shade, np.uint8)
                output.mux(stream.encode(av.VideoFrame.from_ndarray(pixel, format="rgb24")))
            output.mux(stream.encode(None))
        return buffer.getvalue()

    return make


def _is_video(video: Any) -> None:
    assert video.size == (64, 48)
    frames = list(video)
    assert len(frames) == 5
    assert frames[0].shape == (48, 64, 3)
    assert video.frame(4).size == (64, 48)


def _midi() -> bytes:
    track = b"\0\x90\x3c\x40\x60\x80\x3c\0\0\xff\x2f\0"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96) + b"MTrk" + struct.pack(">I", 12) + track


def _is_one_track(midi: Any) -> None:
    assert len(midi.tracks) == 1


def _is_light(light: Any) -> None:
    assert light.shape == (48, 64, 3)
    assert light.dtype == "float32"


def _mod() -> bytes:
    return (
        b"tune".ljust(20, b"\0") + bytes(30 * 31) + b"\1\x7f" + bytes(128) + b"M.K." + bytes(1024)
    )


def _xm() -> bytes:
    name = b"Extended Module: " + b"tune".ljust(20) + b"\x1a" + b"tracker".ljust(20)
    return name + struct.pack("<HI8H", 0x104, 276, 1, 0, 4, 1, 1, 1, 6, 125) + bytes(256)


def _pict() -> bytes:
    return bytes(512) + struct.pack(">H4h", 0, 0, 0, 48, 64) + b"\0\x11\2\xff\x0c\0" + bytes(20)


def _emf() -> bytes:
    return struct.pack("<II4i4i4s", 1, 88, 0, 0, 63, 47, 0, 0, 1, 1, b" EMF") + bytes(44)


def _wmf() -> bytes:
    header = struct.pack("<IH4hHIH", 0x9AC6CDD7, 0, 0, 0, 64, 48, 96, 0, 0)
    return header + struct.pack("<HHHIHIH", 1, 9, 0x300, 12, 0, 3, 0)


def _same_text(word: str) -> Callable[[Any], None]:
    def check(text: Any) -> None:
        assert isinstance(text, str)
        assert word in text

    return check


MADE = (
    Made("png", "p.png", _picture("PNG"), _is_picture),
    Made("apng", "p.apng", _apng, _is_three_frames),
    Made("jpeg", "p.jpg", _picture("JPEG"), _is_picture),
    Made("gif", "p.gif", _picture("GIF"), _is_picture),
    Made("bmp", "p.bmp", _picture("BMP"), _is_picture),
    Made("dib", "p.dib", _picture("DIB"), _is_picture),
    Made("tiff", "p.tif", _picture("TIFF"), _is_picture),
    Made("webp", "p.webp", _picture("WEBP"), _is_picture),
    Made("avif", "p.avif", _picture("AVIF"), _is_picture),
    Made("heic", "p.heic", _picture("HEIF"), _is_picture),
    Made("jp2", "p.jp2", _picture("JPEG2000"), _is_picture),
    Made("j2k", "p.j2k", _picture("JPEG2000", no_jp2=True), _is_picture),
    Made("dds", "p.dds", _picture("DDS"), _is_picture),
    Made("sgi", "p.rgb", _picture("SGI"), _is_picture),
    Made("tga", "p.tga", _picture("TGA"), _is_picture),
    Made("pcx", "p.pcx", _picture("PCX"), _is_picture),
    Made("im", "p.im", _picture("IM"), _is_picture),
    Made("spider", "p.spider", _picture("SPIDER", "F"), _is_picture),
    Made("mspaint", "p.msp", _picture("MSP", "1"), _is_picture),
    Made("xbm", "p.xbm", _picture("XBM", "1"), _is_picture),
    Made("ppm", "p.ppm", _picture("PPM"), _is_picture),
    Made("pgm", "p.pgm", _picture("PPM", "L"), _is_picture),
    Made("pbm", "p.pbm", _picture("PPM", "1"), _is_picture),
    Made("pgm", "t.pnm", lambda: b"P2\n# drawn\n64 48\n255\n" + b"7 " * 64 * 48, _is_picture),
    Made(
        "pam",
        "p.pam",
        lambda: (
            b"P7\nWIDTH 64\nHEIGHT 48\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n"
            + bytes(64 * 48 * 3)
        ),
        _is_picture,
    ),
    Made(
        "hdr",
        "p.hdr",
        lambda: (
            b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 48 +X 64\n" + b"\x80\x80\x80\x81" * 64 * 48
        ),
        _is_light,
    ),
    Made("xcf", "p.xcf", lambda: b"gimp xcf v011\0" + struct.pack(">III", 64, 48, 0), _has_size),
    Made("bpg", "p.bpg", lambda: b"BPG\xfb\x20\0\x40\x30\0" + bytes(40), _has_size),
    Made("svg", "d.svg", _text(_SVG), _is_svg),
    Made(
        "eps",
        "d.eps",
        _text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\nshowpage\n"),
        lambda image: None if image.size == (64, 48) else _fail(image),
    ),
    Made("pict", "d.pct", _pict, _has_size),
    Made("emf", "d.emf", _emf, _has_size),
    Made("wmf", "d.wmf", _wmf, _has_size),
    Made("wav", "s.wav", _wav, _is_sound),
    Made("w64", "s.w64", _sound("W64", "PCM_16"), _is_sound),
    Made("rf64", "s.rf64", _sound("RF64", "PCM_16"), _is_sound),
    Made("flac", "s.flac", _sound("FLAC"), _is_sound),
    Made("ogg", "s.ogg", _sound("OGG", "VORBIS"), _is_sound),
    Made("ogg-opus", "s.opus", _sound("OGG", "OPUS"), _is_sound),
    Made("mp3", "s.mp3", _sound("MP3"), _is_sound),
    Made("aiff", "s.aiff", _sound("AIFF"), _is_sound),
    Made("au", "s.au", _sound("AU"), _is_sound),
    Made("caf", "s.caf", _sound("CAF"), _is_sound),
    Made("voc", "s.voc", _sound("VOC", "PCM_16"), _is_sound),
    Made("m4a", "s.m4a", _encoded("ipod", "aac"), _is_sound),
    Made("aac", "s.aac", _encoded("adts", "aac"), _is_sound),
    Made("mp2", "s.mp2", _encoded("mp2", "mp2"), _is_sound),
    Made("ac3", "s.ac3", _encoded("ac3", "ac3"), _is_sound),
    Made("wma", "s.wma", _encoded("asf", "wmav2"), _is_sound),
    Made("mka", "s.mka", _encoded("matroska", "aac"), _is_sound),
    Made("wv", "s.wv", _encoded("wv", "wavpack"), _is_sound),
    Made("tta", "s.tta", _encoded("tta", "tta"), _is_sound),
    Made("midi", "m.mid", _midi, _is_one_track, requires=("mido",)),
    Made("protracker", "t.mod", _mod, _has_title),
    Made("xm", "t.xm", _xm, _has_title),
    Made("m3u", "l.m3u", _text("#EXTM3U\n#EXTINF:3,Song\nsong.mp3\n"), _same_text("song.mp3")),
    Made(
        "pls",
        "l.pls",
        _text("[playlist]\nFile1=song.mp3\n"),
        _same_text("song.mp3"),
        nameless=False,
    ),
    Made(
        "cue",
        "l.cue",
        _text('PERFORMER "X"\nFILE "song.wav" WAVE\n  TRACK 01 AUDIO\n'),
        _same_text("song.wav"),
    ),
    Made("mp4", "v.mp4", _video("mp4", "mpeg4"), _is_video),
    Made("mov", "v.mov", _video("mov", "mpeg4"), _is_video),
    Made("avi", "v.avi", _video("avi", "mpeg4"), _is_video),
    Made("mkv", "v.mkv", _video("matroska", "mpeg4"), _is_video),
    Made("flv", "v.flv", _video("flv", "flv"), _is_video),
    Made("wmv", "v.wmv", _video("asf", "wmv2"), _is_video),
    Made("mpegts", "v.ts", _video("mpegts", "mpeg2video"), _is_video),
    Made("mpg", "v.mpg", _video("mpeg", "mpeg2video"), _is_video),
    Made("m2v", "v.m2v", _video("mpeg2video", "mpeg2video"), _is_video),
    Made("3gp", "v.3gp", _video("3gp", "mpeg4"), _is_video),
    Made("y4m", "v.y4m", _video("yuv4mpegpipe", "rawvideo"), _is_video),
    Made("nut", "v.nut", _video("nut", "mpeg4"), _is_video),
)


def _fail(loaded: object) -> None:
    raise AssertionError(loaded)
