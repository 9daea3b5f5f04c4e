"""Sequences, alignments and trees, which Biopython reads."""

import io
import os
import re
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders.lines import limited, noting, open_binary, open_text
from kernel_startup.source import Source

#: Sequences that are read unless nrows= says otherwise: each costs some kilobytes of memory.
MAX_SEQUENCES = 1_000_000
#: Reads carry a number for each letter's quality, which costs more.
MAX_READS = 100_000

_TEXT_FORMATS = {
    "ace",
    "embl",
    "fasta-pearson",
    "genbank",
    "gfa1",
    "ig",
    "imgt",
    "phd",
    "pir",
    "qual",
    "swiss",
}


# -- sequences -----------------------------------------------------------------------------------


def load_fasta(source: Source, *, nrows: int | None = None) -> list[Any]:
    """Read sequences; text before the first one is left out."""
    return _records(source, "fasta-pearson", nrows)


def load_genbank(source: Source, *, nrows: int | None = None) -> list[Any]:
    """Read GenBank records with their features."""
    return _records(source, "genbank", nrows)


def load_embl(source: Source, *, nrows: int | None = None) -> list[Any]:
    """Read EMBL records with their features."""
    return _records(source, "embl", nrows)


def load_imgt(source: Source, *, nrows: int | None = None) -> list[Any]:
    """Read records of IMGT, which are EMBL's with deeper indents."""
    return _records(source, "imgt", nrows)


def load_swiss(source: Source, *, nrows: int | None = None) -> list[Any]:
    """Read UniProt records in their text format."""
    return _records(source, "swiss", nrows)


def load_pir(source: Source, *, nrows: int | None = None) -> list[Any]:
    """Read PIR records."""
    return _records(source, "pir", nrows)


def load_qual(source: Source, *, nrows: int | None = None) -> list[Any]:
    """Read qualities beside a FASTA file: letter_annotations["phred_quality"]."""
    return _records(source, "qual", nrows)


def load_phd(source: Source, *, nrows: int | None = None) -> list[Any]:
    """Read what phred called."""
    return _records(source, "phd", nrows)


def load_ace(source: Source, *, nrows: int | None = None) -> list[Any]:
    """Read the contigs of an assembly."""
    return _records(source, "ace", nrows)


def load_ig(source: Source, *, nrows: int | None = None) -> list[Any]:
    """Read IntelliGenetics records."""
    return _records(source, "ig", nrows)


def load_sff(source: Source, *, nrows: int | None = None) -> list[Any]:
    """Read 454 reads with their flows."""
    return _records(source, "sff", nrows, MAX_READS)


def load_snapgene(source: Source) -> Any:
    """Read a SnapGene sequence with its features."""
    return _single(source, "snapgene")


def load_xdna(source: Source) -> Any:
    """Read a DNA Strider or Serial Cloner sequence."""
    return _single(source, "xdna")


def load_gck(source: Source) -> Any:
    """Read a Gene Construction Kit sequence."""
    return _single(source, "gck")


def load_nib(source: Source) -> Any:
    """Read a sequence of UCSC's nib format."""
    return _single(source, "nib")


def load_abi(source: Source, *, trim: bool = False) -> Any:
    """Read a chromatogram; its traces are in annotations["abif_raw"].

    Args:
        trim: Whether to cut off ends of low quality, as Biopython's "abi-trim" does.
    """
    return _single(source, "abi-trim" if trim else "abi")


def load_uniprot_xml(source: Source, *, nrows: int | None = None) -> list[Any]:
    """Read UniProt records in XML."""
    return _records(source, "uniprot-xml", nrows)


def load_seqxml(source: Source, *, nrows: int | None = None) -> list[Any]:
    """Read SeqXML records."""
    return _records(source, "seqxml", nrows)


def load_2bit(source: Source) -> list[Any]:
    """Open UCSC's genome format; each sequence is read when it is looked at."""
    from Bio import SeqIO

    _check_2bit(source)
    descriptor = os.open(source.as_path(".2bit"), os.O_RDONLY)
    file = io.BufferedReader(io.FileIO(descriptor, closefd=False))
    # Open for as long as the sequences live, which read from it.
    weakref.finalize(file, os.close, descriptor)
    with noting(source):
        return list(SeqIO.parse(file, "twobit"))


