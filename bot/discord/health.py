"""Health: how the bot does, told on loopback to whoever watches over it.

``/healthz`` answers with JSON, 200 if people get answers and 503 if not; ``/metrics`` is for
Prometheus.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from bot.discord.metrics import Metrics
from bot.discord.supervisor import ShardState, Supervisor
from interpreter import DatabaseUnavailable, Interpreter
from interpreter.logs import get_logger

log = get_logger(__name__)

_HOST = "127.0.0.1"
_DATABASE_S = 2.0
#: An answer of the database is good for so long: watchers ask often.
_REMEMBERED_S = 5.0


class Health:
    """What is told.

    Args:
        service: kernels, database, and its own metrics.
        supervisor: the connections to Discord.
        metrics: what the bot counted.
    """

    def __init__(self, service: Interpreter, supervisor: Supervisor, metrics: Metrics) -> None:
        """See the class."""
        self._service = service
        self._supervisor = supervisor
        self._metrics = metrics
        self._asked_at = float("-inf")
        self._database = False
        self.is_draining = False

    @asynccontextmanager
    async def serve(self, port: int) -> AsyncIterator[int]:
        """Answer until the context ends; gives the port.

        Args:
            port: 0 takes any that is free.

        Raises:
            OSError: the port is taken.
        """
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/metrics", self._text)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, _HOST, port).start()
            yield int(runner.addresses[0][1])
        finally:
            await runner.cleanup()

    async def report(self) -> dict[str, Any]:
        """How everything stands; ``ok`` is whether people get answers."""
        database = await self._database_answers()
        ready = self._supervisor.is_ready
        return {
            "ok": ready and database and not self.is_draining,
            "discord": [_shard(state) for state in self._supervisor.states],
            "database": "ok" if database else "away",
            "kernels": self._service.kernel_count,
            "draining": self.is_draining,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    async def _healthz(self, request: web.Request) -> web.Response:
        report = await self.report()
        return web.Response(
            status=200 if report["ok"] else 503,
            text=json.dumps(report, indent=1) + "\n",
            content_type="application/json",
        )

    async def _text(self, request: web.Request) -> web.Response:
        return web.Response(
            body=self._service.metrics.text() + self._metrics.text(),
            headers={"Content-Type": Metrics.CONTENT_TYPE},
        )

    async def _database_answers(self) -> bool:
        if time.monotonic() - self._asked_at > _REMEMBERED_S:
            self._asked_at = time.monotonic()
            try:
                async with asyncio.timeout(_DATABASE_S):
                    await self._service.records.get("health", "probe")
                self._database = True
            except (DatabaseUnavailable, TimeoutError) as error:
                log.warning("database does not answer", reason=type(error).__name__)
                self._database = False
        return self._database


def _shard(state: ShardState) -> dict[str, Any]:
    return {
        "shard": state.shard,
        "status": state.status,
        "since": state.since.isoformat(timespec="seconds"),
        "until": state.until and state.until.isoformat(timespec="seconds"),
        "reason": state.reason,
    }
