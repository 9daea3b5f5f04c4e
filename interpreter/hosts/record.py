"""KernelRecord: what a service has to know of a kernel that another one has started."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Self

from interpreter.limits import Limits

_ID = re.compile(r"[0-9a-f]{16}")
_KEY = re.compile(r"[0-9a-f]{64}")
_BOOT = re.compile(r"[0-9a-f-]{36}")
_MOST = 1 << 62


@dataclass(frozen=True, slots=True)
class KernelRecord:
    """A kernel and the processes it is made of.

    Attributes:
        kernel_id: its id, and the name of its init's socket in the control directory.
        slot: the sandbox directory it lives in.
        backend: what confines it.
        key: signs the messages between it and whoever speaks with it: a secret.
        boot: the run of the machine that its processes belong to.
        init_pid: of its init,
        init_started: which started then, in clock ticks since the machine did.
        kernel_pid: of the kernel's process,
        kernel_started: which started then; 0 if it had ended by the time of the record.
        server_id: the fork server that it was forked from.
        started_at: when it was started, UTC.
        fitted_ns: when its files last fitted its limits, in nanoseconds since 1970.
        limits: what it may use.
    """

    kernel_id: str
    slot: str
    backend: str
    key: str
    boot: str
    init_pid: int
    init_started: int
    kernel_pid: int
    kernel_started: int
    server_id: str
    started_at: datetime
    fitted_ns: int
    limits: Limits

    def for_json(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return {**asdict(self), "started_at": self.started_at.isoformat()}

    @classmethod
    def parse(cls, info: Mapping[str, Any]) -> Self | None:
        """What was :meth:`for_json`; None if it is anything else."""
        try:
            return cls(
                kernel_id=_matching(_ID, info["kernel_id"]),
                slot=_matching(_ID, info["slot"]),
                backend=str(info["backend"]),
                key=_matching(_KEY, info["key"]),
                boot=_matching(_BOOT, info["boot"]),
                init_pid=_whole(info["init_pid"], least=2),
                init_started=_whole(info["init_started"]),
                kernel_pid=_whole(info["kernel_pid"], least=2),
                kernel_started=_whole(info["kernel_started"]),
                server_id=_matching(_ID, info["server_id"]),
                started_at=datetime.fromisoformat(info["started_at"]),
                fitted_ns=_whole(info["fitted_ns"]),
                limits=_limits(info["limits"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            return None


def _matching(pattern: re.Pattern[str], value: object) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError("not of the kind that it should be")
    return value


def _whole(value: object, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < _MOST:
        raise ValueError("no number that it could be")
    return value


def _limits(values: Mapping[str, Any]) -> Limits:
    """Limits as they were then; another version may have had others."""
    known = {field.name for field in fields(Limits)}
    return Limits(**{name: _whole(value) for name, value in values.items() if name in known})