def _check_2bit(source: Source) -> None:
    """Refuse sequences longer than the file can hold: each would be unpacked into memory."""
    content = source.open()
    with content:
        head = content.read(16)
        order = "little" if head[:4] == b"\x43\x27\x41\x1a" else "big"
        count = int.from_bytes(head[8:12], order)  # type: ignore[arg-type]
        width = 8 if 1 in (head[4], head[7]) else 4  # of an offset, by the version
        size = content.seek(0, io.SEEK_END)
        if count * 6 > size:
            raise _cut_off(source, "a 2bit genome", f"it says it has {count:,} sequences")
        content.seek(16)
        places = []
        for _ in range(count):
            length = content.read(1)
            content.read(length[0])
            places.append(int.from_bytes(content.read(width), order))  # type: ignore[arg-type]
        for place in places:
            content.seek(place)
            letters = int.from_bytes(content.read(4), order)  # type: ignore[arg-type]
            for _ in range(2):  # blocks of unknown letters, then of small ones
                blocks = int.from_bytes(content.read(4), order)  # type: ignore[arg-type]
                content.seek(min(content.tell() + 8 * blocks, size))
            if (letters + 3) // 4 > size - content.tell() - 4:
                raise _cut_off(source, "a 2bit genome", f"a sequence of {letters:,} letters")


def load_fastq(
    source: Source, *, nrows: int | None = None, variant: str | None = None
) -> list[Any]:
    """Read reads with their qualities.

    Args:
        nrows: How many reads.
        variant: How qualities are written: "sanger", "solexa" or "illumina"; found out by default.
    """
    from Bio import SeqIO

    variants = ("sanger", "solexa", "illumina")
    if variant is not None and variant not in variants:
        raise ValueError(f"variant={variant!r} isn't one of {', '.join(variants)}")
    chosen = variant or _fastq_variant(source)
    with noting(source), _ending(source) as text:
        return limited(
            source, SeqIO.parse(text, f"fastq-{chosen}"), nrows, MAX_READS, "reads"
        ) or _none_found(source, "FASTQ")


def _fastq_variant(source: Source) -> str:
    """Tell how qualities are written by the letters used: Sanger's begin at "!", the others' at
    ";" and "@", and only these two go beyond "J" much."""
    from Bio.SeqIO.QualityIO import FastqGeneralIterator

    low, high = 255, 0
    lines = source.head.decode("latin-1").splitlines(keepends=True)
    if not source.is_whole_in_head:
        lines = lines[:-1]
    try:
        for _, _, quality in FastqGeneralIterator(io.StringIO("".join(lines))):
            low = min([low, *map(ord, quality)])
            high = max([high, *map(ord, quality)])
    except ValueError:
        pass  # cut off in the middle of a read
    if low < ord(";") or high <= ord("K"):
        return "sanger"
    return "solexa" if low < ord("@") else "illumina"


def _records(
    source: Source, kind: str, nrows: int | None = None, most: int = MAX_SEQUENCES
) -> list[Any]:
    from Bio import SeqIO

    with noting(source):
        if kind in _TEXT_FORMATS:
            with _ending(source) as text:
                found = limited(source, SeqIO.parse(text, kind), nrows, most)
        else:
            opened = source.open() if kind == "sff" else open_binary(source)
            with opened:
                found = limited(source, SeqIO.parse(opened, kind), nrows, most)
    return found or _none_found(source, kind)


class _Ending(io.TextIOWrapper):
    """A text that ends: some parsers wait for a line at its end for ever."""

    _ends = 0

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]  # as its own base has it
        line = super().readline(size)
        if not line:
            self._ends += 1
            if self._ends > 1000:
                raise ValueError("it ends where more has to come")
        return line


def _ending(source: Source) -> io.TextIOWrapper:
    with open_text(source) as text:
        encoding = text.encoding
    return _Ending(open_binary(source), encoding=encoding, errors="replace")


def _none_found(source: Source, kind: str) -> Any:
    if not source.head.strip():
        raise FileLoadError(source.name, "an empty file")
    return []


def _single(source: Source, kind: str) -> Any:
    found = _records(source, kind)
    if not found:
        raise FileLoadError(source.name, f"{kind} without a sequence")
    return found[0] if len(found) == 1 else found


