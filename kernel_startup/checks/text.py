"""Texts without a telling name: what language are they in? And binary forms of structured data.

A guess must be better than "text", so that each language needs two different signs, or one that no
other has.
"""

import itertools
import re
import struct
from collections.abc import Iterator
from functools import lru_cache

from kernel_startup.source import Source

_LOOKED_AT = 8_000
#: What is searched for signs, which takes a few milliseconds.
_SEARCHED = 2_500
_LONG_HEADER = 600
#: What `_SIGNS` must add up to.
_ENOUGH = 4
_MOST_LINES = 80
#: How often one sign counts.
_MOST = 2

# -- texts ---------------------------------------------------------------------------------------

_INTERPRETERS = (
    (r"python[\d.]*|pypy[\d.]*|ipython", "python"),
    (r"(?:ba|da|a|k|mk|pdk)?sh", "shell"),
    (r"zsh", "zsh"),
    (r"fish", "fish"),
    (r"t?csh", "csh"),
    (r"node|nodejs|deno|bun|qjs", "javascript"),
    (r"ts-node|tsx", "typescript"),
    (r"perl[\d.]*", "perl"),
    (r"raku|perl6", "raku"),
    (r"j?ruby[\d.]*", "ruby"),
    (r"php[\d.]*", "php"),
    (r"lua[\d.]*|luajit", "lua"),
    (r"Rscript|littler?", "r"),
    (r"julia", "julia"),
    (r"[gmn]?awk", "awk"),
    (r"sed", "sed"),
    (r"tclsh[\d.]*|wish[\d.]*|expect", "tcl"),
    (r"make|gmake", "makefile"),
    (r"escript", "erlang"),
    (r"elixir|iex", "elixir"),
    (r"runhaskell|runghc|stack", "haskell"),
    (r"groovy", "groovy"),
    (r"scala|amm", "scala"),
    (r"kotlin|kotlinc", "kotlin"),
    (r"swift", "swift"),
    (r"dart", "dart"),
    (r"racket", "racket"),
    (r"guile|scheme|csi|chez", "scheme"),
    (r"sbcl|clisp|ecl", "lisp"),
    (r"bb|clojure|clj", "clojure"),
    (r"ocaml|ocamlrun", "ocaml"),
    (r"crystal", "crystal"),
    (r"nim", "nim"),
    (r"pwsh|powershell", "powershell"),
    (r"osascript", "applescript"),
    (r"gnuplot", "gnuplot"),
    (r"jq", "jq"),
    (r"nix-shell", "nix"),
    (r"dotnet|fsharpi", "fsharp"),
    (r"gforth", "forth"),
    (r"octave[\d.]*", "matlab"),
    (r"coffee", "coffeescript"),
    (r"swipl", "prolog"),
)
_SHEBANG = re.compile(
    r"#!\s*(?:/usr/bin/env\s+(?:-S\s*|--split-string[= ]|-\S+\s+|\w+=\S*\s+){0,5})?"
    r"(?:\S*/)?([\w.+-]{1,40})"
)

#: A beginning that says it all.
_STARTS = (
    (r"<\?(?:php\b|=)", "php"),
    (r"<%@\s*(?:page|taglib|include|tag)\b", "jsp"),
    (r"<%@\s*(?:Page|Control|Master|WebService|WebHandler|Language|Application)\b", "aspnet"),
    (r"<%(?:=|#|-)?\s", "erb"),
    (r"<script\b[^>]{0,200}\bsetup\b|<template>\s*<[\s\S]{0,5000}?</template>\s*<script", "vue"),
    (r"syntax\s*=\s*[\"']proto[23][\"']\s*;", "proto"),
    (r"#VRML V", "text"),
    (r"cmake_minimum_required\s*\(", "cmake"),
    (r"cmake_minimum_required\s*\(", "cmake"),
    (
        r"FROM\s+[\w./:@${}-]+(?:\s+AS\s+\w+)?\s*\n[\s\S]*?"
        r"^(?:RUN|CMD|COPY|ENTRYPOINT|WORKDIR|ENV|ADD)\s",
        "dockerfile",
    ),
    (r"\\(?:documentclass|documentstyle|NeedsTeXFormat)\b", "tex"),
    (
        r"%%\{init:|(?:graph|flowchart)\s+(?:TD|TB|BT|RL|LR)\b|sequenceDiagram\s*\n"
        r"|classDiagram(?:-v2)?\s*\n|stateDiagram(?:-v2)?\s*\n|erDiagram\s*\n|gantt\s*\n",
        "mermaid",
    ),
    (r"@start(?:uml|mindmap|json|yaml|salt|gantt|wbs)\b", "plantuml"),
    (r"#lang\s+[\w/-]+", "racket"),
    (r"\(module\b[\s\S]{0,3000}?\((?:func|import|export|memory|type)\b", "wat"),
    (r"; ModuleID = |source_filename = \"", "llvm"),
    (
        r"pragma solidity\b",
        "solidity",
    ),
    (r"(?:library ieee;|entity\s+\w+\s+is\b)", "vhdl"),
    (r"\(defpackage\b|;;; ?-\*-.{0,80}[Ll]isp", "lisp"),
    (r";;; \S+\.el --- ", "elisp"),
    (r"\(ns\s+[\w.-]+", "clojure"),
    (r"=(?:pod|head1|encoding)\b", "perl"),
    (r"---\n(?:[\w-]+:[^\n]*\n|[ -][^\n]*\n){1,60}?---\n+(?![\w-]+:|-)[^\n]", "markdown"),
    (r"From [0-9a-f]{40} Mon Sep 17 00:00:00 2001", "diff"),
)

