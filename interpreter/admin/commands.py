"""The commands `kernels`, `top` and `stop`: their arguments, and what they print."""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from interpreter.admin.client import AdminClient, Refused
from interpreter.admin.protocol import Request
from interpreter.admin.tables import inspection_text, kernels_text, plain
from interpreter.settings import Settings

DONE, REFUSED, NO_SERVICE = 0, 1, 2
_WHICH = "the id of a user or of a kernel; the beginning of a kernel's is enough"


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add them to the program's."""
    kernels = commands.add_parser(
        "kernels",
        help="list, inspect, interrupt, shut down live kernels, or attach to one",
        description="Looks at the kernels of the service that runs in DATA_DIR, and stops them. "
        "All but the list is written into the audit log first.",
    )
    actions = kernels.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="list live kernels")
    inspect = actions.add_parser(
        "inspect", help="show what a kernel holds (no contents) and what it uses"
    )
    for command in (listing, inspect):
        command.add_argument("--json", action="store_true", help="print JSON")
    interrupt = actions.add_parser(
        "interrupt", help="stop the cell that a kernel is running; its variables stay"
    )
    shutdown = actions.add_parser(
        "shutdown", help="end a kernel; the user's next cell starts another, files stay"
    )
    attach = actions.add_parser(
        "attach", help="open a kernel to `jupyter console --existing FILE` on this machine"
    )
    for command in (inspect, interrupt, attach):
        command.add_argument("kernel", metavar="USER_OR_KERNEL", help=_WHICH)
    shutdown.add_argument("kernel", metavar="USER_OR_KERNEL", nargs="?", default="", help=_WHICH)
    shutdown.add_argument("--all", action="store_true", help="all kernels")
    shutdown.add_argument("--idle", action="store_true", help="with --all: only those idle now")
    commands.add_parser(
        "top",
        help="watch live kernels: memory, processor, what they do",
        description="Shows live kernels as they are, and interrupts or ends the chosen one.",
    )
    stop = commands.add_parser(
        "stop",
        help="end the service with all of its kernels, so that nothing is left",
        description="Ends the service that runs in DATA_DIR, and all of its kernels; what an "
        "earlier service has left running there as well. Files and settings stay.",
    )
    stop.add_argument(
        "--patience",
        metavar="SECONDS",
        type=float,
        default=None,
        help="how long running answers may take to end before they are cut off (default: 60)",
    )


def check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse what doesn't go together."""
    if options.command == "kernels" and options.action == "shutdown":
        if bool(options.kernel) == options.all:
            parser.error("say which kernel to shut down: a user's, a kernel's id, or --all")
        if options.idle and not options.all:
            parser.error("--idle goes with --all")


def run_kernels(options: argparse.Namespace, settings: Settings) -> int:
    """Run one of `kernels`; gives the exit status.

    Raises:
        NoService: no service can be asked.
    """
    request = Request(
        options.action,
        getattr(options, "kernel", ""),
        all=getattr(options, "all", False),
        idle_only=getattr(options, "idle", False),
    )
    try:
        done = asyncio.run(_ask(settings.data_dir, request))
    except Refused as refusal:
        print(plain(str(refusal), 2000), file=sys.stderr)
        return REFUSED
    if getattr(options, "json", False):
        print(json.dumps(done, indent=2))
    else:
        print(_in_words(request, done))
    return DONE


async def _ask(data_dir: Path, request: Request) -> dict[str, Any]:
    async with AdminClient.connect(data_dir) as client:
        return await client.ask(request)


def _in_words(request: Request, done: dict[str, Any]) -> str:
    match request.do:
        case "list":
            return kernels_text(done)
        case "inspect":
            return inspection_text(done)
        case "interrupt" if done["was_running"]:
            return f"The cell of user {plain(done['user_id'])} is being stopped."
        case "interrupt":
            return f"The kernel of user {plain(done['user_id'])} wasn't running a cell."
        case "shutdown":
            return _shut_down_in_words(done["user_ids"])
        case "attach":
            return (
                f"The kernel of user {plain(done['user_id'])} is open to you. On this machine, as "
                "the same account, run\n\n"
                f"    jupyter console --existing {done['connection_file']}\n\n"
                "You see and change the user's variables, and their cells wait while yours run. "
                "Whatever the console shows or asks comes from the user's kernel: believe none of "
                "it, and give it no password. It closes when you leave, after half an hour without "
                "a word from you, and with the kernel."
            )
    raise AssertionError(request.do)


def _shut_down_in_words(user_ids: list[str]) -> str:
    if not user_ids:
        return "There was no kernel to end."
    names = ", ".join(plain(user_id) for user_id in user_ids[:20])
    more = f" and {len(user_ids) - 20} more" if len(user_ids) > 20 else ""
    if len(user_ids) == 1:
        return f"The kernel of user {names} has ended; the files stay."
    return f"{len(user_ids)} kernels have ended, those of {names}{more}; the files stay."


def run_top(settings: Settings) -> int:
    """Run `top`; gives the exit status.

    Raises:
        NoService: no service can be asked.
    """
    try:
        from interpreter.admin.top import KernelsApp
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("textual", "rich"):
            raise
        print(
            "`top` needs the package textual, which isn't installed: install it with "
            "`pip install textual`, or use `kernels list`.",
            file=sys.stderr,
        )
        return NO_SERVICE
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("`top` needs a terminal; `kernels list` doesn't.", file=sys.stderr)
        return NO_SERVICE
    asyncio.run(_ask(settings.data_dir, Request("list")))  # before the screen is taken
    KernelsApp(settings.data_dir).run()
    return DONE


def run_stop(options: argparse.Namespace, settings: Settings) -> int:
    """Run `stop`; gives the exit status.

    Raises:
        NoService: whether there is a service can't be told.
    """
    from interpreter.admin.stopping import PATIENCE_S, NotStopped, stop

    def tell(line: str) -> None:
        print(line, flush=True)

    patience_s = PATIENCE_S if options.patience is None else max(0.0, options.patience)
    try:
        asyncio.run(stop(settings, tell=tell, patience_s=patience_s))
    except NotStopped as failure:
        print(failure, file=sys.stderr)
        return REFUSED
    return DONE