def _cut_off(source: Source, what: str, reason: str) -> FileLoadError:
    return FileLoadError(
        source.name, f"{what} that is cut off or damaged", "reading its header", reason
    )


def load_scf(source: Source) -> dict[str, Any]:
    """Read a chromatogram in Staden's format.

    Returns:
        "sequence", "peaks" (places of the letters), "traces" (an array for each of A, C, G, T),
        "comments" (a dict).
    """
    import numpy as np

    content = source.read()
    numbers = np.frombuffer(content[:60].ljust(60, b"\0"), ">u4")
    samples, place, bases = (int(numbers[at]) for at in (1, 2, 3))
    base_place, comment_size, comment_place = (int(numbers[at]) for at in (6, 7, 8))
    version = content[36:40].decode("latin-1")
    width = int(numbers[10]) if version >= "2" else 1
    width = 2 if width == 2 else 1
    if place + samples * 4 * width > len(content) or base_place + bases * 12 > len(content):
        raise _cut_off(source, "an SCF chromatogram", f"{samples:,} samples and {bases:,} letters")
    raw = np.frombuffer(content, f">u{width}", samples * 4, place)
    if version >= "3":
        peaks = np.frombuffer(content, ">u4", bases, base_place)
        start = base_place + bases * 8
        letters = content[start : start + bases]
        # Stored as differences of differences.
        traces = raw.reshape(4, samples).astype(np.int64)
        traces = np.cumsum(np.cumsum(traces, axis=1), axis=1) % (1 << (8 * width))
    else:
        table = np.frombuffer(content, np.uint8, bases * 12, base_place).reshape(bases, 12)
        peaks = table[:, :4].copy().view(">u4").ravel()
        letters = table[:, 8].tobytes()
        traces = raw.reshape(samples, 4).T
    comments = content[comment_place : comment_place + comment_size].decode("latin-1")
    pairs = (line.partition("=") for line in comments.strip("\0\n").splitlines())
    return {
        "sequence": letters.decode("latin-1"),
        "peaks": peaks.astype(np.int64),
        "traces": {letter: traces[at].astype(np.int64) for at, letter in enumerate("ACGT")},
        "comments": {key: value for key, sign, value in pairs if sign},
    }


# -- alignments ----------------------------------------------------------------------------------


def load_stockholm(source: Source) -> Any:
    """Read one alignment, or a list of several."""
    return _alignments(source, "stockholm")


def load_clustal(source: Source) -> Any:
    """Read one alignment, or a list of several."""
    return _alignments(source, "clustal")


def load_maf(source: Source) -> Any:
    """Read the blocks of a multiple alignment: one, or a list of several."""
    return _alignments(source, "maf")


def load_msf(source: Source) -> Any:
    """Read a GCG alignment."""
    return _alignments(source, "msf")


def load_mauve(source: Source) -> Any:
    """Read Mauve's alignment of genomes."""
    return _alignments(source, "mauve")


def load_emboss(source: Source) -> Any:
    """Read pairs or a simple alignment as EMBOSS writes them."""
    return _alignments(source, "emboss")


def load_phylip(source: Source, *, variant: str | None = None) -> Any:
    """Read one alignment, or a list of several.

    Args:
        variant: "strict" (names of ten letters), "relaxed" (names end at a blank) or "sequential"
            (a sequence after the other); by default whichever fits.
    """
    kinds = {"strict": "phylip", "relaxed": "phylip-relaxed", "sequential": "phylip-sequential"}
    if variant is not None:
        if variant not in kinds:
            raise ValueError(f"variant={variant!r} isn't one of {', '.join(kinds)}")
        return _alignments(source, kinds[variant])
    reasons = []
    for kind in (*kinds.values(), "plain", "paml"):
        try:
            if kind == "plain":
                return _phylip_with_options(source)
            return _paml(source) if kind == "paml" else _alignments(source, kind)
        except ValueError as error:
            reasons.append(f"{kind}: {error}")
    raise ValueError("; ".join(reasons))


def _phylip_with_options(source: Source) -> Any:
    """Read an alignment whose first line has letters after its counts ("5 222 I")."""
    from Bio import AlignIO

    with open_text(source) as text:
        first, _, rest = text.read().lstrip().partition("\n")
    for kind in ("phylip", "phylip-relaxed", "phylip-sequential"):
        try:
            return AlignIO.read(io.StringIO(" ".join(first.split()[:2]) + "\n" + rest), kind)
        except ValueError:
            continue
    raise ValueError("no layout fits")


