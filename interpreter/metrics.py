"""Metrics: what the service counts and measures, as Prometheus reads it.

Labels have a few values that are known beforehand; no user, kernel or file is named in them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from interpreter.execution import Execution, Status

#: How a kernel came to be: from the pool, or forked when it was needed; ``restored`` is giving it
#: its user's variables then, which comes on top.
How: TypeAlias = Literal["claimed", "forked", "restored"]
#: Why a kernel was stopped: it was idle for long, or others needed its place.
CullReason: TypeAlias = Literal["idle", "room"]
RestoreResult: TypeAlias = Literal["complete", "partial", "failed"]
KernelState: TypeAlias = Literal["busy", "idle", "starting", "spare"]

_PHASES: Final = ("queue", "install", "run", "collect")
_START_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_PHASE_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800)
_BYTES = tuple(float(1 << power) for power in range(10, 30, 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the service stands at a moment.

    Attributes:
        kernels: how many there are, by state; what isn't named is 0.
        memory_bytes: what users' kernels take, each counted by itself.
        pool_target: how many spare kernels there ought to be.
    """

    kernels: Mapping[KernelState, int] = field(default_factory=dict)
    memory_bytes: int = 0
    pool_target: int = 0


class Metrics:
    """Counters and gauges in a registry of their own."""

    #: The type of what :meth:`text` gives.
    CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        """Everything is 0."""
        self._standing: Callable[[], Standing] = Standing
        self._registry = registry = CollectorRegistry()
        self._kernels = Gauge(
            "cellmate_kernels", "Kernels that live, by state", ["state"], registry=registry
        )
        self._memory = Gauge(
            "cellmate_kernels_memory_bytes", "Memory of users' kernels", registry=registry
        )
        self._pool = Gauge(
            "cellmate_pool_kernels", "Spare kernels that wait for newcomers", registry=registry
        )
        self._pool_target = Gauge(
            "cellmate_pool_target", "Spare kernels there ought to be", registry=registry
        )
        self._starts = Histogram(
            "cellmate_kernel_start_seconds",
            "From a session that needs a kernel to one that is ready",
            ["how"],
            buckets=_START_S,
            registry=registry,
        )
        self._claims = Histogram(
            "cellmate_kernel_claim_seconds",
            "How long it took to take a kernel out of the pool",
            buckets=_START_S,
            registry=registry,
        )
        self._cells = Counter("cellmate_cells", "Cells that ended", ["status"], registry=registry)
        self._phases = Histogram(
            "cellmate_cell_phase_seconds",
            "How long each phase of cells took",
            ["phase"],
            buckets=_PHASE_S,
            registry=registry,
        )
        self._culls = Counter(
            "cellmate_culls", "Kernels stopped while they were idle", ["reason"], registry=registry
        )
        self._restores = Counter(
            "cellmate_restores", "Snapshots given to new kernels", ["result"], registry=registry
        )
        self._saves = Counter(
            "cellmate_snapshots", "Snapshots of sessions made", ["result"], registry=registry
        )
        self._snapshot_bytes = Histogram(
            "cellmate_snapshot_bytes", "Sizes of snapshots", buckets=_BYTES, registry=registry
        )
        self._files = Counter(
            "cellmate_files", "Files stored of what cells made", registry=registry
        )
        self._file_bytes = Counter(
            "cellmate_file_bytes", "Bytes stored of what cells made", registry=registry
        )
        self._sessions = Counter(
            "cellmate_sessions_after_restart",
            "Sessions an earlier run of the service had a kernel of",
            ["result"],
            registry=registry,
        )
        self._attaches = Counter(
            "cellmate_admin_attaches", "Kernels an admin attached to", registry=registry
        )
        self._begin()

    def watch(self, standing: Callable[[], Standing]) -> None:
        """Say how to find out, whenever the metrics are read, how the service stands."""
        self._standing = standing

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        now = self._standing()
        for state in get_args(KernelState):
            self._kernels.labels(state).set(now.kernels.get(state, 0))
        self._memory.set(now.memory_bytes)
        self._pool.set(now.kernels.get("spare", 0))
        self._pool_target.set(now.pool_target)
        return generate_latest(self._registry)

    # -- what happened -----------------------------------------------------------------------------

    def kernel_started(self, seconds: float, how: How) -> None:
        """A session has a kernel that it hadn't before.

        Args:
            seconds: from when it was needed; or how long the restoring took.
            how: where it came from.
        """
        self._starts.labels(how).observe(seconds)

    def claimed(self, seconds: float) -> None:
        """A kernel was taken out of the pool, which took so long."""
        self._claims.observe(seconds)

    def cell_ended(self, execution: Execution) -> None:
        """A cell is over, or was refused."""
        self._cells.labels(execution.status).inc()
        took = execution.durations
        self._phases.labels("queue").observe(took.queue_s)
        if execution.status != "refused":
            self._phases.labels("run").observe(took.run_s)
            self._phases.labels("collect").observe(took.collect_s)
        if took.install_s:
            self._phases.labels("install").observe(took.install_s)
        self._files.inc(len(execution.artifacts))
        self._file_bytes.inc(sum(file.file_size for file in execution.artifacts))

    def culled(self, reason: CullReason) -> None:
        """An idle kernel was stopped."""
        self._culls.labels(reason).inc()

    def saved(self, size_bytes: int | None) -> None:
        """A snapshot was made of a session, of so many bytes; None if none could be."""
        self._saves.labels("failed" if size_bytes is None else "saved").inc()
        if size_bytes is not None:
            self._snapshot_bytes.observe(size_bytes)

    def restored(self, result: RestoreResult) -> None:
        """A new kernel was given its user's snapshot: all of it, some of it, or it failed."""
        self._restores.labels(result).inc()

    def reattached(self) -> None:
        """A session has its kernel of before a restart again."""
        self._sessions.labels("reattached").inc()

    def lost(self) -> None:
        """A session's kernel of before a restart is gone."""
        self._sessions.labels("lost").inc()

    def attached(self) -> None:
        """An admin attached to a kernel."""
        self._attaches.inc()

    def _begin(self) -> None:
        """Have all series there from the start: what appears only with a 1 shows no increase."""
        for how in get_args(How):
            self._starts.labels(how)
        for status in get_args(Status):
            self._cells.labels(status)
        for phase in _PHASES:
            self._phases.labels(phase)
        for reason in get_args(CullReason):
            self._culls.labels(reason)
        for result in get_args(RestoreResult):
            self._restores.labels(result)
        for result in ("saved", "failed"):
            self._saves.labels(result)
        for result in ("reattached", "lost"):
            self._sessions.labels(result)