_C_LIKE = (
    r"^(?:static |const |unsigned |extern |inline )*(?:void|int|char|float|double|size_t|long)"
)

#: type -> (sign, weight): found anywhere, or at the beginning of a line ("^").
_SIGNS: dict[str, tuple[tuple[str, int], ...]] = {
    "python": (
        (r"^[ \t]*+(?:async )?def \w+\([^\n]*\)(?: ?->[^\n]+)?:", 3),
        (r"^[ \t]*+class \w+(?:\([\w., =]*\))?:", 2),
        (r"^(?:from [\w.]+ import [\w*(]|import [\w.]+(?: as \w+)?(?:, [\w.]+)*$)", 2),
        (r"^if __name__ == ", 4),
        (r"^[ \t]*+(?:elif .+|except(?: .+)?|try|with .+ as \w+|for \w+(?:, ?\w+)* in .+):$", 2),
        (r"^[ \t]*+(?:print\(|return\b|self\.\w+)", 1),
    ),
    "javascript": (
        (r"^[ \t]*+(?:const|let) (?:\w+|\{[^}\n]+\}|\[[^\]\n]+\]) = ", 2),
        (r"\brequire\([\"'][\w./@-]+[\"']\)", 3),
        (r"^[ \t]*+(?:export )?(?:default )?(?:async )?function\s*\*?\s*\w*\([^)\n]*\) \{", 2),
        (r"^import .{1,200} from [\"'][\w./@-]+[\"'];?$|^import [\"'][\w./@-]+[\"'];?$", 3),
        (r"\bmodule\.exports\b|^export (?:default|const|function|class) ", 3),
        (r"\)? => [{(]|\bconsole\.log\(|\bdocument\.\w+|\bwindow\.\w+|===", 1),
        (r"^['\"]use strict['\"];?$|^\(function ?\(|\}\)\(\);$", 3),
        (r"^[ \t]*+var \w+ = ", 2),
        (r"^[ \t]*+(?:if|for|while) \(.*\) \{$", 1),
    ),
    "typescript": (
        (r"^[ \t]*+(?:export )?(?:interface|enum|declare \w+|type) \w+(?:<[^>\n]+>)? *[={]", 4),
        (
            r"^[ \t]*+(?:export )?(?:const|let|function|async function) \w+[^=\n]{0,80}"
            r": (?:string|number|boolean|void|any|unknown|\w+\[\])\b",
            4,
        ),
        (r"^[ \t]*+(?:private|public|protected|readonly) \w+[?!]?: \w", 4),
        (r"^import (?:type )?.{1,200} from [\"'][\w./@-]+[\"'];?$", 2),
        (r"\(\w+\??: \w+", 2),
    ),
    "java": (
        (r"^package [\w.]+;", 3),
        (r"^import (?:static )?(?:java|javax|org|com|net|android)\.[\w.*]+;", 3),
        (
            r"^[ \t]*+(?:public|private|protected) (?:static |final |abstract )*"
            r"(?:class|interface|enum|record) \w+",
            3,
        ),
        (r"public static void main\(String", 5),
        (r"\bSystem\.out\.print|@Override\b", 2),
    ),
    "csharp": (
        (r"^using (?:static )?[A-Z][\w.]+;", 3),
        (r"^[ \t]*+namespace [A-Z][\w.]+\s*(?:;|\{|$)", 3),
        (
            r"^[ \t]*+(?:public|internal|private)(?: \w+)* (?:class|struct|enum) \w+\s*(?::|$)",
            2,
        ),
        (r"\{ get; (?:private )?set; \}|\bConsole\.Write", 3),
        (r"static (?:async Task|void|int) Main\(", 4),
    ),
    "c": (
        (r"^#\s*include\s*(?:<[\w/.]+\.h>|\"[\w/.-]+\.h\")", 3),
        (_C_LIKE + r"[ *]+\w+\([^;\n]*\)?\s*\{?$", 2),
        (r"^#\s*(?:ifndef|ifdef|define|endif|pragma)\b", 2),
        (
            r"^[ \t]*+(?:typedef |static )?struct \w* ?\{?$|\bprintf\(|\bmalloc\(|\bsizeof\(|->\w+",
            1,
        ),
    ),
    "cpp": (
        (
            r"^#\s*include\s*<(?:iostream|string|vector|map|memory|algorithm|cstd\w+|sstream|set"
            r"|utility|functional|unordered_map|fstream|array|chrono|thread)>",
            6,
        ),
        (r"\bstd::\w+", 3),
        (r"^[ \t]*+using namespace \w+;", 5),
        (r"^[ \t]*+template\s*<", 3),
        (r"^[ \t]*+namespace \w+(?:::\w+)*\s*\{", 3),
        (r"^[ \t]*+(?:public|private|protected):\s*$", 4),
        (r"^[ \t]*+class \w+(?: final)?(?: : public \w+)?\s*\{?$", 2),
        (r"^#\s*include\s*[<\"]", 2),
        (r"\w::~?\w+\([^;\n]*\)", 2),
    ),
    "objective-c": (
        (r"^#import\s*[<\"]", 4),
        (r"^@(?:interface|implementation|protocol|property|end)\b", 3),
    ),
    "go": (
        (r"^package [a-z]\w*$", 3),
        (r"^func (?:\(\w+ \*?\w+\) )?\w+\(", 3),
        (r"^import \(|^import \"", 2),
        (r":= |\bfmt\.\w+\(|^type \w+ (?:struct|interface) \{", 1),
    ),
    "rust": (
        (r"^[ \t]*+(?:pub(?:\(crate\))? )?(?:async |unsafe )?fn \w+(?:<[^>\n]+>)?\(", 3),
        (r"^use (?:std|crate|super|self|\w+)(?:::\{?\w+)+", 3),
        (r"\blet mut \w+|\bprintln!\(|^#!?\[\w+|\bimpl(?:<[^>]*>)? \w+|&mut |\bunwrap\(\)", 2),
        (r"^[ \t]*+(?:pub )?(?:struct|enum|trait|mod) \w+", 1),
    ),
    "swift": (
        (r"^import (?:Foundation|UIKit|SwiftUI|AppKit|Combine|XCTest)$", 5),
        (
            r"^[ \t]*+(?:public |private |static |override |mutating )*func \w+\([^\n]*\)"
            r"(?: throws)?(?: -> [^\n]+)? \{",
            3,
        ),
        (r"\bguard let |\bif let \w+ = |^[ \t]*+(?:let|var) \w+(?:: [\w\[\]?:]+)? = ", 1),
    ),
    "kotlin": (
        (
            r"^[ \t]*+(?:override |private |suspend |inline |internal |public )*fun (?:<[^>]+> )?"
            r"(?:\w+\.)?\w+\(",
            3,
        ),
        (r"^package [\w.]+$", 2),
        (r"^import [\w.]+(?:\.\*)?$", 1),
        (
            r"^[ \t]*+(?:data |sealed |open )*class \w+|\bval \w+(?:: \w+)? = |\bprintln\(",
            1,
        ),
    ),
    "scala": (
        (r"^[ \t]*+(?:case )?(?:object|trait) \w+(?: extends \w+[^\n]*)?(?: \{)?$", 3),
        (
            r"^[ \t]*+(?:override |private )*def \w+(?:\[[^\]]+\])?(?:\([^\n]*\))?(?:: [^\n=]+)? =",
            3,
        ),
        (r"^import scala\.|^case class \w+\(", 4),
        (r"^package [\w.]+$|^[ \t]*+val \w+(?:: \w+)? = ", 1),
    ),
    "php": ((r"<\?php\b", 6),),
    "ruby": (
        (r"^[ \t]*+def (?:self\.)?\w+[?!]?(?:\([^\n)]*\))?$", 2),
        (r"^[ \t]*+end$", 1),
        (r"^require(?:_relative)? ['\"][\w./-]+['\"]$", 3),
        (r"^[ \t]*+(?:module|class) [A-Z]\w*(?:::\w+)*(?: < [\w:]+)?$", 2),
        (r" do \|[\w, ]+\|$|\battr_(?:reader|accessor)\b|\bputs\b", 2),
    ),
    "perl": (
        (r"^use (?:strict|warnings|[A-Z]\w*(?:::\w+)*)(?: [^\n;]*)?;", 3),
        (r"^[ \t]*+my [\$@%(]\w*", 2),
        (r"^sub \w+\s*\{?", 2),
        (r"^package \w+(?:::\w+)*;", 2),
        (r"\$\w+->\{|=~ [ms]?/|\bprint \"", 1),
    ),
    "lua": (
        (r"^[ \t]*+local (?:function )?\w+", 2),
        (r"^[ \t]*+function [\w.:]+\([^\n)]*\)$", 2),
        (r"^[ \t]*+end[,)]?$|\bthen$|~= |\.\. ", 1),
        (r"^[ \t]*+local \w+ = require", 3),
    ),
    "r": (
        (r"^[ \t]*+[\w.]+ <- function\(", 4),
        (r"^[ \t]*+[\w.$]+ <- ", 2),
        (r"^(?:library|require|source)\([\w.\"']+\)", 3),
        (r"%>%|\bdata\.frame\(|\bggplot\(|<- c\(", 2),
    ),
    "julia": (
        (r"^using [A-Z]\w+(?:[,:.] ?\w+)*$", 3),
        (r"^function \w+[!]?(?:\{[^}]+\})?\([^\n]*\)(?:::\w+)?$", 3),
        (r"^end$|::(?:Float64|Int|String|Vector|Any)\b|^(?:mutable )?struct \w+", 1),
        (r"\bprintln\(|^module [A-Z]\w*$", 1),
    ),
    "haskell": (
        (r"^module [A-Z][\w.]*(?: *\(|\s+where| *$)", 3),
        (r"^import (?:qualified )?(?:Data|Control|System|Text|Prelude|Network|Test)\.[\w.]+", 4),
        (r"^\w+'? :: [^\n]+$", 2),
        (r"^\{-# LANGUAGE ", 5),
        (r"^main = |<\$>|^data \w+ ?=| >>= ", 1),
    ),
    "ocaml": (
        (r"^[ \t]*+let (?:rec )?\w+(?: [\w()~:]+)* =", 2),
        (r"^open [A-Z]\w*|;;$|^module [A-Z]\w* =|\bmatch .+ with$|^[ \t]*+\| .+ ->", 2),
        (r"\(\*[^*]", 1),
    ),
    "fsharp": (
        (r"^(?:module|namespace) [A-Z][\w.]*$|^open System", 3),
        (r"\|> |\bprintfn \"|\[<EntryPoint>\]", 2),
        (r"^[ \t]*+let (?:rec |mutable )?\w+[^\n]* =$", 1),
    ),
    "erlang": (
        (r"^-(?:module|export|behaviou?r|include|record|define)\(", 3),
        (r"^\w+\([^\n]*\)(?: when [^\n]+)? ->", 2),
    ),
    "elixir": (
        (r"^[ \t]*+defmodule [A-Z][\w.]* do$", 5),
        (r"^[ \t]*+defp? \w+[?!]?(?:\([^\n]*\))? do$", 3),
        (r"\|> |@moduledoc|^[ \t]*+end$", 1),
    ),
    "clojure": ((r"^\(ns [\w.-]+", 4), (r"^\(defn?-? [\w*?!-]+", 3), (r"\(:require", 3)),
    "lisp": (
        (r"^\((?:defun|defmacro|defvar|defparameter|defclass|in-package|setq) ", 3),
        (r"^[ \t]*+\((?:let|if|cond|format|loop|when) ", 1),
    ),
    "scheme": ((r"^\(define(?:-syntax|-record-type)? ", 4), (r"\(lambda \(|\(let\*? \(", 1)),
    "dart": (
        (r"^import 'package:[\w/.]+';|^import 'dart:\w+';", 6),
        (r"^(?:Future<.*> |void )main\(", 2),
        (r"^[ \t]*+(?:final|late|const) \w+(?: \w+)? = ", 1),
    ),
    "zig": ((r"^const std = @import\(\"std\"\);", 6), (r"^(?:pub )?fn \w+\(", 1)),
    "pascal": (
        (r"(?i)^(?:program|unit|library) \w+;", 4),
        (r"(?i)^[ \t]*+(?:begin|end[;.]|var|uses|interface|implementation)\s*$", 2),
        (r"(?i)^[ \t]*+(?:procedure|function) \w+[^\n]*;| := ", 2),
    ),
    "fortran": (
        (r"(?i)^[ \t]*+(?:program|subroutine|module) \w+(?:\s*\([^\n]*\))?\s*$", 2),
        (r"(?i)^[ \t]*+implicit none\b", 4),
        (r"(?i)^[ \t]*+(?:integer|real|character|logical|double precision)\b[^\n]*(?:::| \w)", 1),
        (r"(?i)^[ \t]*+end (?:program|subroutine|module|function|do|if)\b", 2),
    ),
    "cobol": (
        (r"(?i)^[\s\d]{0,7} *identification division", 5),
        (r"(?i)^[\s\d]{0,7} *(?:procedure|data|environment) division|program-id\.", 4),
    ),
    "ada": (
        (r"(?i)^[ \t]*+with (?:ada|system|interfaces)\.[\w.]+;", 5),
        (r"(?i)^[ \t]*+(?:procedure|package|package body|function) \w+[^\n]* is$", 2),
        (r"(?i)^[ \t]*+end \w+;", 1),
    ),
    "verilog": (
        (r"^[ \t]*+module \w+\s*(?:#\(|\(|;)", 3),
        (r"^[ \t]*+(?:input|output|inout|wire|reg|assign|always)\b", 1),
        (r"^[ \t]*+endmodule\b|^`timescale ", 3),
    ),
    "prolog": (
        (r"^:- (?:module|use_module|dynamic|initialization)\b", 5),
        (r"^\w+\([^\n]*\) :-$", 3),
    ),
    "matlab": (
        (r"^[ \t]*+function (?:\[[^\]\n]+\] ?= ?|\w+ ?= ?)?\w+\s*(?:\([^\n)]*\))?;?\s*$", 2),
        (r"^[ \t]*+%[^\n]*$", 1),
        (r"^[ \t]*+end;?$|\.\*|\bfprintf\(|\bzeros\(|\bdisp\(|^(?:clear|close all|clc)\b", 2),
    ),
    "groovy": (
        (r"^pipeline \{", 4),
        (r"^[ \t]*+(?:stages?|steps|agent)\b[^\n]*\{?", 1),
        (r"^apply plugin: |^plugins \{|^dependencies \{|^repositories \{", 3),
    ),
    "powershell": (
        (r"(?i)^[ \t]*+function [A-Z]\w+-\w+", 4),
        (r"(?i)^[ \t]*+param\s*\(|\[CmdletBinding\(|\[Parameter\(", 3),
        (r"(?i)\b(?:Write-(?:Host|Output|Verbose)|Get-\w+|Set-\w+|New-Object|Import-Module)\b", 2),
        (r"^[ \t]*+\$\w+ = ", 1),
    ),
    "batch": (
        (r"(?i)^@echo off\b", 5),
        (r"(?i)^[ \t]*+(?:rem |set \w+=|goto \w+|if (?:not )?exist |call |pause$|setlocal)", 1),
        (r"%\w+%|%~\w+", 1),
    ),
    "shell": (
        (r"^[ \t]*+(?:fi|done|esac)$", 2),
        (r"^[ \t]*+if \[\[? .+ \]\]?; ?then$|^[ \t]*+if \[\[? .+\]$", 3),
        (r"^[ \t]*+(?:export \w+=|echo ['\"$]|set -[eux]+|source |for \w+ in .+; do)", 1),
        (r"^[ \t]*+(?:function )?\w+ ?\(\) ?\{$", 2),
        (r"\$\{?\w+\}?", 1),
    ),
    "sql": (
        (
            r"(?i)^[ \t]*+create (?:or replace )?(?:temporary )?(?:table|view|index|database|schema"
            r"|function|procedure|trigger)\b",
            4,
        ),
        (
            r"(?i)^[ \t]*+(?:insert into \S+|drop table\b|alter table \S+|update \S+ set\b"
            r"|delete from \S+)",
            4,
        ),
        (r"(?i)^[ \t]*+select\b[^;]{1,300}?\bfrom\s+[\w.\"`\[]", 4),
        (r"(?i)^[ \t]*+with \w+ as \(\s*$", 3),
        (r"(?i)^(?:begin|commit|set [\w.]+ ?=[^\n]*|use \w+);", 2),
    ),
    "sas": (
        (r"(?i)^[ \t]*+proc \w+[^;\n]*;", 3),
        (r"(?i)^[ \t]*+(?:run|quit);", 2),
        (r"(?i)^[ \t]*+data [\w.]+;|^%(?:macro|let) ", 3),
    ),
    "css": (
        (r"^[ \t]*+[\w.#:*>\[\]=\"', -]+\{\n[ \t]*+(?:--)?[\w-]+\s*:\s*[^;{}\n]+;", 3),
        (r"^@(?:media|import|charset|font-face|keyframes)\b", 3),
        (
            r"^[ \t]*+(?:color|margin|padding|font(?:-\w+)?|display|width|height|border|background)"
            r"(?:-\w+)?\s*:\s*[^;{}\n]+;",
            1,
        ),
        (r"^[\w.#][^{}\n;]*\{[^{}\n]*:[^{}\n]*\}", 3),
    ),
    "scss": ((r"^\$[\w-]+\s*:\s*[^;\n]+;", 4), (r"@(?:mixin|include|extend|use) ", 3)),
    "less": ((r"^@[\w-]+\s*:\s*[^;\n]+;", 4),),
    "makefile": (
        (r"^\.PHONY\s*:", 5),
        (r"^[\w./%$() -]+:(?!=)[^\n]*\n\t\S", 4),
        (r"^[\w.]+\s*[:?+]?=\s*\S|\$\(\w+\)|\$[@<^]", 1),
    ),
    "tex": (
        (r"^[ \t]*+\\(?:begin|end)\{\w+\*?\}", 2),
        (r"\\(?:section|chapter|usepackage|newcommand|input|cite|ref|label|textbf|emph)\b", 2),
    ),
    "asm": (
        (
            r"(?i)^[ \t]*+(?:mov[lqbw]?|push[lq]?|pop[lq]?|lea[lq]?|call|jmp|ret)\s+[%$\w\[]",
            1,
        ),
        (r"(?i)^[ \t]*+\.?(?:section|globl|global|text|data)\b", 2),
        (r"%[er][abcd]x|%[er]sp|\b[er][abcd]x\b", 2),
    ),
    "graphql": (
        (r"^(?:type|input|enum|interface) \w+(?: implements [\w &]+)? \{$", 2),
        (r"^\s+\w+(?:\([^\n)]*\))?: \[?\w+!?\]?!?$", 1),
        (r"^(?:query|mutation|subscription|fragment|schema|scalar)\b", 2),
    ),
    "vim": (
        (r"^[ \t]*+(?:set \w|let g:|nnoremap|inoremap|autocmd|au |syntax |Plug )", 1),
        (r"^[ \t]*+(?:endfunction|endif|function!)\b|^\" ", 2),
        (r"^let g:\w+", 3),
    ),
    "gcode": ((r"^(?:N\d+ )?G[0-9]{1,2}(?: [XYZEFIJ]-?[\d.]+)+", 2), (r"^M\d{1,3}\b", 2)),
    "nginx": (
        (r"^[ \t]*+(?:server|location [^\n{]+|http|upstream \w+|events) ?\{", 2),
        (r"^[ \t]*+(?:listen|server_name|proxy_pass|root) [^\n;]+;", 2),
    ),
    "markdown": (
        (r"^#{1,6} \S[^\n]*$", 1),
        (r"^```\w*$", 2),
        (r"\[[^\]\n]{1,200}\]\((?:https?:|\.?/|#|\w)[^)\n]{0,300}\)", 3),
        (r"^ {0,3}[-*+] (?:\[[ x]\] )?\S", 1),
        (r"\*\*[^*\n]{1,100}\*\*", 1),
        (r"`[^`\n]{1,80}`", 1),
        (r"^\d{1,2}\. \S", 1),
        (r"^> \S", 1),
        (r"^\|(?: ?:?-+:? ?\|)+$", 3),
        (r"!\[[^\]\n]{0,100}\]\(", 3),
        (r"^\S[^\n]*\n(?:={3,}|-{3,})$", 2),
    ),
    "rst": (
        (r"^\.\. (?:[\w-]+::|_[\w -]+:|\[\d+\])", 4),
        (r"^(\S[^\n]*)\n([=~^\"*+#-])\2{3,}$", 2),
        (r"``[^`\n]+``|`[^`\n]+ ?<[^>\n]+>`_", 1),
        (r"^:[\w ]+: |::$|\b:\w+:`", 1),
    ),
    "asciidoc": (
        (r"^={1,5} \S", 2),
        (r"^:[\w-]+:(?: \S|$)", 2),
        (r"^\[(?:source|NOTE|TIP|\[)", 2),
        (r"^(?:----|====|\|===)$", 1),
    ),
    "org": ((r"^#\+(?:TITLE|AUTHOR|BEGIN_SRC|OPTIONS|DATE|STARTUP):?", 4), (r"^\*+ \S", 1)),
    "wiki": ((r"^={2,5}[^=\n]+={2,5}$", 2), (r"\[\[[^\]\n]+\]\]", 2), (r"'''[^'\n]+'''|\{\{", 1)),
}


