"""Medical imaging, biology and chemistry: what no bytes at fixed places tell."""

import re
import struct

from kernel_startup.source import Source

# -- sequences and trees -------------------------------------------------------------------------


def is_xdna(source: Source) -> bool:
    """DNA Strider: a header of 112 bytes, mostly empty, with the sequence's length and its kind."""
    head = source.head
    if len(head) < 112 or head[0] != 0 or head[1] not in range(1, 6):
        return False
    (length, negative, comment) = (int.from_bytes(head[at : at + 4], "big") for at in (28, 32, 96))
    if not length or any(head[3:28]) or 112 + length + comment > source.size_bytes:
        return False
    return negative <= length and _is_letters(head[112 : 112 + length])


def is_gck(source: Source) -> bool:
    """Gene Construction Kit: packets, each with its length before it; the second is a sequence."""
    head = source.head
    if head[:4] != b"\0\0\0\x0c" or len(head) < 40:
        return False
    packet, length = struct.unpack_from(">II", head, 24)
    return packet == length + 4 and length > 0 and _is_letters(head[32 : 32 + length])


def _is_letters(sequence: bytes) -> bool:
    return bool(sequence) and re.fullmatch(rb"[A-Za-z*\-]+", sequence) is not None


# Quoted labels and comments, lengths, labels: what trees are written with.
_NEWICK = re.compile(
    r"(?>(?:'[^'\n]{0,500}'|\[[^\[\]]{0,5000}\]|[\w.+\-/|:@#~%*=?!&$\"^{}<>\\]++|[ \t\r\n]++"
    r"|[(),])*);"
)


def is_newick(source: Source) -> bool:
    """A tree: balanced brackets with commas, up to a semicolon."""
    text = source.head.decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")
    text = re.sub(r"\A(?:\[[^\[\]\n]{0,1000}\]\s*)+", "", text)
    text = re.sub(r"\A\d{1,7}[ \t]+\d{1,7}\s+(?=\()", "", text)  # PAML's counts
    if not text.startswith("("):
        return False
    found = _NEWICK.match(text)
    tree = found.group() if found else ""
    if not found and (source.is_whole_in_head or not re.fullmatch(_NEWICK_PART, text)):
        return False
    tree = re.sub(r"'[^'\n]*'|\[[^\[\]]*\]", "x", tree or text)
    brackets = tree.count("("), tree.count(")")
    # Words with blanks between them are prose or a program, not labels.
    words = len(re.findall(r"\w[ \t]+\w", tree))
    balanced = brackets[0] == brackets[1] if found else brackets[0] >= brackets[1]
    return balanced and "," in tree and words * 20 <= len(tree)


_NEWICK_PART = re.compile(r"[\w.+\-/|:@#~%*=?!&$\"^{}<>\\ \t\r\n(),'\[\]]++")


# Bonds, branches, rings, atoms in brackets: in names and words there are none of these.
_SMILES = re.compile(
    r"(?:Cl|Br|[BCNOPSFI*]|[bcnops]|\[[A-Za-z\d@+\-:*#]{1,30}\]|[()=#/\\.$:~\-]|%\d\d|\d)+"
)
_STRUCTURE = re.compile(r"[(\[=#]|[a-zA-Z]\d")


def is_smiles(source: Source) -> bool:
    """Lines that begin with a molecule, most of which have a bond, a branch or a ring."""
    text = source.head[:8192].decode("utf-8", errors="replace").lstrip("\ufeff")
    lines = [line for line in text.splitlines() if line.strip()]
    if not source.is_whole_in_head or len(source.head) > 8192:
        lines = lines[:-1]
    if lines and re.match(r"(?i)(?:canonical_?)?smiles\b", lines[0]):
        lines = lines[1:]
    molecules = [re.split(r"[\s,;]", line.strip(), maxsplit=1)[0] for line in lines[:30]]
    if not molecules or not all(_is_molecule(molecule) for molecule in molecules):
        return False
    structured = [m for m in molecules if _STRUCTURE.search(m) and len(m) >= 4]
    return len(structured) * 2 >= len(molecules)


def _is_molecule(word: str) -> bool:
    if len(word) > 3000 or not _SMILES.fullmatch(word) or not re.match(r"[A-Za-z\[*]", word):
        return False
    return word.count("(") == word.count(")") and re.search(r"[A-Za-z]", word) is not None


