"""The operator's commands: ``python -m interpreter doctor``."""

import argparse
import asyncio
import json
import sys

from interpreter.doctor import examine
from interpreter.errors import InterpreterError
from interpreter.settings import Settings


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m interpreter", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    doctor = commands.add_parser(
        "doctor",
        help="what this machine offers for confining kernels, and what is missing",
        description="Tries out how kernels can be confined here. Exit status 0: as safe as it "
        "gets; 1: kernels run, with less protection; 2: they would not start.",
    )
    doctor.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    try:
        settings = Settings.load()
        report = asyncio.run(examine(settings, on_progress=_tell))
    except InterpreterError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        print(report.as_text())
    return report.exit_status


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
