"""``python -m benchmarks.loading``: load_file beside the libraries it reads with.

Each reading is done in a fresh process, the readers in turn, on files made for it: a csv of 200 MB,
a parquet file of 100 MB, a workbook of 50 MB. Of each reader the best time and the smallest peak of
memory count; ours is compared with the fastest of the others, and its memory with that one's. Then
how long it takes to tell what a file is. Exit status 1 if a promise is broken.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.measures import Result

_SHARE = 1.1
_DETECTION_S = 0.005
_SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "samples"
_ROOT = Path(__file__).resolve().parents[1]

#: A process reads one file once. What it imports for that isn't counted.
_CHILD = """
import json, sys, time
import numpy, pandas as pd, pyarrow, pyarrow.csv, pyarrow.parquet, python_calamine
{imports}
path = sys.argv[2]
{call}  # what is imported at first use, from a little file of the same kind
path = sys.argv[1]
begun = time.perf_counter()
table = {call}
took = time.perf_counter() - begun
# Not ru_maxrss, which a process has from the one that started it.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
peak = int(status["VmHWM"].split()[0]) * 1024
print(json.dumps({{"s": took, "bytes": peak, "shape": list(table.shape)}}))
"""
_OURS = ("from kernel_startup.files import load_from", "load_from({}, path)[0]")
_CALAMINE = (
    """
def read(path):
    rows = python_calamine.CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()
    return pd.DataFrame(rows[1:], columns=rows[0])
