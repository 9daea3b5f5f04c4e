"""Structured data, configuration, markup, graphs, subtitles, source code."""

import contextlib
import gzip
import json
import plistlib
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel_startup.checks.text import guess_type
from kernel_startup.errors import FileLoadError
from kernel_startup.recognition import type_of_content
from kernel_startup.types import TYPES, type_of_name
from tests.formats.made.text import MADE
from tests.formats.uploads import Loading, Made, Sample, samples

#: What a sample's extension is called in the table, where that is something else.
_NAMES = {
    "as": "actionscript",
    "bdf": "bdf-font",
    "bplist": "plist-binary",
    "htm": "html",
    "md": "markdown",
    "pro": "prolog",
    "txt": "license",
    "yml": "yaml",
}
#: Nothing in their content says what they are called.
_NAMELESS = {"as": "text", "log": "text", "pro": "fasta", "txt": "text"}


@pytest.mark.parametrize("sample", samples("structured", "subtitles", "code", "web", "ambiguous"))
def test_sample(sample: Sample, load: Loading) -> None:
    expected = _NAMES.get(sample.extension, sample.extension)
    assert type_of_content(sample.path).name == expected
    nameless = _NAMELESS.get(sample.extension, expected)
    assert type_of_content(sample.path, "upload").name == nameless
    loaded = load(sample.path)
    for fact, value in sample.fact.items():
        assert _told(loaded, fact, sample) == value


def _told(loaded: Any, fact: str, sample: Sample) -> Any:
    if fact == "text_contains":
        text = " ".join(loaded.get_text(" ").replace("/1.18.0", "").split()).replace("(", "")
        return sample.fact[fact] if sample.fact[fact] in text.replace(")", "") else text
    tellers: dict[str, Callable[[Any], Any]] = {
        "lines": lambda text: text.count("\n"),
        "chars": len,
        "type": lambda value: type(value).__name__,
        "len": lambda value: len(value) if hasattr(value, "__len__") else None,
        "root": lambda tree: tree.getroot().tag.rpartition("}")[2],
        "elements": lambda tree: sum(1 for _ in tree.iter("*")),
        "sections": lambda settings: [*settings],
        "keys": sorted,
        "n": len,
        "events": len,
    }
    return tellers[fact](loaded)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Dockerfile", "dockerfile"),
        ("Dockerfile.dev", "dockerfile"),
        ("CMakeLists.txt", "cmake"),
        ("requirements.txt", "requirements"),
        ("Makefile.am", "makefile"),
        (".bashrc", "shell"),
        (".gitignore", "gitignore"),
        (".env", "env"),
        ("LICENSE", "license"),
        ("pom.xml", "pom"),
        ("Jenkinsfile", "groovy"),
        ("a.blade.php", "blade"),
        ("a.f90", "fortran"),
        ("a.F", "fortran-fixed"),
        ("a.tf", "terraform"),
        ("a.smi", "smiles"),
    ],
)
def test_whole_names_and_extensions(name: str, expected: str) -> None:
    assert type_of_name(name).name == expected


def test_at_least_90_languages() -> None:
    languages = [t for t in TYPES.values() if t.family == "source code"]
    assert len(languages) >= 90
    assert all(t.extensions for t in languages)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#!/usr/bin/env python3\nx\n", "python"),
        ("#!/usr/bin/env -S node --x\n", "javascript"),
        ("#!/bin/sh\n", "shell"),
        ("#!/opt/strange\n", None),
        ("---\ntitle: x\n---\n\n# Hello\n", "markdown"),
        ("a: 1\nb:\n  - c\n", "yaml"),
        ("Dear Ann,\n\nto: you. We met # 5 times; I said: no.\n", None),
        ("Name: x\nDate: y\n", None),
        ("1. first\n2. second\n", None),
        ("import the goods from Spain;\nreturn them.\n", None),
        ("a = 1\n", None),
    ],
)
def test_language_is_guessed_only_where_it_shows(text: str, expected: str | None) -> None:
    assert guess_type(text) == expected


@pytest.mark.parametrize(
    "piece", [" ", "\n", "a ", "(a\n", "{\n", "# \n", "// \n", "/*", "a=\n", "<?"]
)
def test_guess_is_bounded(piece: str) -> None:
    assert guess_type(("x" + piece * 50_000)[:65_536]) in (None, "markdown", "css")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_source_code_is_decoded(load: Loading, encoding: str) -> None:
    text = "# Größe: déjà vu\r\nx = 1\r"
    assert load(text.encode(encoding), "a.py") == text


# -- hostile and broken ----------------------------------------------------------------------------

_ENTITIES = "".join(f'<!ENTITY l{n} "{"&l%d;" % (n - 1) * 10 if n else "lol"}">' for n in range(10))  # noqa: UP031