def guess_type(text: str) -> str | None:
    """Name the type of a text (without blanks before it) that has no name; None if nothing in it
    is certain enough."""
    if text.startswith("#!") and (shebang := _SHEBANG.match(text)):
        program = shebang.group(1)
        return next((t for p, t in _INTERPRETERS if re.fullmatch(p, program)), None)
    text = _WIDE.sub("    ", text[:_LOOKED_AT].replace("\r\n", "\n"))
    text = _EMPTY_LINES.sub("\n\n", text)
    code = text[_end_of_comments(text) :]
    for pattern, name in _STARTS:
        if _compiled(pattern).match(text) or _compiled(pattern).match(code):
            return name
    if text.startswith(("<", "{", "[{", '["')):
        return None
    if len(text) - len(code) > _LONG_HEADER:
        text = code  # what comes before it is a licence
    text = text[:_SEARCHED]
    written = _written(text)
    settings = _sections(written) or ("yaml" if _is_yaml(text, written) else None)
    return settings or _by_signs(text) or _pairs(written)


# Patterns that skip blanks at the beginning of each line would try each of many anew.
_WIDE = re.compile(r"[ \t]{40,}")
_EMPTY_LINES = re.compile(r"\n\s*\n")
_COMMENTS = re.compile(
    r"(?>(?:\s++|(?://|#(?!lang|include|import|!|\+)|--(?!-)|%(?!YAML|%)|;;)[^\n]*+\n"
    r"|(?>/\*[\s\S]*?\*/))*)"
)


