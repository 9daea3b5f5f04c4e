"""What programs found that search for sequences, and the motifs and structures they give."""

import re
from typing import TYPE_CHECKING, Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders.biology import _Ending
from kernel_startup.loaders.lines import open_binary, open_text
from kernel_startup.source import Source

if TYPE_CHECKING:
    import pandas as pd

#: The kinds of Bio.SearchIO by what their first lines say, the most particular first.
_KINDS = (
    (rb"Query +\S[^\n]*\r?\nMatch_columns ", "hhsuite2-text"),
    (rb"[\s\S]{0,60000}?^C4 Alignment:", "exonerate-text"),
    (rb"[\s\S]{0,60000}?^vulgar: ", "exonerate-vulgar"),
    (rb"[\s\S]{0,60000}?^cigar: ", "exonerate-cigar"),
    (rb"# cm(?:search|scan) :: ", "infernal-text"),
    (
        rb"#(?:idx +)?target name +accession +query name +accession +(?:clan name +)?mdl",
        "infernal-tab",
    ),
    (
        rb"# (?:[^\n]{0,300}[\\/])?(?:hmmsearch|hmmscan|phmmer|jackhmmer|nhmmer|nhmmscan) :: ",
        "hmmer3-text",
    ),
    (rb"hmm(?:search|pfam)\d? - ", "hmmer2-text"),
    (rb"#[^\n]* this domain -[\s\S]{0,60000}?^# Program: +hmmsearch", "hmmsearch3-domtab"),
    (rb"#[^\n]* this domain -[\s\S]{0,60000}?^# Program: +phmmer", "phmmer3-domtab"),
    (rb"#[^\n]* this domain -", "hmmscan3-domtab"),
    (rb"#[^\n]* full sequence -", "hmmer3-tab"),
    (rb"#[^\n]*fast", "fasta-m10"),
)


def load_search(source: Source, *, nrows: int | None = None) -> list[Any]:
    """Read a program's results by query, each a list of hits; `nrows` of them."""
    from itertools import islice

    from Bio import SearchIO

    start = source.head.lstrip()
    kind = next((k for mark, k in _KINDS if re.match(mark, start, re.MULTILINE)), "")
    if not kind:
        if b"exonerate" in start[:1000]:
            return []  # it found nothing
        raise FileLoadError(source.name, "results of a search that isn't known")
    with open_text(source) as text:
        encoding = text.encoding
    with _Ending(open_binary(source), encoding=encoding, errors="replace") as lines:
        parse: Any = SearchIO.parse
        return list(islice(parse(lines, kind), nrows))


def load_motifs(source: Source) -> Any:
    """Read motifs of MEME, TRANSFAC or JASPAR; Bio.motifs.Motif, a list of several."""
    from Bio import motifs

    start = source.head.lstrip()
    kind = "jaspar" if start.startswith(b">") else "transfac"
    if start.startswith((b"MEME", b"*****")):
        kind = "minimal"
    with open_text(source) as text:
        encoding = text.encoding
    with _Ending(open_binary(source), encoding=encoding, errors="replace") as lines:
        parse: Any = motifs.parse
        return parse(lines, kind, strict=False)


def load_dssp(source: Source, *, encoding: str | None = None) -> "pd.DataFrame":
    """Read the residues of DSSP's older text: their structure, accessibility and angles."""
    import pandas as pd

    from kernel_startup.loaders.text import load_text

    lines = load_text(source, encoding=encoding).splitlines()
    first = next((n for n, line in enumerate(lines) if line.startswith("  #  RESIDUE")), None)
    if first is None:
        raise FileLoadError(source.name, "DSSP that is cut off", reason="it has no residues")
    # "!" stands for a gap in the chain.
    rows = [line for line in lines[first + 1 :] if len(line) >= 115 and line[13] != "!"]
    table = pd.DataFrame({name: [r[a:b].strip() for r in rows] for name, a, b in _DSSP})
    for name, start, _ in _DSSP:
        if start < 5 or start >= 34:
            table[name] = pd.to_numeric(table[name], errors="coerce")
    return table


_DSSP = (
    *(("number", 0, 5), ("residue", 5, 11), ("chain", 11, 12), ("aa", 13, 14)),
    *(("structure", 16, 17), ("acc", 34, 38), ("tco", 85, 91), ("kappa", 91, 97)),
    *(("alpha", 97, 103), ("phi", 103, 109), ("psi", 109, 115)),
)
