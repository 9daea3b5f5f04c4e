"""Markup: XML, HTML, linked data, graphs, references."""

import io
import re
from typing import TYPE_CHECKING, Any

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders.text import decode, load_text
from kernel_startup.source import Source

if TYPE_CHECKING:
    import pandas as pd

    from kernel_startup.loaders.soup import HtmlDocument

# -- XML -----------------------------------------------------------------------------------------


def load_xml(
    source: Source, *, encoding: str | None = None, recover: bool = False, xpath: str | None = None
) -> Any:
    """Parse XML to a tree. Entities aren't replaced, nothing is fetched.

    Args:
        source: The file.
        encoding: Instead of the one it declares.
        recover: Make what can be made of XML that isn't well formed.
        xpath: Give a DataFrame of these elements ("//item") instead of the tree.
    """
    from lxml import etree

    content = _xml_bytes(source)
    try:
        tree = etree.parse(io.BytesIO(content), _parser(encoding, recover=recover))
    except etree.XMLSyntaxError as error:
        recovered = None if recover else _recover(source, content, encoding, error)
        if recovered is None:
            raise FileLoadError(
                source.name,
                "XML that is cut off or not well formed",
                tried="lxml",
                reason=str(error),
                remedy='recover=True gives what can be read of it, as_="text" a str',
            ) from error
        tree = recovered
    if tree.getroot() is None:
        raise FileLoadError(source.name, "XML without an element")
    return tree if xpath is None else _to_table(tree, xpath)


def _parser(encoding: str | None, *, recover: bool = False) -> Any:
    from lxml import etree

    return etree.XMLParser(
        encoding=encoding,
        recover=recover,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
    )


def _xml_bytes(source: Source) -> bytes:
    content = source.read().lstrip(b" \t\r\n")
    if not content:
        raise FileLoadError(source.name, "an empty file")
    return content


def _recover(source: Source, content: bytes, encoding: str | None, error: Exception) -> Any:
    """Read XML with a stray character or an undeclared prefix; None if much of it would be lost."""
    from lxml import etree

    said = str(error)
    small_faults = (
        "Namespace prefix",
        "invalid character",
        "Input is not proper UTF-8",
        "Entity '",
        "encoding error",
        "not proper UTF",
        "Extra content at the end",
    )
    if not any(fault in said for fault in small_faults):
        return None
    try:
        tree = etree.parse(io.BytesIO(content), _parser(encoding, recover=True))
    except etree.XMLSyntaxError:
        return None
    if tree.getroot() is None:
        return None
    source.note(f"{source.name!r} isn't well-formed XML ({said}): a part of it may be missing.")
    return tree


def _to_table(tree: Any, xpath: str) -> "pd.DataFrame":
    import pandas as pd

    rows = []
    for element in tree.xpath(xpath, namespaces=_namespaces(tree)):
        if not hasattr(element, "attrib"):
            rows.append({"value": str(element)})
            continue
        row = dict(element.attrib)
        for child in element.iterchildren("*"):
            row[child.tag.rpartition("}")[2]] = "".join(child.itertext()).strip()
        if not len(element) and (element.text or "").strip():
            row.setdefault("text", element.text.strip())
        rows.append(row)
    return pd.DataFrame(rows)


def _namespaces(tree: Any) -> dict[str, str]:
    return {prefix: uri for prefix, uri in tree.getroot().nsmap.items() if prefix}


# -- HTML ----------------------------------------------------------------------------------------


def load_html(source: Source, *, encoding: str | None = None) -> "HtmlDocument":
    """Parse a page with BeautifulSoup; `.tables` has its tables as DataFrames."""
    from kernel_startup.loaders.soup import HtmlDocument

    return parse_html(source, _html_text(source, encoding), HtmlDocument)


