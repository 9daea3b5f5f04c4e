"""Archives and compression."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

from tests.formats.uploads import Made

_CSV = b"a,b\n1,2\n3,4\n"
_NOISE = bytes((i * 7919 + i // 3) % 251 ^ 0x80 for i in range(400))


def _zip(*members: str) -> Callable[[], bytes]:
    def make() -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in ("x.csv", *members):
                archive.writestr(name, _CSV)
        return buffer.getvalue()

    return make


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("x.csv")
        info.size = len(_CSV)
        archive.addfile(info, io.BytesIO(_CSV))
    return buffer.getvalue()


def _ar(*members: tuple[str, bytes]) -> bytes:
    content = b"!<arch>\n"
    for name, data in members:
        content += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
        content += data + b"\n" * (len(data) % 2)
    return content


def _deb() -> bytes:
    tar = gzip.compress(_tar())
    return _ar(("debian-binary", b"2.0\n"), ("control.tar.gz", tar), ("x.csv", _CSV))


def _newc(name: str, data: bytes, mode: int = 0o100644) -> bytes:
    fields = [1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def _cpio() -> bytes:
    return _newc("x.csv", _CSV) + _newc("TRAILER!!!", b"", 0)


def _odc_member(name: str, data: bytes) -> bytes:
    head = b"070707%06o%06o%06o%06o%06o%06o%06o" % (0, 1, 0o100644, 0, 0, 1, 0)
    return head + b"%011o%06o%011o" % (0, len(name) + 1, len(data)) + name.encode() + b"\0" + data


def _odc() -> bytes:
    return _odc_member("x.csv", _CSV) + _odc_member("TRAILER!!!", b"")


def _bin_member(name: str, data: bytes) -> bytes:
    fields = [0o070707, 0, 1, 0o100644, 0, 0, 1, 0, 0, 0, len(name) + 1, 0, len(data)]
    head = struct.pack("<13H", *fields) + name.encode() + b"\0"
    return head + bytes(len(head) % 2) + data + bytes(len(data) % 2)


def _bin() -> bytes:
    return _bin_member("x.csv", _CSV) + _bin_member("TRAILER!!!", b"")


def _rpm() -> bytes:
    lead = struct.pack(">4sBBHH66sHH16x", b"\xed\xab\xee\xdb", 3, 0, 0, 1, b"made-1-1", 1, 5)
    signature = struct.pack(">8sII", b"\x8e\xad\xe8\1\0\0\0\0", 0, 0)
    store = b"made\x001.0\0"
    index = struct.pack(">8I", 1000, 6, 0, 1, 1001, 6, 5, 1)
    header = struct.pack(">8sII", b"\x8e\xad\xe8\1\0\0\0\0", 2, len(store)) + index + store
    return lead + signature + header + gzip.compress(_cpio())


def _cab(method: int) -> Callable[[], bytes]:
    def make() -> bytes:
        packed = _CSV
        if method == 1:
            packer = zlib.compressobj(9, wbits=-15)
            packed = b"CK" + packer.compress(_CSV) + packer.flush()
        block = struct.pack("<IHH", 0, len(packed), len(_CSV)) + packed
        entry = struct.pack("<IIHHHH", len(_CSV), 0, 0, 0x5821, 0, 0x20) + b"x.csv\0"
        data_at = 36 + 8 + len(entry)
        size = data_at + len(block)
        head = struct.pack("<4sIIIIIBBHHHHH", b"MSCF", 0, size, 0, 44, 0, 3, 1, 1, 1, 0, 1, 0)
        return head + struct.pack("<IHH", data_at, 1, method) + entry + block

    return make


def _iso_record(name: bytes, sector: int, size: int, flags: int) -> bytes:
    body = struct.pack("<I", sector) + struct.pack(">I", sector)
    body += struct.pack("<I", size) + struct.pack(">I", size)
    body += bytes([124, 1, 2, 3, 4, 5, 0, flags, 0, 0]) + b"\1\0\0\1" + bytes([len(name)]) + name
    body += bytes((len(body) + 2) % 2)
    return bytes([len(body) + 2, 0]) + body


def _iso() -> bytes:
    root = _iso_record(b"\0", 18, 2048, 2)
    primary = bytearray(2048)
    primary[:7] = b"\1CD001\1"
    primary[40:72] = b"MADE".ljust(32)
    primary[80:88] = struct.pack("<I", 20) + struct.pack(">I", 20)
    primary[128:132] = b"\0\x08\x08\0"
    primary[156 : 156 + len(root)] = root
    listing = root + _iso_record(b"\1", 18, 2048, 2)
    listing += _iso_record(b"X.CSV;1", 19, len(_CSV), 0)
    end = b"\xffCD001\1".ljust(2048, b"\0")
    sectors = bytes(16 * 2048) + primary + end + listing.ljust(2048, b"\0")
    return sectors + _CSV.ljust(2048, b"\0")


def _xar() -> bytes:
    packed = zlib.compress(_CSV)
    toc = (
        '<?xml version="1.0"?><xar><toc><file id="1"><data>'
        f"<length>{len(packed)}</length><offset>0</offset><size>{len(_CSV)}</size>"
        '<encoding style="application/x-gzip"/></data><name>x.csv</name>'
        "<type>file</type></file></toc></xar>"
    ).encode()
    small = zlib.compress(toc)
    return struct.pack(">4sHHQQI", b"xar!", 28, 1, len(small), len(toc), 0) + small + packed


def _lzh(level: int) -> Callable[[], bytes]:
    def make() -> bytes:
        head = b"-lh0-" + struct.pack("<III", len(_CSV), len(_CSV), 0x58210000)
        if level == 2:
            extended = struct.pack("<HB", 8, 1) + b"x.csv" + struct.pack("<H", 0)
            rest = head + b"\x20\2\0\0U" + extended
            return struct.pack("<H", len(rest) + 2) + rest + _CSV + b"\0"
        rest = head + bytes([0x20, level, 5]) + b"x.csv" + b"\0\0"
        if level == 1:
            rest += b"U\0\0"
        return bytes([len(rest), sum(rest) & 255]) + rest + _CSV + b"\0"

    return make


def _7z() -> bytes:
    # 7-Zip's own description: a signature header, the data as it is, and an unpacked header.
    size = bytes([len(_CSV)])
    name = "x.csv\0".encode("utf-16-le")
    streams = b"\4\6\0\1\x09" + size + b"\0\7\x0b\1\0\1\1\0\x0c" + size
    streams += b"\x0a\1" + struct.pack("<I", zlib.crc32(_CSV)) + b"\0\x08\0\0"
    header = b"\1" + streams + b"\5\1\x11" + bytes([len(name) + 1, 0]) + name + b"\0\0"
    start = struct.pack("<QQI", len(_CSV), len(header), zlib.crc32(header))
    lead = b"7z\xbc\xaf\x27\x1c\0\4" + struct.pack("<I", zlib.crc32(start))
    return lead + start + _CSV + header


def _zstd(content: bytes) -> bytes:
    return (
        b"\x28\xb5\x2f\xfd\x20"
        + bytes([len(content)])
        + ((len(content) << 3 | 1).to_bytes(3, "little") + content)
    )


def _lz4(content: bytes) -> bytes:
    # Independent blocks, one that is stored; the checksum is xxh32 of the descriptor, known.
    block = struct.pack("<I", len(content) | 1 << 31) + content
    return b"\x04\x22\x4d\x18\x60\x40\x82" + block + bytes(4)


def _lzip(content: bytes) -> bytes:
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16, "lc": 3, "lp": 0, "pb": 2}]
    packed = lzma.compress(content, lzma.FORMAT_ALONE, filters=filters)[13:]
    end = struct.pack("<IQQ", zlib.crc32(content), len(content), len(packed) + 26)
    return b"LZIP\1\x10" + packed + end


def _compress(content: bytes) -> bytes:
    """Codes of nine bits, and the table emptied before they'd become longer."""
    bits = count = 0
    out = bytearray(b"\x1f\x9d\x90")
    codes = list(content)
    assert len(codes) < 250
    for code in codes:
        bits |= code << count
        count += 9
    return bytes(out) + bits.to_bytes((count + 7) // 8, "little")


def _has_csv(name: str = "x.csv") -> Callable[[Any], None]:
    def check(loaded: Any) -> None:
        assert name in loaded, list(loaded)
        assert loaded.read(name) == _CSV
        assert loaded.load(name).shape == (2, 2)

    return check


def _is_noise(loaded: Any) -> None:
    assert loaded == _NOISE


def _is_frame(loaded: Any) -> None:
    assert loaded.shape == (2, 2)


def _alone(content: bytes) -> bytes:
    return lzma.compress(content, lzma.FORMAT_ALONE)


_PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": _alone,
    "lz4": _lz4,
    "lz": _lzip,
}
_WRAPPERS = {"gz": "gzip", "bz2": "bzip2", "lz": "lzip"}


