"""Structured data and configuration: JSON, YAML, TOML, ini, property lists, MessagePack, ..."""

import json
import re
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from kernel_startup.errors import FileLoadError
from kernel_startup.loaders import passes_on
from kernel_startup.loaders.text import decode, load_text
from kernel_startup.source import Source

if TYPE_CHECKING:
    import pandas as pd

#: How deep values may be nested, where a library would take the interpreter's stack.
_MAX_DEPTH = 200


@passes_on("pandas:read_json")
def load_json(
    source: Source,
    *,
    encoding: str | None = None,
    nrows: int | None = None,
    columns: list[str] | None = None,
    **reader: Any,
) -> object:
    """Parse JSON: records become a DataFrame, anything else stays what it is."""
    if reader:
        return _read_with_pandas(source, encoding, nrows, columns, reader)
    text = decode(source, encoding).lstrip("\ufeff")
    if not text.strip():
        raise FileLoadError(source.name, "an empty file" if not text else "a file of blanks")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileLoadError(
            source.name,
            f"JSON that is cut off or not well formed (it begins with {text[:40]!r})",
            tried="Python's json",
            reason=_reason(error),
            remedy='as_="text" gives it as a str',
        ) from error
    return _records_to_table(value, nrows, columns)


@passes_on("pandas:read_json")
def load_jsonl(
    source: Source,
    *,
    encoding: str | None = None,
    nrows: int | None = None,
    columns: list[str] | None = None,
    **reader: Any,
) -> object:
    """Parse JSON lines to a DataFrame; broken lines are counted and left out."""
    if reader:
        return _read_with_pandas(source, encoding, nrows, columns, {"lines": True, **reader})
    text = decode(source, encoding).lstrip("\ufeff")
    if not text.strip():
        raise FileLoadError(source.name, "an empty file" if not text else "a file of blanks")
    lines = [line for line in text.split("\n") if line.strip()][:nrows]
    try:
        # One call is twice as fast as one a line.
        values = json.loads(f"[{','.join(lines)}]")
    except (ValueError, RecursionError):
        values = _parse_each(source, text, lines)
    return _records_to_table(values, nrows, columns)


def _parse_each(source: Source, text: str, lines: list[str]) -> list[object]:
    values = []
    broken = []
    for number, line in enumerate(lines, start=1):
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError) as problem:
            broken.append((number, problem))
    if not broken:
        return values
    if len(broken) > len(values):
        if (stream := _parse_stream(text)) is not None:
            return stream
        number, error = broken[0]
        raise FileLoadError(
            source.name,
            "JSON lines, most of which are broken",
            tried="Python's json on each line",
            reason=f"line {number}: {_reason(error)}",
            remedy='as_="text" gives it as a str',
        ) from error
    number, error = broken[0]
    source.note(
        f"{source.name!r}: {len(broken)} of {len(lines)} lines aren't valid JSON and were left "
        f"out; the first is line {number} ({_reason(error)})."
    )
    return values


def _parse_stream(text: str) -> list[object] | None:
    """Parse values that follow one another over several lines each; None if they don't."""
    decoder = json.JSONDecoder()
    values = []
    position = 0
    try:
        while position < len(text):
            value, position = decoder.raw_decode(text, position)
            values.append(value)
            while position < len(text) and text[position] in " \t\r\n,":
                position += 1
    except (ValueError, RecursionError):
        return None
    return values


def _records_to_table(value: object, nrows: int | None, columns: list[str] | None) -> object:
    is_records = isinstance(value, list) and value and all(isinstance(v, dict) for v in value)
    if not is_records:
        if nrows is None and columns is None:
            return value
        raise ValueError("nrows= and columns= are for a list of records, which this JSON isn't")
    import pandas as pd

    assert isinstance(value, list)
    table = pd.DataFrame(value[:nrows])
    return table if columns is None else table[columns]


def _read_with_pandas(
    source: Source,
    encoding: str | None,
    nrows: int | None,
    columns: list[str] | None,
    reader: dict[str, Any],
) -> object:
    import io

    import pandas as pd

    table = pd.read_json(io.StringIO(decode(source, encoding)), nrows=nrows, **reader)
    return table if columns is None else table[columns]


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error)


