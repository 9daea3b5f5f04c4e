"""``python -m benchmarks.review_corpus``: what the reviewer says of ordinary programs.

Each file of the standard library and of the large packages in .venv, tests included, is taken for
a cell; so is the body of each of their functions, after the imports of its file, because most of
a file is never straight-line code; and so are the examples in docstrings. Every cell that would be
refused is listed with its sentence, for a person to judge. More paths, of Python files, notebooks
or directories of them, can be given.
"""

import argparse
import ast
import collections
import doctest
import json
import sysconfig
import textwrap
import time
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from interpreter.review import Remark, review

_STDLIB = Path(sysconfig.get_path("stdlib"))
_PACKAGES = Path(sysconfig.get_path("purelib"))
_NO_LIMIT = 100_000_000


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of code and where it comes from."""

    origin: str
    code: str


@dataclass(slots=True)
class Tally:
    """What came of one corpus."""

    cells: int = 0
    lines: int = 0
    seconds: float = 0.0
    remarked: int = 0
    errors: list[str] = field(default_factory=list)
    refused: list[tuple[Cell, Remark]] = field(default_factory=list)
    sentences: collections.Counter[str] = field(default_factory=collections.Counter)

    def add(self, cell: Cell) -> None:
        """Review one more."""
        self.cells += 1
        self.lines += cell.code.count("\n") + 1
        started = time.process_time()
        try:
            remarks = review(cell.code, max_characters=_NO_LIMIT)
        except Exception as error:
            self.errors.append(f"{cell.origin}: {error!r}")
            return
        finally:
            self.seconds += time.process_time() - started
        self.remarked += bool(remarks)
        for remark in remarks:
            # Without number and host: what kinds there are.
            self.sentences[remark.sentence.split(":")[-1].strip()] += not remark.certain
            if remark.certain:
                self.refused.append((cell, remark))


def files(*roots: Path) -> Iterator[Path]:
    """Python files and notebooks, without installed packages inside the standard library."""
    for root in roots:
        if root.is_file():
            yield root
        for path in sorted([*root.rglob("*.py"), *root.rglob("*.ipynb")]):
            if "site-packages" not in path.relative_to(root).parts:
                yield path


def whole_files(*roots: Path) -> Iterator[Cell]:
    """Each file, or each code cell of a notebook."""
    for path in files(*roots):
        if path.suffix == ".ipynb":
            yield from notebook_cells(path)
        else:
            yield Cell(str(path), source(path))


def notebook_cells(path: Path) -> Iterator[Cell]:
    """The code cells of a notebook."""
    cells = json.loads(path.read_text("utf-8")).get("cells", [])
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            yield Cell(f"{path} [{number}]", "".join(cell["source"]))


def bodies(*roots: Path) -> Iterator[Cell]:
    """Each function's body as straight-line code, after what its file imports at its top."""
    for path in files(*roots):
        tree = parsed(path)
        imports = "\n".join(
            ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)
        )
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = "\n".join(ast.unparse(statement) for statement in node.body)
                yield Cell(f"{path}:{node.lineno} {node.name}", f"{imports}\n{body}")


def docstrings(*roots: Path) -> Iterator[Cell]:
    """The examples of each docstring, together."""
    parser = doctest.DocTestParser()
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for path in files(*roots):
        for node in ast.walk(parsed(path)):
            if not isinstance(node, kinds) or not (text := ast.get_docstring(node)):
                continue
            try:
                examples = parser.get_examples(text)
            except ValueError:
                continue
            if examples:
                name = getattr(node, "name", "module")
                yield Cell(f"{path} {name}", "".join(example.source for example in examples))


def source(path: Path) -> str:
    """A file's text, in whatever encoding it names; empty if it is broken on purpose."""
    try:
        with tokenize.open(path) as file:
            return file.read()
    except (SyntaxError, UnicodeDecodeError):
        return ""


def parsed(path: Path) -> ast.Module:
    """A file's syntax tree; an empty one if it has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source(path) if path.suffix == ".py" else "")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return ast.Module(body=[], type_ignores=[])


def corpora(more: list[Path]) -> Iterator[tuple[str, Iterator[Cell]]]:
    """What there is, by name."""
    large = [_PACKAGES / name for name in ("matplotlib", "numpy", "scipy", "sklearn", "sympy")]
    pandas = _PACKAGES / "pandas"
    yield "standard library and its tests", whole_files(_STDLIB)
    yield "the same, bodies of functions", bodies(_STDLIB)
    yield "pandas and its tests", whole_files(pandas)
    yield "the same, bodies of functions", bodies(pandas)
    yield "matplotlib, numpy, scipy", whole_files(*large)
    yield "the same, bodies of functions", bodies(*large)
    yield "examples in docstrings of these", docstrings(_STDLIB, pandas, *large)
    for path in more:
        yield str(path), whole_files(path)
        yield f"{path}, bodies of functions", bodies(path)


def table(tallies: dict[str, Tally]) -> str:
    """The numbers for a person."""
    rows = [("corpus", "cells", "lines", "refused", "remarked", "errors", "cpu ms per 1000 lines")]
    for name, tally in tallies.items():
        refused = len({cell.origin for cell, _ in tally.refused})
        rows.append(
            (
                name,
                f"{tally.cells:,}",
                f"{tally.lines:,}",
                str(refused),
                str(tally.remarked),
                str(len(tally.errors)),
                f"{tally.seconds / max(tally.lines, 1) * 1e6:.1f}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def listing(tally: Tally) -> Iterator[str]:
    """Every refusal with the line it is about, every error, and what else was said how often."""
    for cell, remark in tally.refused:
        yield f"  {cell.origin}\n    {remark.sentence}"
        yield textwrap.indent(cell.code.split("\n")[remark.line - 1].strip()[:200], "    > ")
    yield from (f"  ERROR {error}" for error in tally.errors)
    for sentence, count in tally.sentences.most_common():
        if count:
            yield f"  {count} uncertain: {sentence}"


def main() -> int:
    """Review everything, print a table and the list of refusals; 1 if a review failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.review_corpus", description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, help="more to review")
    parser.add_argument("--only", action="store_true", help="review nothing but these paths")
    options = parser.parse_args()
    tallies: dict[str, Tally] = {}
    for name, cells in corpora(options.paths):
        if options.only and not name.startswith(tuple(map(str, options.paths))):
            continue
        # The second of a pair is named after the first.
        label = f"{next(reversed(tallies))}, as functions" if name.startswith("the same") else name
        tally = tallies[label] = Tally()
        for cell in cells:
            tally.add(cell)
        print(f"{label}:", *listing(tally), sep="\n", flush=True)
    print(table(tallies))
    return 1 if any(tally.errors for tally in tallies.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
