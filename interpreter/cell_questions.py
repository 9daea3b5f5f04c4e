"""Questions: what a running cell asks, a person or for packages, while its clock stands still."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from interpreter.execution import Deadline, OnInput, PhaseName
from interpreter.kernel_client import KernelClient, Message
from interpreter.logs import get_logger

log = get_logger(__name__)

_MOST_QUESTIONS = 8
_PROMPT_CHARS = 2000
#: How often over a cell may have a person's time for one answer.
_MOST_INPUT_TIMEOUTS = 10
#: What a front end is told of a request for packages.
_MOST_NAMES, _NAME_CHARS = 20, 60
#: Requests for packages, of one cell; and how often over it may take the time of one.
_MOST_INSTALL_REQUESTS = 30
_MOST_INSTALL_TIMEOUTS = 3
_TOO_MANY_REQUESTS = "This cell has asked for packages too often; ask again in the next one."
#: ipykernel takes this for the end of the input.
_END_OF_INPUT = "\x04"

#: Gets the content of a kernel's ``install_request``, and gives that of the reply. The deadline
#: stands still meanwhile. Cancelled when the cell is interrupted.
OnInstall: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class NobodyThere(Exception):
    """A cell asks a person who has been gone since an earlier service."""


class Questions:
    """The questions of one cell.

    Attributes:
        input_timed_out: whether nobody answered its ``input()`` in time.
        install_s: how long it has waited for packages, in seconds.
    """

    def __init__(
        self,
        client: KernelClient,
        *,
        deadline: Deadline,
        enter: Callable[[PhaseName, tuple[str, ...]], None],
        interrupt: Callable[[], Awaitable[None]],
        go_on: Callable[[], None],
        on_input: OnInput | None,
        input_timeout_s: float,
        on_install: OnInstall | None,
        install_timeout_s: float,
    ) -> None:
        """Get ready for them.

        Args:
            client: answers them.
            deadline: the cell's; paused while one is asked.
            enter: gets what the cell has come to, and the names of packages.
            interrupt: interrupts the cell.
            go_on: is called whenever none is left.
            on_input: answers ``input()``; None if nobody does.
            input_timeout_s: how long an answer may take, in seconds.
            on_install: installs packages; None if there are none to have.
            install_timeout_s: how long one installation may take, in seconds.
        """
        self.input_timed_out = False
        self.install_s = 0.0
        self._client = client
        self._deadline = deadline
        self._enter = enter
        self._interrupt = interrupt
        self._go_on = go_on
        self._on_input = on_input
        self._on_install = on_install
        self._input_timeout_s = input_timeout_s
        self._input_left_s = _MOST_INPUT_TIMEOUTS * input_timeout_s
        self._install_left_s = _MOST_INSTALL_TIMEOUTS * install_timeout_s
        self._install_requests = 0
        self._asking: set[asyncio.Task[None]] = set()
        self._one_at_a_time = asyncio.Lock()

    @property
    def pending(self) -> bool:
        """Whether the cell waits for an answer."""
        return bool(self._asking)

    def take(self, message: Message) -> None:
        """Take a message of the kernel's on its channel for questions."""
        if len(self._asking) >= _MOST_QUESTIONS:
            return
        kind = message["header"]["msg_type"]
        if kind == "input_request" and self._on_input is not None:
            content = self._client.content(message)
            prompt = str(content.get("prompt", ""))[:_PROMPT_CHARS]
            password = bool(content.get("password"))
            asking = asyncio.create_task(self._ask(self._on_input, prompt, password))
        elif kind == "install_request" and self._on_install is not None:
            asking = asyncio.create_task(self._install(self._on_install, message))
        else:
            return
        self._asking.add(asking)
        asking.add_done_callback(self._asked)

    def drop(self) -> None:
        """Wait for no answer any more."""
        for asking in list(self._asking):
            if asking is not asyncio.current_task():
                asking.cancel()

    def _asked(self, asking: "asyncio.Task[None]") -> None:
        self._asking.discard(asking)
        if not self._asking:
            self._go_on()

    async def _ask(self, on_input: OnInput, prompt: str, password: bool) -> None:
        """Have a person answer; the deadline's clock stands still meanwhile."""
        self._deadline.pause()
        self._enter("input", ())
        answer = await self._answer(on_input, prompt, password)
        if answer is None:
            await self._interrupt()
        else:
            self._client.input(answer.encode(errors="replace").decode())

    async def _answer(self, on_input: OnInput, prompt: str, password: bool) -> str | None:
        """What the person answers; None if there is no answer to wait for."""
        loop = asyncio.get_running_loop()
        try:
            async with self._one_at_a_time:
                began = loop.time()
                try:
                    async with asyncio.timeout(min(self._input_timeout_s, self._input_left_s)):
                        answer = await on_input(prompt, password)
                finally:
                    self._input_left_s -= loop.time() - began
            if not isinstance(answer, str):
                raise TypeError(f"on_input gave a {type(answer).__name__}, but it must give a str")
        except TimeoutError:
            self.input_timed_out = True
        except NobodyThere:
            return None
        except EOFError:
            return _END_OF_INPUT
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            log.warning("the front end cancelled its own question")
        except Exception as error:
            log.warning("the front end could not ask for input", reason=repr(error))
        else:
            return answer
        return None

    async def _install(self, on_install: OnInstall, message: Message) -> None:
        """Have packages installed; the deadline's clock stands still meanwhile."""
        loop = asyncio.get_running_loop()
        self._deadline.pause()
        began = loop.time()
        self._install_requests += 1
        reply: Message = {"status": "error", "failed": {}, "message": _TOO_MANY_REQUESTS}
        try:
            if self._install_requests <= _MOST_INSTALL_REQUESTS and self._install_left_s > 0:
                content = self._client.content(message)
                self._enter("installing", _names(content))
                async with asyncio.timeout(self._install_left_s):
                    reply = await on_install(content)
        except TimeoutError:
            pass  # of all the time that a cell has for this
        except ValueError as error:
            reply = {"status": "error", "failed": {}, "message": f"Not installed: {error}."}
        finally:
            self._install_left_s -= loop.time() - began
            self.install_s += loop.time() - began
        answer = self._client.message("install_reply", reply)
        answer["parent_header"] = message["header"]
        self._client.stdin_channel.send(answer)


def _names(content: Message) -> tuple[str, ...]:
    """What a request asks for, as far as it can be shown on one line."""
    wanted = content.get("requirements")
    texts = [one for one in wanted if isinstance(one, str)] if isinstance(wanted, list) else []
    return tuple("".join(filter(str.isprintable, one[:_NAME_CHARS])) for one in texts[:_MOST_NAMES])
