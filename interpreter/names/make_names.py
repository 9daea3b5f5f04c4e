"""Generate `popular.txt` and `import-names.tsv` from their public sources.

    python -m interpreter.names.make_names --popular FILE --imports FILE...

`--popular` takes `top-pypi-packages.min.json` of the GitHub repository hugovk/top-pypi-packages:
the 15,000 most downloaded distributions, most downloaded first. `--imports` takes wheels of
`pigar`, whose index says which top-level names a distribution's files give. With several wheels
the first that knows a distribution counts.

The same sources always give the same files. Sources and licences are named in their headers.

Keys of `import-names.tsv` are import names: a top-level name as it is written, a name below it
folded as `fold_import` does. `NAME.*` with nothing beside it: many independent distributions share
NAME, so that what is below it and not listed can't be guessed. Names that differ from their
distribution's only in what `canonicalize_name` folds are left out, as whoever reads the table
finds them in `popular.txt`.
"""

import argparse
import json
import keyword
import re
import sqlite3
import sys
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from packaging.utils import canonicalize_name

from interpreter.distributions import fold_import

HERE = Path(__file__).parent
POPULAR_FILE = HERE / "popular.txt"
IMPORTS_FILE = HERE / "import-names.tsv"

_POPULAR_COUNT = 15_000

# The distribution named as the import wins unless another one is downloaded this many times as
# often: `mlflow` before `mlflow-skinny`, but `python-docx` before `docx`.
_OWN_NAME_WEIGHT = 4

# A top-level name that this many distributions share belongs to none of them.
_SHARED_BY_MANY = 30

# A distribution less popular than this gives its side names (`core`, `auth`) to nobody.
_TRUSTED_RANK = 3_000

# Top-level names that are left in wheels by accident or that anyone may use for files of his own.
_JUNK_NAMES = """
    admin adobe api app app_config apps assets auth authorization backend base benchmark
    benchmarks bin bits bogus build_backend build_tests build_tools build_utils certs cli
    client clientpkgs cmd com commands common conf config configs conftest constants contrib
    core cpython data dataset db demo demos dev devtools_testutils dist doc docs DUMMY empty
    evaluate_utils example example_project examples exchange ext factories FAKE_NAME fixtures
    frontend game gui helper helpers images img include inference_utils integration
    integration_tests integrations internet io lib libs local logger logging_config main
    management meta migrations misc mocks model models my_package mypackage net node_modules
    notebook notebooks odbc org package packages playground plugin plugins preprocess project
    resources results runtime sample samples script scripts server service services settings
    setup setup_cython shared shell site_packages sql_server src static stubs swagger target
    task tasks templates test test_suite test_utils testapp testfunctions testing tests
    testsuite third_party timer tmp tool tools train training tutorial tutorials types typings
    unit unittests usage util utilities utils version views web wheelhouse wheels
"""
_JUNK = frozenset(_JUNK_NAMES.split())

# Where popularity or the index of names would choose wrongly. Each with its reason.
_PREFERENCES = {
    # The same module four times: kernels have no display, and the contrib ones are larger.
    "cv2": "opencv-python-headless",
    # The second wheel only adds to what the first one gives.
    "mpl_toolkits": "matplotlib",
    "mpl_toolkits.basemap": "basemap",
    # Its distributions have no file of their own at the top, so that the index lists others.
    "airflow": "apache-airflow",
    "opentelemetry": "opentelemetry-api",
    "opentelemetry.semconv": "opentelemetry-semantic-conventions",
    "llama_index": "llama-index",
    # The index knows top-level names only, and these don't follow from the distribution's name.
    "google.protobuf": "protobuf",
    "google.oauth2": "google-auth",
    "google.api": "googleapis-common-protos",
    "google.rpc": "googleapis-common-protos",
    "google.type": "googleapis-common-protos",
    "google.longrunning": "googleapis-common-protos",
    "google.cloud": "google-cloud-core",
    "google.cloud.sql": "cloud-sql-python-connector",
    "databricks.sql": "databricks-sql-connector",
    # The index of names saw releases without them.
    "shapefile": "pyshp",
    "pkg_resources": "setuptools",
    "gi": "pygobject",
    # The test runner gives a part of the library of this name.
    "py": "py",
    # Successors of distributions that are given up and have no wheels.
    "fpdf": "fpdf2",
    "cchardet": "faust-cchardet",
}