def is_bcif(source: Source) -> bool:
    """BinaryCIF: a MessagePack map with these keys."""
    head = source.head[:4096]
    keys = sum(key in head for key in (b"\xa7encoder", b"\xa7version", b"\xaadataBlocks"))
    return head[:1] in (b"\x82", b"\x83", b"\x84") and (
        keys >= 2 or (b"\xaadataBlocks" in head[:64])
    )


# -- medical images ------------------------------------------------------------------------------

_VR = re.compile(
    rb"AE|AS|AT|CS|DA|DS|DT|FD|FL|IS|LO|LT|OB|OD|OF|OL|OV|OW|PN|SH|SL|SQ|SS|ST|SV|TM|UC|UI|UL"
    rb"|UN|UR|US|UT|UV"
)


def is_bare_dicom(source: Source) -> bool:
    """DICOM without its preamble: it begins with an element of group 2 or 8, in any byte order."""
    head = source.head
    for order in ("<", ">"):
        at, elements, last = 0, 0, (0, 0)
        while elements < 4 and at + 8 <= len(head):
            group, element = struct.unpack_from(order + "HH", head, at)
            if ((group, element) <= last and elements) or (not elements and group not in (2, 8)):
                break
            last = (group, element)
            if group not in (2, 8, 16, 18, 24, 32, 40) or (not elements and element > 0x18):
                break
            if _VR.fullmatch(head[at + 4 : at + 6]):
                if head[at + 4 : at + 6] in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"UR"):
                    break
                (length,) = struct.unpack_from(order + "H", head, at + 6)
            else:
                (length,) = struct.unpack_from(order + "I", head, at + 4)
                if length % 2 or length > 1024:
                    break
            at += 8 + length
            elements += 1
        if elements >= 3:
            return True
    return False


def is_analyze(source: Source) -> bool:
    """The header of Analyze 7.5: its own size, extents of 16384, 1 to 7 dimensions."""
    head = source.head
    if len(head) < 348 or head[344:348] in (b"n+1\0", b"ni1\0"):
        return False
    for order in "<>":
        (size,) = struct.unpack_from(order + "i", head)
        (dimensions,) = struct.unpack_from(order + "h", head, 40)
        (kind,) = struct.unpack_from(order + "h", head, 70)
        if size == 348 and 1 <= dimensions <= 7 and kind in (1, 2, 4, 8, 16, 32, 64, 128):
            return True
    return False


def is_mgh(source: Source) -> bool:
    """FreeSurfer's volume: version 1, four dimensions, one of five types."""
    if len(source.head) < 284:
        return False
    version, *sizes, kind, _ = struct.unpack_from(">7i", source.head)
    good = struct.unpack_from(">h", source.head, 28)[0] in (0, 1)
    return version == 1 and all(1 <= size < 1 << 24 for size in sizes) and kind <= 10 and good


def is_curv(source: Source) -> bool:
    """FreeSurfer's values for vertices: as many as the file has room for."""
    head = source.head
    vertices, _, values = struct.unpack_from(">3i", head.ljust(15, b"\0"), 3)
    return head[:3] == b"\xff\xff\xff" and 15 + vertices * values * 4 == source.size_bytes


def is_mrc(source: Source) -> bool:
    """A density map: sizes that the file can hold, a known mode."""
    head = source.head
    if len(head) < 1024:
        return False
    order = "<" if head[212] in (0x44, 0x41, 0) else ">"
    *sizes, mode = struct.unpack_from(order + "4i", head)
    return all(0 < size < 1 << 20 for size in sizes) and mode in (0, 1, 2, 3, 4, 6, 12, 16, 101)


def is_deltavision(source: Source) -> bool:
    """A DeltaVision stack: its mark, and sizes that make sense."""
    head = source.head
    if len(head) < 1024:
        return False
    order = "<" if head[96:98] == b"\xa0\xc0" else ">"
    *sizes, mode = struct.unpack_from(order + "4i", head)
    return all(0 < size < 1 << 20 for size in sizes) and mode in (0, 1, 2, 3, 4, 6)


def is_marc(source: Source) -> bool:
    """A library's catalogue (ISO 2709): a leader of 24 characters, a directory of 12 each."""
    leader = re.match(rb"(\d{5})[a-z ][a-z ]..[a ]\d\d(\d{5})...\d{3}[\d ]", source.head)
    if leader is None:
        return False
    length, base = int(leader.group(1)), int(leader.group(2))
    is_inside = 25 <= base <= length
    return is_inside and re.match(rb"[\w]{3}\d{9}", source.head[24:36]) is not None