def parse_html(source: Source, text: str, document: type["HtmlDocument"]) -> "HtmlDocument":
    """Parse a page that is already decoded."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # bs4's advice on what looks like a path or like XML
        return document(text, "lxml")


_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{2,40})", re.IGNORECASE)


def _html_text(source: Source, encoding: str | None) -> str:
    if encoding is None and not source.head.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        declared = _CHARSET.search(source.head[:4096])
        if declared is not None:
            try:
                # The declared one, where it fits: pages are in all sorts of encodings.
                return source.read().decode(_codec(declared.group(1).decode("ascii")))
            except (LookupError, ValueError):
                pass
    return decode(source, encoding)


def _codec(declared: str) -> str:
    # What browsers take these for.
    usual = {
        "iso-8859-1": "cp1252",
        "latin1": "cp1252",
        "us-ascii": "cp1252",
        "gb2312": "gb18030",
        "gbk": "gb18030",
        "shift_jis": "cp932",
        "x-sjis": "cp932",
        "ks_c_5601-1987": "cp949",
        "euc-kr": "cp949",
    }
    return usual.get(declared.lower(), declared)


# -- linked data ---------------------------------------------------------------------------------

_RDF_FORMATS = {
    "rdf-xml": "xml",
    "owl": "xml",
    "trix": "trix",
    "n-triples": "nt",
    "n-quads": "nquads",
    "turtle": "turtle",
    "n3": "n3",
    "trig": "trig",
}
_DATASETS = frozenset({"trix", "nquads", "trig"})


def load_rdf(source: Source, *, format: str | None = None) -> Any:
    """Parse linked data to an rdflib.Graph; formats with named graphs to a Dataset."""
    import rdflib

    from kernel_startup.recognition import type_of_source

    written = format or _RDF_FORMATS.get(type_of_source(source).name, "turtle")
    content = source.read() if written in ("xml", "trix") else load_text(source).encode()
    if written in ("xml", "trix"):
        content = _without_doctype(source, content)
    graph = rdflib.Dataset() if written in _DATASETS else rdflib.Graph()
    try:
        graph.parse(data=content, format=written, publicID="file:///")
    except Exception as error:
        raise FileLoadError(
            source.name,
            f"linked data ({written})",
            tried="rdflib",
            reason=str(error)[:300] or type(error).__name__,
            remedy='format="turtle", "nt", "xml", "n3", "trig" or "nquads" reads it as that',
        ) from error
    return graph


def _without_doctype(source: Source, content: bytes) -> bytes:
    """Replace the entities of a document type, which ontologies use to shorten names; refuse those
    that grow."""
    head = content[:65_536]
    if b"<!DOCTYPE" not in head:
        return content
    if re.search(rb"<!ENTITY[^>]{0,2000}(?:SYSTEM|PUBLIC)\s", head):
        raise FileLoadError(
            source.name, "RDF that refers to another file", remedy="Remove the entity"
        )
    entities = re.findall(rb"<!ENTITY\s+[\w.-]+\s+[\"']([^\"']*)[\"']", head)
    if any(b"&" in value or len(value) > 1_000 for value in entities):
        raise FileLoadError(source.name, "RDF whose entities grow", remedy="Remove the entities")
    return content


# -- graphs --------------------------------------------------------------------------------------


def load_graph(source: Source) -> Any:
    """Read a graph with networkx."""
    import networkx as nx

    from kernel_startup.recognition import type_of_source

    kind = type_of_source(source).name
    if kind == "graphml":
        return nx.read_graphml(io.BytesIO(_safe_graph_xml(source)))
    if kind == "gexf":
        return nx.read_gexf(io.BytesIO(_safe_graph_xml(source)))
    text = load_text(source).lstrip("\ufeff")
    if kind == "gml-graph":
        return _read_gml(text)
    if kind == "pajek":
        return _read_pajek(source, text)
    if kind == "tgf":
        return _read_tgf(text)
    return _read_dot(source, text)


def _safe_graph_xml(source: Source) -> bytes:
    content = source.read()
    if b"<!ENTITY" in content:
        raise FileLoadError(source.name, "XML with entities of its own", remedy="Remove them")
    return content


def _read_gml(text: str) -> Any:
    import networkx as nx

    try:
        return nx.parse_gml(text)
    except nx.NetworkXError:
        # Labels that are missing or not unique.
        return nx.parse_gml(text, label="id")


def _read_pajek(source: Source, text: str) -> Any:
    import networkx as nx

    declared = re.search(r"(?i)\*vertices\s+(\d{1,12})", text)
    if declared is not None and int(declared.group(1)) > max(len(text), 1_000_000):
        raise FileLoadError(
            source.name, f"a network said to have {int(declared.group(1)):,} vertices"
        )
    return nx.parse_pajek([line for line in text.split("\n") if line.strip()])


def _read_tgf(text: str) -> Any:
    import networkx as nx

    graph = nx.DiGraph()
    nodes, _, edges = text.partition("\n#")
    for line in filter(str.strip, nodes.split("\n")):
        node, _, label = line.strip().partition(" ")
        graph.add_node(node, label=label)
    for line in edges.split("\n"):
        parts = line.split(None, 2)
        if len(parts) >= 2:
            graph.add_edge(parts[0], parts[1], label=parts[2] if len(parts) > 2 else "")
    return graph


def _read_dot(source: Source, text: str) -> Any:
    import contextlib

    import networkx as nx
    import pydot

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        graphs = pydot.graph_from_dot_data(text)
    if not graphs:
        raise FileLoadError(
            source.name,
            "a Graphviz graph that isn't well formed",
            tried="pydot",
            remedy='as_="text" gives it as a str',
        )
    return nx.nx_pydot.from_pydot(graphs[0])


# -- references ----------------------------------------------------------------------------------


def load_bibtex(source: Source, *, encoding: str | None = None) -> "pd.DataFrame":
    """Read BibTeX to a DataFrame: one row an entry, with its type and key."""
    import pandas as pd

    rows = [*_bibtex_entries(load_text(source, encoding=encoding))]
    if not rows:
        raise FileLoadError(source.name, "BibTeX without entries", remedy='as_="text" gives a str')
    return pd.DataFrame(rows)


_BIB_START = re.compile(r"@\s*(\w+)\s*([{(])\s*")
_BIB_FIELD = re.compile(r"[\s,]*([^\s=,{}\"()#%']+)\s*=\s*")


def _bibtex_entries(text: str) -> Any:
    strings: dict[str, str] = {}
    position = 0
    while (start := _BIB_START.search(text, position)) is not None:
        kind = start.group(1).lower()
        position = start.end()
        if kind in ("comment", "preamble"):
            _, position = _bib_braced(text, start.end(2) - 1)
            continue
        fields, position = _bib_fields(text, position, strings, with_key=kind != "string")
        if kind == "string":
            strings.update({name.lower(): value for name, value in fields.items()})
        else:
            yield {"type": kind, **fields}


def _bib_fields(
    text: str, position: int, strings: dict[str, str], *, with_key: bool
) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    if with_key:
        key = re.compile(r"[^\s,{}()=]*(?=\s*(?:[,})]|\Z))").match(text, position)
        fields["key"] = key.group() if key else ""
        position = key.end() if key else position
    while (field := _BIB_FIELD.match(text, position)) is not None:
        value, position = _bib_value(text, field.end(), strings)
        fields.setdefault(field.group(1).lower(), value)
    return fields, position


def _bib_value(text: str, position: int, strings: dict[str, str]) -> tuple[str, int]:
    pieces = []
    while position < len(text):
        if text[position] == "{":
            piece, position = _bib_braced(text, position)
        elif text[position] == '"':
            piece, position = _bib_quoted(text, position)
        else:
            word = re.compile(r"[^\s,{}()#\"]*").match(text, position)
            assert word is not None
            piece, position = strings.get(word.group().lower(), word.group()), word.end()
        pieces.append(piece)
        joined = re.compile(r"\s*#\s*").match(text, position)
        if joined is None:
            break
        position = joined.end()
    return re.sub(r"\s+", " ", "".join(pieces)).strip(), position


def _bib_braced(text: str, position: int) -> tuple[str, int]:
    depth = 0
    for brace in re.compile(r"\\.|[{}]|[()]", re.DOTALL).finditer(text, position):
        if brace.group() in "{":
            depth += 1
        elif brace.group() == "}":
            depth -= 1
        if depth <= 0 and brace.group() in "})":
            return text[position + 1 : brace.start()], brace.end()
    return text[position + 1 :], len(text)


def _bib_quoted(text: str, position: int) -> tuple[str, int]:
    depth = 0
    for mark in re.compile(r"\\.|[{}\"]", re.DOTALL).finditer(text, position + 1):
        if mark.group() == "{":
            depth += 1
        elif mark.group() == "}":
            depth -= 1
        elif mark.group() == '"' and depth <= 0:
            return text[position + 1 : mark.start()], mark.end()
    return text[position + 1 :], len(text)


def load_ris(source: Source, *, encoding: str | None = None) -> "pd.DataFrame":
    """Read RIS to a DataFrame: one row an entry, tags for columns, repeated ones joined by "; "."""
    return _tagged(source, encoding, re.compile(r"([A-Z][A-Z0-9])  ?- ?(.*)"), ends="ER")


def load_enw(source: Source, *, encoding: str | None = None) -> "pd.DataFrame":
    """Read EndNote's tagged format to a DataFrame, one row an entry."""
    return _tagged(source, encoding, re.compile(r"%(\S) ?(.*)"), begins="0")


