"""Checks of scientific formats whose marks are short, or at no fixed place."""

import pickletools
import re
import struct
from collections.abc import Sequence

from kernel_startup.source import HEAD_BYTES, Source

_PRINTABLE = re.compile(rb"[\t\r\n\x20-\x7e\x80-\xff]*")


def _is_printable(text: bytes) -> bool:
    return _PRINTABLE.fullmatch(text.rstrip(b"\0")) is not None


def _size(source: Source) -> int:
    """How long the content is; at least so long, if it is compressed."""
    whole = source.compression is None
    return source.size_bytes if whole else len(source.head)


def _named(source: Source, *extensions: str) -> bool:
    name = source.name.lower().removesuffix(".gz")
    return name.endswith(tuple(f".{extension}" for extension in extensions))


# -- statistics ----------------------------------------------------------------------------------


def is_spss_portable(source: Source) -> bool:
    """Five lines of 40 characters, a table of 256, then SPSSPORT; in lines of 80."""
    compact = source.head[:700].replace(b"\r", b"").replace(b"\n", b"")
    return compact[456:464] == b"SPSSPORT" or b"SPSS PORT FILE" in compact[:240]


def is_old_stata(source: Source) -> bool:
    """Versions 102 to 115: four bytes, the sizes, a label, a time."""
    head = source.head
    if len(head) < 60 or not 102 <= head[0] <= 115 or head[1] not in (1, 2) or head[2] != 1:
        return False
    order = ">" if head[1] == 1 else "<"
    columns, rows = struct.unpack_from(f"{order}HI", head, 4)
    size = 81 if head[0] >= 108 else 32 if head[0] >= 103 else 30
    label = head[10 : 10 + size].partition(b"\0")[0]
    return 0 < columns < 33_000 and rows <= max(_size(source), 1 << 22) and _is_printable(label)


def is_matlab5(source: Source) -> bool:
    """A text of 116 bytes comes before the mark."""
    return _is_printable(source.head[:116]) and source.head[:4].count(0) == 0