def test_xml_entities_stay_as_they_are(load: Loading, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("SECRET")
    bomb = f"<?xml version='1.0'?><!DOCTYPE a [{_ENTITIES}]><a>&l9;</a>"
    outside = f"<!DOCTYPE a [<!ENTITY x SYSTEM 'file://{tmp_path}/secret'>]><a>&x;</a>"
    tree = load(outside, "a.xml")
    assert "SECRET" not in "".join(tree.getroot().itertext(with_tail=False))
    with pytest.raises(FileLoadError, match="amplification"):
        load(bomb, "b.xml")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", "[" * 100_000),
        ("a.yaml", "[" * 100_000),
        ("a.yaml", "- " * 100_000),
        (
            "a.yaml",
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(
                f"{c}: &{c} [{','.join([f'*{chr(ord(c) - 1)}'] * 9)}]\n" for c in "bcdefghij"
            ),
        ),
        ("a.yaml", "a: [1, 2"),
        ("a.yaml", "!!python/object/apply:os.system [echo]\n: ["),
        ("a.toml", "a = " + "[" * 100_000),
        ("a.toml", "a ="),
        ("a.json5", "// x\n" + "[" * 100_000),
        ("a.xml", "<a>" * 10_000),
        ("a.xml", "<a><b></a>"),
        ("a.ipynb", '{"cells": [{"cell_type": '),
        ("a.plist", b"bplist00" + b"\xff" * 50),
        ("b.plist", plistlib.dumps({"a": [1, 2]}, fmt=plistlib.FMT_BINARY)[:-10]),
        ("a.msgpack", b"\xdd\xff\xff\xff\xff\x01"),
        ("b.msgpack", b"\xdb\xff\xff\xff\xffabc"),
        ("c.msgpack", b"\x91" * 100_000),
        ("a.cbor", b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff\x01"),
        ("b.cbor", b"\x81" * 100_000),
        ("a.bson", struct.pack("<i", 1 << 30) + b"\x02name\0"),
        ("a.ubj", b"[$Z#l\x7f\xff\xff\xff"),
        ("a.ubj", b"[#l\x7f\xff\xff\xff"),
        ("a.torrent", b"d8:announce999999999999:x"),
        ("a.srt", "1\n00:00:01,000 nothing"),
        ("a.bib", "nothing here"),
        ("a.ris", "nothing here"),
        ("a.mo", b"\xde\x12\x04\x95\0\0\0\0\xff\xff\xff\x7f" + b"\0" * 20),
    ],
)
def test_broken_file_is_refused_in_a_sentence(
    load: Loading, name: str, content: bytes | str
) -> None:
    with pytest.raises(FileLoadError) as caught:
        load(content, name)
    assert len(str(caught.value)) < 900


@pytest.mark.parametrize("made", [m for m in MADE if not m.requires], ids=lambda m: m.filename)
def test_damaged_files_load_or_are_refused(made: Made, load: Loading) -> None:
    content = made.make()
    chance = random.Random(made.filename)
    damaged = [content[: len(content) * part // 5] for part in range(5)]
    for _ in range(6):
        flipped = bytearray(content)
        for _ in range(chance.randint(1, 4)):
            flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
        damaged.append(bytes(flipped))
    for number, piece in enumerate(damaged):
        with contextlib.suppress(FileLoadError):
            load(piece, made.filename if number % 2 else f"{number}.{made.filename}")


# -- options and behaviour -------------------------------------------------------------------------


def test_yaml_documents_tags_and_anchors(load: Loading) -> None:
    assert load("a: 1\n---\nb: !Ref x\n", "a.yaml") == [{"a": 1}, {"b": "x"}]
    assert load("a: &x {b: 1}\nc: *x\n", "b.yml") == {"a": {"b": 1}, "c": {"b": 1}}


def test_xpath_gives_a_table(load: Loading) -> None:
    table = load("<r><i id='01'><n>a</n></i><i id='2'><n>b</n></i></r>", "a.xml", xpath="//i")
    assert table.to_dict("list") == {"id": ["01", "2"], "n": ["a", "b"]}


def test_html_called_csv_is_a_page(load: Loading) -> None:
    assert load("<!DOCTYPE html><html><title>no</title></html>", "a.csv").title.get_text() == "no"


def test_huge_spans_make_no_huge_table(load: Loading) -> None:
    page = load("<table><tr><td colspan=99999999 rowspan=3>a</td></tr></table>", "a.html")
    assert page.tables[0].shape[1] <= 100


def test_ini_without_sections_and_unlike_ini(load: Loading) -> None:
    assert load("a=1\nb = 2\n", "a.conf") == {"a": "1", "b": "2"}
    nginx = "server {\n  listen 80;\n}\n"
    assert load(nginx, "b.conf") == nginx
    assert load("[user]\n\tname = A\n\temail = b\n", ".gitconfig") == {
        "user": {"name": "A", "email": "b"}
    }


def test_remote_context_is_not_fetched(load: Loading, on_demand: Callable[..., None]) -> None:
    on_demand(*TYPES["jsonld"].requires)
    content = {
        "@context": ["https://schema.org", "http://x.invalid/c"],
        "@id": "http://a",
        "name": "b",
    }
    assert len(load(json.dumps(content), "a.jsonld")) == 1
    assert "x.invalid" in load.notes[0]


def test_compressed_subtitles_and_frame_rate(load: Loading) -> None:
    table = load(gzip.compress(b"{50}{100}{y:i}Hi\n"), "a.sub.gz", fps=25)
    assert table["start"].iloc[0].total_seconds() == 2
    assert table["text"].tolist() == ["Hi"]


def test_typescript_and_translations_share_an_extension(load: Loading) -> None:
    assert load("export const a = 1;\n", "a.ts") == "export const a = 1;\n"
    assert load("<!DOCTYPE TS><TS version='2.1'></TS>", "b.ts").getroot().tag == "TS"


def test_webvtt_without_a_cue_is_an_empty_table(load: Loading) -> None:
    for text in ("WEBVTT", "WEBVTT - nothing is said\n\nNOTE here\n"):
        assert list(load(text, "silence.vtt").columns) == ["start", "end", "text"]