def load_nbib(source: Source, *, encoding: str | None = None) -> "pd.DataFrame":
    """Read PubMed's format to a DataFrame, one row an entry."""
    return _tagged(source, encoding, re.compile(r"([A-Z]{2,4}) {0,2}- ?(.*)"), begins="PMID")


def load_isi(source: Source, *, encoding: str | None = None) -> "pd.DataFrame":
    """Read Web of Science's format to a DataFrame, one row an entry."""
    return _tagged(source, encoding, re.compile(r"([A-Z][A-Z0-9])(?: (.*))?"), ends="ER")


def _tagged(
    source: Source,
    encoding: str | None,
    line_of: re.Pattern[str],
    *,
    begins: str = "",
    ends: str = "",
) -> "pd.DataFrame":
    import pandas as pd

    entries: list[dict[str, str]] = [{}]
    last = ""
    for line in load_text(source, encoding=encoding).lstrip("\ufeff").split("\n"):
        tagged = line_of.fullmatch(line.rstrip())
        if tagged is None:
            if last and line.strip():
                entries[-1][last] += f" {line.strip()}"
            continue
        last, value = tagged.group(1), (tagged.group(2) or "").strip()
        if last == ends or (last == begins and entries[-1]):
            entries.append({})
        if last == ends:
            last = ""
            continue
        known = entries[-1].get(last)
        entries[-1][last] = value if known is None else f"{known}; {value}"
    rows = [entry for entry in entries if len(entry) > (1 if ends else 0)]
    if not rows:
        raise FileLoadError(source.name, "a list of references without entries")
    return pd.DataFrame(rows)