# Wheels only are installed: of `psycopg2` and `psycopg2-binary` the second one.
_WHEEL_VARIANTS = ("-binary", "-wheel")

# What distributions put around the name that is imported.
_PREFIXES = ("apache-",)
_SUFFIXES = ("-python", "-sdk")


@dataclass(frozen=True)
class Popularity:
    """The most downloaded distributions.

    Attributes:
        downloads: Distribution -> how often it was downloaded, the most downloaded one first.
        ranks: Distribution -> how many are downloaded more often.
        source: Where the numbers are from.
    """

    downloads: Mapping[str, int]
    ranks: Mapping[str, int]
    source: str


def read_popular(path: Path) -> Popularity:
    """Read the list of the most downloaded distributions."""
    listed = json.loads(path.read_text("utf-8"))
    downloads: dict[str, int] = {}
    for row in listed["rows"][:_POPULAR_COUNT]:
        downloads.setdefault(canonicalize_name(row["project"]), row["download_count"])
    source = f"GitHub repository hugovk/top-pypi-packages, list of {listed['last_update'][:10]}"
    ranks = {name: rank for rank, name in enumerate(downloads)}
    return Popularity(downloads, ranks, source)


def read_imports(wheel: Path) -> tuple[dict[str, set[str]], str]:
    """Read pigar's index: distribution -> top-level names it gives, and where that is from."""
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as directory:
        archive.extract("pigar/.db.sqlite3", directory)
        about = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(about).decode())
        database = sqlite3.connect(Path(directory, "pigar/.db.sqlite3"))
        rows = database.execute(
            "SELECT distributions.name, top_level_module_names.name FROM distributions"
            " JOIN top_level_module_names ON distribution_id = distributions.id"
        ).fetchall()
        database.close()
    given: dict[str, set[str]] = defaultdict(set)
    for distribution, module in rows:
        given[canonicalize_name(distribution)].add(module)
    licence = metadata["License-Expression"] or metadata["License"]
    return dict(given), f"{metadata['Name']} {metadata['Version']} ({licence})"


def usable(module: str) -> bool:
    """Tell whether a top-level name can belong to one distribution."""
    return (
        module.isascii()
        and module.isidentifier()
        and not module.startswith("_")
        and not keyword.iskeyword(module)
        and module not in _JUNK
        and module not in sys.stdlib_module_names
    )


def resembles(module: str, distribution: str) -> bool:
    """Tell whether an import name and a distribution's name have four letters in a row in common.

    One being the whole of the other, less what is often put around it, is enough, too.
    """
    short, long = sorted((_squash(module), _squash(distribution)), key=len)
    if len(short) < 4:
        return short in long
    return any(short[at : at + 4] in long for at in range(len(short) - 3))


def givers(
    given: Mapping[str, set[str]], popular: Popularity
) -> tuple[dict[str, list[str]], set[str]]:
    """Turn the index round.

    Returns:
        Top-level name -> the popular distributions that give it, most popular first; and the
        popular distributions of which no top-level name is known.
    """
    found = defaultdict(list)
    unknown = set()
    for distribution in popular.downloads:
        names = given.get(distribution, set())
        modules = {name for name in names if usable(name)}
        unknown |= set() if names else {distribution}
        named_alike = any(resembles(module, distribution) for module in modules)
        doubtful = named_alike and popular.ranks[distribution] >= _TRUSTED_RANK
        for module in modules:
            if not doubtful or resembles(module, distribution):
                found[module].append(distribution)
    return dict(found), unknown