def _end_of_comments(text: str) -> int:
    found = _COMMENTS.match(text)
    return found.end() if found else 0


def _by_signs(text: str) -> str | None:
    lines = [0, *(found.end() for found in re.finditer(r"\n(?!\n)", text))][:_MOST_LINES]
    scores = sorted(
        ((_score(text, lines, signs), name) for name, signs in _SIGNS.items()), reverse=True
    )
    (best, name), (second, _) = scores[:2]
    return None if best < _ENOUGH or best == second else name


def _score(text: str, lines: list[int], signs: tuple[tuple[str, int], ...]) -> int:
    total = seen = 0
    for pattern, weight in signs:
        count = _count(text, lines, pattern)
        total += weight * count
        seen += 2 if count and weight >= _ENOUGH else bool(count)
    # Two different signs, or one that no other language has.
    return total if seen >= 2 else 0


def _count(text: str, lines: list[int], pattern: str) -> int:
    """How often a pattern is found, at most `_MOST` times."""
    compiled = _compiled(pattern)
    if _is_anchored(pattern):  # several times as fast as a search
        found: Iterator[object] = filter(None, map(compiled.match, itertools.repeat(text), lines))
    else:
        found = compiled.finditer(text)
    return sum(1 for _ in itertools.islice(found, _MOST))


