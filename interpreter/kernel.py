"""One live kernel: its channels, running a cell on it, and interrupting that.

Every message comes from a process that runs hostile code: what can't be parsed is left aside.
"""

import asyncio
import signal
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from interpreter.cell_questions import NobodyThere, OnInstall
from interpreter.cell_run import CellEnd, CellRun, OnClock, SentCell
from interpreter.errors import HostError, KernelStartFailed
from interpreter.execution import Clock, OnInput, OnPhase, PhaseName
from interpreter.hosts.base import HostedKernel, KernelExit, KernelHost
from interpreter.inspection import MOST_VARIABLES
from interpreter.kernel_client import KernelClient, Message, order_of
from interpreter.logs import get_logger
from interpreter.outputs import ClearOutput, Output, OutputCollector
from interpreter.recall import Recall
from interpreter.replay import Replay
from interpreter.zmtp import TURN_S, Intake

__all__ = ["CellEnd", "Kernel", "NobodyThere", "SentCell", "order_of"]

log = get_logger(__name__)

_CONNECT_S = 15.0
_REPLY_S = 5.0
#: What a kernel sent before it died may still be on its way.
_LAST_WORDS_S = 0.2
#: A kernel whose cell said ``exit`` ends a tenth of a second after it.
_LEAVING_S = 2.0
#: A kernel that ends breaks its connections, all within this time;
_ALL_BREAK_S = 1.0
#: and how it ended is known a little later, on a machine with much to do.
_EXIT_AFTER_BREAK_S = 5.0
#: How long the end of a cell's time may wait until it is known what the cell did meanwhile.
_CATCH_UP_S = 5.0
_CELL_STARTED_S = 1.0