# -- kinds of JSON -------------------------------------------------------------------------------


def load_json_value(source: Source, *, encoding: str | None = None) -> object:
    """Parse JSON whose value is wanted as it is."""
    text = decode(source, encoding).lstrip("\ufeff")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileLoadError(
            source.name,
            "JSON that is cut off or not well formed",
            tried="Python's json",
            reason=_reason(error),
            remedy='as_="text" gives it as a str',
        ) from error


def load_har(source: Source, *, encoding: str | None = None) -> Any:
    """Read an HTTP archive: a row a request, with what was asked and answered."""
    import pandas as pd

    value = load_json_value(source, encoding=encoding)
    log = value.get("log") if isinstance(value, dict) else None
    entries = log.get("entries") if isinstance(log, dict) else None
    if not isinstance(entries, list):
        return value
    return pd.json_normalize([entry for entry in entries if isinstance(entry, dict)])


def load_jsonld(source: Source, *, encoding: str | None = None) -> Any:
    """Parse linked data in JSON to an rdflib.Graph; contexts elsewhere aren't fetched."""
    import rdflib

    value = load_json_value(source, encoding=encoding)
    left_out: set[str] = set()
    graph = rdflib.Graph()
    graph.parse(data=json.dumps(_with_own_context(value, left_out, 0)), format="json-ld")
    if left_out:
        source.note(
            f"{source.name!r} refers to {', '.join(sorted(left_out))[:200]}, which wasn't fetched: "
            'terms that are defined there are left out. as_="text" gives all of it.'
        )
    return graph


