"""Pictures."""

import io
import re
import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kernel_startup.errors import FileLoadError
from kernel_startup.fileinfo import FileInfo
from kernel_startup.source import Source

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    import PIL.ImageCms

#: What an array of a picture may take in memory before it is refused or left on disk.
_MAX_ARRAY_BYTES = 1024 * 1024 * 1024


def load_image(source: Source, *, mode: str | None = None) -> "PIL.Image.Image":
    """Open a picture and decode its first frame.

    Args:
        source: The file.
        mode: Convert to this mode ("RGB", "L"); None leaves it.
    """
    import PIL.Image

    # From memory: the frames of an animation are read later, when the file may be gone.
    return _decoded(source, lambda: PIL.Image.open(io.BytesIO(source.read())), mode)


def _decoded(
    source: Source, open_image: "Callable[[], PIL.Image.Image]", mode: str | None
) -> "PIL.Image.Image":
    import PIL.Image

    try:
        image = open_image()
        _refuse_bomb(image.size)  # some of Pillow's readers don't look themselves
        image.load()
    except PIL.Image.DecompressionBombError as error:
        raise _bomb(source) from error
    except PIL.UnidentifiedImageError as error:
        raise FileLoadError(
            source.name,
            "a picture that is cut off or damaged",
            tried="Pillow",
            reason="it doesn't recognise the content",
        ) from error
    return image if mode is None else image.convert(mode)


def _refuse_bomb(size: tuple[int, int]) -> None:
    import PIL.Image

    if PIL.Image.MAX_IMAGE_PIXELS and size[0] * size[1] > 2 * PIL.Image.MAX_IMAGE_PIXELS:
        raise PIL.Image.DecompressionBombError(f"{size[0]}x{size[1]} pixels")


def _bomb(source: Source) -> FileLoadError:
    import PIL.Image

    return FileLoadError(
        source.name,
        f"a picture of more than {2 * (PIL.Image.MAX_IMAGE_PIXELS or 0):,} pixels in "
        f"{source.size_bytes:,} bytes",
        tried="Pillow",
        reason="a picture this large could take all of the memory",
        remedy='If it is really wanted: set PIL.Image.MAX_IMAGE_PIXELS and open as_="path"',
    )


def load_heif(source: Source, *, mode: str | None = None) -> "PIL.Image.Image":
    """Open a HEIF picture, or a sequence of them."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    return load_image(source, mode=mode)


def load_ole(source: Source, *, mode: str | None = None) -> "PIL.Image.Image":
    """Open a picture in an OLE file (MIC, FlashPix)."""
    # Pillow has tried them already, perhaps before what they need was installed.
    import PIL.FpxImagePlugin
    import PIL.MicImagePlugin  # noqa: F401

    return load_image(source, mode=mode)


def load_jpeg2000(source: Source, *, mode: str | None = None) -> "PIL.Image.Image":
    """Open JPEG 2000 of a kind that Pillow doesn't name: its first codestream."""
    import PIL.Image

    content = source.read()
    start = content.find(b"\xff\x4f\xff\x51")
    if start < 0:
        raise FileLoadError(
            source.name, "JPEG 2000, cut off or damaged", reason="there is no picture in it"
        )
    return _decoded(source, lambda: PIL.Image.open(io.BytesIO(content[start:])), mode)


#: An animation of one frame's worth of bytes can claim to be far larger: av would make it.
_MAX_FLIC_PIXELS = 16 * 1024 * 1024


def load_flic(source: Source, *, mode: str | None = None) -> "PIL.Image.Image":
    """Open a FLIC animation; of those that Pillow can't decode, the first frame by av."""
    width, height = struct.unpack_from("<HH", source.head, 8)
    _refuse_size(source, width, height)
    try:
        return load_image(source, mode=mode)
    except OSError:
        import av

        if width * height > _MAX_FLIC_PIXELS:
            raise
        container: Any = av.open(io.BytesIO(source.read()), format="flic")
        with container:
            image: PIL.Image.Image = next(container.decode(video=0)).to_image()
        source.note(f"{source.name!r} is an animation: this is its first frame.")
        return image if mode is None else image.convert(mode)


def load_gd(source: Source) -> "PIL.Image.Image":
    """Open a GD image, which Pillow doesn't recognise by itself."""
    import PIL.GdImageFile

    return _decoded(source, lambda: PIL.GdImageFile.open(io.BytesIO(source.read())), None)


def load_profile(source: Source) -> "PIL.ImageCms.ImageCmsProfile":
    """Open a colour profile; PIL.ImageCms.getProfileDescription and others tell what it is."""
    import PIL.ImageCms

    try:
        return PIL.ImageCms.ImageCmsProfile(io.BytesIO(source.read()))
    except OSError as error:
        seems = "a colour profile that is cut off or damaged"
        raise FileLoadError(source.name, seems, "Pillow", str(error)) from error


