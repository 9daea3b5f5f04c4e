"""What tells pictures, camera raw files, audio and video apart."""

import re
import struct
from collections.abc import Callable

from kernel_startup.source import Source

# -- pictures ------------------------------------------------------------------------------------


def is_jpeg(source: Source) -> bool:
    """A JPEG; not JPEG-LS, whose first marker differs."""
    return source.head[3] != 0xF7 and source.head[3] >= 0xC0


def is_dib(source: Source) -> bool:
    """A bitmap; one without its file's header has one plane and a known depth."""
    head = source.head
    if head.startswith(b"BM"):
        return source.name.lower().endswith(".dib")
    return struct.unpack_from("<H", head, 14)[0] in (1, 4, 8, 16, 24, 32)


def _netpbm(digits: bytes) -> Callable[[Source], bool]:
    pattern = re.compile(rb"P[" + digits + rb"]\s(?>(?:\s++|#[^\n]{0,1000}\n)*)\d{1,9}\s")

    def check(source: Source) -> bool:
        return pattern.match(source.head) is not None

    return check


is_pbm = _netpbm(b"14")
is_pgm = _netpbm(b"25")
is_ppm = _netpbm(b"36")
_PFM = re.compile(rb"P[Ff]\s\s*+\d{1,9}\s++\d{1,9}\s++[-+.\deE]{1,20}\s")


def is_pfm(source: Source) -> bool:
    """Floats with a header of three lines."""
    return _PFM.match(source.head) is not None


def is_tga(source: Source) -> bool:
    """Targa: a footer, or a header in which everything is possible."""
    head = source.head
    tail = head[-26:] if source.is_whole_in_head else b""
    if not tail and source.compression is None:
        tail = source.samples(count=1)[-1][-26:]
    if tail.endswith(b"TRUEVISION-XFILE.\0"):
        return True
    _id, has_map, kind, first, entries, bits, _x, _y, width, height, depth, flags = (
        struct.unpack_from("<BBBHHBHHHHBB", head)
    )
    if has_map not in (0, 1) or kind not in (1, 2, 3, 9, 10, 11) or flags & 0xC0:
        return False
    if (kind in (1, 9)) != bool(has_map) or (bits not in (15, 16, 24, 32) if has_map else bits):
        return False
    if not has_map and (first or entries):
        return False
    depths = {1: (8, 16), 2: (15, 16, 24, 32), 3: (8, 16)}[kind & 3 if kind > 8 else kind]
    return bool(width and height) and depth in depths


def is_pcx(source: Source) -> bool:
    """PC Paintbrush: a header in which everything is possible."""
    maker, version, packed, depth, left, top, right, bottom = struct.unpack_from(
        "<BBBBHHHH", source.head
    )
    known = maker == 10 and version in (0, 2, 3, 4, 5) and packed in (0, 1)
    known = known and depth in (1, 2, 4, 8, 24) and source.head[64] == 0
    return bool(known and left <= right and top <= bottom)


def is_sgi(source: Source) -> bool:
    """SGI: its magic is two bytes, its dimensions are few."""
    magic, packed, size, dimensions = struct.unpack_from(">HBBH", source.head)
    return magic == 474 and packed in (0, 1) and size in (1, 2) and dimensions in (1, 2, 3)


def is_flic(source: Source) -> bool:
    """FLIC: its depth in bits and its flags."""
    width, height, depth, flags = struct.unpack_from("<HHHH", source.head, 8)
    return bool(width and height) and depth in (0, 8, 15, 16, 24) and flags in (0, 1, 2, 3)


def is_im(source: Source) -> bool:
    """IFUNC's header: lines of "name: value", up to a line feed and blanks."""
    return re.match(rb"[\w /*()]{1,30}: [^\r\n\0]{1,100}\r?\n", source.head) is not None and (
        b"Image size (x*y):" in source.head[:512] and b"\n" in source.head[:100]
    )


