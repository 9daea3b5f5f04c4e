"""Answers to `input()` from a person at the terminal."""

from bot.console.prompt import ask_line
from bot.console.standard_input import END_OF_INPUT


async def answer_at_terminal(question: str, password: bool) -> str:
    """Ask for one line; for `on_input`. Ctrl-D ends the input, and so does Ctrl-C."""
    try:
        return await ask_line(question, password=password)
    except (EOFError, KeyboardInterrupt):
        return END_OF_INPUT