@lru_cache(maxsize=1000)
def _is_anchored(pattern: str) -> bool:
    """Whether each of a pattern's alternatives begins where a line does."""
    plain = re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]", "_", pattern.removeprefix("(?i)"))
    while plain != (inner := re.sub(r"\((?!\()[^()]*\)", "_", plain)):
        plain = inner
    return all(alternative.startswith("^") for alternative in plain.split("|"))


@lru_cache(maxsize=1000)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.MULTILINE)


_SECTION = re.compile(r"\[\[?[^\[\]\n]{1,100}\]\]?\s*(?:[#;].*)?")
_TOML_VALUE = re.compile(
    r"\s*(?:[\w-]+|\"[^\"\n]+\")(?:\.[\w-]+)*\s*=\s*"
    r"(?:\"|'|\[|\{|true\b|false\b|[+-]?\d[\d_.eE+:TZ-]*\s*(?:#.*)?$)"
)
_PAIR = re.compile(r"[\w.$\\ /:-]{1,100}?\s*[=:]\s*\S?")
_DOTTED_PAIR = re.compile(r"[\w$-]+(?:\.[\w$-]+)+\s*[=:]")
_PROPERTY = re.compile(r"(?:[\w.$-]|\\.)+\s*=")
_VARIABLE = re.compile(r"(?:export )?[A-Z_][A-Z0-9_]*=\S*.*")
_YAML_LINE = re.compile(
    r"\s*(?:- +)?(?:[\w./$-]+|\"[^\"\n]+\"|'[^'\n]+'):(?:\s+\S.*|\s*)$|\s*- \S.*"
)


