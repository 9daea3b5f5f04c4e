"""Structured data, configuration, markup, graphs, references, subtitles, source code."""

import json
import plistlib
import struct
from collections.abc import Callable
from typing import Any

from tests.formats.uploads import Made


def _is(expected: object) -> Callable[[Any], None]:
    def check(loaded: Any) -> None:
        assert loaded == expected

    return check


def _has(text: str) -> Callable[[Any], None]:
    def check(loaded: Any) -> None:
        assert isinstance(loaded, str)
        assert text in loaded

    return check


def _root(name: str) -> Callable[[Any], None]:
    def check(tree: Any) -> None:
        assert tree.getroot().tag.rpartition("}")[2] == name

    return check


def _cues(*texts: str, start_s: float = 1.0) -> Callable[[Any], None]:
    def check(table: Any) -> None:
        assert table["text"].tolist() == [*texts]
        assert abs(table["start"].iloc[0].total_seconds() - start_s) < 0.05

    return check


def _edges(count: int) -> Callable[[Any], None]:
    def check(graph: Any) -> None:
        assert graph.number_of_edges() == count

    return check


def _triples(count: int) -> Callable[[Any], None]:
    def check(graph: Any) -> None:
        assert len(graph) == count

    return check


def _columns(**expected: list[Any]) -> Callable[[Any], None]:
    def check(table: Any) -> None:
        for name, values in expected.items():
            assert table[name].tolist() == values

    return check


def _written(
    type_: str,
    filename: str,
    content: str | bytes,
    check: Callable[[Any], None],
    *,
    nameless: bool = True,
    requires: tuple[str, ...] = (),
) -> Made:
    as_bytes = content.encode() if isinstance(content, str) else content
    return Made(type_, filename, lambda: as_bytes, check, nameless=nameless, requires=requires)


def _code(type_: str, filename: str, content: str, *, nameless: bool = True) -> Made:
    return _written(type_, filename, content, _is(content), nameless=nameless)


def _xml(
    type_: str, filename: str, root: str, namespace: str = "", *, nameless: bool = True
) -> Made:
    declared = f' xmlns="{namespace}"' if namespace else ""
    content = f'<?xml version="1.0"?>\n<{root}{declared}><a b="c">d</a></{root}>\n'
    return _written(type_, filename, content, _root(root), nameless=nameless)


def _binary_plist() -> bytes:
    return plistlib.dumps({"name": "Oslo", "people": 700_000}, fmt=plistlib.FMT_BINARY)


def _webarchive() -> bytes:
    page = {"WebResourceData": b"<html></html>", "WebResourceURL": "https://example.org"}
    return plistlib.dumps({"WebMainResource": page}, fmt=plistlib.FMT_BINARY)


def _msgpack() -> bytes:
    import msgpack

    content: bytes = msgpack.packb({"name": "Oslo", "people": [1, 2.5, None], "more": {"a": True}})
    return content


def _cbor() -> bytes:
    import cbor2

    return cbor2.dumps({"name": "Oslo", "people": [1, 2.5, None], "more": {"a": True}})


def _bson() -> bytes:
    elements = b"\x02name\0\x05\0\0\0Oslo\0" + b"\x10people\0\x07\0\0\0" + b"\x08big\0\x01"
    document = struct.pack("<i", len(elements) + 5) + elements + b"\0"
    return document * 2


