"""What code imports, and what of that is missing."""

import sys
import time
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_startup.imports import MOST_CHARS, Import, imported_names, missing


def _names(code: str) -> list[str]:
    return [one.name for one in imported_names(code)]


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import seaborn", ["seaborn"]),
        ("import a.b.c as d, e", ["a.b.c", "e"]),
        ("from a.b import c", ["a.b"]),
        ("x = 1\nimport a; import b", ["a", "b"]),
        ("import a\nimport a", ["a"]),
        ("def f():\n    import a\nclass C:\n    import b", ["a", "b"]),
        ("async def f():\n    async with x:\n        import a", ["a"]),
        ("try:\n    import a\nfinally:\n    import b", ["a", "b"]),
        ("if x:\n    import a\nelse:\n    import b\nwith y:\n    import c", ["a", "b", "c"]),
        ("import importlib\nm = importlib.import_module('x.y')", ["importlib", "x.y"]),
        ("import_module('x')", ["x"]),
        ("m = __import__('x')", ["x"]),
        ("get_ipython().run_cell_magic('time', '', 'import a\\n')", ["a"]),
        ("get_ipython().run_line_magic('timeit', 'import a')", ["a"]),
    ],
)
def test_imports_are_found_wherever_they_are(code: str, names: list[str]) -> None:
    assert _names(code) == names


@pytest.mark.parametrize(
    "code",
    [
        "",
        "1 + 1",
        "'import a'",
        "# import a",
        "from . import a",
        "from .a import b",
        "from .. import a",
        "import_module('.x', 'y')",
        "import_module(name)",
        "__import__(name)",
        "__import__()",
        "if TYPE_CHECKING:\n    import a",
        "if typing.TYPE_CHECKING:\n    import a",
        "get_ipython().run_cell_magic('bash', '', 'import a')",
        "get_ipython().run_cell_magic('writefile', 'a.py', 'import a')",
        "import",
        "%pip install a",
    ],
)
def test_what_is_no_import_is_none(code: str) -> None:
    assert _names(code) == []


def test_what_stands_in_for_a_failed_import_waits_until_it_fails() -> None:
    code = "try:\n    import a\nexcept ImportError:\n    import b\nexcept ValueError:\n    import c"
    assert _names(code) == ["a", "c"]


def test_an_else_of_type_checking_is_read() -> None:
    assert _names("if TYPE_CHECKING:\n    import a\nelse:\n    import b") == ["b"]


def test_parts_that_may_be_modules_are_given() -> None:
    assert imported_names("from google.cloud import storage, bigquery as b, Client, MAX") == (
        Import("google.cloud", ("google.cloud.storage", "google.cloud.bigquery")),
    )


@pytest.mark.parametrize(
    "code",
    [
        "(" * 100_000,
        "-" * 100_000 + "1",
        "a" + ".b" * 40_000,
        "[" * 90 + "]" * 90,
        "\0import x",
        "import x\0",
        "x = " + "+".join(["1"] * 50_000),
        "import \ud800",
        "if 1:\n" + "".join(" " * depth + "if 1:\n" for depth in range(1, 99)),
    ],
)
def test_hostile_code_imports_nothing(code: str) -> None:
    assert imported_names(code) == ()


def test_code_is_read_up_to_its_largest_size_only() -> None:
    line = "import a\n"
    assert _names(line + "#" * (MOST_CHARS - len(line))) == ["a"]
    assert _names(line + "#" * (MOST_CHARS - len(line) + 1)) == []


def test_the_number_of_imports_is_bounded() -> None:
    assert len(_names("\n".join(f"import z{number}" for number in range(5_000)))) == 200


def test_a_name_without_end_is_not_looked_up() -> None:
    assert missing([Import("zz" + ".zz" * 10_000)]) == ()


@given(st.text(max_size=200))
def test_any_text_can_be_read(code: str) -> None:
    assert missing(imported_names(code)) is not None