def _packed(pack: Callable[[bytes], bytes], content: bytes) -> Callable[[], bytes]:
    return lambda: pack(content)


def _packed_tar(pack: Callable[[bytes], bytes]) -> Callable[[], bytes]:
    return lambda: pack(_tar())


_LISTED: tuple[tuple[str, str, Callable[[], bytes]], ...] = (
    ("zip", "a.zip", _zip()),
    ("jar", "a.jar", _zip("META-INF/MANIFEST.MF")),
    ("war", "a.war", _zip("WEB-INF/web.xml")),
    ("ear", "a.ear", _zip("META-INF/application.xml")),
    ("whl", "a-1-py3-none-any.whl", _zip("a-1.dist-info/WHEEL")),
    ("nupkg", "a.nupkg", _zip("a.nuspec", "_rels/.rels")),
    ("vsix", "a.vsix", _zip("extension.vsixmanifest")),
    ("apk", "a.apk", _zip("AndroidManifest.xml", "classes.dex")),
    ("ipa", "a.ipa", _zip("Payload/a.app/Info.plist")),
    ("tar", "a.tar", _tar),
    ("ar", "a.a", lambda: _ar(("x.csv/", _CSV))),
    ("deb", "a.deb", _deb),
    ("cpio", "a.cpio", _cpio),
    ("cpio", "odc.cpio", _odc),
    ("cpio", "bin.cpio", _bin),
    ("rpm", "a.rpm", _rpm),
    ("cab", "a.cab", _cab(0)),
    ("cab", "mszip.cab", _cab(1)),
    ("xar", "a.xar", _xar),
    ("lzh", "0.lzh", _lzh(0)),
    ("lzh", "1.lzh", _lzh(1)),
    ("lzh", "2.lzh", _lzh(2)),
)

MADE = (
    *(Made(kind, name, make, _has_csv()) for kind, name, make in _LISTED),
    Made("iso", "a.iso", _iso, _has_csv("X.CSV")),
    Made("7z", "a.7z", _7z, _has_csv(), requires=("py7zr>=1",)),
    *(Made("tar", f"a.tar.{e}", _packed_tar(p), _has_csv()) for e, p in _PACKERS.items()),
    *(
        Made(_WRAPPERS.get(e, e), f"a.bin.{e}", _packed(p, _NOISE), _is_noise, nameless=False)
        for e, p in _PACKERS.items()
    ),
    *(
        Made("csv", f"a.csv.{e}", _packed(p, _CSV), _is_frame, nameless=False)
        for e, p in {**_PACKERS, "zst": _zstd, "Z": _compress}.items()
    ),
)
