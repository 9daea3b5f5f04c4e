"""What the command line asks for."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_DESCRIPTION = """\
A Python interpreter with your files in it: each user's code runs in a sandboxed IPython kernel
whose variables stay. With DISCORD_TOKEN set this is a Discord bot. Without it, in a terminal, it
opens a prompt; with --run, or with code on standard input, the cells are run and the program
leaves.
"""

_EPILOG = """\
examples:
  python -m bot                                          a prompt to type cells at
  python -m bot --file sales.csv --run cells.py          run the cells of a file
  echo 'load_file("sales.csv").describe()' | python -m bot --file sales.csv

In the cells, uploaded files are in FILES (id -> path) and load_file("sales.csv") loads one.
Settings come from the environment and .env; see .env.example.

exit status: 0 every cell was ok, 1 a cell failed, 2 it could not be started or was asked for
something that can't be done, 78 Discord refuses the bot, 130 Ctrl-C, 143 terminated. A bot that is
told to stop lets running answers end, and leaves with 0; told twice, it leaves at once.
"""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line, parsed.

    Attributes:
        files: Files to upload before the first cell, in the order given.
        run: The file of cells; "-" is standard input; None leaves the choice to `__main__`.
        output: Where pictures and files that cells made are saved.
        export: Where the notebook of the run is written; None writes none.
        keep_going: Whether the cells after a failed one are run too.
        user: Whose session and files these are.
    """

    files: tuple[Path, ...]
    run: str | None
    output: Path
    export: Path | None
    keep_going: bool
    user: str

    @property
    def asks_for_cells(self) -> bool:
        """Whether it is about cells and files here, and not about a bot."""
        return bool(self.files or self.run or self.export)


def parse_arguments(words: Sequence[str] | None = None) -> Arguments:
    """Read the command line.

    Args:
        words: The words after the program's name; None takes this process's own.

    Raises:
        SystemExit: 0 after printing the help, 2 after saying what is wrong.
    """
    given = _parser().parse_args(words)
    return Arguments(
        files=tuple(given.file),
        run=given.run,
        output=given.output,
        export=given.export,
        keep_going=given.keep_going,
        user=given.user,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bot",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--file",
        metavar="PATH",
        type=Path,
        action="append",
        default=[],
        help="upload a file first; may be given several times",
    )
    parser.add_argument(
        "--run",
        metavar="CELLS.py",
        help="run a file's cells, split at its '# %%%%' lines, without a terminal; - reads "
        "standard input",
    )
    parser.add_argument(
        "--keep-going", action="store_true", help="with --run: go on after a cell that failed"
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path("cellmate-output"),
        help="where pictures and files that cells made are saved; nothing there is ever "
        "overwritten (default: ./cellmate-output)",
    )
    parser.add_argument(
        "--export", metavar="OUT.ipynb", type=Path, help="write what was run as a new notebook"
    )
    parser.add_argument(
        "--user", metavar="ID", default="local", help="whose session it is (default: local)"
    )
    return parser