def _with_own_context(value: object, left_out: set[str], depth: int) -> object:
    if depth > _MAX_DEPTH:
        raise ValueError("it is nested too deeply")
    if isinstance(value, list):
        return [_with_own_context(item, left_out, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    made = {key: _with_own_context(item, left_out, depth + 1) for key, item in value.items()}
    if "@context" in made:
        given = made["@context"]
        contexts = [
            _local_context(c, left_out) for c in (given if isinstance(given, list) else [given])
        ]
        made["@context"] = [c for c in contexts if c is not None]
    return made


def _local_context(context: object, left_out: set[str]) -> object:
    if not isinstance(context, str):
        if isinstance(context, dict):
            context.pop("@import", None)
        return context
    if re.fullmatch(r"https?://(?:www\.)?schema\.org/?(?:docs/jsonldcontext\.json\w*)?", context):
        return {"@vocab": "http://schema.org/"}
    left_out.add(context)
    return None


@passes_on("json5:loads")
def load_json5(source: Source, *, encoding: str | None = None, **reader: Any) -> object:
    """Parse JSON with comments, trailing commas and names without quotes."""
    text = decode(source, encoding).lstrip("\ufeff")
    if not reader:
        try:
            return _records_to_table(json.loads(_without_comments(text)), None, None)
        except (ValueError, RecursionError):
            pass
    import json5

    if len(text) > _MAX_JSON5:
        raise FileLoadError(
            source.name,
            f"JSON with comments of more than {_MAX_JSON5 >> 20} MiB",
            remedy='as_="text" gives it as a str',
        )
    if _nesting(text) > _MAX_DEPTH:
        raise FileLoadError(source.name, "JSON with comments", reason="it is nested too deeply")
    return _records_to_table(json5.loads(text, **reader), None, None)


#: json5 takes seconds for a megabyte.
_MAX_JSON5 = 4 << 20
_JSON_PIECE = re.compile(
    r'"(?>(?:[^"\\\n]++|\\.)*)"|//[^\n]*+|(?>/\*[\s\S]*?\*/)|,(?=\s*+(?>(?:(?://[^\n]*+|'
    r"(?>/\*[\s\S]*?\*/))\s*+)*)[\]}])"
)


def _without_comments(text: str) -> str:
    return _JSON_PIECE.sub(lambda found: found.group() if found.group()[0] == '"' else " ", text)


def _nesting(text: str) -> int:
    deepest = depth = 0
    for bracket in re.finditer(r"[\[\]{}]", text):
        depth += 1 if bracket.group() in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def load_hjson(source: Source, *, encoding: str | None = None) -> object:
    """Parse Hjson."""
    import hjson

    text = decode(source, encoding).lstrip("\ufeff")
    if _nesting(text) > _MAX_DEPTH:
        raise FileLoadError(source.name, "Hjson", reason="it is nested too deeply")
    return _plain(hjson.loads(text))


def _plain(value: Any) -> Any:
    """Make ordered dicts ordinary ones."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


# -- configuration -------------------------------------------------------------------------------

#: What a YAML file's aliases may make of it.
_MAX_YAML_NODES = 5_000_000


def load_yaml(source: Source, *, encoding: str | None = None) -> object:
    """Parse YAML, nothing but plain values; several documents become a list."""
    import yaml

    text = decode(source, encoding).lstrip("\ufeff")
    if not text.strip():
        raise FileLoadError(source.name, "an empty file" if not text else "a file of blanks")
    loader_class = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _refuse_deep_yaml(yaml, text, loader_class)
        documents = [*_yaml_documents(yaml, text, loader_class)]
    except (yaml.YAMLError, ValueError, RecursionError, MemoryError, TypeError) as error:
        raise FileLoadError(
            source.name,
            "YAML that isn't well formed, or a template of YAML",
            tried="PyYAML",
            reason=_reason(error).replace("\n", " ")[:300],
            remedy='as_="text" gives it as a str',
        ) from error
    return documents[0] if len(documents) == 1 else documents


def _yaml_documents(yaml: Any, text: str, loader_class: Any) -> Iterator[object]:
    class Loader(loader_class):  # type: ignore[misc]
        """Keeps what it has no Python type for (!Ref, !vault) as plain values."""

    def unknown(loader: Any, suffix: str, node: Any) -> object:
        if isinstance(node, yaml.ScalarNode):
            return loader.construct_scalar(node)
        if isinstance(node, yaml.SequenceNode):
            return loader.construct_sequence(node, deep=True)
        return loader.construct_mapping(node, deep=True)

    Loader.add_multi_constructor("!", unknown)
    Loader.add_multi_constructor("tag:", unknown)
    loader = Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            _refuse_bomb(node)
            yield loader.construct_document(node)
    finally:
        loader.dispose()


def _refuse_deep_yaml(yaml: Any, text: str, loader_class: Any) -> None:
    # Composing takes C's stack, parsing doesn't.
    depth = 0
    for event in yaml.parse(text, Loader=loader_class):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise ValueError("it is nested too deeply")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _refuse_bomb(node: Any) -> None:
    """Count what a document is with all its aliases followed, each shared part once."""
    sizes: dict[int, int] = {}

    def size(node: Any, depth: int) -> int:
        if id(node) in sizes:
            return sizes[id(node)]
        if depth > _MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        sizes[id(node)] = 1  # one that holds itself
        total = 1
        if isinstance(node.value, list):
            for item in node.value:
                for part in item if isinstance(item, tuple) else (item,):
                    total += size(part, depth + 1)
        sizes[id(node)] = total
        return total

    if size(node, 0) > _MAX_YAML_NODES:
        raise ValueError(f"its aliases make more than {_MAX_YAML_NODES:,} values of it")


def load_toml(source: Source, *, encoding: str | None = None) -> object:
    """Parse TOML to a dict."""
    import tomllib

    text = load_text(source, encoding=encoding).lstrip("\ufeff")
    if _nesting(text) > 10 * _MAX_DEPTH:
        raise FileLoadError(source.name, "TOML", reason="it is nested too deeply")
    return tomllib.loads(text)


def load_ini(source: Source, *, encoding: str | None = None) -> dict[str, Any] | str:
    """Parse settings to a dict of sections; what stands before the first section is in "".

    What isn't written in this way at all is given as text.
    """
    text = load_text(source, encoding=encoding).lstrip("\ufeff")
    sections = _parse_ini(text)
    return text if sections is None else sections


def _parse_ini(text: str) -> dict[str, Any] | None:
    import configparser

    parser = configparser.RawConfigParser(
        allow_no_value=True,
        strict=False,
        interpolation=None,
        default_section="\0none",
        inline_comment_prefixes=None,
    )
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    has_sections = re.search(r"^\s*\[[^\]\n]+\]\s*(?:[;#].*)?$", text, re.MULTILINE) is not None
    if not has_sections and not _are_pairs(text):
        return None
    try:
        parser.read_string(f"[\1top]\n{text}")
    except (configparser.Error, AttributeError, TypeError):
        try:
            # Indented settings are taken for the rest of the line before (.gitconfig, tabs).
            parser.read_string("[\1top]\n" + re.sub(r"^[ \t]+", "", text, flags=re.MULTILINE))
        except (configparser.Error, AttributeError, TypeError):
            return None
    found = {name: dict(parser.items(name)) for name in parser.sections()}
    top = found.pop("\1top", {})
    if not has_sections:
        return top
    return {**({"": top} if top else {}), **found}


def _are_pairs(text: str) -> bool:
    lines = [line for line in text.split("\n") if line.strip() and line.strip()[0] not in "#;"]
    pairs = [line for line in lines if re.match(r"[\w.\-/ ]{1,80}?\s*[=:]", line)]
    return bool(lines) and len(pairs) >= 0.9 * len(lines)


def load_env(source: Source, *, encoding: str | None = None) -> dict[str, str]:
    """Parse environment variables to a dict; nothing in them is replaced."""
    found = {}
    text = load_text(source, encoding=encoding).lstrip("\ufeff")
    for match in _VARIABLE.finditer(text):
        name, single, double, bare = match.groups()
        if double is not None:
            found[name] = re.sub(r"\\([nrt\"$\\])", _unescape, double)
        else:
            found[name] = single if single is not None else re.sub(r"\s+#.*", "", bare).strip()
    return found


_VARIABLE = re.compile(
    r"^[ \t]*(?:export[ \t]+)?([\w.-]+)[ \t]*=[ \t]*"
    r"(?:'([^']*+)'|\"((?>(?:[^\"\\]++|\\[\s\S])*))\"|([^\n]*+))",
    re.MULTILINE,
)


def _unescape(found: re.Match[str]) -> str:
    return {"n": "\n", "r": "\r", "t": "\t"}.get(found.group(1), found.group(1))


def load_properties(source: Source, *, encoding: str | None = None) -> dict[str, str]:
    """Parse Java properties to a dict."""
    text = load_text(source, encoding=encoding).lstrip("\ufeff")
    found = {}
    for line in _logical_lines(text):
        parts = re.match(r"((?>(?:[^\s=:\\]++|\\.)*))\s*+[=:]?\s*+(.*)\Z", line, re.DOTALL)
        if parts is not None:
            found[_java(parts.group(1))] = _java(parts.group(2))
    return found


def _logical_lines(text: str) -> Iterator[str]:
    joined = ""
    for line in text.split("\n"):
        line = line.lstrip()
        if not joined and (not line or line[0] in "#!"):
            continue
        joined += line
        if (len(joined) - len(joined.rstrip("\\"))) % 2:
            joined = joined[:-1]
            continue
        yield joined
        joined = ""
    if joined:
        yield joined


def _java(text: str) -> str:
    def replace(found: re.Match[str]) -> str:
        code, other = found.groups()
        if code:
            return chr(int(code, 16))
        return {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}.get(other, other)

    unescaped = re.sub(r"\\(?:u([0-9a-fA-F]{4})|(.))", replace, text, flags=re.DOTALL)
    # Characters beyond 16 bits are written as two.
    return unescaped.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def load_reg(source: Source, *, encoding: str | None = None) -> dict[str, dict[str, Any]]:
    """Parse an export of Windows' registry: key -> value's name -> value; "" is the default."""
    text = re.sub(r"\\\n[ \t]*", "", load_text(source, encoding=encoding))
    keys: dict[str, dict[str, Any]] = {}
    values: dict[str, Any] = {}
    for line in text.split("\n"):
        if (key := re.fullmatch(r"\[(.+)\]\s*", line)) is not None:
            values = keys.setdefault(key.group(1), {})
        elif (pair := re.match(r"(?:\"((?>(?:[^\"\\]++|\\.)*))\"|@)\s*=\s*(.*)", line)) is not None:
            name = re.sub(r"\\(.)", r"\1", pair.group(1) or "")
            values[name] = _registry_value(pair.group(2).strip())
    return keys


def _registry_value(text: str) -> Any:
    kind, _, digits = text.partition(":")
    try:
        if text.startswith('"'):
            return re.sub(r"\\(.)", r"\1", text[1:].removesuffix('"'))
        if kind == "dword":
            return int(digits, 16)
        if kind.startswith("hex"):
            raw = bytes.fromhex(digits.replace(",", "").strip())
            if kind in ("hex(2)", "hex(1)"):
                return raw.decode("utf-16-le", "replace").rstrip("\0")
            if kind == "hex(7)":
                return [t for t in raw.decode("utf-16-le", "replace").split("\0") if t]
            return int.from_bytes(raw, "little") if kind == "hex(b)" else raw
    except ValueError:
        pass
    return None if text == "-" else text


def load_strings(source: Source, *, encoding: str | None = None) -> dict[str, str] | object:
    """Parse Apple's localised strings to a dict."""
    if source.head.startswith(b"bplist"):
        return load_plist(source)
    text = re.sub(r"(?>/\*[\s\S]*?\*/)", " ", load_text(source, encoding=encoding))
    quoted = r"\"((?>(?:[^\"\\]++|\\[\s\S])*))\""
    return {
        _java(key or bare): _java(value)
        for key, bare, value in re.findall(rf"(?:{quoted}|([\w.]+))\s*=\s*{quoted}\s*;", text)
    }


def load_hcl(source: Source, *, encoding: str | None = None) -> object:
    """Parse HCL (Terraform) to a dict."""
    import hcl2

    text = load_text(source, encoding=encoding).lstrip("\ufeff")
    if _nesting(text) > _MAX_DEPTH:
        raise FileLoadError(source.name, "HCL", reason="it is nested too deeply")
    return hcl2.loads(text if text.endswith("\n") else f"{text}\n")


def load_po(source: Source, *, encoding: str | None = None) -> "pd.DataFrame":
    """Read translations to a DataFrame: context, message, plural, translation, comments, fuzzy."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    text = load_text(source, encoding=encoding).lstrip("\ufeff")
    for block in re.split(r"\n[ \t]*\n", text):
        row = _po_entry(block)
        if row.get("msgid"):  # the empty one is the header
            rows.append(row)
    return pd.DataFrame(rows, columns=_columns_of(rows, ["msgid", "msgstr"]))


def _columns_of(rows: list[dict[str, Any]], first: list[str]) -> list[str]:
    return [*dict.fromkeys([*first, *(name for row in rows for name in row)])]


def _po_entry(block: str) -> dict[str, Any]:
    row: dict[str, Any] = {}
    keyword = ""
    for line in block.split("\n"):
        line = line.strip()
        if line.startswith("#~"):
            row["obsolete"] = True
            line = line[2:].strip()
        if line.startswith("#"):
            kind = {"#:": "references", "#.": "notes", "#,": "flags"}.get(line[:2], "comments")
            said = line[2:].strip()
            row[kind] = f"{row[kind]} {said}" if kind in row else said
            continue
        part = re.match(r"(msgctxt|msgid_plural|msgid|msgstr(?:\[\d+\])?)\s+(?=\")", line)
        if part is not None:
            keyword, line = part.group(1), line[part.end() :]
            row.setdefault(keyword, "")
        if keyword and line.startswith('"'):
            row[keyword] += _java(line[1:].removesuffix('"'))
    return row


def load_mo(source: Source) -> "pd.DataFrame":
    """Read compiled translations to a DataFrame."""
    import pandas as pd

    content = source.read()
    order = "<" if content.startswith(b"\xde") else ">"
    _, _, count, originals, translations = struct.unpack_from(f"{order}5I", content)
    if count * 8 > len(content):
        raise FileLoadError(source.name, f"translations said to be {count:,}, cut off or damaged")
    rows = []
    for number in range(count):
        pieces = []
        for table in (originals, translations):
            size, place = struct.unpack_from(f"{order}2I", content, table + 8 * number)
            pieces.append(content[place : place + size].decode("utf-8", "replace"))
        if not pieces[0]:
            continue
        context, _, message = pieces[0].rpartition("\x04")
        message, _, plural = message.partition("\0")
        row = {"msgid": message, "msgstr": pieces[1].partition("\0")[0]}
        rows.append(
            row
            | ({"msgctxt": context} if context else {})
            | ({"msgid_plural": plural} if plural else {})
        )
    return pd.DataFrame(rows, columns=_columns_of(rows, ["msgid", "msgstr"]))


# -- property lists, and JSON's binary relatives -------------------------------------------------


def load_plist(source: Source) -> object:
    """Read a property list, binary or XML."""
    import plistlib

    content = source.read()
    if content.startswith(b"bplist"):
        _check_binary_plist(source, content)
    elif b"<!ENTITY" in content:
        raise FileLoadError(source.name, "a property list with entities", remedy="Remove them")
    try:
        return plistlib.loads(content)
    except (plistlib.InvalidFileException, ValueError, OverflowError, MemoryError) as error:
        raise FileLoadError(
            source.name,
            "a property list that is cut off or damaged",
            tried="Python's plistlib",
            reason=str(error),
        ) from error


def _check_binary_plist(source: Source, content: bytes) -> None:
    """Refuse one that says it has more objects than fit, or that grows by sharing them."""
    damaged = "a binary property list that is cut off or damaged"
    if len(content) < 40:
        raise FileLoadError(source.name, damaged)
    offset_size, reference_size, count, top, table = struct.unpack(">6xBBQQQ", content[-32:])
    fits = 0 < offset_size <= 8 and 0 < reference_size <= 8 and top < count
    if not fits or table + count * offset_size > len(content):
        raise FileLoadError(source.name, damaged, reason=f"it says that it has {count:,} objects")


def load_msgpack(source: Source, *, raw: bool = False) -> object:
    """Read MessagePack: a value, or a list if several follow one another."""
    import msgpack

    content = source.read()
    unpacker = msgpack.Unpacker(raw=raw, strict_map_key=False, max_buffer_size=len(content) + 1)
    unpacker.feed(content)
    values = []
    try:
        for value in unpacker:
            values.append(value)
    except (ValueError, msgpack.exceptions.UnpackException, RecursionError, TypeError) as error:
        if not values:
            raise FileLoadError(
                source.name,
                "MessagePack that is cut off or damaged",
                tried="msgpack",
                reason=str(error) or type(error).__name__,
            ) from error
        source.note(f"{source.name!r} is damaged after {len(values):,} values: {error}.")
    if not values or unpacker.tell() == 0:
        raise FileLoadError(source.name, "MessagePack that is cut off or empty", tried="msgpack")
    if unpacker.tell() < len(content):
        source.note(f"{source.name!r} is cut off after {len(values):,} whole values.")
    return values[0] if len(values) == 1 else values


def load_cbor(source: Source) -> object:
    """Read CBOR: a value, or a list if several follow one another."""
    import io

    import cbor2

    content = source.read()
    values: list[object] = []
    stream = io.BytesIO(content)
    while stream.tell() < len(content):
        start = stream.tell()
        _refuse_deep_cbor(source, content)
        try:
            values.append(cbor2.load(stream))
        except Exception as error:
            if not values:
                raise FileLoadError(
                    source.name,
                    "CBOR that is cut off or damaged",
                    tried="cbor2",
                    reason=str(error) or type(error).__name__,
                ) from error
            if content[start:] != b"\xff":  # a break that closes nothing: some writers leave one
                source.note(f"{source.name!r} is damaged after {len(values):,} values: {error}.")
            break
        if stream.tell() == start:
            break
    if not values:
        raise FileLoadError(source.name, "an empty file")
    return values[0] if len(values) == 1 else values


def _refuse_deep_cbor(source: Source, content: bytes) -> None:
    if re.search(rb"[\x81\x9f\xc0-\xdb]{%d}" % (2 * _MAX_DEPTH), content[:1_000_000]):
        raise FileLoadError(source.name, "CBOR", reason="it is nested too deeply")


def load_bson(source: Source, *, nrows: int | None = None) -> list[dict[str, Any]]:
    """Read BSON documents that follow one another, as mongodump writes them."""
    documents: list[dict[str, Any]] = []
    with source.open() as file:
        while nrows is None or len(documents) < nrows:
            document = _next_document(file)
            if document is None:
                break
            try:
                documents.append(_Bson(document).document(0))
            except (struct.error, IndexError, ValueError, OverflowError) as error:
                if not documents:
                    raise FileLoadError(
                        source.name, "BSON that is cut off or damaged", reason=str(error)
                    ) from error
                source.note(f"{source.name!r} is damaged after {len(documents):,} documents.")
                break
    if not documents:
        raise FileLoadError(source.name, "BSON that is cut off or empty")
    return documents


def _next_document(file: BinaryIO) -> bytes | None:
    prefix = file.read(4)
    if len(prefix) < 4:
        return None
    size = int.from_bytes(prefix, "little")
    rest = file.read(min(size - 4, 64 << 20)) if size >= 5 else b""
    return prefix + rest if len(rest) == size - 4 else b""


class _Bson:
    """One document's bytes, read from the front."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    def take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.content):
            raise ValueError("it ends in the middle of a value")
        piece = self.content[self.at : self.at + size]
        self.at += size
        return piece

    def unpack(self, form: str) -> Any:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))[0]

    def name(self) -> str:
        end = self.content.index(b"\0", self.at)
        piece = self.take(end - self.at)
        self.at += 1
        return piece.decode("utf-8", "replace")

    def string(self) -> str:
        return self.take(self.unpack("i")).removesuffix(b"\0").decode("utf-8", "replace")

    def document(self, depth: int) -> dict[str, Any]:
        if depth > _MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        self.unpack("i")
        found = {}
        while (code := self.take(1)[0]) != 0:
            name = self.name()
            found[name] = self.value(code, depth)
        return found

    def value(self, code: int, depth: int) -> Any:
        if code in (3, 4):
            document = self.document(depth + 1)
            return document if code == 3 else [*document.values()]
        reader = _BSON_VALUES.get(code)
        if reader is None:
            raise ValueError(f"it has a value of the unknown type {code}")
        return reader(self)


