"""What the service does for an admin. Written into the audit log first, except for looking on."""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from interpreter.admin.attachments import Attachments
from interpreter.admin.audit import write_audit
from interpreter.admin.protocol import MOST_LISTED, Request, kernel_to_json
from interpreter.admin.sockets import Peer
from interpreter.endings import FILES_STAY
from interpreter.errors import DatabaseUnavailable, InterpreterError
from interpreter.hosts.base import HostedKernel, KernelHost
from interpreter.inspection import KernelInfo
from interpreter.logs import get_logger
from interpreter.metrics import Metrics
from interpreter.records import RecordStore

if TYPE_CHECKING:
    from interpreter.sessions import Session

log = get_logger(__name__)

#: So much of a kernel's id is enough, where no other begins like that.
_LEAST_ID_CHARS = 4
#: A service that can't write into the audit log ends all the same, after so long.
_STOP_AUDIT_S = 3.0
_MOST_SAMPLES = 400
#: How long somebody who wants to attach waits for what is restored; the server waits for a minute.
_RESTORE_S = 30.0
_STOPPED = f"The kernel was stopped by an admin{FILES_STAY}"
#: How many kernels are ended at a time: before, their variables are saved.
_ENDED_AT_ONCE = 4


class NotDone(InterpreterError):
    """What an admin asked for was not done; says in a sentence why."""


