"""Medical images and records: DICOM by pydicom, brain images by nibabel, the simple ones here."""

import bz2
import gzip
import io
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders.described import source_info
from kernel_startup.loaders.lines import limited, noting, open_text, read_table
from kernel_startup.source import Source, kept_directory

#: Voxels are read at once in the formats read here.
_MAX_BYTES = 2 * 1024**3
#: DICOM files from here on leave long values in the file until they are looked at.
_LAZY_FROM = 64 * 1024 * 1024
_LAZY_VALUE = 1024 * 1024


# -- DICOM ---------------------------------------------------------------------------------------

_UNREAD = {
    "1.2.840.10008.1.2.4.57": ("JPEG lossless", "pylibjpeg pylibjpeg-libjpeg"),
    "1.2.840.10008.1.2.4.70": ("JPEG lossless", "pylibjpeg pylibjpeg-libjpeg"),
    "1.2.840.10008.1.2.4.51": ("JPEG of 12 bits", "pylibjpeg pylibjpeg-libjpeg"),
    "1.2.840.10008.1.2.4.80": ("JPEG-LS", "pyjpegls"),
    "1.2.840.10008.1.2.4.81": ("JPEG-LS", "pyjpegls"),
    "1.2.840.10008.1.2.4.201": ("HTJ2K", "pylibjpeg pylibjpeg-openjpeg"),
    "1.2.840.10008.1.2.4.202": ("HTJ2K", "pylibjpeg pylibjpeg-openjpeg"),
    "1.2.840.10008.1.2.4.203": ("HTJ2K", "pylibjpeg pylibjpeg-openjpeg"),
}