def load_wal(source: Source) -> "PIL.Image.Image":
    """Open a Quake texture, which Pillow doesn't recognise by itself."""
    import PIL.WalImageFile

    return _decoded(source, lambda: PIL.WalImageFile.open(io.BytesIO(source.read())), None)


def load_pam(source: Source, *, mode: str | None = None) -> "PIL.Image.Image":
    """Open a portable arbitrary map; of more than 8 bits, the upper 8."""
    import numpy as np
    import PIL.Image

    head, _, samples = source.read().partition(b"ENDHDR\n")
    fields = dict(re.findall(rb"^(\w{1,20})[ \t]+(\S{1,30})", head, re.MULTILINE))
    width, height, depth, most = (
        int(fields[name]) for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")
    )
    if not (width > 0 and height > 0 and 0 < depth <= 4 and 0 < most < 65536):
        raise ValueError("its header makes no sense")
    dtype = np.dtype("u1" if most < 256 else ">u2")
    count = width * height * depth
    if len(samples) < count * dtype.itemsize:
        raise ValueError("it is cut off")
    pixels = np.frombuffer(samples, dtype, count).reshape(height, width, depth)
    if most != 255:
        pixels = (pixels.astype(np.uint32) * 255 // most).clip(0, 255).astype(np.uint8)
    shape = pixels[:, :, 0] if depth == 1 else pixels
    if depth == 2:
        image = PIL.Image.merge("LA", [PIL.Image.fromarray(pixels[:, :, i]) for i in (0, 1)])
    else:
        image = PIL.Image.fromarray(shape)
    return image if mode is None else image.convert(mode)


def load_psb(source: Source, *, mode: str | None = None) -> "PIL.Image.Image | FileInfo":
    """Open a large Photoshop document where Pillow can; its size otherwise."""
    channels, height, width, depth = struct.unpack_from(">HIIH", source.head, 12)
    try:
        return load_image(source, mode=mode)
    except Exception:  # Pillow reads few of them
        facts = {"size": (width, height), "channels": channels, "depth": depth}
        return _info(source, facts, "psd-tools reads it.")


# -- microscopes and whole slides ----------------------------------------------------------------


def load_stack(
    source: Source, *, key: int | None = None, series: int = 0, level: int | None = None
) -> Any:
    """Read a TIFF of many pages as an array.

    Args:
        source: The file.
        key: One page only, counted from 0.
        series: Which of its series of pages.
        level: Which size of a pyramid, 0 for the largest; None for the largest that fits in 1 GiB.
    """
    import tifffile

    path = source.as_path(".tif")
    file = tifffile.TiffFile(path)
    if key is not None:
        page = file.pages[key]
        _refuse_large(source, page.nbytes)
        return page.asarray()
    chosen = file.series[series]
    levels = chosen.levels if level is None else [chosen.levels[level]]
    for number, candidate in enumerate(levels):
        if candidate.nbytes <= _MAX_ARRAY_BYTES:
            if number:
                source.note(
                    f"{source.name!r} is a pyramid: this is level {number}, of shape "
                    f"{candidate.shape}; level=0 has {chosen.shape}."
                )
            with file:
                _refuse_lie(source, candidate.nbytes)
                return candidate.asarray()
    source.note(f"{source.name!r} is very large: this is a tifffile.TiffFile, to read parts of.")
    return file


def _refuse_large(source: Source, size: int) -> None:
    if size > _MAX_ARRAY_BYTES:
        raise FileLoadError(
            source.name,
            f"a picture that takes {size >> 20:,} MiB in memory",
            remedy='as_="path" gives its path, for a library that reads parts of it',
        )


def _refuse_lie(source: Source, size: int) -> None:
    if size > 1000 * max(source.size_bytes, 1 << 16):
        raise FileLoadError(
            source.name,
            f"{source.size_bytes:,} bytes that claim to hold {size >> 20:,} MiB of pixels",
        )


# -- what imagecodecs decodes --------------------------------------------------------------------


def load_jxl(source: Source, *, mode: str | None = None) -> "PIL.Image.Image":
    """Decode JPEG XL."""
    import imagecodecs
    import PIL.Image

    pixels = _codec(source, imagecodecs.jpegxl_decode)
    if pixels.ndim == 4:
        source.note(f"{source.name!r} is an animation: this is the first of {len(pixels)} frames.")
        pixels = pixels[0]
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.dtype.kind == "f":
        pixels = (pixels.clip(0, 1) * 255).astype("uint8")
    elif pixels.dtype.itemsize == 2 and pixels.ndim == 3:
        pixels = (pixels >> 8).astype("uint8")
    image = PIL.Image.fromarray(pixels)
    return image if mode is None else image.convert(mode)


def load_jls(source: Source) -> Any:
    """Decode JPEG-LS."""
    import imagecodecs

    _refuse_size(source, *_jpeg_size(source.head))
    return _codec(source, imagecodecs.jpegls_decode)


def load_jxr(source: Source) -> Any:
    """Decode JPEG XR."""
    import imagecodecs

    return _codec(source, imagecodecs.jpegxr_decode)


def load_jxs(source: Source) -> Any:
    """Decode JPEG XS."""
    import imagecodecs

    return _codec(source, imagecodecs.jpegxs_decode)


def load_exr(source: Source) -> Any:
    """Decode OpenEXR."""
    import imagecodecs

    at = source.head.find(b"dataWindow\0box2i\0\x10\0\0\0")
    if at >= 0:
        left, top, right, bottom = struct.unpack_from("<4i", source.head, at + 21)
        _refuse_size(source, right - left + 1, bottom - top + 1)
    return _codec(source, imagecodecs.exr_decode)


def _codec(source: Source, decode: Callable[..., Any]) -> "Any":
    return decode(source.read())


def _refuse_size(source: Source, width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise FileLoadError(source.name, "a damaged picture", reason="its header has no size")
    import PIL.Image

    if width * height > 2 * (PIL.Image.MAX_IMAGE_PIXELS or width * height):
        raise _bomb(source)


def _jpeg_size(head: bytes) -> tuple[int, int]:
    at = head.find(b"\xff\xf7")
    height, width = struct.unpack_from(">HH", head, at + 5) if at >= 0 else (0, 0)
    return width, height


# -- Radiance ------------------------------------------------------------------------------------


def load_radiance(source: Source) -> "np.ndarray":
    """Decode a Radiance picture to light: float32 of (height, width, 3)."""
    import numpy as np

    content = source.read()
    found = re.search(rb"\n\n([-+])Y (\d{1,6}) ([-+])X (\d{1,6})\n", content[:65536])
    if found is None:
        raise ValueError("it has no line with its size, or one that is turned")
    height, width = int(found[2]), int(found[4])
    _refuse_size(source, width, height)
    packed = content[found.end() :]
    # A line that repeats one byte takes 4 bytes of file for 127 of picture.
    if width * height * 4 > max(len(packed), 1) * 130:
        raise ValueError("it is cut off")
    pixels = _radiance_lines(packed, width, height)
    scale = np.ldexp(np.float32(1), pixels[:, :, 3].astype(np.int32) - 136)
    light = np.where(pixels[:, :, 3:] > 0, (pixels[:, :, :3] + 0.5) * scale[:, :, None], 0)
    light = light[:: -1 if found[1] == b"+" else 1, :: -1 if found[3] == b"-" else 1]
    return light.astype(np.float32)


def _radiance_lines(packed: bytes, width: int, height: int) -> "np.ndarray":
    import numpy as np

    at = 0
    mark = bytes((2, 2, width >> 8, width & 255)) if 8 <= width < 32768 else b"none"
    if not packed.startswith(mark):
        return np.frombuffer(packed, np.uint8, width * height * 4).reshape(height, width, 4)
    lines = np.empty((height, 4, width), np.uint8)
    for row in range(height):
        if packed[at : at + 4] != mark:
            raise ValueError(f"it is damaged at line {row}")
        at += 4
        line = bytearray()
        while len(line) < 4 * width:
            count = packed[at]
            if count > 128:
                line += packed[at + 1 : at + 2] * (count - 128)
                at += 2
            else:
                line += packed[at + 1 : at + 1 + count]
                at += 1 + count
            if not count:
                raise ValueError(f"it is damaged at line {row}")
        lines[row] = np.frombuffer(bytes(line), np.uint8, 4 * width).reshape(4, width)
    return lines.transpose(0, 2, 1)


# -- known by their headers ----------------------------------------------------------------------


def _info(source: Source, facts: Mapping[str, object], advice: str) -> FileInfo:
    from kernel_startup.loaders.described import source_info

    return source_info(source, dict(facts), advice)


def load_bpg(source: Source) -> FileInfo:
    """Say what size a BPG picture has."""
    head, at, numbers = source.head, 6, []
    for _ in range(2):
        value = 0
        while True:
            value = value << 7 | head[at] & 0x7F
            at += 1
            if head[at - 1] < 0x80:
                break
        numbers.append(value)
    facts = {"size": (numbers[0], numbers[1]), "depth": (head[4] & 15) + 8}
    return _info(source, facts, "bpgdec turns it into PNG.")


def load_xcf(source: Source) -> FileInfo:
    """Say what size a GIMP picture has."""
    width, height, kind = struct.unpack_from(">III", source.head, 14)
    modes = {0: "RGB", 1: "greyscale", 2: "indexed"}
    version = source.head[9:13].strip(b"\0").decode("latin-1")
    facts = {"size": (width, height), "mode": modes.get(kind, kind), "version": version}
    return _info(source, facts, "GIMP exports it as PNG.")


def load_ktx(source: Source) -> FileInfo:
    """Say what size a Khronos texture has."""
    head = source.head
    if head.startswith(b"\xabKTX 20"):
        size = struct.unpack_from("<II", head, 20)
    else:
        order = "<" if head[12:16] == b"\1\2\3\4" else ">"
        size = struct.unpack_from(f"{order}II", head, 36)
    return _info(source, {"size": size}, "A tool such as ktx turns it into PNG.")