def is_imt(source: Source) -> bool:
    """IM Tools: lines of remarks, of a width and of a height, and pixels after a form feed."""
    lines = (
        rb"(?>(?:\*[^\n\f]{0,80}\n){0,9})width \d{1,5}\n"
        rb"(?>(?:\*[^\n\f]{0,80}\n){0,9})height \d{1,5}\n"
    )
    return re.match(lines, source.head) is not None


def is_gd(source: Source) -> bool:
    """GD: two bytes, and a size that the pixels have."""
    head = source.head
    if head[:2] not in (b"\xff\xfe", b"\xff\xff") or head[6] not in (0, 1):
        return False
    width, height = struct.unpack_from(">HH", head, 2)
    pixels = 11 + 4 * width * height if head[6] else 1037 + width * height
    return source.compression is None and pixels == source.size_bytes


def is_spider(source: Source) -> bool:
    """SPIDER: a header of floats, which holds its own length."""
    for order in (">", "<"):
        values = (0.0, *struct.unpack_from(f"{order}27f", source.head))
        whole = all(values[i] == int(values[i]) for i in (1, 2, 5, 12, 13, 22, 23))
        if whole and values[5] in (1, 3, -11, -12, -21, -22) and values[12] > 0:
            return bool(values[22] == values[13] * values[23])
    return False


def is_wal(source: Source) -> bool:
    """Quake's texture: a size, and four pictures that lie one after another."""
    width, height, *offsets = struct.unpack_from("<6I", source.head, 32)
    if not (0 < width <= 4096 and 0 < height <= 4096 and offsets[0] == 100):
        return False
    return bool(offsets[1] == 100 + width * height)


def is_mic(source: Source) -> bool:
    """Microsoft Image Composer: layers that are called *.ACI."""
    return b".\0A\0C\0I\0" in source.head or not source.is_whole_in_head


def is_jxl(source: Source) -> bool:
    """JPEG XL: a codestream's magic is two bytes, so its text mustn't be readable."""
    head = source.head
    return head.startswith(b"\0\0\0\x0cJXL") or (len(head) > 8 and head[2] not in b"\r\n")


def _brands(source: Source) -> set[bytes]:
    head = source.head
    end = min(int.from_bytes(head[:4], "big"), 400, len(head))
    return {head[8:12], *(head[i : i + 4] for i in range(16, end - 3, 4))}


def is_avif(source: Source) -> bool:
    """An ISO media file that names AVIF among its brands."""
    return bool(_brands(source) & {b"avif", b"avis", b"avio"})


def is_heif(source: Source) -> bool:
    """An ISO media file of pictures that isn't AVIF."""
    return not is_avif(source)


# -- TIFF and what is made of it -----------------------------------------------------------------


def _tiff_tags(source: Source) -> dict[int, bytes]:
    """The tags of a TIFF's first directory, with their values as they are stored."""
    head = source.head
    order = "<" if head.startswith(b"II") else ">"
    if head[2:4] in (b"\x2b\0", b"\0\x2b"):
        (at,) = struct.unpack_from(f"{order}Q", head, 8)
        counts, entry, inline = f"{order}Q", f"{order}HHQ8s", 8
    else:
        (at,) = struct.unpack_from(f"{order}I", head, 4)
        counts, entry, inline = f"{order}H", f"{order}HHI4s", 4
    with source.open() as file:
        file.seek(at)
        directory = file.read(64 * 1024)
        (count,) = struct.unpack_from(counts, directory)
        tags = {}
        for number in range(min(count, 400)):
            place = struct.calcsize(counts) + number * struct.calcsize(entry)
            tag, kind, length, value = struct.unpack_from(entry, directory, place)
            size = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 12: 8, 13: 4, 16: 8}.get(kind, 1) * length
            if size <= inline:
                tags[tag] = value[:size]
            else:
                file.seek(int.from_bytes(value, "little" if order == "<" else "big"))
                tags[tag] = file.read(min(size, 64 * 1024))
    return tags


def is_ome(source: Source) -> bool:
    """A TIFF whose description is OME's XML."""
    description = _tiff_tags(source).get(270, b"")
    return b"<OME" in description or b"openmicroscopy.org" in description