def is_matlab4(source: Source) -> bool:
    """Five integers that say type, size and name of the first matrix, which must be there."""
    head = source.head
    if len(head) < 22:
        return False
    for order, digit in (("<", 0), (">", 1)):
        kind, rows, columns, is_complex, length = struct.unpack_from(f"{order}5i", head)
        if not (0 <= kind < 5000 and kind // 1000 == digit and 0 < length <= 64):
            continue
        if (kind // 100) % 10 or (kind // 10) % 10 > 5 or kind % 10 > 2 or is_complex not in (0, 1):
            continue
        if not (rows >= 0 and columns >= 0 and rows * columns <= _size(source)):
            continue
        name = head[20 : 20 + length]
        return re.fullmatch(rb"[A-Za-z]\w{0,62}\0", name) is not None
    return False


# -- databases -----------------------------------------------------------------------------------

_DBF_VERSIONS = frozenset(b"\x02\x03\x04\x05\x30\x31\x32\x43\x63\x83\x8b\x8c\xcb\xf5\xfb")


def is_dbf(source: Source) -> bool:
    """Version, a date, sizes that fit each other, and the fields' names."""
    head = source.head
    if len(head) < 65 or head[0] not in _DBF_VERSIONS:
        return False
    _, month, day, _, header, record = struct.unpack_from("<3BIHH", head, 1)
    if not (month <= 12 and day <= 31 and header >= 65 and 1 < record <= 65_500):
        return False
    if header > _size(source) or head[12:14].count(0) != 2:
        return False
    name = head[32:43].partition(b"\0")[0]
    kind = head[43:44]
    return (
        re.fullmatch(rb"[A-Za-z0-9_\x80-\xff ]{1,11}", name) is not None
        and re.fullmatch(rb"[CNLDMFBGPYTIVOX@+0W]", kind) is not None
    )


def is_berkeley(source: Source) -> bool:
    """A magic number after the page's header, in either order of bytes."""
    number = source.head[12:16]
    return (
        any(
            number in (value.to_bytes(4, "little"), value.to_bytes(4, "big"))
            for value in (0x00053162, 0x00061561, 0x00042253, 0x00040988)
        )
        and len(source.head) >= 72
    )


def is_leveldb(source: Source) -> bool:
    """A table ends in its magic number."""
    if source.compression is not None:
        return False
    with source.open() as file:
        file.seek(max(source.size_bytes - 8, 0))
        return file.read() in (
            b"\x57\xfb\x80\x8b\x24\x75\x47\xdb",  # LevelDB and RocksDB's old tables
            b"\xf7\xcf\xf4\x85\xb7\x41\xe2\x88",  # RocksDB's block-based tables
        )


def is_innodb(source: Source) -> bool:
    """The first page: number 0, no neighbours, the page type of a space's header."""
    head = source.head
    return (
        len(head) >= 16_384
        and head[4:8] == b"\0\0\0\0"
        and head[24:26] == b"\0\x08"
        and head[34:38] == head[38:42]
    )


# -- arrays and models ---------------------------------------------------------------------------

_MAX_OPCODES = 2000
#: Fewer than this many opcodes tell nothing, unless the file ends with them.
_CERTAIN_OPCODES = 40


def is_pickle(source: Source) -> bool:
    """The opcodes of a pickle, until it stops at the file's end or there are too many for chance.

    Nothing is loaded.
    """
    head = source.head
    if not head.startswith((b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5")):
        return _is_old_pickle(source)
    if head[1] >= 4 and head[2:3] not in (b"\x95", b"K", b"N", b"\x88", b"\x89", b"J", b"G"):
        return False
    count = _count_opcodes(head)
    if b"joblib.numpy_pickle" in head[:4096]:
        return True
    return count < 0 or count >= _CERTAIN_OPCODES or (not source.is_whole_in_head and count >= 4)


def _is_old_pickle(source: Source) -> bool:
    # Protocols 0 and 1 have no mark. All of it must be one, and more than a letter and a point.
    head = source.head
    if not source.is_whole_in_head:
        return _named(source, "pkl", "pickle", "p") and _count_opcodes(head) >= _CERTAIN_OPCODES
    begins = head[:1] in b"(]}cI" and len(head) >= 6 and head[-1:] == b"."
    return (
        begins
        and (head[:1] in b"(c" or _named(source, "pkl", "pickle"))
        and (_count_opcodes(head) < 0)
    )


def _count_opcodes(head: bytes) -> int:
    """How many opcodes are valid; negative if the last one is the end of the file too."""
    count = 0
    try:
        for opcode, _, position in pickletools.genops(head):
            count += 1
            if opcode.name == "STOP":
                return -count if position is not None and position + 1 >= len(head) else count
            if count >= _MAX_OPCODES:
                break
    except Exception:  # cut off by the head, or not a pickle
        pass
    return count


def is_joblib(source: Source) -> bool:
    """A pickle with joblib's arrays in it; or compressed by it, if the name says so."""
    head = source.head
    if head.startswith(b"\x80"):
        return b"joblib.numpy_pickle" in head[:8192] and is_pickle(source)
    compressed = head.startswith((b"x\x01", b"x\x5e", b"x\x9c", b"x\xda", b"\x04\x22\x4d\x18"))
    return compressed and _named(source, "joblib", "jl", "pkl.z", "joblib.z")


def is_torch_legacy(source: Source) -> bool:
    """A pickle of PyTorch's magic number comes first."""
    return source.head[2:16] == b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e\x80"


def is_safetensors(source: Source) -> bool:
    """The length of a JSON header, and the header."""
    if len(source.head) < 10:
        return False
    (length,) = struct.unpack_from("<Q", source.head)
    start = source.head[8:200]
    return (
        2 <= length <= 100_000_000 and re.match(rb'\{\s*(?:"[^"]*"\s*:\s*\{|\})', start) is not None
    )


def is_onnx(source: Source) -> bool:
    """A message of ModelProto's fields: its version, and the graph or its makers."""
    seen = _protobuf_fields(source.head, {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2})
    return seen[:1] == [1] and source.head[1] in range(1, 20) and (7 in seen or {2, 8} <= {*seen})


def _protobuf_fields(head: bytes, allowed: dict[int, int]) -> list[int]:
    """The fields of the message as far as the head goes; none if one isn't allowed."""
    fields: list[int] = []
    at = 0
    while at < len(head) and len(fields) < 50:
        key, at = _varint(head, at)
        field, wire = key >> 3, key & 7
        if allowed.get(field) != wire:
            return []
        fields.append(field)
        value, at = _varint(head, at)
        if wire == 2:
            at += value
    return fields


def _varint(head: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = head[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("not a varint")


def is_idx(source: Source) -> bool:
    """Two zeros, a type, the number of dimensions, and sizes that make up the file."""
    head = source.head
    sizes = {0x08: 1, 0x09: 1, 0x0B: 2, 0x0C: 4, 0x0D: 4, 0x0E: 8}
    if head[:2] != b"\0\0" or head[2] not in sizes or not 1 <= head[3] <= 8:
        return False
    shape = struct.unpack_from(f">{head[3]}I", head, 4)
    count = sizes[head[2]]
    for length in shape:
        count *= length
    expected = 4 + 4 * head[3] + count
    if source.compression is None:
        return source.size_bytes == expected
    return expected == len(head) if source.is_whole_in_head else expected > HEAD_BYTES


def is_tfrecord(source: Source) -> bool:
    """A length with its checksum, CRC-32C, masked; then again behind the first record."""
    head = source.head
    if len(head) < 16 or int.from_bytes(head[:8], "little") > 1 << 32:
        return False
    crc = crc32c(head[:8])
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    return masked == int.from_bytes(head[8:12], "little")


def crc32c(content: bytes) -> int:
    """Castagnoli's checksum, of a few bytes."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


# -- grids ---------------------------------------------------------------------------------------


#: How far into a file of PyTables pandas' mark is looked for.
_MAX_SEARCHED = 8 << 20


def _hdf5_kind(source: Source, extensions: Sequence[str], *marks: bytes) -> bool:
    """By what an HDF5 file's first objects are called, or else by its name."""
    return _named(source, *extensions) or any(mark in source.head for mark in marks)


def is_netcdf4(source: Source) -> bool:
    return _hdf5_kind(source, ("nc", "nc4", "cdf"), b"_NCProperties", b"_Netcdf4Dimid")


def is_hdf_eos(source: Source) -> bool:
    return _hdf5_kind(source, ("he5",), b"HDFEOS INFORMATION", b"StructMetadata")


def is_h5ad(source: Source) -> bool:
    return _hdf5_kind(source, ("h5ad",), b"anndata")


def is_loom(source: Source) -> bool:
    return _hdf5_kind(source, ("loom",), b"LOOM_SPEC_VERSION")


def is_keras_weights(source: Source) -> bool:
    return _hdf5_kind(source, ("keras.h5",), b"keras_version", b"model_config")


def is_pandas_store(source: Source) -> bool:
    if b"PYTABLES" not in source.head:
        return False
    if b"pandas_type" in source.head:
        return True
    # What pandas says of a table lies behind the table's first rows.
    with source.open() as file:
        return b"pandas_type" in file.read(_MAX_SEARCHED)


def is_nwb(source: Source) -> bool:
    return _hdf5_kind(source, ("nwb",), b"nwb_version")


def is_nexus(source: Source) -> bool:
    return _hdf5_kind(source, ("nxs", "nx5"), b"NXroot", b"NXentry")


def is_jld2(source: Source) -> bool:
    return source.head.startswith(b"HDF5-based Julia Data Format") or source.head.startswith(
        b"Julia data file (HDF5)"
    )


def is_grib(source: Source) -> bool:
    """The mark, at the start or after a bulletin's heading, with an edition 1 or 2."""
    start = source.head.find(b"GRIB", 0, 2048)
    return (
        start >= 0
        and source.head[start + 7 : start + 8] in (b"\1", b"\2")
        and (start == 0 or _named(source, "grib", "grb", "grib2", "grb2", "grib1", "grb1"))
    )


def is_bufr(source: Source) -> bool:
    start = source.head.find(b"BUFR", 0, 2048)
    return (
        start >= 0
        and source.head[start + 7 : start + 8] in (b"\2", b"\3", b"\4")
        and (start < 100 or _named(source, "bufr", "bfr", "buf"))
    )


# -- signals -------------------------------------------------------------------------------------


def is_edf(source: Source) -> bool:
    """European Data Format: a header in text whose length follows from the number of signals."""
    head = source.head
    try:
        length, signals = int(head[184:192]), int(head[252:256])
    except ValueError:
        return False
    return (
        length == 256 * (signals + 1)
        and signals >= 0
        and re.match(rb"[\d. ]{8}", head[168:176]) is not None
    )


def is_segy(source: Source) -> bool:
    """3200 bytes of text, in EBCDIC or ASCII, then the binary header with a known format."""
    head = source.head
    if len(head) < 3840:
        return False
    text = head[:3200]
    looks_like_text = text[:1] in (b"\xc3", b"C") or text[:80].strip(b"\x40 \0") == b""
    for order in (">", "<"):
        interval, samples = struct.unpack_from(f"{order}H2xH", head, 3216)
        (code,) = struct.unpack_from(f"{order}H", head, 3224)
        fits = code in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 16) and samples > 0
        if fits and interval > 0 and (looks_like_text or _named(source, "sgy", "segy", "seg")):
            return True
    return False


def is_su(source: Source) -> bool:
    """Traces of equal length, each with SEG-Y's header of 240 bytes, and nothing before them."""
    head, size = source.head, _size(source)
    for order in ("<", ">"):
        if len(head) < 244:
            return False
        (samples,) = struct.unpack_from(f"{order}H", head, 114)
        (interval,) = struct.unpack_from(f"{order}H", head, 116)
        length = 240 + 4 * samples
        if not samples or not interval or size % length:
            continue
        places = range(0, min(len(head) - 240, length * 20), length)
        same = all(struct.unpack_from(f"{order}H", head, at + 114)[0] == samples for at in places)
        if same and (len(places) >= 2 or _named(source, "su")):
            return True
    return False


def is_mseed(source: Source) -> bool:
    """MiniSEED 2 or a SEED volume: a number of six digits and the kind of record."""
    head = source.head
    if head.startswith(b"MS\x03"):
        return len(head) >= 40
    if re.match(rb"\d{6}[VAST] ", head[:8]) and _is_printable(head[:60]):
        return re.match(rb"\d{6}V[ *]\d{7}", head) is not None
    if re.match(rb"[\d \0]{6}[DRQM][ \0][\w ]{12}", head[:20]) is None or len(head) < 48:
        return False
    for order in (">", "<"):
        year, day, hour, minute = struct.unpack_from(f"{order}HHBB", head, 20)
        if 1900 <= year <= 2100 and 1 <= day <= 366 and hour < 24 and minute < 60:
            return True
    return False


def is_sac(source: Source) -> bool:
    """A header of version 6 or 7 whose number of points makes up the file."""
    head, size = source.head, _size(source)
    if len(head) < 632:
        return False
    for order in ("<", ">"):
        (version,) = struct.unpack_from(f"{order}i", head, 304)
        (points,) = struct.unpack_from(f"{order}i", head, 316)
        (delta,) = struct.unpack_from(f"{order}f", head)
        if version in (6, 7) and points >= 0 and delta > 0:
            sizes = {632 + points * 4, 632 + points * 8, 632 + points * 4 + 176}
            return size in sizes or source.compression is not None
    return False


def is_gcf(source: Source) -> bool:
    """Guralp: blocks of a kilobyte with a rate and a way of compression."""
    head = source.head
    if len(head) < 1024 or not _named(source, "gcf"):
        return False
    return head[14] in (0, 1, 2, 4) and head[15] <= 250


def is_c3d(source: Source) -> bool:
    """The mark, and a processor's number where the header says that parameters begin."""
    head = source.head
    if len(head) < 512 or head[1] != 0x50 or not head[0]:
        return False
    return head[(head[0] - 1) * 512 + 3] in (83, 84, 85, 86)


def is_spc(source: Source) -> bool:
    """Galactic's spectra: a version, and a header that is plausible."""
    head = source.head
    if len(head) < 512 or head[1] not in (0x4B, 0x4C, 0x4D):
        return False
    order = ">" if head[1] == 0x4C else "<"
    if head[1] == 0x4D:
        return _named(source, "spc") and 0 < struct.unpack_from("<f", head, 4)[0] < 1e9
    points, first, last, spectra = struct.unpack_from(f"{order}iddi", head, 4)
    return (
        0 <= points <= 1 << 28
        and abs(first) < 1e12
        and abs(last) < 1e12
        and 0 <= spectra <= 1 << 24
        and (_named(source, "spc") or first != last)
    )


def is_eeglab(source: Source) -> bool:
    """EEGLAB's sets are MATLAB's files with one variable, which may be compressed."""
    return _named(source, "set") and is_matlab5(source)


def is_dlis(source: Source) -> bool:
    return re.match(rb"[ \d]{4}V1\.\d\dRECORD", source.head) is not None


def is_lecroy(source: Source) -> bool:
    return 0 <= source.head.find(b"WAVEDESC", 0, 60) <= 50


def is_dm(source: Source) -> bool:
    """Gatan's DigitalMicrograph, versions 3 and 4: the tree's length and the order of bytes."""
    head = source.head
    if head[:4] == b"\0\0\0\3":
        return head[8:12] in (b"\0\0\0\0", b"\0\0\0\1") and len(head) > 30
    return head[:4] == b"\0\0\0\4" and head[12:16] in (b"\0\0\0\0", b"\0\0\0\1")


def is_ibw(source: Source) -> bool:
    """Igor's wave, version 2 or 5."""
    head = source.head
    return _named(source, "ibw", "bwav") and head[:2] in (b"\5\0", b"\0\5", b"\2\0", b"\0\2")