class Deeds:
    """What admins can have done."""

    def __init__(
        self,
        *,
        records: RecordStore,
        host: KernelHost,
        sessions: "Callable[[], Sequence[Session]]",
        spares: Callable[[], int],
        metrics: Metrics,
        attachments: Attachments,
    ) -> None:
        """Make them.

        Args:
            records: where the audit log is.
            host: where kernels run.
            sessions: gives all sessions there are.
            spares: says how many kernels are ready for newcomers.
            metrics: the service's.
            attachments: the kernels that admins are attached to.
        """
        self._records = records
        self._host = host
        self._sessions = sessions
        self._spares = spares
        self._metrics = metrics
        self._attachments = attachments
        self._began_at = datetime.now(UTC)
        self._listed: dict[str, Any] = {}
        self._listed_at = float("-inf")
        self._listing = asyncio.Lock()

    async def do(self, request: Request, peer: Peer) -> dict[str, Any]:
        """Do what is asked for.

        Raises:
            InterpreterError: it could not be done; says why.
        """
        match request.do:
            case "list":
                return await self._list()
            case "inspect":
                return await self._inspect(request, peer)
            case "interrupt":
                return await self._interrupt(request, peer)
            case "shutdown":
                return await self._shutdown(request, peer)
            case "attach":
                return await self._attach(request, peer)
            case "stop":
                return await self._stop(peer)

    # -- looking on ------------------------------------------------------------------------------

    async def _list(self) -> dict[str, Any]:
        """All kernels; clients that ask at the same time get the same list."""
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        async with self._listing:
            if self._listed_at < asked_at:
                began_at = loop.time()
                self._listed = await self._all_kernels()
                self._listed_at = began_at
        return self._listed

    async def _all_kernels(self) -> dict[str, Any]:
        infos: list[KernelInfo] = []
        starting = 0
        for session in self._sessions():
            info = session.info()
            if info is not None:
                infos.append(info)
            elif session.live:
                starting += 1
            await asyncio.sleep(0)  # others' turn: what a kernel uses may take a while to read
        infos.sort(key=lambda info: info.started_at)
        return {
            "kernels": [kernel_to_json(info) for info in infos[:MOST_LISTED]],
            "left_out": max(0, len(infos) - MOST_LISTED),
            "starting": starting,
            "spare": self._spares(),
            "pid": os.getpid(),
            "began_at": self._began_at.isoformat(),
        }

    # -- one kernel ------------------------------------------------------------------------------

    async def _inspect(self, request: Request, peer: Peer) -> dict[str, Any]:
        session, _ = self._find(request.target)
        await self._audit(peer, "kernel inspect", session.user_id)
        variables = await session.variables()
        packages: tuple[str, ...] | None = None
        with suppress(DatabaseUnavailable):
            packages = await session.packages()
        info = session.info()
        if info is None:
            raise NotDone(f"The kernel of user {session.user_id!r} has just ended.")
        return {
            "kernel": kernel_to_json(info),
            "variables": [
                {name: value for name, value in asdict(one).items() if name != "preview"}
                for one in variables
            ],
            "packages": packages,
            "history": [
                [sample.at.isoformat(), sample.memory_bytes, sample.cpu_percent]
                for sample in session.resource_history()[-_MOST_SAMPLES:]
            ],
        }

    async def _interrupt(self, request: Request, peer: Peer) -> dict[str, Any]:
        session, kernel = self._find(request.target)
        await self._audit(peer, "kernel interrupt", session.user_id)
        was_running = await session.interrupt()
        if not was_running and self._attachments.has(kernel.kernel_id):
            # An admin's own cell, of which the session knows nothing. Idle kernels take no notice.
            await self._host.signal(kernel.kernel_id, signal.SIGINT)
        return {"user_id": session.user_id, "was_running": was_running}

    async def _shutdown(self, request: Request, peer: Peer) -> dict[str, Any]:
        if not request.all:
            session, _ = self._find(request.target)
            await self._audit(peer, "kernel shutdown", session.user_id)
            return {"user_ids": await _end_kernels([session])}
        chosen = [
            session
            for session in self._sessions()
            if session.hosted is not None and not (request.idle_only and session.busy)
        ]
        if not chosen:
            return {"user_ids": []}
        detail = f"with all {'idle ones' if request.idle_only else 'others'}, {len(chosen)} in all"
        for session in chosen:  # an entry for each, whatever their number
            await self._audit(peer, "kernel shutdown", session.user_id, detail)
        return {"user_ids": await _end_kernels(chosen, only_idle=request.idle_only)}

    async def _attach(self, request: Request, peer: Peer) -> dict[str, Any]:
        session, _ = self._find(request.target)
        await self._audit(peer, "kernel attach", session.user_id)
        release = session.hold()
        try:
            # Else it would be restored over whatever the admin does, with the user's next cell.
            async with asyncio.timeout(_RESTORE_S):
                kernel = await session.restored()
            if kernel is None:
                raise NotDone(f"The kernel of user {session.user_id!r} has just ended.")
            connection_file = self._attachments.add(kernel, release)
        except TimeoutError as error:
            release()
            raise NotDone(
                f"The variables of user {session.user_id!r} are still being restored: try again in "
                "a moment."
            ) from error
        except BaseException as error:
            release()
            if isinstance(error, OSError):
                reason = error.strerror or error
                raise NotDone(f"No socket could be opened: {reason}.") from error
            raise
        self._metrics.attached()
        return {"user_id": session.user_id, "connection_file": str(connection_file)}

    async def _stop(self, peer: Peer) -> dict[str, Any]:
        try:
            async with asyncio.timeout(_STOP_AUDIT_S):
                await self._audit(peer, "service stop")
        except (TimeoutError, NotDone) as error:  # who wants it to end must not need a database
            log.warning("the end is not in the audit log", reason=str(error), actor=peer.in_words())
        return {"pid": os.getpid()}

    # -- finding one -----------------------------------------------------------------------------

    def _find(self, target: str) -> "tuple[Session, HostedKernel]":
        """The session that an admin means, by the id of its user or kernel, and that kernel.

        Raises:
            NotDone: there is none, or more than one.
        """
        live = [(s, kernel) for s in self._sessions() if (kernel := s.hosted) is not None]
        found = [pair for pair in live if target in (pair[0].user_id, pair[1].kernel_id)]
        if not found and len(target) >= _LEAST_ID_CHARS:
            found = [pair for pair in live if pair[1].kernel_id.startswith(target)]
        if len(found) == 1:
            return found[0]
        if found:
            raise NotDone(
                f"The ids of {len(found)} kernels begin with {target!r}: give more of one."
            )
        raise NotDone(
            f"No live kernel belongs to {target!r}, and none has that id: `kernels list` shows "
            "those there are."
        )

    async def _audit(self, peer: Peer, action: str, target: str = "", detail: str = "") -> None:
        """Write down what is about to be done.

        Raises:
            NotDone: it could not be written.
        """
        try:
            detail = f"command line; {detail}" if detail else "command line"
            await write_audit(self._records, peer.in_words(), action, target, detail)
        except DatabaseUnavailable as error:
            raise NotDone(
                f"Nothing was done, because it can't be written into the audit log: {error}"
            ) from error


async def _end_kernels(sessions: "Sequence[Session]", *, only_idle: bool = False) -> list[str]:
    """End kernels; gives the ids of their users."""
    places = asyncio.Semaphore(_ENDED_AT_ONCE)

    async def end(session: "Session") -> bool:
        async with places:
            return await _end_kernel(session, only_idle=only_idle)

    ended = await asyncio.gather(*map(end, sessions))
    return [one.user_id for one, has_ended in zip(sessions, ended, strict=True) if has_ended]


async def _end_kernel(session: "Session", *, only_idle: bool) -> bool:
    """End a session's kernel; says whether it has ended.

    An idle session keeps its working directory and, if they can be saved, its variables; its user
    reads what happened. A busy one is closed: else cells that wait would go on in a new kernel.
    """
    if not session.busy:
        await session.cull(_STOPPED, held_too=True)
    if session.live and not only_idle:
        await session.close()
    return not session.live