def _paml(source: Source) -> Any:
    """Read sequences whose names stand on lines of their own, as PAML has them."""
    from Bio.Align import MultipleSeqAlignment
    from Bio.Seq import Seq
    from Bio.SeqRecord import SeqRecord

    with open_text(source) as text:
        counts, *words = text.read().split()[1:] or [""]
        number = source.head.split()[0]
    count, length = int(number), int(counts)
    if words and words[0] in ("I", "S", "GC"):
        words = words[1:]
    records = []
    rest = iter(words)
    for name in rest:
        letters = ""
        while len(letters) < length and (piece := next(rest, None)) is not None:
            letters += piece
        if len(letters) != length:
            raise ValueError(f"{name} has {len(letters)} letters, not {length}")
        records.append(SeqRecord(Seq(letters), id=name, name=name, description=name))
    if len(records) != count or not records:
        raise ValueError(f"{len(records)} sequences, not {count}")
    return MultipleSeqAlignment(records)


def _alignments(source: Source, kind: str) -> Any:
    from Bio import AlignIO

    with noting(source), _ending(source) as text:
        found = list(AlignIO.parse(text, kind))
    if not found:
        raise FileLoadError(source.name, f"a file of {kind} alignments without one in it")
    return found[0] if len(found) == 1 else found


# -- trees ---------------------------------------------------------------------------------------


def load_newick(source: Source) -> Any:
    """Read one tree, or a list of several."""
    return _trees(source, "newick")


def load_phyloxml(source: Source) -> Any:
    """Read one tree, or a list of several."""
    return _trees(source, "phyloxml")


def load_nexml(source: Source) -> Any:
    """Read one tree, or a list of several; the element tree of XML if it has none."""
    from kernel_startup.loaders.biology_xml import load_tree

    content = source.read()
    return (
        _trees(source, "nexml") if re.search(rb"<(?:\w+:)?tree\b", content) else load_tree(source)
    )


def load_nexus(source: Source) -> Any:
    """Read the alignment of a NEXUS file, or its trees if it has no alignment.

    With both, the trees are the alignment's annotations["trees"].
    """
    with open_text(source) as text:
        content = text.read()
    trees = _nexus_trees(source) if re.search(r"(?im)^\s*begin\s+trees\s*;", content) else None
    if not re.search(r"(?im)^\s*begin\s+(?:data|characters)\s*;", content):
        if trees is None:
            raise FileLoadError(source.name, "NEXUS with neither an alignment nor trees")
        return trees
    try:
        alignment = _alignments(source, "nexus")
    except Exception:
        # Continuous characters, mixed types: Biopython has no alignment for those.
        if trees is not None:
            source.note(f"{source.name!r} has data too that Biopython doesn't read: trees alone.")
            return trees
        from Bio.Nexus import Nexus

        source.note(f"{source.name!r} isn't an alignment of letters: its matrix is .matrix.")
        with noting(source):
            return Nexus.Nexus(io.StringIO(content))
    if trees is not None:
        alignment.annotations["trees"] = trees if isinstance(trees, list) else [trees]
        source.note(f"{source.name!r} has trees as well: they are in annotations['trees'].")
    return alignment


def _nexus_trees(source: Source) -> Any:
    try:
        return _trees(source, "nexus")
    except Exception:
        return None


def _trees(source: Source, kind: str) -> Any:
    from Bio import Phylo

    read: Callable[..., Iterator[Any]] = Phylo.parse
    with noting(source):
        if kind in ("phyloxml", "nexml"):
            _refuse_entities(source)
            with open_binary(source) as content:
                found = list(read(content, kind))
        else:
            with _ending(source) as text:
                found = list(read(text, kind))
    if not found:
        raise FileLoadError(source.name, f"a {kind} file without a tree")
    return found[0] if len(found) == 1 else found


def _refuse_entities(source: Source) -> None:
    """Refuse XML that declares entities: a few hundred bytes can grow to gigabytes."""
    if b"<!ENTITY" in source.head:
        raise FileLoadError(source.name, "XML that declares entities of its own")