def _bson_date(bson: _Bson) -> Any:
    import datetime

    milliseconds = bson.unpack("q")
    try:
        epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
        return epoch + datetime.timedelta(milliseconds=milliseconds)
    except OverflowError:
        return milliseconds


def _bson_binary(bson: _Bson) -> Any:
    import uuid

    size, subtype = bson.unpack("i"), bson.take(1)[0]
    content = bson.take(size)
    return uuid.UUID(bytes=content) if subtype == 4 and size == 16 else content


def _bson_code(bson: _Bson) -> Any:
    bson.unpack("i")
    return {"code": bson.string(), "scope": bson.document(0)}


def _bson_decimal(bson: _Bson) -> Any:
    from decimal import Decimal

    low, high = bson.unpack("Q"), bson.unpack("Q")
    sign = high >> 63
    if (high >> 58) & 31 >= 30:
        return Decimal("NaN" if (high >> 58) & 31 == 31 else "-Infinity" if sign else "Infinity")
    if (high >> 61) & 3 == 3:
        return Decimal(0)  # not canonical, hence zero
    exponent = ((high >> 49) & 0x3FFF) - 6176
    digits = ((high & 0x1_FFFF_FFFF_FFFF) << 64) | low
    return Decimal((sign, tuple(map(int, str(digits))), exponent))


