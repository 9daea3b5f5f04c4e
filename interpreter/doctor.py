"""What this machine offers for the confinement of kernels, found out by trying."""

import asyncio
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import kernel_startup
from interpreter.data_directory import prepare_data_directory
from interpreter.errors import DataDirectoryUnusable, InterpreterError, SandboxUnavailable
from interpreter.hosts.backends import BackendName, Surroundings, make_confinement
from interpreter.hosts.cgroup import machine_memory_bytes, open_control_groups
from interpreter.kernel_env import KernelEnvironment, ensure_kernel_environment
from interpreter.service import kernels_for_this_machine
from interpreter.settings import Settings
from kernel_startup import landlock

Verdict = Literal["good", "weaker", "missing"]
_MARKS = {"good": "ok", "weaker": "--", "missing": "!!"}
_UNTRIED = "No backend could be tried."
_CAP_SYS_PTRACE = 19
_GIB = 1 << 30
_LOW_DISK_BYTES = 4 * _GIB


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what.
        verdict: ``good``; ``weaker`` if kernels run without it, with less protection; ``missing``
            if what the settings ask for can't work.
        found: what there is, as a sentence.
        meaning: what follows for safety; empty if all is well.
        remedy: the command or setting that mends it; empty if nothing needs mending.
    """

    name: str
    verdict: Verdict
    found: str
    meaning: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, and what comes of it.

    Attributes:
        sandbox: the backend that the settings ask for.
        backend: the one that kernels would run on; None if they would not start.
        findings: one by one.
    """

    sandbox: str
    backend: str | None
    findings: tuple[Finding, ...]

    @property
    def exit_status(self) -> int:
        """0: as safe as it gets. 1: kernels run, with less protection. 2: they don't start."""
        verdicts = {finding.verdict for finding in self.findings}
        if self.backend is None or "missing" in verdicts:
            return 2
        return 1 if "weaker" in verdicts else 0

    def as_json(self) -> dict[str, Any]:
        """All of it as a value for ``json``."""
        return {**asdict(self), "exit_status": self.exit_status}

    def as_text(self) -> str:
        """All of it for a person at a terminal."""
        lines = []
        for finding in self.findings:
            lines.append(f"[{_MARKS[finding.verdict]}] {finding.name}: {finding.found}")
            lines += [f"     {text}" for text in (finding.meaning, finding.remedy) if text]
        return "\n".join([*lines, "", self._conclusion()])

    def _conclusion(self) -> str:
        if self.backend is None:
            untried = any(finding.meaning == _UNTRIED for finding in self.findings)
            why = "" if untried else f": SANDBOX={self.sandbox} does not work here"
            return f"Kernels would not start{why}. See the lines marked !! for what to do."
        if self.backend == "none":
            return "Kernels would run WITHOUT any confinement (SANDBOX=none)."
        less = " See the lines marked -- for what is weaker." if self.exit_status else ""
        return f"Kernels would run on the backend {self.backend!r}.{less}"


async def examine(
    settings: Settings, *, on_progress: Callable[[str], None] | None = None
) -> Report:
    """Look at this machine, and try out the backends as kernels would use them.

    Args:
        settings: as the service would have them.
        on_progress: gets a line for a person about each longer step.
    """
    groups = await asyncio.to_thread(_examine_groups)
    findings = [_examine_system(), *groups, _examine_memory(settings), _examine_disk(settings)]
    works: list[str] = []
    try:
        environment = await ensure_kernel_environment(
            root=settings.kernel_env_dir, python=settings.kernel_python, on_progress=on_progress
        )
        await asyncio.to_thread(prepare_data_directory, settings.data_dir)
    except InterpreterError as error:
        is_directory = isinstance(error, DataDirectoryUnusable)
        name = "data directory" if is_directory else "kernels' environment"
        findings.append(Finding(name, "missing", str(error), _UNTRIED))
        return Report(settings.sandbox, None, tuple(findings))
    counted = groups[0].verdict == "good"
    for backend in ("namespaces", "landlock"):
        failure = await _try_out(backend, settings, environment, counted=counted)
        if failure is None:
            works.append(backend)
        findings.append(_backend_finding(backend, settings.sandbox, failure, works))
    chosen = _chosen(settings.sandbox, works)
    if chosen == "landlock" and os.geteuid() == 0 and not _may_look_into_processes():
        findings.append(
            Finding(
                "measuring kernels",
                "weaker",
                "this root has no CAP_SYS_PTRACE.",
                "What kernels share with the processes they fork counts for each of them, so that "
                "honest ones may be stopped early, and deleted files aren't seen.",
                "In Docker, add `--cap-add SYS_PTRACE`.",
            )
        )
    if settings.sandbox == "landlock" and "namespaces" in works:
        findings.append(
            Finding(
                "a stronger backend",
                "weaker",
                "namespaces work here as well.",
                "They hide other processes, paths and sockets, where Landlock only refuses them.",
                "Set SANDBOX=namespaces, or auto.",
            )
        )
    if settings.sandbox == "none":
        findings.append(
            Finding(
                "SANDBOX=none",
                "weaker",
                "kernels are not confined at all.",
                "Whoever may send code can read, change and reach all that this account can.",
                "Set SANDBOX=auto.",
            )
        )
    return Report(settings.sandbox, chosen, tuple(findings))


