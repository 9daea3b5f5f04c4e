"""Loads damaged and misnamed files of one group, in a process that may die of it.

    python -m tests.formats.fuzz GROUP DIRECTORY [SEED]

Each case is named on stderr before it begins, so that a crash tells its own. Ends with 1 and a
report if anything but an object or `FileLoadError` came back.
"""

import faulthandler
import importlib
import random
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from kernel_startup.errors import FileLoadError
from kernel_startup.files import load_path
from tests.formats.uploads import Made

FLIPS = 2
#: Beyond what the process has at its beginning.
MEMORY_BYTES = 1 << 30
CASE_S = 20
#: Larger content is damaged in fewer ways.
_LARGE_BYTES = 256 << 10


def cases(made: Made, others: list[str], chance: random.Random) -> Iterator[tuple[str, bytes, str]]:
    """What is wrong, the content, and the file's name."""
    content = made.make()
    name = made.filename
    size = len(content)
    for end in sorted(end for end in {0, 12, size // 3, size - 1} if 0 <= end < size):
        yield f"cut off at {end} of {size}", content[:end], name
    for _ in range(FLIPS if size < _LARGE_BYTES else 1):
        # Headers are where sizes and counts are.
        places = [chance.randrange(min(size, 200)), chance.randrange(size), chance.randrange(size)]
        damaged = bytearray(content)
        for place in places:
            damaged[place] ^= 1 << chance.randrange(8)
        yield f"bits flipped at {places}", bytes(damaged), name
    place = chance.randrange(min(size, 100))
    yield f"large numbers at {place}", content[:place] + b"\xff" * 8 + content[place + 8 :], name
    yield "misnamed", content, f"wrong.{chance.choice(others)}"


def main(group: str, directory: Path, seed: int) -> int:
    """Run all cases of a group; the number of faults."""
    faulthandler.enable()
    signal.signal(signal.SIGALRM, _too_slow)
    chance = random.Random(seed)
    module = importlib.import_module(f"tests.formats.made.{group}")
    others = sorted({made.filename.partition(".")[2] for made in module.MADE})
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    faults = count = 0
    for made in module.MADE:
        for what, content, name in cases(made, others, chance):
            count += 1
            sys.stderr.write(f"{made.type}: {what}, as {name}\n")
            sys.stderr.flush()
            path = directory / f"{count}" / name
            path.parent.mkdir()
            path.write_bytes(content)
            faults += not _comes_back(path, made.options)
    print(f"{count} cases, {faults} faults")
    return faults


def _comes_back(path: Path, options: dict[str, object]) -> bool:
    signal.alarm(CASE_S)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded, _ = load_path(str(path), [], options)
            repr(loaded)[:1000]
    except FileLoadError as error:
        assert str(error)
    except TypeError as error:
        # An option of the right type's, which the type it now seems to be doesn't have.
        if "have no option" not in str(error):
            return _report(path)
    except BaseException:
        return _report(path)
    finally:
        signal.alarm(0)
    return True


def _report(path: Path) -> bool:
    print(f"--- {path.name}")
    print("".join(traceback.format_exc(limit=-4)))
    return False


def _too_slow(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt(f"longer than {CASE_S} s")


if __name__ == "__main__":
    given = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    sys.exit(bool(main(sys.argv[1], Path(sys.argv[2]), given)))
