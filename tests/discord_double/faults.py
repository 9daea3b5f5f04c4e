"""Switches for everything that can go wrong with Discord."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.discord_double.gateway import Gateway


@dataclass(slots=True)
class RestFault:
    """What happens to the next requests.

    Attributes:
        status: 429, 500, 503, ...; 0 breaks the connection off; -1 does, after the upload's
            first bytes.
        left: for how many requests more.
        path: only those with this in their path; ``method``: only those.
        headers: whether a 429 has rate limit headers.
        is_global: whether a 429 is for everything.
        retry_after: in seconds.
        after: whether the request takes effect before it fails: the answer alone is lost.
        hits: how many requests it has struck.
    """

    status: int
    left: int
    path: str = ""
    method: str | None = None
    headers: bool = True
    is_global: bool = False
    retry_after: float = 0.05
    after: bool = False
    hits: int = 0


class GatewayFaults:
    """What happens to the gateway's connections."""

    def __init__(self, gateway: "Gateway") -> None:
        """Nothing happens yet."""
        self._gateway = gateway

    async def op7(self) -> None:
        """Ask the bot to connect again and to resume."""
        await self._gateway.send_all({"op": 7, "d": None, "s": None, "t": None})

    async def op9(self, *, resumable: bool = False) -> None:
        """Say that the session is invalid."""
        await self._gateway.invalidate(resumable=resumable)

    def reject_identifies(self, times: int) -> None:
        """Answer the next IDENTIFYs with op 9."""
        self._gateway.rejected_identifies = times

    async def close(self, code: int = 4000) -> None:
        """Close all connections with a code."""
        await self._gateway.close_all(code)

    async def drop(self) -> None:
        """Break all connections off without a word."""
        await self._gateway.drop_all()

    def forget_sessions(self) -> None:
        """Let the next RESUME fail."""
        self._gateway.forget_sessions()

    def mute_heartbeats(self, muted: bool = True) -> None:
        """Leave heartbeats unanswered, as on a dead connection."""
        self._gateway.acknowledges = not muted


@dataclass(slots=True)
class Faults:
    """All of them; each fault ends by itself after its number of times.

    Attributes:
        gateway: the gateway's.
    """

    gateway: GatewayFaults
    outage: Callable[[], object]
    _rest: list[RestFault] = field(default_factory=list)
    _cdn: list[RestFault] = field(default_factory=list)
    _refused: int = 0

    def rest(
        self,
        *,
        status: int,
        times: int = 1,
        path: str = "",
        method: str | None = None,
        headers: bool = True,
        is_global: bool = False,
        retry_after: float = 0.05,
        after: bool = False,
    ) -> RestFault:
        """Have the next matching requests fail, see ``RestFault``."""
        fault = RestFault(
            status, times, path, method, headers, is_global, retry_after=retry_after, after=after
        )
        self._rest.append(fault)
        return fault

    def drop_upload(self, *, times: int = 1, path: str = "") -> RestFault:
        """Break the connection off in the midst of the next uploads."""
        fault = RestFault(-1, times, path)
        self._rest.append(fault)
        return fault

    def drop_answer(
        self, *, times: int = 1, path: str = "", method: str | None = None
    ) -> RestFault:
        """Do what the next requests ask for, but break off before answering."""
        fault = RestFault(0, times, path, method, after=True)
        self._rest.append(fault)
        return fault

    def cdn(self, *, status: int = 503, times: int = 1, path: str = "") -> RestFault:
        """Have the next downloads fail."""
        fault = RestFault(status, times, path)
        self._cdn.append(fault)
        return fault

    def refuse_connections(self, times: int) -> None:
        """Refuse the next connections to the gateway."""
        self._refused = times

    def clear(self) -> None:
        """Have nothing fail any more."""
        self._rest.clear()
        self._cdn.clear()
        self._refused = 0
        self.gateway.reject_identifies(0)
        self.gateway.mute_heartbeats(False)

    def take_rest(self, method: str, path: str, *, is_upload: bool) -> RestFault | None:
        """The fault that strikes a request, if one does."""
        wanted = (f for f in self._rest if f.status != -1 or is_upload)
        return _take(wanted, method, path)

    def take_cdn(self, path: str) -> RestFault | None:
        """The fault that strikes a download, if one does."""
        return _take(self._cdn, "GET", path)

    def take_refusal(self) -> bool:
        """Whether a connection to the gateway is to be refused."""
        if self._refused <= 0:
            return False
        self._refused -= 1
        return True


def _take(faults: Iterable[RestFault], method: str, path: str) -> RestFault | None:
    for fault in faults:
        if fault.left > 0 and fault.path in path and fault.method in (None, method):
            fault.left -= 1
            fault.hits += 1
            return fault
    return None