def _sections(written: list[str]) -> str | None:
    """Tell TOML and ini, if (nearly) all lines are of that kind."""
    if not written or not (_SECTION.fullmatch(written[0].strip()) or _TOML_VALUE.match(written[0])):
        return None
    heads = [line for line in written if _SECTION.fullmatch(line.strip())]
    pairs = [line for line in written if not line[0].isspace() and "=" in line]
    if not heads or not pairs:
        return None
    if all(_TOML_VALUE.match(line) or line in heads for line in pairs):
        return "toml"
    known = [line for line in written if line[0].isspace() or line in heads or _PAIR.match(line)]
    return "ini" if len(known) >= 0.9 * len(written) else None


def _pairs(written: list[str]) -> str | None:
    """Tell environment variables and properties."""
    written = [line for line in written if not line[0].isspace()]  # not the rest of one before
    if len(written) < 2:
        return None
    if all(_VARIABLE.fullmatch(line) for line in written):
        return "env"
    dotted = sum(_DOTTED_PAIR.match(line) is not None for line in written)
    if 3 * dotted >= len(written) and all(_PROPERTY.match(line) for line in written):
        return "properties"
    return None


def _written(text: str) -> list[str]:
    """The lines that aren't empty or comments."""
    lines = text.split("\n")
    if len(lines) > 5:
        lines.pop()  # the head may end in the middle of it
    return [line for line in lines[:200] if line.strip() and line.lstrip()[0] not in "#;!"]


