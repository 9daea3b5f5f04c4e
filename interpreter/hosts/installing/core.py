"""The kernels' own packages: which there are, and an index of them for uv to resolve against.

The index is a directory of wheels with nothing in them but what the installed packages say of
themselves. uv asks it first: so these packages have one version, the installed one, and nobody is
asked for them.

Source: PEP 503 (simple API), the binary distribution format.
"""

import os
import re
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import all_suffixes
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.utils import canonicalize_name

from interpreter.kernel_env import KernelEnvironment

_WHEEL = "Wheel-Version: 1.0\nGenerator: cellmate\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_BUILDER = 1
_THEN = (1980, 1, 1, 0, 0, 0)


def module_of(name: str) -> str:
    """The module that a file would be imported as; "" if it can't be."""
    stem, _, _ = name.partition(".")
    return stem if any(name.endswith(suffix) for suffix in (*all_suffixes(), ".so")) else ""


@dataclass(frozen=True, slots=True)
class Core:
    """What all kernels have.

    Attributes:
        versions: by canonical name.
        packages: the directory they are installed in.
        index: the directory that is an index of them.
    """

    versions: Mapping[str, str]
    packages: Path
    index: Path

    @classmethod
    def read(cls, environment: KernelEnvironment, root: Path) -> "Core":
        """Read an environment, and write the index of it if there is none.

        Args:
            environment: the kernels'.
            root: where indexes are kept, one for each environment.

        Raises:
            OSError: the index can't be written.
        """
        (packages,) = environment.path.glob("lib/python3.*/site-packages")
        installed = distributions(path=[str(packages)])
        found = {str(canonicalize_name(each.name)): each for each in installed}
        index = root / f"core-{environment.key}-{_BUILDER}"
        if not index.is_dir():
            making = root / f"making-{os.getpid()}"
            shutil.rmtree(making, ignore_errors=True)
            for name, distribution in found.items():
                _write_page(making / name, distribution)
            making.rename(index)
        versions = {name: found[name].version for name in sorted(found)}
        return cls(versions, packages, index)

    def shadowed(self, name: str, path: Path) -> bool:
        """Whether something at the top of a layer stands for what kernels have already."""
        return _collides(self.packages, name, path)


def _collides(ours: Path, name: str, theirs: Path) -> bool:
    """Whether a file or directory means a module that ``ours`` has; two namespaces may share."""
    module = name if theirs.is_dir() else module_of(name) or name
    for mine in (ours / name, ours / module):
        if not os.path.lexists(mine):
            continue
        both = mine.is_dir() and theirs.is_dir()
        # A package is found before a namespace, wherever on the path it is.
        if not both or _is_package(mine) or _is_package(theirs):
            return True
        return any(_collides(mine, each.name, each) for each in theirs.iterdir())
    return any(module == module_of(each.name) for each in ours.glob(f"{glob_safe(module)}.*"))


def _is_package(directory: Path) -> bool:
    return any(module_of(name) == "__init__" for name in os.listdir(directory))


def glob_safe(name: str) -> str:
    """A name as a pattern that means itself."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _write_page(directory: Path, distribution: Distribution) -> None:
    name = re.sub(r"[-.]+", "_", canonicalize_name(distribution.name))
    stem = f"{name}-{distribution.version}"
    filename = f"{stem}-py3-none-any.whl"
    directory.mkdir(parents=True)
    with zipfile.ZipFile(directory / filename, "w") as wheel:
        for path, text in (
            ("METADATA", distribution.read_text("METADATA") or ""),
            ("WHEEL", _WHEEL),
            ("RECORD", ""),
        ):
            wheel.writestr(zipfile.ZipInfo(f"{stem}.dist-info/{path}", _THEN), text)
    (directory / "index.html").write_text(f'<a href="{filename}">{filename}</a>\n')