def _may_look_into_processes() -> bool:
    """Whether this process has CAP_SYS_PTRACE."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_SYS_PTRACE & 1)
    return False


def _chosen(sandbox: str, works: Sequence[str]) -> str | None:
    if sandbox == "auto":
        return works[0] if works else None
    return sandbox if sandbox == "none" or sandbox in works else None


def _examine_system() -> Finding:
    user = "root: kernels run as users of their own" if os.geteuid() == 0 else "an ordinary user"
    return Finding(
        "system",
        "good",
        f"Linux {platform.release()} on {platform.machine()}, Python {platform.python_version()}, "
        f"Landlock version {landlock.version() or 'none'}; this account is {user}.",
    )


def _examine_groups() -> list[Finding]:
    groups = open_control_groups()
    if groups is None:
        return [
            Finding(
                "control groups",
                "weaker",
                "this account may not make any.",
                "Memory and processes of a kernel are looked at four times a second and not "
                "bounded by the system; processor time is not shared out by users.",
                "Under systemd, run the service as a unit with `Delegate=yes`; in Docker, with "
                "`--security-opt writable-cgroups=true` (see deploy/).",
            )
        ]
    version, cpu = groups.version, groups.has_cpu
    groups.close()
    found = [Finding("control groups", "good", f"version {version}: memory and processes.")]
    if not cpu:
        found.append(
            Finding(
                "processor share",
                "weaker",
                "the controller `cpu` is not delegated to this account.",
                "A busy kernel can slow the others down more than its share.",
                "Delegate it: `systemctl edit` the unit and set `Delegate=cpu memory pids`.",
            )
        )
    return found


def _examine_memory(settings: Settings) -> Finding:
    memory = machine_memory_bytes()
    kernels = settings.max_kernels or kernels_for_this_machine()
    found = f"{memory / _GIB:.1f} GiB; at most {kernels} kernels at once."
    if memory >= 2 * settings.kernel_memory_bytes:
        return Finding("memory", "good", found)
    return Finding(
        "memory",
        "weaker",
        found,
        "One kernel at its limit takes more than half of it, and slows all others down.",
        f"Set KERNEL_MEMORY_MB to {max(64, int(memory / 4) >> 20)} or less.",
    )


def _examine_disk(settings: Settings) -> Finding:
    directory = settings.data_dir
    while not directory.exists():
        directory = directory.parent
    free = shutil.disk_usage(directory).free
    found = f"{free / _GIB:.1f} GiB free for {settings.data_dir}."
    if free >= _LOW_DISK_BYTES:
        return Finding("disk", "good", found)
    return Finding(
        "disk",
        "weaker",
        found,
        "Kernels that write are stopped when the disk is nearly full.",
        "Free some room, or set DATA_DIR to a larger disk.",
    )


async def _try_out(
    backend: BackendName, settings: Settings, environment: KernelEnvironment, *, counted: bool
) -> SandboxUnavailable | None:
    """Why a backend doesn't work here, or None."""
    place = Path(tempfile.mkdtemp(prefix="doctor-", dir=settings.data_dir))
    uid = settings.kernel_uid if os.geteuid() == 0 else None
    try:
        sessions = place / "sessions"
        layers = place / "layers"
        for directory in (place, sessions, layers):
            directory.mkdir(exist_ok=True)
            directory.chmod(0o711)
        around = Surroundings(
            environment=environment,
            startup=Path(kernel_startup.__file__).parent,
            sessions=sessions,
            layers=layers,
            invented=place / "etc",
            kernel_uid=uid,
            counted=counted,
        )
        confinement = make_confinement(backend, around)
        await confinement.try_out(kernel_uid=uid)
    except SandboxUnavailable as error:
        return error
    finally:
        with suppress(OSError):
            await asyncio.to_thread(shutil.rmtree, place)
    return None


def _backend_finding(
    backend: str, sandbox: str, failure: SandboxUnavailable | None, works: Sequence[str]
) -> Finding:
    name = f"backend {backend}"
    if failure is None:
        return Finding(name, "good", "a process was confined as kernels are.")
    wanted = sandbox == backend or (sandbox == "auto" and not works)
    if backend == "namespaces":
        meaning = "Without it kernels share the machine's process list and network stack."
    else:
        meaning = "It would be the second best, where namespaces are refused."
    verdict: Verdict = "missing" if wanted and backend == sandbox else "weaker"
    if backend == "landlock" and "namespaces" in works and not wanted:
        verdict, meaning = "good", "It isn't needed: namespaces work, and are stronger."
        return Finding(name, verdict, f"does not work: {failure.reason}.", meaning)
    return Finding(name, verdict, f"does not work: {failure.reason}.", meaning, failure.remedy)
