"""Bytecode for large layers, written after they are in use: kernels themselves can't keep any.

Measured: without it, a package such as scikit-learn takes five times as long to import, in every
kernel again. Compiling takes longer than the first import, so nobody waits for it. Nothing of a
package is run; the compiler works in uv's sandbox, without network, into a stage.

Source: PEP 3147 (where bytecode lies), PEP 552 (that is never compared with its source).
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

#: With less source, nobody notices.
WORTH_BYTES = 2 << 20
_BYTECODE = re.compile(r"([^/]+)\.cpython-\d+\.pyc")


def source_bytes(layer: Path) -> int:
    """How much there is to compile in a layer."""
    total = 0
    for directory, _, names in os.walk(layer):
        for name in names:
            if name.endswith(".py"):
                total += os.lstat(os.path.join(directory, name)).st_size
    return total


def command(source: str, output: str) -> list[str]:
    """What compiles, to come after the name of a Python.

    Args:
        source: the layer, as the sandbox shows it.
        output: a directory that gets the same tree of bytecode.
    """
    python = ["-I", "-S", "-B", "-X", f"pycache_prefix={output}", "-m", "compileall", "-q"]
    return [*python, "--invalidation-mode", "unchecked-hash", "-x", "/tests?/", source]


def put(compiled: Path, layer: Path) -> int:
    """Move bytecode to where it belongs in a layer.

    Args:
        compiled: the tree of it, as the sandbox left it.
        layer: the layer; nothing is put where its source isn't.

    Returns:
        How many files were put.
    """
    count = 0
    with suppress(OSError):  # the layer may be removed meanwhile
        for file in _files(compiled):
            directory = layer / file.parent.relative_to(compiled)
            found = _BYTECODE.fullmatch(file.name)
            if found and (directory / f"{found[1]}.py").is_file():
                file.chmod(0o444)
                directory.chmod(0o755)
                (directory / "__pycache__").mkdir(mode=0o755, exist_ok=True)
                file.rename(directory / "__pycache__" / file.name)
                count += 1
        for parent, directories, _ in os.walk(layer):
            for name in directories:
                os.chmod(os.path.join(parent, name), 0o555)
        layer.chmod(0o555)
    return count


def _files(directory: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(directory):
        for name in names:
            path = Path(parent, name)
            if stat.S_ISREG(path.lstat().st_mode):
                yield path