def choose(module: str, candidates: Sequence[str], popular: Popularity) -> str:
    """Choose the distribution that an import name means, of those that give it."""
    best = candidates[0]
    own = canonicalize_name(module)
    wheels = [own + suffix for suffix in _WHEEL_VARIANTS if own + suffix in candidates]
    if wheels:
        return wheels[0]
    # One that isn't known to give it, but has its very name and is downloaded more often than all
    # that are, gives it as well: the index of names has gaps.
    known = own in candidates
    named = known or (module == own.replace("-", "_") and own in popular.downloads)
    enough = popular.downloads[best] / (_OWN_NAME_WEIGHT if known else 1)
    return own if named and popular.downloads[own] >= enough else best


def below(top: str, distribution: str) -> list[str]:
    """List the keys that a distribution's name suggests for what it gives below a shared name.

    `google-cloud-storage` gives `google.cloud.storage`; `snowflake-connector-python` gives
    `snowflake.connector`.
    """
    stems = {distribution}
    stems |= {distribution.removeprefix(prefix) for prefix in _PREFIXES}
    stems |= {distribution.removesuffix(suffix) for suffix in _SUFFIXES}
    start = canonicalize_name(top) + "-"
    rests = [stem.removeprefix(start) for stem in stems if stem.startswith(start)]
    return sorted(fold_import(f"{top}.{rest}") for rest in rests)


def shared_names(
    found: Mapping[str, Sequence[str]], unknown: Iterable[str], popular: Popularity
) -> dict[str, list[str]]:
    """Find the top-level names that several distributions share: name -> those distributions.

    Of a distribution without known names its own name is believed, if the first part is shared.
    """
    silent = sorted(unknown, key=popular.ranks.__getitem__)
    shared = {}
    for top in sorted(found.keys() | {name for name in _PREFERENCES if "." not in name}):
        proven = [name for name in found.get(top, ()) if below(top, name)]
        if len(proven) >= 2 or top in _PREFERENCES:
            named = [name for name in silent if below(top, name)]
            if len(proven) >= 2 or len(named) >= _SHARED_BY_MANY:
                shared[top] = sorted({*proven, *named}, key=popular.ranks.__getitem__)
    return shared


def table(given: Mapping[str, set[str]], popular: Popularity) -> dict[str, str]:
    """Make the table: key -> distribution; "" where nothing can be guessed."""
    found, unknown = givers(given, popular)
    rows: dict[str, str] = {}
    for top, distributions in shared_names(found, unknown, popular).items():
        for distribution in distributions:
            for key in below(top, distribution):
                rows.setdefault(key, distribution)
        if len(distributions) >= _SHARED_BY_MANY and top not in _PREFERENCES:
            rows[f"{top}.*"] = ""
    for module, candidates in found.items():
        rows[module] = choose(module, candidates, popular)
    for name, distribution in _PREFERENCES.items():
        rows[fold_import(name)] = distribution
    return {
        key: distribution
        for key, distribution in sorted(rows.items())
        if distribution != canonicalize_name(key) or "." in key
    }


def _squash(name: str) -> str:
    return re.sub(r"[-_.]", "", name).lower()


def _write(path: Path, header: Sequence[str], lines: Iterable[str]) -> None:
    text = "".join(f"{line}\n" for line in [*(f"# {line}" for line in header), *lines])
    path.write_text(text, "utf-8")


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--popular", type=Path, required=True, metavar="FILE")
    parser.add_argument("--imports", type=Path, required=True, nargs="+", metavar="FILE")
    arguments = parser.parse_args()

    popular = read_popular(arguments.popular)
    given: dict[str, set[str]] = {}
    sources = []
    for wheel in arguments.imports:
        more, source = read_imports(wheel)
        given = more | given
        sources.append(source)

    generated = "Generated by interpreter/names/make_names.py; don't edit."
    about = "The most downloaded distributions, most downloaded first."
    _write(POPULAR_FILE, [about, generated, f"Source: {popular.source}."], popular.downloads)
    about = "Import name -> distribution, where they differ."
    source = f"Sources: {', '.join(sources)}; popularity: {popular.source}."
    rows = (f"{key}\t{found}" for key, found in table(given, popular).items())
    _write(IMPORTS_FILE, [about, generated, source], rows)


if __name__ == "__main__":
    main()