_BSON_VALUES: dict[int, Callable[[_Bson], Any]] = {
    1: lambda bson: bson.unpack("d"),
    2: _Bson.string,
    5: _bson_binary,
    6: lambda bson: None,
    7: lambda bson: bson.take(12).hex(),
    8: lambda bson: bson.take(1) != b"\0",
    9: _bson_date,
    10: lambda bson: None,
    11: lambda bson: f"/{bson.name()}/{bson.name()}",
    12: lambda bson: {"$ref": bson.string(), "$id": bson.take(12).hex()},
    13: _Bson.string,
    14: _Bson.string,
    15: _bson_code,
    16: lambda bson: bson.unpack("i"),
    17: lambda bson: {"increment": bson.unpack("I"), "time": bson.unpack("I")},
    18: lambda bson: bson.unpack("q"),
    19: _bson_decimal,
    0x7F: lambda bson: "$maxKey",
    0xFF: lambda bson: "$minKey",
}


def load_ubjson(source: Source) -> object:
    """Read UBJSON."""
    try:
        return _Ubjson(source.read()).value(0)
    except (IndexError, struct.error, ValueError) as error:
        raise FileLoadError(
            source.name, "UBJSON that is cut off or damaged", reason=str(error)
        ) from error


class _Ubjson:
    """Universal Binary JSON, draft 12: markers of one letter, big-endian numbers."""

    _NUMBERS = {"i": "b", "U": "B", "I": "h", "l": "i", "L": "q", "d": "f", "D": "d"}  # noqa: RUF012
    _FIXED = {"Z": None, "N": None, "T": True, "F": False}  # noqa: RUF012

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    def take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.content):
            raise ValueError("it ends in the middle of a value")
        piece = self.content[self.at : self.at + size]
        self.at += size
        return piece

    def marker(self) -> str:
        marker = self.take(1).decode("latin-1")
        while marker == "N":  # a blank
            marker = self.take(1).decode("latin-1")
        return marker

    def number(self, marker: str) -> Any:
        form = f">{self._NUMBERS[marker]}"
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def size(self) -> int:
        marker = self.take(1).decode("latin-1")
        if marker not in "iUIlL":
            raise ValueError(f"it has {marker!r} for a length")
        return int(self.number(marker))

    def string(self) -> str:
        return self.take(self.size()).decode("utf-8", "replace")

    def value(self, depth: int, marker: str = "") -> Any:
        if depth > _MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        marker = marker or self.marker()
        if marker in self._FIXED:
            return self._FIXED[marker]
        if marker in self._NUMBERS:
            return self.number(marker)
        if marker == "C":
            return self.take(1).decode("latin-1")
        if marker in "SH":
            return self.string()
        if marker == "[":
            return self._items(depth, "]")
        if marker == "{":
            return self._items(depth, "}")
        raise ValueError(f"it has a value of the unknown type {marker!r}")

    def _items(self, depth: int, closing: str) -> Any:
        kind, count = self._container()
        named: dict[str, Any] = {}
        listed: list[Any] = []
        if count is not None and count > len(self.content) - self.at and closing == "]":
            raise ValueError(f"it says that it has {count:,} values")
        while count is None or len(named) + len(listed) < count:
            if count is None and self.content[self.at : self.at + 1] == closing.encode():
                self.at += 1
                break
            if closing == "}":
                name = self.string()
                if name in named and count is not None:
                    raise ValueError(f"it has the key {name!r} twice")
                named[name] = self.value(depth + 1, kind)
            else:
                listed.append(self.value(depth + 1, kind))
        return named if closing == "}" else listed

    def _container(self) -> tuple[str, int | None]:
        kind = ""
        if self.content[self.at : self.at + 1] == b"$":
            self.at += 1
            kind = self.take(1).decode("latin-1")
        if self.content[self.at : self.at + 1] == b"#":
            self.at += 1
            return kind, self.size()
        if kind:
            raise ValueError("a typed container has no count")
        return "", None