# -- what is missing -----------------------------------------------------------------------------


def _missing(code: str) -> tuple[str, ...]:
    return missing(imported_names(code))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory at the end of the path, and an empty working directory."""
    (tmp_path / "work").mkdir()
    (tmp_path / "place").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.syspath_prepend(str(tmp_path / "work"))
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "place")])
    before = set(sys.modules)
    yield tmp_path / "place"
    for name in set(sys.modules) - before:
        del sys.modules[name]


def _write(path: Path, text: str = "raise RuntimeError('it was run')") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_what_no_finder_finds_is_missing(place: Path) -> None:
    assert _missing("import zzmissing, os\nimport zzother.part") == ("zzmissing", "zzother.part")


@pytest.mark.parametrize(
    "name",
    [
        "os",
        "_winapi",
        "winreg",
        "_zzprivate",
        "sitecustomize",
        "usercustomize",
        "__main__",
        "__mp_main__",
        "pytest",
        "pytest.nothing.there",
    ],
)
def test_what_no_package_can_have_is_never_missing(name: str) -> None:
    assert missing([Import(name)]) == ()


@pytest.mark.parametrize("name", ["not a name", "a-b", "", ".", "class", "a.b c", "ä b"])
def test_what_is_no_name_is_never_missing(name: str) -> None:
    assert missing([Import(name)]) == ()


def test_looking_runs_nothing(place: Path) -> None:
    _write(place / "zzmodule.py")
    _write(place / "zzpackage" / "__init__.py")
    assert _missing("import zzmodule, zzpackage.part\nfrom zzpackage import other") == ()
    assert not {"zzmodule", "zzpackage"} & set(sys.modules)


def test_modules_in_memory_are_there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zzmade", ModuleType("zzmade"))
    assert _missing("import zzmade.part\nfrom zzmade import other") == ()


def test_a_module_that_is_kept_from_being_imported_is_left_alone(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zzblocked", None)
    assert _missing("import zzblocked") == ()


def test_files_of_the_working_directory_are_there(place: Path) -> None:
    _write(Path("zzhelpers.py"))
    _write(Path("zzown/part.py"))
    assert _missing("import zzhelpers\nimport zzown.other\nfrom zzown import more") == ()


def test_a_directory_of_data_is_no_module(place: Path) -> None:
    _write(Path("zzplots/figure.png"), "")
    assert _missing("import zzplots.express") == ("zzplots.express",)


def test_a_part_is_missing_where_packages_share_a_place(place: Path) -> None:
    _write(place / "zzspace" / "one" / "here.py")
    code = "from zzspace.one import here, gone\nimport zzspace.two\nfrom zzspace import three, one"
    assert _missing(code) == ("zzspace.one.gone", "zzspace.two", "zzspace.three")


def test_a_shared_place_in_memory_is_looked_into(place: Path) -> None:
    _write(place / "zzloaded" / "one.py", "")
    __import__("zzloaded.one")
    assert _missing("import zzloaded.one, zzloaded.two") == ("zzloaded.two",)


def test_classes_and_constants_are_no_modules(place: Path) -> None:
    assert _missing("from zzgone.sub import Thing, LIMIT") == ("zzgone.sub",)


def test_what_another_name_implies_is_not_named(place: Path) -> None:
    assert _missing("import zzgone\nfrom zzgone import part") == ("zzgone.part",)


def test_a_broken_finder_makes_nothing_missing(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
            raise RuntimeError(name)

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Broken()])
    assert _missing("import zzmissing") == ()


def test_reading_ordinary_cells_takes_no_noticeable_time() -> None:
    """Not a measurement: a bound that only something gone wrong passes."""
    began = time.process_time()
    for _ in range(100):
        _missing("import os, json\nfrom pathlib import Path\n" + "x = [1, 2, 3]\n" * 20)
    assert time.process_time() - began < 20
