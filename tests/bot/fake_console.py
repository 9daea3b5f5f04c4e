"""The console on a scripted service, as a program: `python -m tests.bot.fake_console`."""

import asyncio
import os
import sys
from pathlib import Path

from bot.console.completion import ConsoleCompleter
from bot.console.console import Console
from bot.console.interrupt_key import InterruptKey
from bot.console.output_directory import OutputDirectory
from bot.console.prompt import CellPrompt
from bot.console.screen import Screen, TerminalSize
from bot.console.signals import run_until_told
from tests.bot.fakes import FakeService, printed, result


async def console(key: InterruptKey) -> int:
    """Run until somebody leaves; status 7, which nothing else gives."""
    service = FakeService()
    session = service.only_session
    session.will("hello()", printed("Hello\x1b]0;owned\x07\n"), result("1"))
    session.will("again()", result("2"))
    session.will("loop()", printed("running\n"))
    session.will_run_on("loop()")
    session.will_ask("ask()", "Name? ")
    session.will_ask("secret()", "Password? ", password=True)
    try:
        await Console(
            service,  # type: ignore[arg-type]  # our own seam, faked
            session,  # type: ignore[arg-type]
            prompt=CellPrompt(
                ConsoleCompleter(service, session),  # type: ignore[arg-type]
                history=None,
            ),
            screen=Screen(sys.stdout, size=lambda: TerminalSize(*os.get_terminal_size())),
            directory=OutputDirectory(Path("out")),
            interrupt_key=key,
        ).run()
    finally:
        print("answers:", session.answers, "interrupts:", session.interrupts)
    return 7


if __name__ == "__main__":
    sys.exit(asyncio.run(run_until_told(console)))