def load_bencode(source: Source) -> object:
    """Read a torrent: texts are decoded, the hashes of its pieces stay bytes."""
    try:
        return _Bencode(source.read()).value(0)
    except (IndexError, ValueError) as error:
        raise FileLoadError(
            source.name, "a torrent that is cut off or damaged", reason=str(error)
        ) from error


class _Bencode:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    def value(self, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        code = self.content[self.at : self.at + 1]
        if code == b"i":
            end = self.content.index(b"e", self.at, self.at + 40)
            number = int(self.content[self.at + 1 : end])
            self.at = end + 1
            return number
        if code in (b"l", b"d"):
            self.at += 1
            items = []
            while self.content[self.at : self.at + 1] != b"e":
                items.append(self.value(depth + 1))
            self.at += 1
            if code == b"l":
                return items
            return {str(k): v for k, v in zip(items[::2], items[1::2], strict=True)}
        return self._string()

    def _string(self) -> str | bytes:
        colon = self.content.index(b":", self.at, self.at + 12)
        size = int(self.content[self.at : colon])
        if size < 0 or colon + 1 + size > len(self.content):
            raise ValueError("it ends in the middle of a value")
        piece = self.content[colon + 1 : colon + 1 + size]
        self.at = colon + 1 + size
        try:
            return piece.decode()
        except UnicodeDecodeError:
            return piece