def _is_yaml(text: str, written: list[str]) -> bool:
    if not written:
        return False
    if text.startswith(("%YAML", "---\n", "--- ")) and len(written) > 1:
        return _YAML_LINE.match(written[1]) is not None
    fitting = sum(_YAML_LINE.match(line) is not None for line in written)
    # Nested, because flat lines of "name: value" are in headers and in minutes of meetings as well.
    nested = any(
        line.rstrip().endswith(":") and next_line.startswith((" ", "- "))
        for line, next_line in itertools.pairwise(written)
    )
    starts = re.match(r"[\w./$\"'-]+:(?:\s|$)", written[0]) is not None
    return nested and starts and fitting >= 0.8 * len(written)


# -- binary forms --------------------------------------------------------------------------------

_MAX_STEPS = 2_000


class _Mismatch(Exception):
    pass


class _CutOff(Exception):
    """The head ends here, and all was right so far."""


class _Walk:
    """Skips over values in the head; says whether they are well formed."""

    def __init__(self, source: Source) -> None:
        self.head = source.head
        self.at = 0
        self.steps = 0

    def byte(self) -> int:
        return self.take(1)[0]

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.head):
            raise _CutOff
        piece = self.head[self.at : self.at + size]
        self.at += size
        return piece

    def number(self, size: int, order: str = ">") -> int:
        value: int = struct.unpack(order + {1: "B", 2: "H", 4: "I", 8: "Q"}[size], self.take(size))[
            0
        ]
        return value

    def step(self) -> None:
        self.steps += 1
        if self.steps > _MAX_STEPS:
            raise _CutOff


def _walks(source: Source, skip: object, *, several: bool = False) -> bool:
    assert callable(skip)
    walk = _Walk(source)
    try:
        skip(walk, 0)
        while several and walk.at < len(walk.head):
            skip(walk, 0)
    except _CutOff:
        return walk.steps > 50 and (not source.is_whole_in_head or walk.steps > _MAX_STEPS)
    except (_Mismatch, UnicodeDecodeError):
        return False
    return walk.at == len(walk.head) and walk.steps > 2


def _is_called(source: Source, *extensions: str) -> bool:
    """Whether its name says so, and it isn't clearly a text: formats that may begin with anything
    are believed to be what they are called."""
    if not re.search(rf"\.(?:{'|'.join(extensions)})(?:\.\w{{1,4}})?$", source.name.lower()):
        return False
    try:
        return not source.head.decode().isprintable()
    except UnicodeDecodeError:
        return True