""",
    "read(path)",
)
_READERS: dict[str, dict[str, tuple[str, str]]] = {
    "csv": {
        # Told what ours finds out: which column is of days.
        "pandas": ("", 'pd.read_csv(path, parse_dates=["day"])'),
        "pandas, pyarrow engine": (
            "",
            'pd.read_csv(path, engine="pyarrow", parse_dates=["day"])',
        ),
    },
    "parquet": {"pandas": ("", "pd.read_parquet(path)")},
    "xlsx": {
        "calamine": _CALAMINE,
        "pandas, calamine engine": ("", 'pd.read_excel(path, engine="calamine")'),
    },
}


@dataclass(frozen=True, slots=True)
class Reading:
    """The best of several readings by one reader."""

    reader: str
    seconds: float
    peak_bytes: int


def read_once(reader: tuple[str, str], path: Path, little: Path) -> dict[str, Any]:
    """Read a file in a process of its own."""
    code = _CHILD.format(imports=reader[0], call=reader[1])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(path), str(little)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def compare(kind: str, path: Path, little: Path, rounds: int) -> tuple[Reading, Reading]:
    """Have all readers of a kind take turns; gives ours and the fastest of the others."""
    readers = {"ours": _OURS, **_READERS[kind]}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in readers}
    for _ in range(rounds):
        for name, reader in readers.items():
            found[name].append(read_once(reader, path, little))
            print(f"  {name}: {found[name][-1]['s']:.2f} s", flush=True)
    shapes = {name: runs[0]["shape"] for name, runs in found.items()}
    assert len({tuple(shape) for shape in shapes.values()}) == 1, shapes
    best = [
        Reading(name, min(run["s"] for run in runs), min(run["bytes"] for run in runs))
        for name, runs in found.items()
    ]
    return best[0], min(best[1:], key=lambda reading: reading.seconds)


def results_of(kind: str, path: Path, little: Path, rounds: int) -> Iterator[Result]:
    """Time and memory of one kind of file."""
    ours, other = compare(kind, path, little, rounds)
    size = path.stat().st_size / 1e6
    for what, unit, one, two in (
        ("time", "s", ours.seconds, other.seconds),
        ("peak", "MB", ours.peak_bytes / 1e6, other.peak_bytes / 1e6),
    ):
        yield Result(
            name=f"{kind} of {size:.0f} MB beside {other.reader}, {what}",
            unit=unit,
            ours=one,
            stock=two,
            sense="share",
            target=_SHARE,
            samples=rounds,
        )


# -- the files ------------------------------------------------------------------------------------


def make_table(rows: int) -> Any:
    """A table of ids, words, numbers, days and flags."""
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(5)
    cities = np.array(["Oslo", "Lima", "Paris", "Rome", "Quito", "Cairo", "Delhi", "Osaka"])
    notes = np.array(["nothing to say", "ok, then", "see below", "so it is"])
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 1500, rows), unit="D")
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "city": random.choice(cities, rows),
            "price": random.normal(100, 20, rows).round(4),
            "day": days,
            "count": random.integers(0, 100_000, rows),
            "flag": random.choice([True, False], rows),
            "x": random.random(rows),
            "note": random.choice(notes, rows),
        }
    )


def make_workbook(path: Path, rows: int) -> None:
    """Write a workbook of one sheet; writing the XML as text takes seconds, openpyxl minutes."""
    table = make_table(rows).drop(columns=["day", "flag"])
    words = sorted({*table["city"], *table["note"], *table.columns})
    at = {word: number for number, word in enumerate(words)}
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kinds = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kinds}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kinds}.worksheet+xml"/>'
        f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kinds}.sharedStrings+xml"/>'
        "</Types>",
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook {main} xmlns:r="{relations}"><sheets>'
        '<sheet name="Data" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="r1" Type="{relations}/worksheet" Target="worksheets/sheet1.xml"/>'
        f'<Relationship Id="r2" Type="{relations}/sharedStrings" Target="sharedStrings.xml"/>'
        "</Relationships>",
        "xl/sharedStrings.xml": f"<sst {main}>"
        + "".join(f"<si><t>{word}</t></si>" for word in words)
        + "</sst>",
    }
    texts = [name for name in table.columns if name in ("city", "note")]
    for name in texts:
        table[name] = table[name].map(at)
    letters = "ABCDEFGH"[: table.shape[1]]
    marks = [' t="s"' if name in texts else "" for name in table.columns]
    header = "".join(
        f'<c r="{letter}1" t="s"><v>{at[name]}</v></c>'
        for letter, name in zip(letters, table.columns, strict=True)
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            sheet.write(f'<worksheet {main}><sheetData><row r="1">{header}</row>'.encode())
            for number, row in enumerate(table.itertuples(index=False, name=None), start=2):
                cells = "".join(
                    f'<c r="{letter}{number}"{mark}><v>{value}</v></c>'
                    for letter, mark, value in zip(letters, marks, row, strict=True)
                )
                sheet.write(f'<row r="{number}">{cells}</row>'.encode())
            sheet.write(b"</sheetData></worksheet>")


def make_files(work: Path, share: float) -> dict[str, Path]:
    """Make the files, or smaller ones (`share` of their size)."""
    work.mkdir()
    paths = {kind: work / f"table.{kind}" for kind in _READERS}
    make_table(int(2_700_000 * share)).to_csv(paths["csv"], index=False)
    make_table(int(4_200_000 * share)).to_parquet(paths["parquet"])
    make_workbook(paths["xlsx"], int(900_000 * share))
    return paths


# -- what a file is -------------------------------------------------------------------------------


def detection(files: list[Path]) -> Result:
    """How long it takes to tell a file's type, without its name, in the median over files."""
    from kernel_startup.recognition import type_of_content

    times = []
    for path in files:
        type_of_content(path, "upload")  # modules are imported once a kernel
        begun = time.perf_counter()
        type_of_content(path, "upload")
        times.append(time.perf_counter() - begun)
    return Result(
        name=f"telling a file's type, median of {len(files)} files",
        unit="s",
        ours=statistics.median(times),
        stock=_DETECTION_S,
        sense="share",
        target=1.0,
        samples=len(files),
    )


def table(results: list[Result]) -> str:
    """The results for a person."""
    rows = [("what", "ours", "other", "ours/other", "promise", "kept")]
    for result in results:
        rows.append(
            (
                result.name,
                f"{result.ours:.3g} {result.unit}",
                f"{result.stock:.3g} {result.unit}",
                f"{result.ratio:.2f}",
                f"<= {result.target:g}",
                "yes" if result.met else "NO",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def main() -> int:
    """Parse the arguments, measure, report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loading", description=__doc__)
    parser.add_argument("kinds", nargs="*", default=[*_READERS], help="csv, parquet, xlsx")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--share", type=float, default=1.0, help="smaller files")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/loading.json"))
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory(prefix="cellmate-loading-") as work:
        print("making the files", flush=True)
        paths = make_files(Path(work) / "large", options.share)
        little = make_files(Path(work) / "little", 0.0001)
        for kind in options.kinds:
            print(f"measuring: {kind}", flush=True)
            results += results_of(kind, paths[kind], little[kind], options.rounds)
        samples = [path for path in sorted(_SAMPLES.glob("*/*")) if path.is_file()]
        results.append(detection(samples or [*paths.values()]))
    print(f"\nload_file beside the libraries it reads with\n\n{table(results)}")
    record = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "results": [
            {**asdict(result), "ratio": result.ratio, "met": result.met} for result in results
        ],
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(record, indent=2) + "\n")
    return 0 if all(result.met for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
