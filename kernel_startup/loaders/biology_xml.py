"""Biology and medicine in XML."""

from collections.abc import Iterator
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders.lines import MAX_ROWS, as_numbers, limited
from kernel_startup.source import Source


def load_tree(source: Source) -> Any:
    """Read XML to lxml's element tree; entities stay as they are written."""
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_pis=False)
    with source.open() as file:
        return etree.parse(file, parser)


def elements(source: Source, *names: str) -> Iterator[Any]:
    """Give the elements of these names one after the other, each emptied after it was looked at."""
    from lxml import etree

    if b"<!ENTITY" in source.head:
        raise FileLoadError(source.name, "XML that declares entities of its own")
    with source.open() as file:
        wanted = [f"{{*}}{name}" for name in names]
        for _, element in etree.iterparse(
            file, tag=wanted, resolve_entities=False, no_network=True, huge_tree=True
        ):
            yield element
            element.clear(keep_tail=False)
            while element.getprevious() is not None:
                del element.getparent()[0]


def local(element: Any) -> str:
    """The name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]


def _frame(source: Source, rows: Iterator[dict[str, Any]], nrows: int | None) -> Any:
    import pandas as pd

    table = pd.DataFrame(limited(source, rows, nrows, MAX_ROWS, "rows"))
    for name in table.columns:
        column = table[name]
        if column.map(lambda value: value is None or isinstance(value, str)).all():
            table[name] = as_numbers(column.fillna("").astype("str"))
    return table


def load_blast_xml(source: Source, *, nrows: int | None = None) -> Any:
    """Read BLAST's hits: a row for each pair of segments."""

    def rows() -> Iterator[dict[str, Any]]:
        for search in elements(source, "Iteration"):
            query = search.findtext("Iteration_query-def") or search.findtext("Iteration_query-ID")
            for hit in search.iterfind("Iteration_hits/Hit"):
                for pair in hit.iterfind("Hit_hsps/Hsp"):
                    told = {local(each)[4:].replace("-", "_"): each.text for each in pair}
                    yield {
                        "query": query,
                        "hit": hit.findtext("Hit_id"),
                        "accession": hit.findtext("Hit_accession"),
                        "description": hit.findtext("Hit_def"),
                        **told,
                    }

    return _frame(source, rows(), nrows)


def load_gbseq(source: Source, *, nrows: int | None = None) -> Any:
    """Read NCBI's records: a row each, what is simple in them and the sequence."""

    def rows() -> Iterator[dict[str, Any]]:
        for record in elements(source, "GBSeq", "INSDSeq"):
            yield {
                local(each).partition("_")[2]: each.text
                for each in record
                if len(each) == 0 and each.text
            }

    return _frame(source, rows(), nrows)


def load_tinyseq(source: Source, *, nrows: int | None = None) -> Any:
    """Read NCBI's small records."""

    def rows() -> Iterator[dict[str, Any]]:
        for record in elements(source, "TSeq"):
            yield {local(each).partition("_")[2]: each.text for each in record if each.text}

    return _frame(source, rows(), nrows)


def load_mzid(source: Source, *, nrows: int | None = None) -> Any:
    """Read matches of peptides: a row for each identified spectrum's item."""

    def rows() -> Iterator[dict[str, Any]]:
        for result in elements(source, "SpectrumIdentificationResult"):
            for item in result.iterfind("{*}SpectrumIdentificationItem"):
                scores = {
                    each.get("name"): each.get("value") for each in item.iterfind("{*}cvParam")
                }
                yield {"spectrumID": result.get("spectrumID"), **item.attrib, **scores}

    return _frame(source, rows(), nrows)


def load_pepxml(source: Source, *, nrows: int | None = None) -> Any:
    """Read matches of peptides: a row for each hit."""

    def rows() -> Iterator[dict[str, Any]]:
        for query in elements(source, "spectrum_query"):
            for hit in query.iterfind("{*}search_result/{*}search_hit"):
                scores = {
                    each.get("name"): each.get("value") for each in hit.iterfind("{*}search_score")
                }
                yield {**query.attrib, **hit.attrib, **scores}

    return _frame(source, rows(), nrows)


def load_protxml(source: Source, *, nrows: int | None = None) -> Any:
    """Read matches of proteins: a row for each protein."""

    def rows() -> Iterator[dict[str, Any]]:
        for group in elements(source, "protein_group"):
            for protein in group.iterfind("{*}protein"):
                yield {"group": group.get("group_number"), **protein.attrib}

    return _frame(source, rows(), nrows)