def is_msgpack(source: Source) -> bool:
    """Whether it is maps or arrays of MessagePack, with names for keys, and nothing else."""
    if _is_called(source, "msgpack", "mpk", "mpack", "msgp", "messagepack"):
        return True
    first = source.head[0]
    if not (0x80 < first <= 0x8F or 0x90 < first <= 0x9F or first in (0xDC, 0xDD, 0xDE, 0xDF)):
        return False
    return _walks(source, _skip_msgpack, several=True)


def _skip_msgpack(walk: _Walk, depth: int) -> None:
    walk.step()
    code = walk.byte()
    if depth > 50 or code == 0xC1:
        raise _Mismatch
    if code <= 0x7F or code >= 0xE0 or code in (0xC0, 0xC2, 0xC3):
        return
    if code <= 0x8F:
        _skip_msgpack_items(walk, code & 15, depth, keys=True)
    elif code <= 0x9F:
        _skip_msgpack_items(walk, code & 15, depth, keys=False)
    elif code <= 0xBF:
        walk.take(code & 31).decode()
    elif code in (0xC4, 0xC5, 0xC6):
        walk.take(walk.number(1 << (code - 0xC4)))
    elif code in (0xC7, 0xC8, 0xC9):
        walk.take(walk.number(1 << (code - 0xC7)) + 1)
    elif code in (0xCA, 0xCB):
        walk.take(4 if code == 0xCA else 8)
    elif code <= 0xD3:
        walk.take(1 << (code & 3))
    elif code <= 0xD8:
        walk.take((1 << (code - 0xD4)) + 1)
    elif code <= 0xDB:
        walk.take(walk.number(1 << (code - 0xD9))).decode()
    else:
        size = walk.number(2 if code in (0xDC, 0xDE) else 4)
        _skip_msgpack_items(walk, size, depth, keys=code >= 0xDE)


def _skip_msgpack_items(walk: _Walk, count: int, depth: int, *, keys: bool) -> None:
    for _ in range(count):
        if keys:
            key = walk.head[walk.at : walk.at + 1]
            if not key or not (0xA0 <= key[0] <= 0xBF or key[0] in (0xD9, 0xDA) or key[0] < 0x80):
                raise _CutOff if not key else _Mismatch
            _skip_msgpack(walk, depth + 1)
        _skip_msgpack(walk, depth + 1)


def is_cbor(source: Source) -> bool:
    """Whether it is a map or an array of CBOR and nothing else, or says that it is CBOR."""
    if source.head.startswith(b"\xd9\xd9\xf7") or _is_called(source, "cbor", "cborseq"):
        return True
    first = source.head[0]
    if not (0xA1 <= first <= 0xBB or first == 0xBF or 0x81 <= first <= 0x9B or first == 0x9F):
        return False
    return _walks(source, _skip_cbor)


def _skip_cbor(walk: _Walk, depth: int) -> None:
    walk.step()
    first = walk.byte()
    major, more = first >> 5, first & 31
    if depth > 50 or 28 <= more <= 30:
        raise _Mismatch
    value = more if more < 24 or more == 31 else walk.number(1 << (more - 24))
    if major in (2, 3):
        if more == 31:
            raise _Mismatch
        piece = walk.take(value)
        if major == 3:
            piece.decode()
    elif major in (4, 5):
        count = 0
        while count < value if more != 31 else walk.head[walk.at : walk.at + 1] != b"\xff":
            if major == 5:
                _skip_cbor(walk, depth + 1)
            _skip_cbor(walk, depth + 1)
            count += 1
        if more == 31:
            walk.byte()
    elif major == 6:
        _skip_cbor(walk, depth + 1)
    elif more == 31 or (major == 7 and more < 20):
        raise _Mismatch


def is_bson(source: Source) -> bool:
    """Whether it begins with a BSON document whose first element is named in plain words."""
    head = source.head
    size = int.from_bytes(head[:4], "little")
    if not 8 <= size <= max(source.size_bytes, len(head)) or len(head) < 8:
        return False
    if size <= len(head) and head[size - 1] != 0:
        return False
    if head[4] not in (*range(1, 0x14), 0x7F, 0xFF):
        return False
    end = head.find(b"\0", 5, 200)
    return end > 5 and head[5:end].decode().isprintable() and source.size_bytes >= 8


_UBJSON_OBJECT = re.compile(
    rb"\{(?:(?:\$.)?#[iUIlL][\s\S]{1,8}?)?[iU]([\x01-\x40])([\w $.-]{1,64})"
)
_UBJSON_ARRAY = re.compile(rb"\[\$[iUIlLdD]#[iUIlL]")


def is_ubjson(source: Source) -> bool:
    """Whether it is an object of UBJSON whose first key is a word, or an array of numbers."""
    if _UBJSON_ARRAY.match(source.head) or _is_called(source, "ubj", "ubjson", "bjd"):
        return True
    begins = _UBJSON_OBJECT.match(source.head)
    if begins is None:
        return False
    after = begins.start(2) + begins.group(1)[0]
    return begins.end() >= after and (
        source.head[1:2] == b"$" or source.head[after : after + 1] in _UBJSON_TYPES
    )


_UBJSON_TYPES = tuple(bytes([code]) for code in b"ZNTFiUIlLdDHCS[{")