def _mo() -> bytes:
    pairs = [(b"", b"Language: nb\n"), (b"yes", b"ja")]
    place = 28 + 16 * len(pairs)
    tables: list[bytes] = []
    texts = b""
    for column in range(2):
        for pair in pairs:
            tables.append(struct.pack("<2I", len(pair[column]), place + len(texts)))
            texts += pair[column] + b"\0"
    header = struct.pack("<7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, place)
    return header + b"".join(tables) + texts


def _ebu_stl() -> bytes:
    header = (b"850STL25.01100").ljust(1024, b" ")
    block = bytes([0, 0, 0, 0xFF, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0]) + b"Hello\x8aworld"
    return header + block.ljust(128, b"\x8f")


_NOTEBOOK = {"cells": [{"cell_type": "code", "source": ["1 + 1"], "metadata": {}}], "nbformat": 4}
_HAR = {"log": {"version": "1.2", "creator": {}, "entries": [{"time": 5, "request": {"url": "x"}}]}}
_TURTLE = '@prefix ex: <http://example.org/> .\nex:a ex:b "c" .\nex:a ex:d ex:e .\n'
_RDF = (
    '<?xml version="1.0"?><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
    'xmlns:x="http://example.org/"><rdf:Description rdf:about="http://example.org/a"><x:b>c</x:b>'
    "</rdf:Description></rdf:RDF>"
)
_GRAPHML = (
    '<?xml version="1.0"?><graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph id="g" '
    'edgedefault="directed"><node id="a"/><node id="b"/><edge source="a" target="b"/>'
    "</graph></graphml>"
)
_GEXF = (
    '<?xml version="1.0"?><gexf xmlns="http://www.gexf.net/1.2draft" version="1.2"><graph '
    'defaultedgetype="directed"><nodes><node id="0" label="a"/><node id="1" label="b"/></nodes>'
    '<edges><edge id="0" source="0" target="1"/></edges></graph></gexf>'
)
_REGISTRY = (
    'Windows Registry Editor Version 5.00\r\n\r\n[HKEY\\A]\r\n"b"=dword:0000000f\r\n@="c"\r\n'
)
_RDFLIB = ("rdflib>=7.1",)
_NETWORKX = ("networkx>=3.4",)
_HTML = (
    "<!DOCTYPE html>\n<html><body><table><tr><th>zip</th></tr><tr><td>0123</td></tr></table></html>"
)


def _is_page(page: Any) -> None:
    assert page.find("th").get_text() == "zip"
    assert page.tables[0]["zip"].tolist() == ["0123"]


MADE = (
    _written("json", "a.json", '{"a": [1, {"b": null}]}', _is({"a": [1, {"b": None}]})),
    _written("jsonl", "a.ndjson", '{"a": 1}\n{"a": 2}\n', _columns(a=[1, 2])),
    _written("ipynb", "a.ipynb", json.dumps(_NOTEBOOK), _is(_NOTEBOOK)),
    _written("har", "a.har", json.dumps(_HAR), _columns(time=[5])),
    _written(
        "json5", "a.jsonc", '// settings\n{"a": 1, /* two */ "b": [2,],}', _is({"a": 1, "b": [2]})
    ),
    _written("json5", "a.json5", "{a: 1, b: 'x', c: +2}", _is({"a": 1, "b": "x", "c": 2})),
    _written(
        "yaml",
        "a.yaml",
        "name: x\nlist:\n  - 1\n  - a: 2\n",
        _is({"name": "x", "list": [1, {"a": 2}]}),
    ),
    _written("toml", "a.toml", '[a]\nb = "c"\nd = [1, 2]\n', _is({"a": {"b": "c", "d": [1, 2]}})),
    _written(
        "ini", "a.ini", "[a]\nb = c d\n; no\n[e]\nf: g\n", _is({"a": {"b": "c d"}, "e": {"f": "g"}})
    ),
    _written("env", ".env", "A_B=1\nexport C='d e'\n", _is({"A_B": "1", "C": "d e"})),
    _written(
        "properties",
        "a.properties",
        "a.b = c\\u00e9\na.d=e \\\n  f\n",
        _is({"a.b": "cé", "a.d": "e f"}),
    ),
    _written("reg", "a.reg", _REGISTRY.encode("utf-16"), _is({"HKEY\\A": {"b": 15, "": "c"}})),
    _written(
        "strings", "a.strings", '/* no */\n"a" = "b\\n";\n', _is({"a": "b\n"}), nameless=False
    ),
    _written(
        "po",
        "a.po",
        'msgid ""\nmsgstr "Language: nb\\n"\n\nmsgid "yes"\nmsgstr "j"\n"a"\n',
        _columns(msgid=["yes"], msgstr=["ja"]),
    ),
    Made("mo", "a.mo", _mo, _columns(msgid=["yes"], msgstr=["ja"])),
    _written("plist", "a.plist", plistlib.dumps({"a": [1]}), _is({"a": [1]})),
    Made("plist-binary", "b.plist", _binary_plist, _is({"name": "Oslo", "people": 700_000})),
    Made("webarchive", "a.webarchive", _webarchive, lambda d: _is(["WebMainResource"])([*d])),
    Made(
        "msgpack",
        "a.msgpack",
        _msgpack,
        _is({"name": "Oslo", "people": [1, 2.5, None], "more": {"a": True}}),
    ),
    Made(
        "cbor",
        "a.cbor",
        _cbor,
        _is({"name": "Oslo", "people": [1, 2.5, None], "more": {"a": True}}),
    ),
    Made("bson", "a.bson", _bson, _is([{"name": "Oslo", "people": 7, "big": True}] * 2)),
    _written(
        "ubjson",
        "a.ubj",
        b"{i\x04nameSi\x04Osloi\x01a[i\x01i\x02T]}",
        _is({"name": "Oslo", "a": [1, 2, True]}),
    ),
    _written(
        "bencode",
        "a.torrent",
        b"d8:announce3:url4:infod6:lengthi5e4:name1:aee",
        _is({"announce": "url", "info": {"length": 5, "name": "a"}}),
    ),
    _written(
        "hcl",
        "a.hcl",
        'a = "b"\n',
        lambda d: _is(True)("a" in d),
        nameless=False,
        requires=("python-hcl2>=8",),
    ),
    _written("html", "a.html", _HTML, _is_page),
    _xml("xml", "a.xml", "anything"),
    _xml("xsd", "a.xsd", "schema", "http://www.w3.org/2001/XMLSchema"),
    _xml("xslt", "a.xsl", "stylesheet", "http://www.w3.org/1999/XSL/Transform"),
    _xml("rss", "a.rss", "rss"),
    _xml("atom", "a.atom", "feed", "http://www.w3.org/2005/Atom"),
    _xml("opml", "a.opml", "opml"),
    _xml("sitemap", "sitemap.xml", "urlset", "http://www.sitemaps.org/schemas/sitemap/0.9"),
    _xml("xmp", "a.xmp", "xmpmeta", "adobe:ns:meta/"),
    _xml("xliff", "a.xlf", "xliff"),
    _xml("tmx", "a.tmx", "tmx"),
    _xml("dita", "a.dita", "topic"),
    _xml("ditamap", "a.ditamap", "bookmap"),
    _xml("docbook", "a.dbk", "book", "http://docbook.org/ns/docbook"),
    _xml("tei", "a.tei", "TEI", "http://www.tei-c.org/ns/1.0"),
    _xml("musicxml", "a.musicxml", "score-partwise"),
    _xml("pom", "pom.xml", "project", "http://maven.apache.org/POM/4.0.0"),
    _xml("wsdl", "a.wsdl", "definitions", "http://schemas.xmlsoap.org/wsdl/"),
    _xml("resx", "a.resx", "root", nameless=False),
    _xml("csl", "a.csl", "style", "http://purl.org/net/xbiblio/csl"),
    _xml("xspf", "a.xspf", "playlist", "http://xspf.org/ns/0/"),
    _xml("marcxml", "a.marcxml", "collection", "http://www.loc.gov/MARC21/slim"),
    _xml("qt-ts", "a.ts", "TS"),
    _written("turtle", "a.ttl", _TURTLE, _triples(2), requires=_RDFLIB),
    _written(
        "n-triples", "a.nt", '<http://a> <http://b> "c"@en .\n', _triples(1), requires=_RDFLIB
    ),
    _written(
        "n-quads",
        "a.nq",
        "<http://a> <http://b> <http://c> <http://g> .\n",
        _triples(1),
        requires=_RDFLIB,
    ),
    _written("n3", "a.n3", _TURTLE, _triples(2), nameless=False, requires=_RDFLIB),
    _written(
        "trig",
        "a.trig",
        "@prefix x: <http://x/> .\nx:g { x:a x:b x:c . }\n",
        _triples(1),
        nameless=False,
        requires=_RDFLIB,
    ),
    _written("rdf-xml", "a.rdf", _RDF, _triples(1), requires=_RDFLIB),
    _written(
        "jsonld",
        "a.jsonld",
        '{"@context": {"n": "http://x/n"}, "@id": "http://x/a", "n": "b"}',
        _triples(1),
        nameless=False,
        requires=_RDFLIB,
    ),
    _written("graphml", "a.graphml", _GRAPHML, _edges(1), requires=_NETWORKX),
    _written("gexf", "a.gexf", _GEXF, _edges(1), requires=_NETWORKX),
    _written(
        "gml-graph",
        "a.gml",
        'graph [\n node [ id 0 label "a" ]\n node [ id 1 label "b" ]\n'
        " edge [ source 0 target 1 ]\n]\n",
        _edges(1),
        requires=_NETWORKX,
    ),
    _written(
        "pajek",
        "a.net",
        '*Vertices 2\n1 "a"\n2 "b"\n*Arcs\n1 2 1.0\n',
        _edges(1),
        requires=_NETWORKX,
    ),
    _written(
        "dot",
        "a.gv",
        "digraph G {\n a -> b; b -> c [label=x]\n}\n",
        _edges(2),
        requires=("networkx>=3.4", "pydot>=4"),
    ),
    _written(
        "bibtex",
        "a.bib",
        '@string{x = "Acta"}\n@article{a1, title={A {B} c}, year = 2020, journal=x}\n',
        _columns(key=["a1"], title=["A {B} c"], year=["2020"], journal=["Acta"]),
    ),
    _written(
        "ris", "a.ris", "TY  - JOUR\nAU  - A\nAU  - B\nER  - \n", _columns(TY=["JOUR"], AU=["A; B"])
    ),
    _written("enw", "a.enw", "%0 Journal Article\n%T Title\n", _columns(T=["Title"])),
    _written(
        "nbib",
        "a.nbib",
        "PMID- 123\nTI  - A title\n      goes on\n",
        _columns(TI=["A title goes on"]),
    ),
    _written(
        "srt",
        "a.srt",
        "1\n00:00:01,000 --> 00:00:02,000\n<i>Hi</i>\nyou\n\n2\n"
        "00:00:03,000 --> 00:00:04,000\n12\n",
        _cues("Hi\nyou", "12"),
    ),
    _written(
        "vtt",
        "a.vtt",
        "WEBVTT\n\nNOTE no\n\n00:01.000 --> 00:02.000 align:start\n<v Ann>Hi &amp; so\n",
        _cues("Hi & so"),
    ),
    _written(
        "ass",
        "a.ass",
        "[Script Info]\nScriptType: v4.00+\n\n[Events]\nFormat: Start, End, Text\n"
        "Dialogue: 0:00:01.00,0:00:02.00,{\\i1}Hi, you\\Nthere\n",
        _cues("Hi, you\nthere"),
    ),
    _written(
        "ssa",
        "a.ssa",
        "[Script Info]\nScriptType: v4.00\n\n[Events]\nFormat: Start, End, Text\n"
        "Dialogue: 0:00:01.00,0:00:02.00,Hi\n",
        _cues("Hi"),
    ),
    _written(
        "ttml",
        "a.ttml",
        '<tt xmlns="http://www.w3.org/ns/ttml"><body><div><p begin="1s" '
        'end="00:00:02.5">Hi<br/>you</p></div></body></tt>',
        _cues("Hi\nyou"),
    ),
    _written(
        "sami",
        "a.smi",
        "<SAMI><BODY>\n<SYNC Start=1000><P Class=ENCC>Hi<br>you\n"
        "<SYNC Start=2000><P Class=ENCC>&nbsp;\n</BODY></SAMI>",
        _cues("Hi\nyou"),
    ),
    _written("microdvd", "a.sub", "{1}{1}25\n{25}{50}Hi|you\n", _cues("Hi\nyou")),
    _written("subviewer", "a.sbv", "0:00:01.000,0:00:02.000\nHi\nyou\n", _cues("Hi\nyou")),
    _written("mpl2", "a.mpl", "[10][20]Hi|you\n", _cues("Hi\nyou")),
    _written("lrc", "a.lrc", "[ar:X]\n[00:01.00]Hi\n[00:02.50]you\n", _cues("Hi", "you")),
    _written(
        "scc", "a.scc", "Scenarist_SCC V1.0\n\n00:00:01:00\t9420 9420 c8e9 942f\n", _cues("Hi")
    ),
    _written(
        "vobsub-index",
        "a.idx",
        "# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:01:000, filepos: 000000800\n",
        _columns(position=[2048]),
    ),
    Made("ebu-stl", "a.stl", _ebu_stl, _cues("Hello\nworld")),
    _code("diff", "a.patch", "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"),
    _code("man", "a.man", '.\\" comment\n.TH LS 1 "2024"\n.SH NAME\nls\n'),
    _code(
        "markdown",
        "notes.md",
        "# Title\n\nSome **bold** and [a link](https://example.org).\n\n- one\n",
    ),
    _code("rst", "a.rst", "Title\n=====\n\n.. note::\n\n   Some ``code``.\n"),
    _code("tex", "a.tex", "% a\n\\documentclass{article}\n\\begin{document}\nx\n\\end{document}\n"),
    _code("text", "a.txt", "To whom it may concern,\n\nplease find attached what you asked for.\n"),
    _code("python", "a.py", "import os\n\n\ndef f(x):\n    return os.path.join(x)\n"),
    _code(
        "javascript", "a.js", "const a = require('fs');\nfunction f(x) {\n  console.log(x);\n}\n"
    ),
    _code(
        "typescript",
        "b.ts",
        "interface A {\n  x: number;\n}\nexport const f = (a: A): void => {};\n",
    ),
    _code("java", "A.java", "package a.b;\n\nimport java.util.List;\n\npublic class A {\n}\n"),
    _code("c", "a.c", '#include <stdio.h>\n\nint main(void) {\n  printf("x");\n}\n'),
    _code("cpp", "a.cpp", "#include <iostream>\n\nint main() {\n  std::cout << 1;\n}\n"),
    _code("go", "a.go", 'package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println(1)\n}\n'),
    _code(
        "rust",
        "a.rs",
        'use std::io;\n\nfn main() {\n    let mut x = 1;\n    println!("{}", x);\n}\n',
    ),
    _code("shell", "a.sh", "#!/usr/bin/env -S bash -e\necho hi\n"),
    _code("sql", "a.sql", "-- a\nCREATE TABLE t (a int);\nINSERT INTO t VALUES (1);\n"),
    _code("css", "a.css", "body {\n  color: red;\n}\n.a { margin: 0; }\n"),
    _code("php", "a.php", "<?php\necho 1;\n"),
    _code("ruby", "a.rb", "require 'json'\n\nclass A\n  def f(x)\n    puts x\n  end\nend\n"),
    _code("perl", "a.pl", 'use strict;\nuse warnings;\n\nmy $x = 1;\nprint "$x";\n'),
    _code("r", "a.R", "library(dplyr)\nx <- c(1, 2)\nf <- function(a) a + 1\n"),
    _code("dockerfile", "Dockerfile", 'FROM python:3.11\nRUN pip install x\nCMD ["a"]\n'),
    _code("makefile", "Makefile", ".PHONY: all\n\nall: a.o\n\tgcc -o a a.o\n"),
    _code("cmake", "CMakeLists.txt", "cmake_minimum_required(VERSION 3.20)\nproject(x)\n"),
    _code(
        "haskell",
        "a.hs",
        "module Main where\n\nimport Data.List\n\nmain :: IO ()\nmain = print 1\n",
    ),
    _code("elixir", "a.ex", "defmodule A do\n  def f(x) do\n    x\n  end\nend\n"),
    _code("kotlin", "a.kt", "package a.b\n\nimport a.c\n\nfun main() {\n    val x = 1\n}\n"),
    _code("systemverilog", "a.sv", "module a;\nendmodule\n", nameless=False),
    _code(
        "solidity",
        "a.sol",
        "// SPDX-License-Identifier: MIT\npragma solidity ^0.8.0;\ncontract A {}\n",
    ),
    _code("fortran", "a.f90", "program a\n  implicit none\n  integer :: x\nend program\n"),
    _code("proto", "a.proto", 'syntax = "proto3";\nmessage A {}\n'),
    _code("batch", "a.bat", "@echo off\nset A=1\necho %A%\n"),
    _code("powershell", "a.ps1", "function Get-A {\n  param($x)\n  Write-Host $x\n}\n"),
    _code("julia", "a.jl", "using DataFrames\n\nfunction f(x)\n  x\nend\n"),
)
