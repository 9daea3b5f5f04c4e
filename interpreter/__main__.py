"""The operator's commands: ``python -m interpreter doctor | kernels | top | stop``."""

import argparse
import asyncio
import io
import json
import os
import sys

from interpreter.admin import commands as admin
from interpreter.doctor import examine
from interpreter.errors import InterpreterError
from interpreter.settings import Settings


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m interpreter", description="The operator's commands."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    doctor = commands.add_parser(
        "doctor",
        help="what this machine offers for confining kernels, and what is missing",
        description="Tries out how kernels can be confined here. Exit status 0: as safe as it "
        "gets; 1: kernels run, with less protection; 2: they would not start.",
    )
    doctor.add_argument("--json", action="store_true", help="print the report as JSON")
    admin.add_commands(commands)
    options = parser.parse_args(arguments)
    admin.check(parser, options)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what can't be encoded must not end the program
            stream.reconfigure(errors="replace")
    try:
        return _run(options, Settings.load())
    except InterpreterError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(options: argparse.Namespace, settings: Settings) -> int:
    match options.command:
        case "kernels":
            return admin.run_kernels(options, settings)
        case "top":
            return admin.run_top(settings)
        case "stop":
            return admin.run_stop(options, settings)
    report = asyncio.run(examine(settings, on_progress=_tell))
    if options.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        print(report.as_text())
    return report.exit_status


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
