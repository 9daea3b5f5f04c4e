"""Every file that the tests make: its type is told with and without its name, and it loads."""

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel_startup.recognition import type_of_content
from kernel_startup.types import TYPES
from tests.formats.uploads import Loading, Made, all_samples

GROUPS = sorted(path.stem for path in (Path(__file__).parent / "made").glob("*.py"))


def made() -> list[Any]:
    found = []
    for group in GROUPS:
        module = importlib.import_module(f"tests.formats.made.{group}")
        found += [pytest.param(m, id=f"{group}-{m.type}-{m.filename}") for m in module.MADE]
    return found


@pytest.mark.parametrize("made", made())
def test_made_file_is_recognised_and_loads(
    made: Made, load: Loading, on_demand: Callable[..., None], tmp_path: Path
) -> None:
    content = made.make()
    path = tmp_path / "content"
    path.write_bytes(content)
    assert type_of_content(path, made.filename).name == made.type
    assert type_of_content(path, made.filename.upper()).name == made.type
    if made.nameless:
        assert type_of_content(path, "upload").name == made.type
    if made.requires:
        assert set(made.requires) <= set(TYPES[made.type].requires)
        on_demand(*made.requires)
    made.check(load(content, made.filename, **made.options))


def test_at_least_150_types_are_made() -> None:
    assert len({parameter.values[0].type for parameter in made()}) >= 150


def test_every_row_of_the_samples_is_a_test() -> None:
    folders = {sample.path.parent.name for sample in all_samples()}
    tested: set[str] = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for call in re.findall(r"(?:samples|FOLDERS = )\(([^)]*)\)", path.read_text("utf-8")):
            tested |= set(re.findall(r'"([a-z0-9-]+)"', call))
    assert folders <= tested
