"""Medical imaging, biology and chemistry: real files, options, and files that lie or break off."""

import gzip
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from kernel_startup.errors import FileLoadError
from kernel_startup.fileinfo import FileInfo
from kernel_startup.recognition import type_of_content
from kernel_startup.types import TYPES
from tests.formats.uploads import Loading, Sample, samples

#: The manifest counts the four lines of its header as alignments: there are 19.
_DISPUTED = {"psl_34_004.psl": {"rows": 19}}


@pytest.mark.parametrize("sample", samples("medical", "bio"))
def test_sample_is_what_an_analyst_expects(
    sample: Sample, load: Loading, on_demand: Callable[..., None]
) -> None:
    file_type = type_of_content(sample.path)
    assert type_of_content(sample.path, "upload") is file_type
    assert type_of_content(sample.path, sample.path.name.upper()) is file_type
    if file_type.requires:
        on_demand(*file_type.requires)
    loaded = load(sample.path)
    facts = {**sample.fact, **_DISPUTED.get(sample.path.name, {})}
    for name, stated in facts.items():
        assert _FACTS[name](loaded, sample) == stated, name


def _one(loaded: Any) -> Any:
    return loaded[0] if isinstance(loaded, list) else loaded


def _models(loaded: Any, _: Sample) -> int:
    return len(loaded)


def _tips(loaded: Any, _: Sample) -> int:
    return len(_one(loaded).get_terminals())


def _rows(loaded: Any, sample: Sample) -> int:
    return int(loaded.Rows) if sample.extension == "dcm" else len(loaded)


_FACTS: dict[str, Callable[[Any, Sample], Any]] = {
    "records": lambda loaded, _: len(loaded),
    "rows": _rows,
    "cols": lambda loaded, _: loaded.Columns,
    "modality": lambda loaded, _: loaded.get("Modality", ""),
    "len1": lambda loaded, _: len(_one(loaded).seq),
    "bytes": lambda _, sample: sample.path.stat().st_size,
    "bigbed": lambda loaded, _: {"chrom", "chromStart", "chromEnd"} <= {*loaded.columns},
    "models": _models,
    "atoms": lambda loaded, _: sum(model.count_atom_sites() for model in loaded),
    "alignments": lambda loaded, _: len(loaded) if isinstance(loaded, list) else 1,
    "seqs1": lambda loaded, _: len(_one(loaded)),
    "cols1": lambda loaded, _: _one(loaded).get_alignment_length(),
    "trees": lambda loaded, _: len(loaded) if isinstance(loaded, list) else 1,
    "tips1": _tips,
}