def is_lsm(source: Source) -> bool:
    """A TIFF with Zeiss' own tag."""
    return 34412 in _tiff_tags(source)


def is_stk(source: Source) -> bool:
    """A TIFF with MetaMorph's own tag."""
    return 33629 in _tiff_tags(source)


def is_svs(source: Source) -> bool:
    """A TIFF whose description begins with the scanner's maker."""
    return _tiff_tags(source).get(270, b"").startswith(b"Aperio")


def is_ndpi(source: Source) -> bool:
    """A TIFF with Hamamatsu's own tag."""
    return 65420 in _tiff_tags(source)


def is_dng(source: Source) -> bool:
    """A TIFF with the DNG version."""
    return 50706 in _tiff_tags(source)


def _raw(makes: tuple[bytes, ...], *extensions: str) -> Callable[[Source], bool]:
    """A check of a camera's TIFF: its maker's name, and a name or tags that ordinary ones lack."""

    def check(source: Source) -> bool:
        named = source.name.lower().endswith(extensions)
        try:
            tags = _tiff_tags(source)
        except (struct.error, OSError, OverflowError, ValueError):
            return named  # cut off before its directory: nothing speaks against the name
        make = tags.get(271, b"").upper()
        if named and not make and 50706 not in tags:
            return True
        if 50706 in tags or not any(name in make for name in makes):
            return False
        packed = tags.get(259, b"")[:2].strip(b"\0")
        return named or (330 in tags and 254 in tags) or packed in (b"\xff\x7f", b"\xff\xff")

    return check


is_nef = _raw((b"NIKON",), ".nef", ".nrw")
is_arw = _raw((b"SONY",), ".arw", ".srf", ".sr2")
is_pef = _raw((b"PENTAX", b"RICOH"), ".pef", ".ptx")
is_srw = _raw((b"SAMSUNG",), ".srw")
is_3fr = _raw((b"HASSELBLAD",), ".3fr", ".fff")
is_kodak = _raw((b"KODAK",), ".dcr", ".kdc", ".k25", ".dcs")
is_erf = _raw((b"EPSON",), ".erf")
is_mef = _raw((b"MAMIYA",), ".mef")
is_mos = _raw((b"LEAF", b"PHASE"), ".mos")


# -- audio and video -----------------------------------------------------------------------------


def _after_id3(source: Source) -> bytes:
    head = source.head
    if not head.startswith(b"ID3"):
        return head
    size = 10 + sum(
        (byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=False)
    )
    if size + 4 <= len(head):
        return head[size:]
    with source.open() as file:
        file.seek(size)
        return file.read(4096)


