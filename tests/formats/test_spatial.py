"""Meshes, CAD, point clouds and geospatial data: real files, and files that lie or break off."""

from collections.abc import Callable
from typing import Any

import pytest

from kernel_startup.recognition import type_of_content
from kernel_startup.types import TYPES
from tests.formats.uploads import Loading, Sample, samples

#: Nothing in these tells them apart from others of their container.
_TOLD_BY_NAME = {"testsolidworksPart2013SP2.SLDPRT"}


@pytest.mark.parametrize("sample", samples("mesh3d", "geo"))
def test_sample_is_what_an_analyst_expects(
    sample: Sample, load: Loading, on_demand: Callable[..., None]
) -> None:
    file_type = type_of_content(sample.path)
    assert file_type.family in ("mesh", "cad", "point cloud", "geospatial")
    assert type_of_content(sample.path, sample.path.name.upper()) is file_type
    if sample.path.name not in _TOLD_BY_NAME:
        assert type_of_content(sample.path, "upload") is file_type
    if file_type.requires:
        on_demand(*file_type.requires)
    loaded = load(sample.path)
    for name, stated in sample.fact.items():
        if name != "note":  # why the second tool couldn't read it
            assert _FACTS[name](loaded, sample) == stated, name


def _parts(loaded: Any) -> list[Any]:
    return list(loaded.geometry.values()) if hasattr(loaded, "geometry") else [loaded]


_FACTS: dict[str, Callable[[Any, Sample], Any]] = {
    "bytes": lambda _, sample: sample.path.stat().st_size,
    "faces": lambda loaded, _: sum(len(part.faces) for part in _parts(loaded)),
    "vertices": lambda loaded, _: sum(len(part.vertices) for part in _parts(loaded)),
    "points": lambda loaded, _: len(loaded.points),
    "layers": lambda loaded, _: list(loaded),
    "features1": lambda loaded, _: len(next(iter(loaded.values()))),
}


def test_every_loader_of_the_table_exists() -> None:
    from kernel_startup.loaders import find_loader

    for file_type in TYPES.values():
        if file_type.family in ("mesh", "cad", "point cloud", "geospatial"):
            assert callable(find_loader(file_type.loader)), file_type.name
