"""Answers to `input()` from the lines of standard input, for cells run without a prompt."""

import asyncio
import os
import stat
from typing import TextIO

from bot.console.inert import inert

#: ipykernel raises EOFError in the cell for this answer. Source: Kernel._input_request.
END_OF_INPUT = "\x04"
_MAX_LINE_BYTES = 1 << 20


class StandardInput:
    """Gives one line of a pipe or file for each question; questions are written to `err`."""

    def __init__(self, source: TextIO, err: TextIO) -> None:
        self._source = source
        self._err = err
        self._reader: asyncio.StreamReader | None = None
        self._pipe: asyncio.ReadTransport | None = None

    def close(self) -> None:
        """Let go of the pipe."""
        if self._pipe is not None:
            self._pipe.close()

    async def answer(self, question: str, password: bool) -> str:
        """Answer a question with the next line; for `on_input`."""
        self._err.write(inert(question))
        self._err.flush()
        line = await self._next_line()
        return line.rstrip("\r\n") if line else END_OF_INPUT

    async def _next_line(self) -> str:
        if self._reader is None:
            if not stat.S_ISFIFO(os.fstat(self._source.fileno()).st_mode):
                return self._source.readline()
            # Nobody knows when the next line of a pipe comes, and a thread that waits for it
            # could not be stopped.
            self._reader = asyncio.StreamReader(limit=_MAX_LINE_BYTES)
            protocol = asyncio.StreamReaderProtocol(self._reader)
            self._pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: protocol, self._source
            )
        return (await self._reader.readline()).decode(errors="replace")