_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_KBITS = {
    (3, 3): tuple(range(32, 449, 32)),
    (2, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (3, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (2, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def _mpeg_frame(data: bytes, layer: int) -> int:
    """The length of the MPEG audio frame that data begins with; 0 if it doesn't."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return 0
    version, kind, rate, kbits = data[1] >> 3 & 3, data[1] >> 1 & 3, data[2] >> 2 & 3, data[2] >> 4
    if version == 1 or kind != layer or rate == 3 or not 0 < kbits < 15:
        return 0
    bits = _KBITS[3 if version == 3 else 2, kind][kbits - 1] * 1000
    if kind == 3:
        return 4 * (12 * bits // _RATES[version][rate] + (data[2] >> 1 & 1))
    samples = 144 if version == 3 or kind == 2 else 72
    return samples * bits // _RATES[version][rate] + (data[2] >> 1 & 1)


def _is_mpeg(source: Source, layer: int) -> bool:
    data = _after_id3(source)
    tagged = source.head.startswith(b"ID3")
    if tagged:
        data = data.lstrip(b"\0")
    for start in range(min(len(data), 2048 if tagged else 1)):
        size = _mpeg_frame(data[start:], layer)
        if size and (start + size + 4 > len(data) or _mpeg_frame(data[start + size :], layer)):
            return True
    return False


def is_mp3(source: Source) -> bool:
    """MPEG audio of layer 3: two frames one after the other, maybe behind a tag."""
    if source.head.startswith(b"ID3") and source.name.lower().endswith(".mp3"):
        return not is_aac(source)
    return _is_mpeg(source, 1)


def is_flac(source: Source) -> bool:
    """FLAC, maybe behind a tag that isn't its own."""
    return _after_id3(source).startswith(b"fLaC")


def is_mp1(source: Source) -> bool:
    """MPEG audio of layer 1."""
    return _is_mpeg(source, 3)


def is_mp2(source: Source) -> bool:
    """MPEG audio of layer 2."""
    return _is_mpeg(source, 2)


def is_aac(source: Source) -> bool:
    """AAC in ADTS frames, maybe behind a tag; or in ADIF."""
    data = _after_id3(source)
    if data.startswith(b"ADIF"):
        return True
    if len(data) < 7 or data[0] != 0xFF or data[1] & 0xF6 != 0xF0 or data[2] >> 2 & 15 > 12:
        return False
    size = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
    following = data[size : size + 2]
    return size > 7 and (
        len(following) < 2 or (following[0] == 0xFF and following[1] & 0xF6 == 0xF0)
    )


def is_latm(source: Source) -> bool:
    """AAC in LOAS: a sync of eleven bits, and a length that leads to the next."""
    head = source.head
    size = 3 + ((head[1] & 0x1F) << 8 | head[2])
    return head[0] == 0x56 and head[1] & 0xE0 == 0xE0 and head[size : size + 1] == b"\x56"


def _has_video(head: bytes) -> bool:
    return b"hdlr" in head and b"vide" in head


def is_mp4_audio(source: Source) -> bool:
    """An ISO media file with sound and without moving pictures, or one that is called so."""
    if source.head[8:12] in (b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B "):
        return True
    named = source.name.lower().endswith((".m4a", ".m4b", ".m4r", ".m4p", ".aac"))
    if _has_video(source.head) or not is_movie(source):
        return False
    return named or b"soun" in source.head


def is_named_m4b(source: Source) -> bool:
    """An audiobook, by its brand or its name."""
    return source.head[8:12] == b"M4B " or (
        source.name.lower().endswith(".m4b") and is_mp4_audio(source)
    )


def is_movie(source: Source) -> bool:
    """An ISO media file that isn't a picture."""
    pictures = {b"heic", b"heix", b"avif", b"avis", b"mif1", b"msf1", b"crx ", b"jp2 ", b"jxl "}
    return source.head[8:12] not in pictures


def is_quicktime(source: Source) -> bool:
    """QuickTime from before brands: it begins with an atom that it may begin with."""
    if source.head[4:8] == b"ftyp" or source.head[12:16] == b"mvhd":
        return True
    size = int.from_bytes(source.head[:4], "big")
    return size in (0, 1) or 8 <= size <= source.size_bytes


def _doctype(source: Source) -> bytes:
    found = re.search(rb"\x42\x82.([a-z]+)", source.head[:100], re.DOTALL)
    return found.group(1) if found else b""


def _ebml_audio(source: Source, extension: str) -> bool:
    head = source.head
    return source.name.lower().endswith(extension) or (
        re.search(rb"\x86.A_[A-Z]", head, re.DOTALL) is not None
        and re.search(rb"\x86.V_[A-Z]", head, re.DOTALL) is None
    )


def is_mka(source: Source) -> bool:
    """Matroska without a video track."""
    return _doctype(source) == b"matroska" and _ebml_audio(source, ".mka")


def is_weba(source: Source) -> bool:
    """WebM without a video track."""
    return _doctype(source) == b"webm" and _ebml_audio(source, ".weba")


def is_mkv(source: Source) -> bool:
    """Matroska."""
    return _doctype(source) != b"webm"


def is_webm(source: Source) -> bool:
    """WebM."""
    return _doctype(source) == b"webm"


_ASF_VIDEO = bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b")


def is_wmv(source: Source) -> bool:
    """ASF with a video stream."""
    return _ASF_VIDEO in source.head


def is_wma(source: Source) -> bool:
    """ASF without a video stream."""
    return _ASF_VIDEO not in source.head


def is_transport_stream(source: Source) -> bool:
    """MPEG-TS: a sync byte every 188 bytes."""
    head = source.head[: 188 * 20]
    return len(head) >= 188 * 3 and not head[::188].strip(b"G")


def is_m2ts(source: Source) -> bool:
    """Blu-ray's MPEG-TS: a sync byte every 192 bytes, after four of a time stamp."""
    head = source.head[4 : 192 * 20]
    return len(head) >= 192 * 3 - 4 and not head[::192].strip(b"G")


def is_dv(source: Source) -> bool:
    """Raw DV: a header block, then subcode blocks."""
    head = source.head
    return (
        head[:3] == b"\x1f\x07\x00" and head[3] & 0x7F == 0x3F and head[80:81] in (b"\x3f", b"\x3e")
    )


def is_mod(source: Source) -> bool:
    """A tracker's module: its mark lies behind 31 samples."""
    mark = source.head[1080:1084]
    return mark in (b"M.K.", b"M!K!", b"FLT4", b"FLT8", b"OCTA", b"CD81") or (
        re.fullmatch(rb"\d?\dCHN?|\d\dCH", mark) is not None
    )


def is_pict(source: Source) -> bool:
    """QuickDraw's picture: a version's opcode behind the header, with or without 512 bytes."""
    head = source.head
    for start in (512, 0):
        mark = head[start + 10 : start + 14]
        if mark == b"\x00\x11\x02\xff" or mark[:2] == b"\x11\x01":
            top, left, bottom, right = struct.unpack_from(">4h", head, start + 2)
            return bool(top < bottom and left < right)
    return False


def is_wmf(source: Source) -> bool:
    """Windows' metafile, with its placeable header or without."""
    head = source.head
    if head.startswith(b"\xd7\xcd\xc6\x9a"):
        return True
    kind, words, version = struct.unpack_from("<HHH", head)
    return bool(kind in (1, 2) and words == 9 and version in (0x100, 0x300))


def is_swf(source: Source) -> bool:
    """Flash: a version that there was."""
    return source.head[:3] in (b"FWS", b"CWS", b"ZWS") and 0 < source.head[3] < 60


def is_cgm(source: Source) -> bool:
    """A binary metafile: it begins with a command of class 0, "begin metafile", and its name."""
    word = int.from_bytes(source.head[:2], "big")
    return source.name.lower().endswith(".cgm") and word >> 5 == 1


def is_ac3(source: Source) -> bool:
    """Dolby Digital, by the version of its bitstream; nothing of a frame that is too short."""
    head = source.head
    return head[5] >> 3 <= 10 and head[4] >> 6 != 3 and head[4] & 0x3F < 38


def is_eac3(source: Source) -> bool:
    """Dolby Digital Plus, by the version of its bitstream."""
    return 10 < source.head[5] >> 3 <= 16


def is_adx(source: Source) -> bool:
    """CRI ADX: a copyright right before the samples."""
    start = int.from_bytes(source.head[2:4], "big")
    return source.head[start - 2 : start + 4] == b"(c)CRI"


def is_mjpeg(source: Source) -> bool:
    """JPEG pictures one after another, called so: a photo with a thumbnail has several too."""
    return source.name.lower().endswith((".mjpeg", ".mjpg"))


def is_icon(source: Source) -> bool:
    """An icon or cursor: its first picture lies behind the directory, and within the file."""
    (count,) = struct.unpack_from("<H", source.head, 4)
    size, offset = struct.unpack_from("<II", source.head, 14)
    return bool(count and size and 6 + 16 * count <= offset < 1 << 24)


def is_m4v(source: Source) -> bool:
    """MPEG-4 by Apple's brand, or called so."""
    named = source.name.lower().endswith(".m4v")
    return source.head[8:11] == b"M4V" or (named and is_movie(source))