class Kernel:
    """A connection to a live kernel. Made by :meth:`start`; ended by :meth:`kill`."""

    def __init__(
        self,
        host: KernelHost,
        hosted: HostedKernel,
        client: KernelClient,
        *,
        attached: bool = False,
    ) -> None:
        """Use :meth:`start`."""
        loop = asyncio.get_running_loop()
        self.hosted = hosted
        self.exit: asyncio.Future[KernelExit] = loop.create_future()
        self._broken: asyncio.Future[str] = loop.create_future()
        self._host = host
        self._client = client
        self._recall = Recall(client, attached=attached)
        self._run: CellRun | None = None
        self._replies: dict[str, asyncio.Future[Message]] = {}
        self._iopub_ready = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def start(
        cls,
        host: KernelHost,
        slot: str | None,
        intake: Intake,
        *,
        memory_bytes: int | None = None,
        background: bool = False,
    ) -> "Kernel":
        """Start a kernel on ``host`` and connect to it.

        Args:
            host: the machine.
            slot: the sandbox directory, or None for a new one.
            intake: shared by all kernels of the service.
            memory_bytes: memory that it may use; None for as much as every kernel.
            background: whether nobody waits for it: all others come first.

        Raises:
            KernelStartFailed: it did not start, or did not answer.
        """
        hosted = await host.start(slot, memory_bytes=memory_bytes, background=background)
        kernel = cls(host, hosted, KernelClient(hosted, intake))
        try:
            kernel._spawn(kernel._await_exit())
            kernel._connect()
            async with asyncio.timeout(_CONNECT_S):
                await kernel._request("kernel_info_request", {}, timeout_s=_CONNECT_S)
                await kernel._iopub_ready.wait()
        except BaseException as error:
            await kernel.kill()
            if isinstance(error, TimeoutError):
                raise KernelStartFailed("it did not answer") from error
            if isinstance(error, OSError):
                raise KernelStartFailed(f"no connection to it could be made ({error})") from error
            raise
        return kernel

    @classmethod
    def attach(
        cls,
        host: KernelHost,
        hosted: HostedKernel,
        intake: Intake,
        *,
        identity: str,
        after: int = 0,
    ) -> "Kernel":
        """Connect to a kernel that an earlier service has started.

        It may be running a cell, and its shell is deaf meanwhile; so nothing is waited for. One
        that can't be spoken to is ended. :meth:`recall`, then :meth:`hear` or :meth:`run_cell`.

        Args:
            host: the machine.
            hosted: what its host has adopted; may have ended already.
            intake: shared by all kernels of the service.
            identity: of the connection that it had.
            after: the number of the last message that is known to have come over that.
        """
        kernel = cls(host, hosted, KernelClient(hosted, intake, identity), attached=True)
        kernel._client.number_after(after)
        kernel._spawn(kernel._await_exit())
        try:
            kernel._connect()
        except OSError as error:
            kernel._on_lost(str(error))
        else:
            kernel._spawn(kernel._ask_for_replay())
        return kernel

    def _connect(self) -> None:
        """Connect, and read from now on.

        Raises:
            OSError: a socket is not there, or not the kernel's.
        """
        self._client.start_channels(hb=False)
        handlers = {
            "iopub": self._on_iopub,
            "shell": self._on_reply,
            "control": self._on_reply,
            "stdin": self._on_stdin,
        }
        for channel, connection in self._client.connections.items():
            connection.broken.add_done_callback(self._on_broken)
            gate = self._recall.gate if channel == "iopub" else None
            self._spawn(connection.read(partial(self._take, handlers[channel]), gate=gate))

    @property
    def identity(self) -> str:
        """By which the kernel knows this connection, and any later one in its place."""
        return self._client.identity

    @property
    def usable(self) -> bool:
        """Whether it lives and can be spoken to, as far as is known."""
        return not self.exit.done() and not self._broken.done()

    @property
    def busy(self) -> bool:
        """Whether a cell is running."""
        return self._run is not None

    @property
    def phase(self) -> PhaseName | None:
        """What the running cell has come to; None without a cell."""
        return None if self._run is None else self._run.phase

    @property
    def cell_running_s(self) -> float | None:
        """For how long the deadline's clock of the running cell has run; None without a cell."""
        return None if self._run is None else self._run.deadline.elapsed_s

    async def run_cell(
        self,
        code: str,
        *,
        collector: OutputCollector,
        deliver: Callable[[Output | ClearOutput], None],
        tell: OnPhase,
        timeout_s: float,
        grace_s: float,
        on_input: OnInput | None,
        input_timeout_s: float,
        on_install: OnInstall | None = None,
        install_timeout_s: float = 0.0,
        on_clock: OnClock | None = None,
        sent: SentCell | None = None,
    ) -> CellEnd:
        """Run a cell to its end, whichever that is.

        Past the deadline it is interrupted; if it goes on after the grace period the kernel is
        killed. Must not be called while another cell runs.

        Args:
            code: the cell.
            collector: gets its outputs.
            deliver: gets live events; must not block.
            tell: gets the phases that it goes through; must neither block nor raise.
            timeout_s: the deadline, in seconds from the sending of the request to ``idle``.
            grace_s: how long an interrupted cell may take to end, in seconds.
            on_input: answers ``input()``; None makes it raise in the cell.
            input_timeout_s: how long an answer may take, in seconds.
            on_install: installs packages that the cell asks for; None if there are none to have.
            install_timeout_s: how long one installation may take, in seconds.
            on_clock: is told when the deadline's clock is set going or stopped; must neither block
                nor raise.
            sent: the cell, if an earlier service has sent it: then it only is seen to its end. The
                kernel must be one that was attached.
        """
        message = self._execute_request(code, timeout_s, on_input, on_install)
        run = CellRun(
            self._client,
            message["header"]["msg_id"] if sent is None else sent.message_id,
            collector=collector,
            deliver=deliver,
            tell=tell,
            timeout_s=timeout_s,
            clock=Clock() if sent is None else sent.clock,
            on_clock=on_clock,
            interrupt=self._send_interrupt,
            on_input=on_input,
            input_timeout_s=input_timeout_s,
            on_install=on_install,
            install_timeout_s=install_timeout_s,
        )
        self._run = run
        timed_out = left = False
        try:
            run.enter("running")
            if sent is None:
                run.deadline.run()
                self._client.shell_channel.send(message)
            else:
                await self._resume(run, sent.clock)
            await _first_of(run.finished, self.exit, self._broken, run.deadline.expired)
            if self._broken.done():
                await self._exit_after_break(run.finished)
                run.output_lost |= not run.finished.done() and not self.exit.done()
            elif not run.finished.done() and not self.exit.done():
                timed_out = True
                await self._stop_cell(run, grace_s)
            elif left := _leaves(run.reply):  # else the next cell may run in what is left of it
                await _first_of(self.exit, timeout_s=_LEAVING_S)
            if not run.finished.done():
                await self._hear_last_words()
        finally:
            self._run = None
            run.close()
        return run.end(self.exit, timed_out=timed_out, left=left)

    def _execute_request(
        self,
        code: str,
        timeout_s: float,
        on_input: OnInput | None,
        on_install: OnInstall | None,
    ) -> dict[str, Any]:
        message = self._client.message(
            "execute_request",
            {
                "code": code.encode(errors="replace").decode(),  # a lone surrogate can't be sent
                "silent": False,
                "store_history": True,
                "user_expressions": {},
                "allow_stdin": on_input is not None,
                "stop_on_error": False,
            },
        )
        # Kernels ask for packages where they know that somebody answers.
        message["metadata"]["packages"] = on_install is not None
        # For a later service, should this one end before it has written the cell down.
        message["metadata"]["limit"] = [float(timeout_s), time.monotonic()]
        return message

    async def _hear_last_words(self) -> None:
        """Take in what a kernel sent before it ended: its end closes the connection behind that."""
        iopub = self._client.connections.get("iopub")
        if iopub is not None:
            await _first_of(iopub.broken, timeout_s=_LAST_WORDS_S)

    async def _stop_cell(self, run: CellRun, grace_s: float) -> None:
        """Interrupt a cell that is past its deadline; kill the kernel if it goes on."""
        for _ in range(2):  # the first interrupt may be caught where it can't end the cell
            await self._send_interrupt()
            await _first_of(run.finished, self.exit, timeout_s=grace_s / 2)
            if run.finished.done() or self.exit.done():
                return
        await self.kill()

    async def interrupt(self) -> bool:
        """Interrupt the running cell. Returns False if none is running."""
        run = self._run
        if run is None:
            return False
        run.interrupted = True
        await self._send_interrupt()
        return True

    async def _send_interrupt(self) -> None:
        run = self._run
        if run is None:
            return
        run.questions.drop()
        # The kernel has nothing to interrupt until it has begun with the cell.
        with suppress(TimeoutError):
            async with asyncio.timeout(_CELL_STARTED_S):
                await run.started.wait()
        if self._run is run and not run.finished.done():
            await self._host.signal(self.hosted.kernel_id, signal.SIGINT)

    async def kill(self) -> KernelExit:
        """End the kernel and everything it started, and close the connection."""
        await self._host.kill(self.hosted.kernel_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(_REPLY_S):
                await asyncio.shield(self.exit)
        self.disconnect()
        if not self.exit.done():
            self.exit.set_result(KernelExit("stopped"))
        return self.exit.result()

    def disconnect(self) -> None:
        """Close the connection; the kernel, if alive, goes on."""
        if not self._broken.done():
            self._broken.set_result("it was closed at this end")
        if self._run is not None:
            self._run.questions.drop()
        for task in self._tasks:
            task.cancel()
        for connection in self._client.connections.values():
            connection.close()

    async def warm_up(self, *, timeout_s: float) -> None:
        """Have it use what first cells use; leaves no trace. A cell that is sent meanwhile waits.

        Raises:
            TimeoutError: it was not done in time.
            KernelStartFailed: it ended.
            HostError: it could not.
        """
        reply = await self._request("warm_up_request", {}, timeout_s=timeout_s)
        if reply.get("status") != "ok":
            raise HostError(f"{reply.get('ename')}: {reply.get('evalue')}"[:500])

    async def variables(self) -> list[Mapping[str, Any]]:
        """The user's variables, as the kernel describes them; also while a cell runs.

        At most ``MOST_VARIABLES``, the most recent ones.

        Raises:
            TimeoutError: the kernel did not answer.
        """
        reply = await self._request("variables_request", {}, timeout_s=_REPLY_S, control=True)
        variables = reply.get("variables")
        if not isinstance(variables, list):
            return []
        return [entry for entry in variables[-MOST_VARIABLES:] if isinstance(entry, dict)]

    async def describe(self, file_id: str, *, time_s: float) -> str | None:
        """What the kernel says of a file, in at most ``time_s`` seconds; also while a cell runs.

        None if it says nothing.

        Raises:
            TimeoutError: the kernel did not answer.
        """
        content = {"file_id": file_id, "time_s": time_s}
        timeout_s = time_s + _REPLY_S
        reply = await self._request("describe_request", content, timeout_s=timeout_s, control=True)
        text = reply.get("text")
        return text if isinstance(text, str) else None

    async def picture(self, content: str, mime: str, *, time_s: float, make_do: bool) -> Message:
        """The kernel's ``picture_reply``, in at most ``time_s`` seconds; also while a cell runs.

        Args:
            content: what to draw.
            mime: its type.
            time_s: how long that may take, in seconds.
            make_do: whether to draw it less well without a package that isn't there, if that can
                be done.

        Raises:
            TimeoutError: the kernel did not answer.
        """
        asked = {"content": content, "mime": mime, "time_s": time_s, "make_do": make_do}
        timeout_s = time_s + _REPLY_S
        return await self._request("picture_request", asked, timeout_s=timeout_s, control=True)

    async def save_state(
        self, *, file_bytes: int, memory_bytes: int, disk_bytes: int, time_s: float
    ) -> Message:
        """Have it save the variables into its home. Ask while no cell runs; one may come meanwhile.

        Args:
            file_bytes: how large the file may be.
            memory_bytes: memory that it may take beyond what the kernel has.
            disk_bytes: what the kernel's directories may take together.
            time_s: how long it may take, in seconds.

        Returns:
            Its ``save_reply``.

        Raises:
            TimeoutError: the kernel did not answer.
            KernelStartFailed: it ended.
        """
        asked = {
            "file_bytes": file_bytes,
            "memory_bytes": memory_bytes,
            "disk_bytes": disk_bytes,
            "time_s": time_s,
        }
        timeout_s = time_s + _REPLY_S
        return await self._request("save_request", asked, timeout_s=timeout_s, control=True)

    async def restore_state(self, *, timeout_s: float) -> Message:
        """Have it load the snapshot that its host shows it. A cell that is sent meanwhile waits.

        Returns:
            Its ``restore_reply``.

        Raises:
            TimeoutError: the kernel did not answer in time.
            KernelStartFailed: it ended.
        """
        return await self._request("restore_request", {}, timeout_s=timeout_s)

    async def complete(self, code: str, cursor: int) -> Message:
        """The kernel's completions at a position in the code; also while a cell runs.

        Raises:
            TimeoutError: the kernel did not answer.
        """
        content = {"code": code, "cursor_pos": cursor}
        return await self._request("complete_request", content, timeout_s=_REPLY_S, control=True)

    # -- a cell that an earlier service has sent -------------------------------------------------

    async def recall(self, *, timeout_s: float) -> Replay | None:
        """What it has kept of its last cell; None if it doesn't say, which may be because it is
        busy, or has ended. Only for a kernel that was attached.

        Args:
            timeout_s: how long to wait for that, in seconds.
        """
        replay = self._recall.replay
        await _first_of(replay, self.exit, self._broken, timeout_s=timeout_s)
        return replay.result() if replay.done() else None

    def hear(self) -> None:
        """Take in what it sends from now on."""
        for message in self._recall.release():
            self._take_parsed(self._on_iopub, message)

    async def _ask_for_replay(self) -> None:
        await self._iopub_ready.wait()  # from here on, nothing that it sends is lost
        shell_answer = self._spawn(self._await_shell())
        request = partial(self._request_reply, timeout_s=None, control=True)
        try:
            with suppress(KernelStartFailed):
                await self._recall.ask(request, shell_answer)
        finally:
            shell_answer.cancel()

    async def _await_shell(self) -> None:
        with suppress(KernelStartFailed):
            await self._request("kernel_info_request", {}, timeout_s=None)

    async def _resume(self, run: CellRun, clock: Clock) -> None:
        """Take in what a cell did while no service was there, and have its clock go on."""
        if clock.since is not None:
            run.deadline.run()
        catching_up = self._spawn(self._catch_up(run))
        await _first_of(catching_up, run.finished, self.exit, self._broken, timeout_s=_CATCH_UP_S)
        if not run.questions.pending and run.reply is None:
            run.deadline.run()

    async def _catch_up(self, run: CellRun) -> None:
        replay = await self._recall.replay
        if self._run is not run:
            return
        if replay.cell == run.message_id:
            await self._take_replay(run, replay)
        elif order_of(replay.cell) > order_of(run.message_id):  # it was over long ago
            run.reply, run.idle, run.output_lost = {"status": "error"}, True, True
        self.hear()
        run.settle()
        if replay.question is not None and replay.cell == run.message_id:
            self._take(self._on_stdin, replay.question)
        if run.reply is not None and not run.idle:
            run.expect_idle()

    async def _take_replay(self, run: CellRun, replay: Replay) -> None:
        """Take in messages as if they came now, in turns as others have."""
        self._client.session.digest_history.clear()  # some have come live, and were left out
        share = self._client.share
        waiting = deque(replay.messages)
        while waiting:
            await share.begin()
            began = time.monotonic()
            while waiting and time.monotonic() - began < TURN_S:
                self._take(run.take_output, waiting.popleft())
            share.end(time.monotonic() - began)
            await asyncio.sleep(0)
        run.take_rest(replay)

    # -- messages --------------------------------------------------------------------------------

    async def _request(
        self,
        kind: str,
        content: Mapping[str, Any],
        *,
        timeout_s: float | None,
        control: bool = False,
    ) -> Message:
        message = self._client.message(kind, content)
        return await self._request_reply(message, timeout_s=timeout_s, control=control)

    async def _request_reply(
        self, message: dict[str, Any], *, timeout_s: float | None, control: bool
    ) -> Message:
        message_id = message["header"]["msg_id"]
        reply: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._replies[message_id] = reply
        try:
            channel = self._client.control_channel if control else self._client.shell_channel
            channel.send(message)
            await _first_of(reply, self.exit, self._broken, timeout_s=timeout_s)
            if reply.done():
                return reply.result()
            if self.exit.done() or self._broken.done():
                raise KernelStartFailed("it ended before it answered")
            raise TimeoutError
        finally:
            del self._replies[message_id]

    def _take(self, handle: Callable[[Message], None], frames: list[bytes]) -> None:
        """Hand on what came on a channel, if it can be a message."""
        message = self._client.parse(frames)
        if message is not None:
            self._take_parsed(handle, message)

    def _take_parsed(self, handle: Callable[[Message], None], message: Message) -> None:
        try:
            handle(message)
        except Exception as error:  # hostile values can provoke any
            log.debug("a kernel sent a malformed message", reason=type(error).__name__)

    def _on_iopub(self, message: Message) -> None:
        self._iopub_ready.set()
        if not self._recall.holds(message) and self._run is not None:
            self._run.take_output(message)

    def _on_reply(self, message: Message) -> None:
        waiting = self._replies.get(message["parent_header"].get("msg_id"))
        if waiting is not None and not waiting.done():
            content = self._client.content(message)
            if message["header"]["msg_type"] == "replay_reply":
                content = {**content, "buffers": message["buffers"]}
            waiting.set_result(content)
        if self._run is not None:
            self._run.take_reply(message)

    def _on_stdin(self, message: Message) -> None:
        if self._run is not None:
            self._run.take_question(message)

    # -- the end ---------------------------------------------------------------------------------

    async def _await_exit(self) -> None:
        how = await self._host.wait(self.hosted.kernel_id)
        if not self.exit.done():
            self.exit.set_result(how)

    def _on_broken(self, connection: "asyncio.Future[str]") -> None:
        self._on_lost(connection.result())

    def _on_lost(self, reason: str) -> None:
        if not self._broken.done():
            self._broken.set_result(reason)
            self._spawn(self._end_broken())

    async def _end_broken(self) -> None:
        """End a kernel that can't be spoken to, unless that is because it ends itself."""
        await self._exit_after_break()
        if not self.exit.done():
            log.info(
                "the connection to a kernel broke",
                kernel_id=self.hosted.kernel_id,
                reason=self._broken.result(),
            )
            if not self.busy:  # else its session replaces it after the cell
                await self._host.kill(self.hosted.kernel_id)

    async def _exit_after_break(self, *others: "asyncio.Future[Any]") -> None:
        """Wait for the kernel's exit, or one of ``others``, if this looks like its exit."""
        await _first_of(self.exit, *others, timeout_s=_ALL_BREAK_S)
        if not any(connection.alive for connection in self._client.connections.values()):
            await _first_of(self.exit, *others, timeout_s=_EXIT_AFTER_BREAK_S)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _leaves(reply: Mapping[str, Any] | None) -> bool:
    """Whether a kernel said with a cell's reply that it ends now: ``exit`` or ``quit`` was run.

    Source: Jupyter's messaging documentation, "Payloads (DEPRECATED)".
    """
    payload = (reply or {}).get("payload")
    return isinstance(payload, list) and any(
        isinstance(item, Mapping)
        and item.get("source") == "ask_exit"
        and not item.get("keepkernel")
        for item in payload
    )


async def _first_of(*futures: "asyncio.Future[Any]", timeout_s: float | None = None) -> None:
    """Wait until one of them is done, or the time is over. Cancels none of them."""
    await asyncio.wait(futures, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
