"""Images of microscopes, opened by libraries that are installed when one comes."""

import math
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders.lines import noting
from kernel_startup.source import Source

_MAX_BYTES = 2 * 1024**3


def load_nd2(source: Source) -> Any:
    """Open Nikon's images; asarray(), sizes and metadata read them."""
    import nd2

    with noting(source):
        return _with_shape(nd2.ND2File(source.as_path(".nd2")))


def load_czi(source: Source) -> Any:
    """Open Zeiss' images; asarray() and metadata() read them."""
    import czifile

    with noting(source):
        return _with_shape(czifile.CziFile(str(source.as_path(".czi"))))


def load_lif(source: Source) -> Any:
    """Open Leica's images; images[0].asarray() reads one."""
    import liffile

    with noting(source):
        return liffile.LifFile(str(source.as_path(".lif")))


def load_oib(source: Source) -> Any:
    """Open Olympus' images; asarray() reads them."""
    import oiffile

    with noting(source):
        return oiffile.OifFile(str(source.as_path(".oib")))


def _with_shape(image: Any) -> Any:
    """Look at an image's shape, so that a damaged file says so now and not when it is used."""
    try:
        _ = image.shape
    except BaseException:
        image.close()
        raise
    return image


_MODES = {0: "i1", 1: "i2", 2: "f4", 3: "i2", 4: "c8", 6: "u2", 12: "f2"}


def load_mrc(source: Source) -> tuple[Any, dict[str, Any]]:
    """Read a map: an array of sections x rows x columns, and the header.

    Source: the MRC2014 format.
    """
    import numpy as np

    content = source.read()
    is_big = content[96:98] == b"\xc0\xa0" or content[212:213] == b"\x11"
    order = ">" if is_big else "<"
    whole = np.frombuffer(content[:1024], order + "i4")
    real = np.frombuffer(content[:1024], order + "f4")
    columns, rows, sections, mode = (int(number) for number in whole[:4])
    if mode not in _MODES:
        raise FileLoadError(source.name, f"a map of mode {mode}, which isn't read here")
    kind = np.dtype(order + _MODES[mode])
    if mode == 3:  # complex numbers of two short ones
        columns *= 2
    shape = (sections, rows, columns)
    start = 1024 + max(int(whole[23]), 0)
    needed = math.prod(shape) * kind.itemsize
    if needed > _MAX_BYTES or start + needed > len(content):
        raise FileLoadError(
            source.name,
            "a map that is cut off or whose header is wrong",
            reason=f"it says {' x '.join(map(str, shape))}, {needed:,} bytes, and there are "
            f"{max(len(content) - start, 0):,}",
        )
    array = np.frombuffer(content, kind, math.prod(shape), start).reshape(shape)
    header = {
        "mode": mode,
        "cell": tuple(float(number) for number in real[10:13]),
        "angles": tuple(float(number) for number in real[13:16]),
        "start": tuple(int(number) for number in whole[4:7]),
        "sampling": tuple(int(number) for number in whole[7:10]),
        "axes": tuple(int(number) for number in whole[16:19]),
        "space_group": int(whole[22]),
        "labels": [
            content[at : at + 80].decode("latin-1").strip("\0 ")
            for at in range(224, 224 + 80 * min(max(int(whole[55]), 0), 10), 80)
        ],
    }
    return array.astype(kind.newbyteorder("=")), header
