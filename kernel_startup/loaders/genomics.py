"""What lies along genomes: alignments of reads, variants, features, coverage."""

import itertools
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders.described import source_info
from kernel_startup.loaders.lines import (
    MAX_ROWS,
    as_numbers,
    limited,
    open_binary,
    open_text,
    read_table,
    table_of,
)
from kernel_startup.source import Source

#: Aligned reads that are read unless nrows= says otherwise: each costs half a kilobyte.
MAX_ALIGNED = 1_000_000
_MAX_BLOCK = 64 * 1024 * 1024

_SAM = (
    *("QNAME", "FLAG", "RNAME", "POS", "MAPQ", "CIGAR", "RNEXT", "PNEXT", "TLEN", "SEQ", "QUAL"),
    "TAGS",
)
_SAM_NUMBERS = ("FLAG", "POS", "MAPQ", "PNEXT", "TLEN")


# -- aligned reads -------------------------------------------------------------------------------


def load_sam(source: Source, *, nrows: int | None = None) -> Any:
    """Read alignments to a DataFrame with SAM's columns; the header is in attrs["header"]."""
    header = []

    def rows() -> Iterator[list[str]]:
        with open_text(source) as text:
            for line in text:
                fields = line.rstrip("\r\n").split("\t")
                if line.startswith("@") and re.match(r"@[A-Z]{2}\t", line):
                    header.append(line.rstrip("\r\n"))
                elif len(fields) >= 11:
                    yield [*fields[:11], "\t".join(fields[11:])]
                elif line.strip():
                    raise FileLoadError(
                        source.name,
                        "a SAM file that is cut off or damaged",
                        reason=f"a line has {len(fields)} fields instead of 11: {line[:60]!r}",
                    )

    return _sam_table(limited(source, rows(), nrows, MAX_ALIGNED), header)


def _sam_table(rows: list[Any], header: list[str]) -> Any:
    import pandas as pd

    table = pd.DataFrame(rows, columns=list(_SAM))
    for name in _SAM_NUMBERS:
        table[name] = as_numbers(table[name], ()) if len(table) else table[name].astype("int64")
    table.attrs["header"] = "\n".join(header)
    return table


def load_bam(source: Source, *, nrows: int | None = None) -> Any:
    """Read alignments to a DataFrame with SAM's columns; the header is in attrs["header"]."""
    with open_binary(source) as file:
        header, names = _bam_header(source, file)
        rows = limited(source, _bam_rows(source, file, names), nrows, MAX_ALIGNED)
    return _sam_table(rows, header.splitlines())


def _bam_header(source: Source, file: BinaryIO) -> tuple[str, list[str]]:
    _, size = struct.unpack("<4si", _exactly(source, file, 8))
    header = _exactly(source, file, size).rstrip(b"\0").decode(errors="replace")
    (count,) = struct.unpack("<i", _exactly(source, file, 4))
    names = []
    for _ in range(count):
        (length,) = struct.unpack("<i", _exactly(source, file, 4))
        names.append(_exactly(source, file, length).rstrip(b"\0").decode(errors="replace"))
        _exactly(source, file, 4)
    return header, names


def _exactly(source: Source, file: BinaryIO, size: int) -> bytes:
    content = file.read(size) if 0 <= size <= _MAX_BLOCK else b""
    if len(content) != size:
        raise FileLoadError(
            source.name, "a BAM file that is cut off or damaged", reason=f"no {size:,} bytes there"
        )
    return content


_RECORD = struct.Struct("<iiBBHHHIiii")
_LETTERS = [a + b for a in "=ACMGRSVTWYHKDBN" for b in "=ACMGRSVTWYHKDBN"]
_TO_PHRED = bytes(min(value + 33, 126) for value in range(256))