def load_dicom(source: Source, *, stop_before_pixels: bool = False) -> Any:
    """Read a dataset; its pixel_array is decoded when it is asked for.

    Args:
        stop_before_pixels: Whether to leave the pixels out.
    """
    import pydicom

    lazy = source.compression is None and source.size_bytes > _LAZY_FROM
    with noting(source):
        dataset = pydicom.dcmread(
            source.as_path() if lazy else io.BytesIO(source.read()),
            force=True,
            defer_size=_LAZY_VALUE if lazy else None,
            stop_before_pixels=stop_before_pixels,
        )
        if not dataset and not getattr(dataset, "file_meta", None):
            raise FileLoadError(source.name, "DICOM without a single element")
        syntax = str(getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", ""))
    if syntax in _UNREAD and "PixelData" in dataset:
        kind, packages = _UNREAD[syntax]
        source.note(f"its pixels are {kind}: pixel_array needs %pip install {packages}.")
    return dataset


def load_dicom_json(source: Source) -> Any:
    """Read datasets as DICOMweb gives them."""
    import json

    import pydicom

    found = json.loads(source.read())
    with noting(source):
        datasets = [
            pydicom.Dataset.from_json(each, bulk_data_uri_handler=lambda *_: None)
            for each in (found if isinstance(found, list) else [found])
        ]
    return datasets[0] if len(datasets) == 1 else datasets


# -- what nibabel reads --------------------------------------------------------------------------


def load_nifti(source: Source) -> Any:
    """Open a NIfTI or CIFTI image; get_fdata() reads it."""
    return _image(source, ".nii")


def load_mgh(source: Source) -> Any:
    """Open a FreeSurfer volume; get_fdata() reads it."""
    return _image(source, ".mgh", packed=".mgz")


def load_minc(source: Source) -> Any:
    """Open a MINC image; get_fdata() reads it."""
    import nibabel

    with noting(source):
        return nibabel.load(source.as_path(".mnc"))


def load_ecat(source: Source) -> Any:
    """Open an ECAT image; get_fdata() reads it."""
    from nibabel import ecat

    with noting(source):
        return ecat.load(str(source.as_path(".v")))


def load_gifti(source: Source) -> Any:
    """Read surfaces or values on them."""
    import nibabel

    if b"<!ENTITY" in source.head:
        raise FileLoadError(source.name, "XML that declares entities of its own")
    content = source.read()
    with noting(source):
        if b"ExternalFileBinary" not in content:
            return nibabel.GiftiImage.from_bytes(content)
        beside = {
            path.name: path
            for path in source.neighbours
            if f'ExternalFileName="{path.name}"'.encode() in content
        }
        place = _named(source.path, "file.gii", beside).with_name("content.gii")
        place.write_bytes(content)
        return nibabel.load(place)


def load_trk(source: Source) -> Any:
    """Read streamlines."""
    return _streamlines(source, ".trk")


def load_tck(source: Source) -> Any:
    """Read streamlines."""
    return _streamlines(source, ".tck")


def _streamlines(source: Source, suffix: str) -> Any:
    import nibabel

    with noting(source):
        return nibabel.streamlines.load(str(source.as_path(suffix)))


def _image(source: Source, suffix: str, packed: str = "") -> Any:
    """Open one file as nibabel wants to see it named, unpacking nothing beforehand."""
    import nibabel

    if source.compression == "gzip":
        path = _named(source.path, "file" + (packed or f"{suffix}.gz"))
    else:
        path = source.as_path(suffix)
    with noting(source):
        image = nibabel.load(path)
    if source.compression is None:
        _check_size(source, image, source.size_bytes)
    return image


def _check_size(source: Source, image: Any, size: int) -> None:
    """Say at once that voxels lack, instead of in the middle of the user's work."""
    shape, kind = image.shape, image.get_data_dtype()
    needed = math.prod(int(length) for length in shape) * kind.itemsize
    if needed > size:
        raise FileLoadError(
            source.name,
            "an image that is cut off or whose header is wrong",
            "reading its header",
            f"it says {' x '.join(map(str, shape))} voxels of {kind}, {needed:,} bytes, and there "
            f"are {size:,}",
        )


def load_pair(source: Source) -> Any:
    """Open an image of two files, .hdr and .img."""
    import nibabel

    header, image = _pair(source, ("hdr", "hdr.gz"), ("img", "img.gz"))
    if header is None or image is None:
        missing = "the .img file" if image is None else "the .hdr file"
        return source_info(source, _analyze_facts(source), f"Upload {missing} of the same name.")
    packed = ".gz" if image.name.lower().endswith(".gz") else ""
    path = _named(image, f"file.img{packed}", {f"file.hdr{packed}": header})
    with noting(source):
        opened: Any = nibabel.load(path)
    if not packed:
        _check_size(source, opened, image.stat().st_size)
    return opened


def _analyze_facts(source: Source) -> dict[str, object]:
    head = source.head
    if len(head) < 348:
        return {}
    order = "little" if head[:4] == b"\x5c\x01\0\0" else "big"
    sizes = [int.from_bytes(head[at : at + 2], order) for at in range(40, 56, 2)]  # type: ignore[arg-type]
    return {"shape": tuple(sizes[1 : 1 + min(sizes[0], 7)])} if 0 < sizes[0] <= 7 else {}


def load_par(source: Source) -> Any:
    """Open Philips' pair of .par and .rec; get_fdata() reads it."""
    import nibabel.parrec

    header, image = _pair(source, ("par",), ("rec",))
    if header is None or image is None:
        missing = "the .rec file" if image is None else "the .par file"
        return source_info(source, advice=f"Upload {missing} of the same name too.")
    path = _named(header, "file.PAR", {"file.REC": image})
    with noting(source):
        return nibabel.parrec.load(str(path), permit_truncated=True)


def load_afni(source: Source) -> Any:
    """Open AFNI's pair of .HEAD and .BRIK; get_fdata() reads it."""
    import nibabel

    header, image = _pair(source, ("head",), ("brik", "brik.gz"))
    if header is None or image is None:
        missing = "the .BRIK file" if image is None else "the .HEAD file"
        return source_info(source, advice=f"Upload {missing} of the same name too.")
    packed = ".gz" if image.name.lower().endswith(".gz") else ""
    path = _named(header, "file+orig.HEAD", {f"file+orig.BRIK{packed}": image})
    with noting(source):
        return nibabel.load(path)


def _pair(
    source: Source, headers: tuple[str, ...], images: tuple[str, ...]
) -> tuple[Path | None, Path | None]:
    """Find a file and its other half among the user's files, by name without case."""
    found: dict[str, Path] = {}
    name = source.name.lower()
    ending = next((e for e in (*headers, *images) if name.endswith(f".{e}")), "")
    stem = name.removesuffix(f".{ending}") if ending else name
    for path in source.neighbours:
        for extension in (*headers, *images):
            if path.name.lower() == f"{stem}.{extension}":
                found.setdefault(extension, path)
    if ending:
        found[ending] = source.path
    else:
        found[headers[0]] = source.path
    header = next((found[e] for e in headers if e in found), None)
    return header, next((found[e] for e in images if e in found), None)


def _named(path: Path, name: str, others: dict[str, Path] | None = None) -> Path:
    """Give files the names that a library goes by."""
    place = kept_directory()
    for link, target in {**(others or {}), name: path}.items():
        (place / link).symlink_to(target.absolute())
    return place / name


# -- FreeSurfer ----------------------------------------------------------------------------------


def load_surface(source: Source) -> tuple[Any, Any]:
    """Read a surface: points (n x 3) and triangles (m x 3, places of points)."""
    from nibabel import freesurfer

    content = source.head
    start = content.find(b"\n\n", 0, 4096) + 2
    vertices, faces = (int.from_bytes(content[at : at + 4], "big") for at in (start, start + 4))
    if start < 2 or (vertices + faces) * 12 > source.size_bytes:
        raise FileLoadError(source.name, "a FreeSurfer surface that is cut off or damaged")
    with noting(source):
        points, triangles = freesurfer.read_geometry(str(source.as_path()))[:2]
    return points, triangles


def load_curv(source: Source) -> Any:
    """Read a value for each vertex."""
    from nibabel import freesurfer

    with noting(source):
        return freesurfer.read_morph_data(str(source.as_path()))


def load_annot(source: Source) -> tuple[Any, Any, list[str]]:
    """Read a parcellation: a label for each vertex, the table of colours, the names."""
    from nibabel import freesurfer

    vertices = int.from_bytes(source.head[:4], "big")
    if not 0 < vertices * 8 <= source.size_bytes:
        raise FileLoadError(source.name, "a FreeSurfer parcellation that is cut off or damaged")
    with noting(source):
        labels, colours, names = freesurfer.read_annot(str(source.as_path()))
    return labels, colours, [name.decode(errors="replace") for name in names]


def load_label(source: Source, *, nrows: int | None = None) -> Any:
    """Read the vertices of a label."""
    names = ("vertex", "x", "y", "z", "value")
    table = read_table(source, names, numbers=names, nrows=nrows, sep=" ")
    return table.iloc[1:].reset_index(drop=True)  # the first line is their number


def load_numbers(source: Source) -> Any:
    """Read rows of numbers."""
    import numpy as np

    with noting(source), open_text(source) as text:
        return np.loadtxt(text)


# -- NRRD, MetaImage, MRtrix ---------------------------------------------------------------------

_NRRD_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(
        ("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"
    ),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(
        ("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), "i8"
    ),
    **dict.fromkeys(
        ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"
    ),
    "float": "f4",
    "double": "f8",
}


def load_nrrd(source: Source) -> tuple[Any, dict[str, Any]]:
    """Read voxels and the header; the first axis is the fastest, as pynrrd has it."""
    content = source.read()
    lines, start = _header_lines(source, content)
    header: dict[str, Any] = {}
    for line in lines[1:]:
        if line.startswith("#"):
            continue
        name, sign, value = line.partition(":")
        if sign and value.startswith("="):
            header[name] = value[1:].strip()
        elif sign:
            header[name.strip().lower()] = value.strip()
    kind = _NRRD_TYPES.get(header.get("type", "").lower())
    if kind is None:
        raise FileLoadError(source.name, f"an NRRD image of type {header.get('type', 'unknown')!r}")
    sizes = [int(word) for word in header.get("sizes", "").split()]
    order = ">" if header.get("endian", "little") == "big" else "<"
    file = header.get("data file", header.get("datafile", ""))
    encoding = header.get("encoding", "raw").lower()
    if file:
        content = _neighbour(source, file).read_bytes()
        start = 0
    skip_lines = int(header.get("line skip", header.get("lineskip", 0)))
    for _ in range(min(skip_lines, 10_000)):
        start = content.find(b"\n", start) + 1
    skip = int(header.get("byte skip", header.get("byteskip", 0)))
    raw = memoryview(content)[start:]
    size = math.prod(sizes) * int(kind[1])
    if skip == -1 and encoding == "raw":
        raw = raw[max(len(raw) - size, 0) :]
    else:
        raw = raw[max(skip, 0) :] if encoding in ("raw", "ascii", "txt", "text") else raw
    array = _voxels(source, raw, sizes, order + kind, encoding, max(skip, 0))
    header["sizes"] = sizes
    return array, header


def _header_lines(source: Source, content: bytes) -> tuple[list[str], int]:
    """Split a header that ends in an empty line; gives its lines and where the data begin."""
    ends = re.search(rb"\r?\n\r?\n", content[: 1 << 20])
    head = content[: ends.start()] if ends else content[: 1 << 20]
    lines = head.decode("utf-8", errors="replace").splitlines()
    return lines, ends.end() if ends else len(content)


def _voxels(
    source: Source, raw: Any, sizes: list[int], kind: str, encoding: str, skip: int = 0
) -> Any:
    import numpy as np

    item = np.dtype(kind)
    count = math.prod(sizes)
    needed = count * item.itemsize
    if not sizes or min(sizes) < 1 or needed > _MAX_BYTES:
        raise FileLoadError(
            source.name,
            f"an image of {' x '.join(map(str, sizes))} voxels, {needed:,} bytes",
            reason="that is none, or more than fits in memory here",
        )
    if encoding in ("ascii", "txt", "text"):
        words = bytes(raw).split()[:count]
        array = np.array([float(word) for word in words]).astype(item)
    elif encoding == "hex":
        array = np.frombuffer(bytes.fromhex(bytes(raw).decode("ascii")), item)
    else:
        array = np.frombuffer(_unpacked(source, raw, encoding, needed + skip)[skip:], np.uint8)
        array = array[: array.size // item.itemsize * item.itemsize].view(item)
    if array.size < count:
        raise FileLoadError(
            source.name,
            "an image that is cut off",
            reason=f"it says it has {count:,} voxels, and there are {array.size:,}",
        )
    return array[:count].reshape(sizes, order="F")


def _unpacked(source: Source, raw: Any, encoding: str, size: int) -> bytes:
    """Unpack voxels, and not a byte more than there should be."""
    if encoding in ("gz", "gzip"):
        return gzip.GzipFile(fileobj=io.BytesIO(raw)).read(size)
    if encoding in ("bz2", "bzip2"):
        return bz2.BZ2File(io.BytesIO(raw)).read(size)
    if encoding == "zlib":
        return zlib.decompressobj().decompress(raw, size)
    if encoding == "raw":
        return bytes(raw[:size])
    raise FileLoadError(source.name, f"an image packed by {encoding!r}, which isn't known")


def _neighbour(source: Source, name: str) -> Path:
    wanted = re.split(r"[\\/]", name.strip())[-1].lower()
    for path in source.neighbours:
        if path.name.lower() == wanted:
            return path
    raise FileLoadError(
        source.name,
        f"the header of an image whose data are in {wanted!r}",
        reason="no file of that name is here",
        remedy="Upload it too",
    )


_MET = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}


def load_metaimage(source: Source) -> tuple[Any, dict[str, Any]]:
    """Read voxels and the header; the first axis is the fastest, as DimSize says."""
    content = source.read()
    header: dict[str, Any] = {}
    at = 0
    while "ElementDataFile" not in header:
        end = content.find(b"\n", at, at + 100_000)
        line = content[at : end if end >= 0 else len(content)].decode("latin-1")
        name, sign, value = line.partition("=")
        if not sign:
            raise FileLoadError(source.name, "a MetaImage whose header is cut off or damaged")
        header[name.strip()] = value.strip()
        at = end + 1 if end >= 0 else len(content)
    if header.get("ElementType") not in _MET:
        raise FileLoadError(source.name, f"a MetaImage of {header.get('ElementType')!r}")
    sizes = [int(word) for word in header.get("DimSize", "").split()]
    channels = int(header.get("ElementNumberOfChannels", 1))
    if channels != 1:
        sizes = [channels, *sizes]
    big = header.get("BinaryDataByteOrderMSB", header.get("ElementByteOrderMSB", "False"))
    kind = (">" if big.lower() == "true" else "<") + _MET[header["ElementType"]]
    raw = _metaimage_data(source, header, content, at)
    encoding = "zlib" if header.get("CompressedData", "False").lower() == "true" else "raw"
    if encoding == "raw" and header.get("BinaryData", "True").lower() == "false":
        encoding = "ascii"
    skip = int(header.get("HeaderSize", 0))
    needed = math.prod(sizes) * int(kind[2])
    if skip == -1:
        skip = max(len(raw) - needed, 0)
    array = _voxels(source, memoryview(raw)[max(skip, 0) :], sizes, kind, encoding)
    return array, header


def _metaimage_data(source: Source, header: dict[str, Any], content: bytes, at: int) -> bytes:
    file = header["ElementDataFile"]
    if file.upper() == "LOCAL":
        return content[at:]
    if file.upper().startswith("LIST"):
        names = content[at:].decode("latin-1").split()
        return b"".join(_neighbour(source, name).read_bytes() for name in names[:5000])
    if "%" in file:
        raise FileLoadError(source.name, "a MetaImage over a numbered series of files")
    return _neighbour(source, file).read_bytes()


def load_mrtrix(source: Source) -> tuple[Any, dict[str, Any]]:
    """Read voxels and the header."""
    import numpy as np

    content = source.read()
    text = content[: content.find(b"\nEND") + 1 or None][: 1 << 20].decode("latin-1")
    header: dict[str, Any] = {}
    for line in text.splitlines()[1:]:
        name, sign, value = line.partition(":")
        if sign:
            header[name.strip()] = value.strip()
    sizes = [int(word) for word in re.split(r"[,\s]+", header.get("dim", "")) if word]
    stated = re.fullmatch(r"(U?)Int(8|16|32|64)(LE|BE)?|Float(32|64)(LE|BE)?", header["datatype"])
    if stated is None:
        raise FileLoadError(source.name, f"an MRtrix image of {header['datatype']!r}")
    unsigned, whole, order, real, real_order = stated.groups()
    letter = "f" if real else ("u" if unsigned else "i")
    sign = ">" if (order or real_order) == "BE" else "<"
    file, _, offset = header.get("file", ". 0").rpartition(" ")
    raw = content if file.strip() == "." else _neighbour(source, file or offset).read_bytes()
    start = int(offset) if offset.isdigit() else 0
    kind = f"{sign}{letter}{int(real or whole) // 8}"
    flat = _voxels(source, memoryview(raw)[start:], [math.prod(sizes)], kind, "raw")
    steps = [word for word in re.split(r"[,\s]+", header.get("layout", "")) if word]
    places = [int(word.lstrip("+-")) for word in steps]
    if sorted(places) != list(range(len(sizes))):
        return flat.reshape(sizes, order="F"), header
    # The layout names each axis' place in the order of storage, and which way it runs.
    axes = sorted(range(len(sizes)), key=lambda axis: places[axis])
    array = flat.reshape([sizes[axis] for axis in axes], order="F")
    array = np.transpose(array, np.argsort(axes))
    for axis, word in enumerate(steps):
        if word.startswith("-"):
            array = np.flip(array, axis)
    return array, header


# -- records -------------------------------------------------------------------------------------


def load_hl7(source: Source, *, nrows: int | None = None) -> Any:
    """Read messages to a DataFrame: message, segment, and its fields from 1 on."""
    import pandas as pd

    with open_text(source) as text:
        segments = [line for line in re.split(r"[\r\n]+", text.read()) if line.strip("\x0b\x1c ")]

    def rows() -> Iterator[dict[str, Any]]:
        message = 0
        separator = "|"
        for segment in segments:
            line = segment.strip("\x0b\x1c")
            if line.startswith("MSH") and len(line) > 3:
                message += 1
                separator = line[3]
            fields = line.split(separator)
            if fields[0] == "MSH":
                fields.insert(1, separator)  # which is the first field by the standard
            row: dict[str, Any] = {"message": message, "segment": fields[0]}
            row.update({str(at): value for at, value in enumerate(fields[1:500], 1)})
            yield row

    table = pd.DataFrame(limited(source, rows(), nrows, 500_000, "segments"))
    numbered = sorted((c for c in table.columns if c.isdigit()), key=int)
    return table[["message", "segment", *numbered]].fillna("")


def load_fhir(source: Source) -> Any:
    """Read a resource; a bundle becomes a DataFrame of what is in it."""
    import json

    import pandas as pd

    found = json.loads(source.read().decode("utf-8-sig"))
    if not isinstance(found, dict) or found.get("resourceType") != "Bundle":
        return found
    entries = [e.get("resource", e) for e in found.get("entry", []) if isinstance(e, dict)]
    return pd.json_normalize([e for e in entries if isinstance(e, dict)], max_level=2)


def load_marc(source: Source, *, nrows: int | None = None) -> Any:
    """Read a catalogue's fields: record, tag, indicators, code of the subfield, value."""
    import pandas as pd

    content = source.read()
    records = [record for record in content.split(b"\x1d") if len(record.strip()) > 24]
    rows: list[tuple[int, str, str, str, str]] = []
    for number, record in enumerate(limited(source, records, nrows, 200_000)):
        encoding = "utf-8" if record[9:10] == b"a" or _is_utf8(record) else "latin-1"
        base = int(record[12:17])
        for at in range(24, base - 1, 12):
            entry = record[at : at + 12]
            if len(entry) < 12 or not entry[3:].isdigit():
                break
            start = base + int(entry[7:12])
            value = record[start : start + int(entry[3:7])].rstrip(b"\x1e")
            text = value.decode(encoding, errors="replace")
            rows += _marc_field(number, entry[:3].decode("latin-1"), text)
    if not rows:
        raise FileLoadError(source.name, "a MARC catalogue that is cut off or damaged")
    return pd.DataFrame(rows, columns=["record", "tag", "indicators", "code", "value"])


def _marc_field(number: int, tag: str, text: str) -> list[tuple[int, str, str, str, str]]:
    indicators, *parts = text.split("\x1f")
    if not parts:
        return [(number, tag, "", "", text)]
    return [(number, tag, indicators, part[:1], part[1:]) for part in parts]


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