def _bam_rows(source: Source, file: BinaryIO, names: list[str]) -> Iterator[tuple[Any, ...]]:
    """Source: the SAM/BAM specification, 4.2."""
    while start := file.read(4):
        if len(start) < 4:
            raise FileLoadError(source.name, "a BAM file that is cut off")
        record = _exactly(source, file, int.from_bytes(start, "little", signed=True))
        if len(record) < 32:
            raise FileLoadError(source.name, "a BAM file that is damaged")
        (reference, position, name_size, quality, _, operations, flag, length, *mate) = (
            _RECORD.unpack_from(record)
        )
        at = 32 + name_size
        cigar = record[at : at + 4 * operations]
        at += 4 * operations
        letters = record[at : at + (length + 1) // 2]
        at += (length + 1) // 2
        qualities = record[at : at + length]
        if len(qualities) != length:
            raise FileLoadError(source.name, "a BAM file that is damaged")
        named = _reference(names, reference)
        other = _reference(names, mate[0])
        yield (
            record[32 : 31 + name_size].decode("latin-1"),
            flag,
            named,
            position + 1,
            quality,
            _cigar(cigar),
            "=" if other == named != "*" else other,
            mate[1] + 1,
            mate[2],
            "".join([_LETTERS[byte] for byte in letters])[:length] or "*",
            "*" if qualities[:1] in (b"\xff", b"") else qualities.translate(_TO_PHRED).decode(),
            "\t".join(_bam_tags(record, at + length)),
        )


def _reference(names: list[str], number: int) -> str:
    return names[number] if 0 <= number < len(names) else "*"


def _cigar(packed: bytes) -> str:
    steps = struct.unpack(f"<{len(packed) // 4}I", packed[: len(packed) // 4 * 4])
    return "".join(f"{step >> 4}{'MIDNSHP=X???????'[step & 15]}" for step in steps) or "*"


_TAG = {kind: struct.Struct("<" + code) for kind, code in zip("cCsSiIfd", "bBhHiIfd", strict=True)}


def _bam_tags(record: bytes, at: int) -> Iterator[str]:
    """Give the optional fields as SAM writes them, up to one that is damaged."""
    while at + 3 < len(record):
        name = record[at : at + 2].decode("latin-1")
        kind = chr(record[at + 2])
        at += 3
        if kind == "A":
            yield f"{name}:A:{chr(record[at])}"
            at += 1
        elif kind in "ZH":
            end = record.find(b"\0", at)
            end = len(record) if end < 0 else end
            yield f"{name}:{kind}:{record[at:end].decode('latin-1')}"
            at = end + 1
        elif kind == "B" and at + 5 <= len(record):
            kind = chr(record[at])
            (count,) = struct.unpack_from("<I", record, at + 1)
            at += 5
            if kind not in _TAG or count * _TAG[kind].size > len(record) - at:
                return
            values = struct.unpack_from(f"<{count}{_TAG[kind].format[1:]}", record, at)
            at += count * _TAG[kind].size
            yield f"{name}:B:{kind},{','.join(f'{value:g}' for value in values)}"
        elif kind in _TAG and at + _TAG[kind].size <= len(record):
            (value,) = _TAG[kind].unpack_from(record, at)
            at += _TAG[kind].size
            yield f"{name}:f:{value:g}" if kind in "fd" else f"{name}:i:{value}"
        else:
            return


def load_cram(source: Source, *, reference: str | None = None, nrows: int | None = None) -> Any:
    """Read alignments to a DataFrame with SAM's columns.

    Args:
        reference: Path of the FASTA file the reads were aligned to, where the file needs it.
        nrows: How many alignments.
    """
    import pysam

    pysam.set_verbosity(0)  # htslib writes to the terminal what its errors say too
    path = str(source.as_path(".cram"))
    with pysam.AlignmentFile(
        path, "rc", reference_filename=reference, check_sq=False, require_index=False
    ) as file:
        header = str(file.header).splitlines()
        try:
            rows = limited(source, map(_pysam_row, file.fetch(until_eof=True)), nrows, MAX_ALIGNED)
        except (OSError, ValueError) as error:
            raise FileLoadError(
                source.name,
                "CRAM alignments",
                "reading them with pysam",
                str(error),
                "" if reference else 'It may need its genome: reference="path/of/genome.fa"',
            ) from error
    return _sam_table(rows, header)


def _pysam_row(read: Any) -> list[str]:
    fields = read.to_string().split("\t")
    return [*fields[:11], "\t".join(fields[11:])]


# -- variants ------------------------------------------------------------------------------------

_VCF = ("CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")


def load_vcf(source: Source, *, nrows: int | None = None) -> Any:
    """Read variants to a DataFrame with VCF's columns; the header is in attrs["header"]."""
    header: list[str] = []
    names = _vcf_names(source)
    table = read_table(
        source,
        names,
        numbers=("POS", "QUAL"),
        nrows=nrows,
        on_comment=header.append,
        extra="sample",
    )
    table.attrs["header"] = "\n".join(line for line in header if line.startswith("##"))
    return table


def _vcf_names(source: Source) -> list[str]:
    with open_text(source) as text:
        for line in text:
            if line.startswith("#CHROM"):
                return _distinct(line[1:].rstrip("\r\n").split("\t"))
            if not line.startswith("#") and line.strip():
                break
    return list(_VCF)


def _distinct(names: list[str]) -> list[str]:
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}.{seen[name] - 1}")
    return found


def load_bcf(source: Source, *, nrows: int | None = None) -> Any:
    """Read variants to a DataFrame with VCF's columns; the header is in attrs["header"]."""
    import pysam

    pysam.set_verbosity(0)  # htslib writes to the terminal what its errors say too
    with pysam.VariantFile(str(source.as_path(".bcf"))) as file:
        header = str(file.header).splitlines()
        lines = limited(source, map(str, file), nrows, MAX_ROWS, "variants")
    names = header[-1].lstrip("#").split("\t") if header else list(_VCF)
    table = table_of(source, lines, _distinct(names))
    for name in ("POS", "QUAL"):
        table[name] = as_numbers(table[name])
    table.attrs["header"] = "\n".join(header[:-1])
    return table


# -- features ------------------------------------------------------------------------------------

_BED = (
    *("chrom", "chromStart", "chromEnd", "name", "score", "strand", "thickStart", "thickEnd"),
    *("itemRgb", "blockCount", "blockSizes", "blockStarts"),
)
_BED_NUMBERS = ("chromStart", "chromEnd", "score", "thickStart", "thickEnd", "blockCount")
_TRACK = ("track", "browser")


def load_bed(source: Source, *, nrows: int | None = None) -> Any:
    """Read intervals; columns are BED's, or those a "#chrom ..." line names."""
    return _intervals(source, _BED, _BED_NUMBERS, nrows)


def load_bedgraph(source: Source, *, nrows: int | None = None) -> Any:
    """Read intervals with a value each."""
    names = ("chrom", "start", "end", "value")
    return _intervals(source, names, names[1:], nrows)


def load_narrowpeak(source: Source, *, nrows: int | None = None) -> Any:
    """Read ENCODE's narrow peaks."""
    more = ("signalValue", "pValue", "qValue", "peak")
    return _intervals(source, (*_BED[:6], *more), (*_BED_NUMBERS, *more), nrows)


def load_broadpeak(source: Source, *, nrows: int | None = None) -> Any:
    """Read ENCODE's broad peaks."""
    more = ("signalValue", "pValue", "qValue")
    return _intervals(source, (*_BED[:6], *more), (*_BED_NUMBERS, *more), nrows)


def load_gappedpeak(source: Source, *, nrows: int | None = None) -> Any:
    """Read ENCODE's gapped peaks."""
    more = ("signalValue", "pValue", "qValue")
    return _intervals(source, (*_BED, *more), (*_BED_NUMBERS, *more), nrows)


def load_bedpe(source: Source, *, nrows: int | None = None) -> Any:
    """Read pairs of intervals."""
    names = (
        *("chrom1", "start1", "end1", "chrom2", "start2", "end2", "name", "score"),
        *("strand1", "strand2"),
    )
    return _intervals(source, names, ("start1", "end1", "start2", "end2", "score"), nrows)


def _intervals(
    source: Source, names: tuple[str, ...], numbers: tuple[str, ...], nrows: int | None
) -> Any:
    comments: list[str] = []
    sep = "\t" if _has_tabs(source) else " "
    table = read_table(
        source,
        names,
        numbers=numbers,
        nrows=nrows,
        skip=_TRACK,
        sep=sep,
        on_comment=comments.append,
    )
    for line in comments:
        stated = line.lstrip("#").strip().split("\t")
        if line.startswith("#") and len(stated) == len(table.columns) > 2:
            table.columns = _distinct(stated)
    further = [name for name in table.columns if name not in (*names, *numbers)]
    for name in further:
        table[name] = _plain_numbers(table[name])
    tracks = [line for line in comments if line.startswith("track")]
    if tracks:
        table.attrs["track"] = tracks[0]
    return table


def _plain_numbers(column: Any) -> Any:
    """Numbers, unless one has a leading zero: that is an id."""
    if column.dtype.kind in "iuf" or column.str.match(r"0\d").any():
        return column
    return as_numbers(column)


def _has_tabs(source: Source) -> bool:
    lines = [line for line in source.head.splitlines() if not line.startswith((b"#", b"track"))]
    return any(b"\t" in line for line in lines[:20])


_GFF = ("seqid", "source", "type", "start", "end", "score", "strand", "phase", "attributes")


def load_gff(
    source: Source, *, nrows: int | None = None, attributes: bool | list[str] = False
) -> Any:
    """Read features; sequences after "##FASTA" are left out.

    Args:
        nrows: How many features.
        attributes: Whether each attribute becomes a column of its own, or which ones do.
    """
    table = _features(source, nrows)
    return _with_attributes(table, attributes, r"([^=;\s]+)=([^;]*)")


def load_gtf(
    source: Source, *, nrows: int | None = None, attributes: bool | list[str] = False
) -> Any:
    """Read features of genes; options as GFF's."""
    table = _features(source, nrows)
    return _with_attributes(table, attributes, r'(\w+)\s+"?([^";]*)"?')


def _features(source: Source, nrows: int | None) -> Any:
    header: list[str] = []

    def rows() -> Iterator[str]:
        with open_text(source) as text:
            for line in text:
                if line.startswith("##FASTA") or line.startswith(">"):
                    source.note(f"{source.name!r} has sequences after its features: left out.")
                    return
                if line.startswith("#"):
                    if len(header) < 1000:
                        header.append(line.rstrip())
                elif line.strip():
                    yield line

    lines = limited(source, rows(), nrows, MAX_ROWS, "features")
    table = table_of(source, lines, _GFF)
    for name in ("start", "end", "score"):
        if name in table:
            table[name] = as_numbers(table[name])
    table.attrs["header"] = "\n".join(header)
    return table


def _with_attributes(table: Any, wanted: bool | list[str], pattern: str) -> Any:
    from urllib.parse import unquote

    import pandas as pd

    if wanted is False or "attributes" not in table:
        return table
    pairs = [
        {name: unquote(value.strip()) for name, value in re.findall(pattern, text)}
        for text in table["attributes"]
    ]
    names = dict.fromkeys(itertools.chain.from_iterable(pairs)) if wanted is True else wanted
    columns = {name: [pair.get(name) for pair in pairs] for name in names}
    return pd.concat([table.drop(columns="attributes"), pd.DataFrame(columns)], axis=1)


_PSL = (
    *("matches", "misMatches", "repMatches", "nCount", "qNumInsert", "qBaseInsert"),
    *("tNumInsert", "tBaseInsert", "strand", "qName", "qSize", "qStart", "qEnd", "tName"),
    *("tSize", "tStart", "tEnd", "blockCount", "blockSizes", "qStarts", "tStarts"),
    *("qSequences", "tSequences"),
)
_PSL_TEXT = {"strand", "qName", "tName", "blockSizes", "qStarts", "tStarts"}


def load_psl(source: Source, *, nrows: int | None = None) -> Any:
    """Read BLAT's alignments; the header of five lines is left out."""
    return read_table(
        source,
        _PSL,
        numbers=[name for name in _PSL[:18] if name not in _PSL_TEXT],
        nrows=nrows,
        skip=("psLayout", "match", "     ", "-----"),
    )


def load_paf(source: Source, *, nrows: int | None = None) -> Any:
    """Read minimap's pairwise mappings."""
    names = (
        *("query_name", "query_length", "query_start", "query_end", "strand", "target_name"),
        *("target_length", "target_start", "target_end", "matches", "block_length", "mapq"),
    )
    numbers = [name for name in names if name not in ("query_name", "target_name", "strand")]
    return read_table(source, names, numbers=numbers, nrows=nrows, extra="tag")


def load_gfa(source: Source, *, nrows: int | None = None) -> Any:
    """Read an assembly graph: a row for each line, its kind in the column "type"."""
    table = read_table(source, ("type",), nrows=nrows, extra="field")
    return table.rename(columns={f"field{n + 1}": f"field{n}" for n in range(1, 200)})


def load_wig(source: Source, *, nrows: int | None = None) -> Any:
    """Read coverage: chrom, start (from 1, as in the file), end, value."""
    import pandas as pd

    with open_text(source) as text:
        rows = limited(source, _wig_rows(source, text), nrows, MAX_ROWS, "values")
    return pd.DataFrame(rows, columns=["chrom", "start", "end", "value"])


def _wig_rows(source: Source, lines: Any) -> Iterator[tuple[str, int, int, float]]:
    declared: dict[str, str] = {}
    place = 0
    for line in lines:
        words = line.split()
        if not words or words[0].startswith("#") or words[0] in _TRACK:
            continue
        if words[0] in ("fixedStep", "variableStep"):
            declared = dict(word.split("=", 1) for word in words[1:] if "=" in word)
            declared["kind"] = words[0]
            place = int(declared.get("start", 1))
            continue
        span = int(declared.get("span", 1))
        chrom = declared.get("chrom", "")
        if len(words) == 4:  # bedGraph lines may be mixed in; they count from 0
            yield words[0], int(words[1]) + 1, int(words[2]), float(words[3])
        elif declared.get("kind") == "variableStep" and len(words) == 2:
            yield chrom, int(words[0]), int(words[0]) + span - 1, float(words[1])
        elif declared.get("kind") == "fixedStep" and len(words) == 1:
            yield chrom, place, place + span - 1, float(words[0])
            place += int(declared.get("step", 1))
        else:
            raise FileLoadError(source.name, "a wiggle track", reason=f"a line {line[:60]!r}")


def load_chain(source: Source, *, nrows: int | None = None) -> Any:
    """Read the chains of a lift-over: a row each, with the number of its blocks."""
    import pandas as pd

    names = (
        *("score", "tName", "tSize", "tStrand", "tStart", "tEnd", "qName", "qSize", "qStrand"),
        *("qStart", "qEnd", "id"),
    )

    def chains() -> Iterator[list[Any]]:
        current: list[Any] | None = None
        with open_text(source) as text:
            for line in text:
                words = line.split()
                if words[:1] == ["chain"]:
                    if current:
                        yield current
                    current = [*words[1:13], *[""] * (13 - len(words)), 0]
                elif words and current and words[0].isdigit():
                    current[-1] += 1
        if current:
            yield current

    rows = limited(source, chains(), nrows, MAX_ROWS, "chains")
    table = pd.DataFrame(rows, columns=[*names, "blocks"])
    for name in names:
        if name not in ("tName", "qName", "tStrand", "qStrand", "id"):
            table[name] = as_numbers(table[name].astype("str"))
    return table


def load_fai(source: Source, *, nrows: int | None = None) -> Any:
    """Read the index of a FASTA file."""
    names = ("name", "length", "offset", "line_bases", "line_bytes", "quality_offset")
    return read_table(source, names, numbers=names[1:], nrows=nrows, comment="")


def load_chrom_sizes(source: Source, *, nrows: int | None = None) -> Any:
    """Read the lengths of chromosomes."""
    return read_table(source, ("chrom", "size"), numbers=("size",), nrows=nrows, sep=" ")


# -- bigWig and bigBed ---------------------------------------------------------------------------


def load_bigwig(source: Source, *, chrom: str | None = None, nrows: int | None = None) -> Any:
    """Read intervals with their values: chrom, start (from 0), end, value.

    Args:
        chrom: Only this chromosome.
        nrows: How many intervals.
    """
    import pandas as pd

    with source.open() as file:
        big = _Big(source, file)
        rows = limited(source, big.wig_rows(chrom), nrows, MAX_ROWS, "intervals")
    table = pd.DataFrame(rows, columns=["chrom", "start", "end", "value"])
    table.attrs["chroms"] = {name: size for name, size in big.chroms.values()}
    return table


def load_bigbed(source: Source, *, chrom: str | None = None, nrows: int | None = None) -> Any:
    """Read intervals with their fields, named as the file says.

    Args:
        chrom: Only this chromosome.
        nrows: How many intervals.
    """
    import pandas as pd

    with source.open() as file:
        big = _Big(source, file)
        rows = limited(source, big.bed_rows(chrom), nrows, MAX_ROWS, "intervals")
        stated = big.field_names()
    width = max((len(row) for row in rows), default=3)
    names = [*stated, *_BED[len(stated) :]][:width]
    names += [f"column{at + 1}" for at in range(len(names), width)]
    table = pd.DataFrame(rows, columns=_distinct(names))
    for name in table.columns[3:]:
        table[name] = _plain_numbers(table[name].fillna("").astype("str"))
    table.attrs["chroms"] = {name: size for name, size in big.chroms.values()}
    return table


class _Big:
    """UCSC's indexed tracks. Source: Kent et al. 2010, supplementary tables 5 to 20."""

    def __init__(self, source: Source, file: BinaryIO) -> None:
        self._source = source
        self._file = file
        head = self._read(0, 64)
        self._order = "<" if head[:2] in (b"\x26\xfc", b"\xeb\xf2") else ">"
        (_, self.version, _, tree, _, index, _, _, self._sql, _, unpacked, _) = struct.unpack(
            self._order + "IHHQQQHHQQIQ", head
        )
        self._index = index
        self._is_packed = unpacked > 0
        self.chroms = self._read_chroms(tree)

    def _read(self, place: int, size: int) -> bytes:
        if 0 <= size <= _MAX_BLOCK:
            self._file.seek(place)
            content = self._file.read(size)
            if len(content) == size:
                return content
        raise FileLoadError(
            self._source.name,
            "a bigWig or bigBed file that is cut off or damaged",
            reason=f"no {size:,} bytes at {place:,}",
        )

    def _read_chroms(self, tree: int) -> dict[int, tuple[str, int]]:
        (magic, _, key_size, value_size, count) = struct.unpack(
            self._order + "IIIIQ", self._read(tree, 24)
        )
        if magic != 0x78CA8C91 or key_size > 1000 or value_size != 8:
            raise FileLoadError(self._source.name, "a damaged bigWig or bigBed file")
        found: dict[int, tuple[str, int]] = {}
        for content in self._leaves(tree + 32, key_size, count):
            name = content[:key_size].rstrip(b"\0").decode("latin-1")
            number, size = struct.unpack_from(self._order + "II", content, key_size)
            found[number] = (name, size)
        return found

    def _leaves(self, root: int, key_size: int, most: int) -> Iterator[bytes]:
        waiting, seen = [root], set()
        while waiting:
            place = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            is_leaf, _, count = struct.unpack(self._order + "BBH", self._read(place, 4))
            width = key_size + 8
            items = self._read(place + 4, width * count)
            for at in range(0, width * count, width):
                if is_leaf:
                    yield items[at : at + width]
                else:
                    waiting += struct.unpack_from(self._order + "Q", items, at + key_size)
            if len(seen) > most + 1000:
                return

    def _blocks(self) -> Iterator[bytes]:
        """Give the data blocks in the order of the index."""
        self._read(self._index, 48)
        waiting, seen = [self._index + 48], set()
        while waiting:
            place = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            is_leaf, _, count = struct.unpack(self._order + "BBH", self._read(place, 4))
            width = 32 if is_leaf else 24
            items = self._read(place + 4, width * count)
            if not is_leaf:
                children = [
                    struct.unpack_from(self._order + "Q", items, at + 16)[0]
                    for at in range(0, width * count, width)
                ]
                waiting += reversed(children)
                continue
            for at in range(0, width * count, width):
                start, size = struct.unpack_from(self._order + "QQ", items, at + 16)
                yield self._unpack(self._read(start, size))

    def _unpack(self, block: bytes) -> bytes:
        if not self._is_packed:
            return block
        return zlib.decompressobj().decompress(block, _MAX_BLOCK)

    def _chrom(self, number: int) -> str:
        return self.chroms.get(number, (str(number), 0))[0]

    def wig_rows(self, chrom: str | None) -> Iterator[tuple[str, int, int, float]]:
        """Give the intervals of a bigWig file."""
        for block in self._blocks():
            if len(block) < 24:
                continue
            number, start, _, step, span, kind, _, count = struct.unpack_from(
                self._order + "IIIIIBBH", block
            )
            name = self._chrom(number)
            if chrom is not None and name != chrom:
                continue
            layout = {1: "IIf", 2: "If", 3: "f"}.get(kind)
            if layout is None:
                raise FileLoadError(self._source.name, "a damaged bigWig file")
            size = struct.calcsize(self._order + layout)
            items = block[24 : 24 + count * size]
            items = items[: len(items) // size * size]
            for at, item in enumerate(struct.iter_unpack(self._order + layout, items)):
                if kind == 1:
                    yield name, item[0], item[1], item[2]
                elif kind == 2:
                    yield name, item[0], item[0] + span, item[1]
                else:
                    yield name, start + at * step, start + at * step + span, item[0]

    def bed_rows(self, chrom: str | None) -> Iterator[tuple[Any, ...]]:
        """Give the intervals of a bigBed file."""
        for block in self._blocks():
            at = 0
            while at + 12 <= len(block):
                number, start, end = struct.unpack_from(self._order + "III", block, at)
                stop = block.find(b"\0", at + 12)
                stop = len(block) if stop < 0 else stop
                name = self._chrom(number)
                rest = block[at + 12 : stop].decode(errors="replace")
                if chrom is None or name == chrom:
                    yield (name, start, end, *(rest.split("\t") if rest else ()))
                at = stop + 1

    def field_names(self) -> list[str]:
        """Name the columns by the table definition in the file; none if it has none."""
        if not self._sql:
            return []
        self._file.seek(self._sql)
        text = self._file.read(64 * 1024).partition(b"\0")[0].decode("latin-1")
        body = text.partition("(")[2]
        return re.findall(r"^\s*[\w\[\] ]{1,60}?\s+(\w+)\s*;", body, re.MULTILINE)


# -- genotypes of plink --------------------------------------------------------------------------


def load_bim(source: Source, *, nrows: int | None = None) -> Any:
    """Read plink's variants."""
    names = ("chrom", "snp", "cm", "pos", "a1", "a2")
    return read_table(source, names, numbers=("cm", "pos"), nrows=nrows, comment="", sep=" ")


def load_fam(source: Source, *, nrows: int | None = None) -> Any:
    """Read plink's samples."""
    names = ("fid", "iid", "father", "mother", "sex", "phenotype")
    return read_table(source, names, numbers=names[4:], nrows=nrows, comment="", sep=" ")


def load_plink_map(source: Source, *, nrows: int | None = None) -> Any:
    """Read plink's map of variants: three columns, or four with the distance."""
    names = ("chrom", "snp", "cm", "pos")
    return read_table(source, names, numbers=("cm", "pos"), nrows=nrows, sep=" ")


def load_ped(source: Source, *, nrows: int | None = None) -> Any:
    """Read plink's pedigree: six columns of a sample, and two alleles for each variant."""
    names = ("fid", "iid", "father", "mother", "sex", "phenotype")
    return read_table(source, names, numbers=names[4:], nrows=nrows, sep=" ", extra="allele")


def load_plink_bed(source: Source, *, nrows: int | None = None) -> Any:
    """Read plink's genotypes: copies of the first allele, a row a variant, a column a sample.

    The .bim and .fam files beside it say how many there are; -1 is missing.
    """
    import numpy as np
    import pandas as pd

    samples = _beside(source, "fam")
    variants = _beside(source, "bim")
    if samples is None:
        return source_info(
            source,
            {"order": "by variant" if source.head[2:3] == b"\1" else "by sample"},
            "Upload the .bim and .fam files with the same name too, and it becomes a DataFrame.",
        )
    width = (len(samples) + 3) // 4
    if source.head[2:3] != b"\1":
        raise FileLoadError(source.name, "plink genotypes stored by sample, as nobody does now")
    with source.open() as file:
        file.seek(3)
        count = (source.size_bytes - 3) // width if width else 0
        packed = np.frombuffer(file.read(count * width), np.uint8)
    packed = packed[: len(packed) // max(width, 1) * width].reshape(-1, width)
    most = max(500_000_000 // max(len(samples), 1), 1) if nrows is None else nrows
    if len(packed) > most and nrows is None:
        source.note(f"{source.name!r}: the first {most:,} of {len(packed):,} variants were read.")
    packed = packed[:most]
    codes = np.stack([packed >> shift & 3 for shift in (0, 2, 4, 6)], axis=2)
    copies = np.array([2, -1, 1, 0], np.int8)[codes.reshape(len(packed), -1)]
    index = variants[: len(packed)] if variants and len(variants) >= len(packed) else None
    return pd.DataFrame(copies[:, : len(samples)], columns=samples, index=index)


def _beside(source: Source, extension: str) -> list[str] | None:
    """The ids in plink's file of the same name, which are its second column."""
    stem = source.name.rpartition(".")[0].lower()
    for path in source.neighbours:
        if path.name.lower() == f"{stem}.{extension}":
            with path.open(errors="replace") as file:
                return [words[1] for line in file if len(words := line.split()) > 1]
    return None


# -- indexes -------------------------------------------------------------------------------------


def load_index(source: Source) -> Any:
    """Say what an index of a bgzipped file covers."""
    magic = source.head[:4]
    facts: dict[str, object] = {}
    if magic == b"BAI\1":
        facts["references"] = int.from_bytes(source.head[4:8], "little", signed=True)
    elif magic == b"TBI\1":
        numbers = struct.unpack_from("<8i", source.head.ljust(36, b"\0"), 4)
        names = source.head[36 : 36 + max(numbers[7], 0)].split(b"\0")
        facts["sequences"] = [name.decode("latin-1") for name in names if name][:100]
    elif magic == b"CSI\1":
        facts["min_shift"] = int.from_bytes(source.head[4:8], "little")
    return source_info(source, facts, "It is of use to pysam, beside the file that it indexes.")


def load_crai(source: Source, *, nrows: int | None = None) -> Any:
    """Read the index of a CRAM file."""
    names = ("sequence", "start", "span", "container", "slice", "size")
    return read_table(source, names, numbers=names, nrows=nrows, comment="")


def load_blast_table(source: Source, *, nrows: int | None = None) -> Any:
    """Read BLAST's table of hits; columns by its "# Fields:" line, or the usual twelve."""
    names = [
        *("qseqid", "sseqid", "pident", "length", "mismatch", "gapopen", "qstart", "qend"),
        *("sstart", "send", "evalue", "bitscore"),
    ]
    comments: list[str] = []
    with open_text(source) as text:
        for line in itertools.islice(text, 50):
            if line.startswith("# Fields:"):
                comments = [field.strip() for field in line[9:].split(",")]
    names = _distinct(comments) if comments else names
    words = ("id", "acc", "title", "name", "seq", "strand", "frames")
    numbers = [name for name in names if not any(word in name.lower() for word in words)]
    numbers += [name for name in names if "identity" in name or name == "pident"]
    return read_table(source, names, numbers=numbers, nrows=nrows)


def load_hic(source: Source) -> Any:
    """Say what a Hi-C map's header tells."""
    version = int.from_bytes(source.head[4:8], "little")
    genome = source.head[16:116].partition(b"\0")[0].decode("latin-1")
    return source_info(
        source, {"version": version, "genome": genome}, "hicstraw reads it; cooler converts it."
    )
