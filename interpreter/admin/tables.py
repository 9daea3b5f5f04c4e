"""What admins read, as text: the list of kernels, and what one of them holds and uses. No I/O."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from wcwidth import wcswidth

from interpreter.admin.protocol import kernel_from_json
from interpreter.inspection import MOST_VARIABLES, KernelInfo

_CURVE = "▁▂▃▄▅▆▇█"
_CURVE_WIDTH = 60
_MOST_VARIABLES, _NAME_CHARS, _TYPE_CHARS = 100, 32, 40
HEADINGS = (
    *("USER", "KERNEL", "STATE", "PHASE", "RUNNING", "MEMORY", "CPU", "IDLE", "CELLS", "STARTED"),
)
_TO_THE_RIGHT = frozenset({"RUNNING", "MEMORY", "CPU", "IDLE", "CELLS", "SIZE"})


def plain(text: str, most_chars: int = 200) -> str:
    """A text from untrusted code, fit for a terminal: on one line, nothing that acts on it."""
    kept = text[:most_chars].replace("\n", " ").replace("\t", " ")
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in kept)
    return shown if len(text) <= most_chars else f"{shown[:-1]}…"


def size_text(size_bytes: int | None) -> str:
    """A number of bytes, such as "318 MiB"; "?" for None."""
    if size_bytes is None:
        return "?"
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1000 or unit == "GiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if size >= 99.5 or unit == "B" else f"{size:.1f} {unit}"


def span_text(seconds: float) -> str:
    """A length of time, such as "12 s", "4 min", "2 h", "3 d"; never negative."""
    seconds = max(0.0, seconds)
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def kernel_row(info: KernelInfo, now: datetime) -> tuple[str, ...]:
    """A kernel's line in the list, one text for each heading."""
    busy = info.phase is not None or info.state == "busy"
    return (
        plain(info.user_id, 24),
        info.kernel_id,
        "busy" if busy else "idle",
        info.phase or "",
        "" if info.cell_running_s is None else span_text(info.cell_running_s),
        size_text(info.memory_bytes),
        "?" if info.cpu_percent is None else f"{info.cpu_percent:.0f}%",
        "" if busy else span_text((now - info.last_active_at).total_seconds()),
        str(info.cells),
        started_text(info.started_at, now),
    )


def started_text(at: datetime, now: datetime) -> str:
    """When something began, in the reader's time: the day only if it isn't today."""
    here = at.astimezone()
    same_day = here.date() == now.astimezone().date()
    return here.strftime("%H:%M" if same_day else "%b %d %H:%M")


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns with two spaces between."""
    widths = [max(_width(cell) for cell in column) for column in zip(headings, *rows, strict=True)]
    lines = []
    for row in (headings, *rows):
        cells = []
        for heading, cell, width in zip(headings, row, widths, strict=True):
            gap = " " * (width - _width(cell))
            cells.append(gap + cell if heading in _TO_THE_RIGHT else cell + gap)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _width(text: str) -> int:
    return max(0, wcswidth(text))


def kernels_text(listed: Mapping[str, Any], now: datetime | None = None) -> str:
    """The list of kernels, and what they come to."""
    now = now or datetime.now(UTC)
    infos = [kernel_from_json(plain_info) for plain_info in listed["kernels"]]
    if not infos:
        return f"No kernel is live.{_others(listed)}"
    rows = [kernel_row(info, now) for info in infos]
    text = f"{table(HEADINGS, rows)}\n\n{totals_text(infos)}.{_others(listed)}"
    left_out = listed.get("left_out", 0)
    return f"{text} {left_out} more are not shown." if left_out else text


def totals_text(infos: Sequence[KernelInfo]) -> str:
    """What kernels come to, as a sentence without its full stop."""
    busy = sum(info.state == "busy" for info in infos)
    memory = sum(info.memory_bytes or 0 for info in infos)
    cpu = sum(info.cpu_percent or 0.0 for info in infos)
    kernels = "1 kernel" if len(infos) == 1 else f"{len(infos)} kernels"
    return f"{kernels}, {busy} busy, {size_text(memory)} of memory, {cpu:.0f}% of a processor"


def _others(listed: Mapping[str, Any]) -> str:
    """The sentence about kernels that are nobody's yet."""
    said = []
    if listed.get("starting"):
        said.append(f"{listed['starting']} starting")
    if listed.get("spare"):
        said.append(f"{listed['spare']} ready for newcomers")
    return f" Besides, {' and '.join(said)}." if said else ""


def inspection_text(inspected: Mapping[str, Any], now: datetime | None = None) -> str:
    """All that is shown of one kernel."""
    now = now or datetime.now(UTC)
    info = kernel_from_json(inspected["kernel"])
    parts = [_facts(info, now), _variables(inspected["variables"])]
    parts.append(_history(inspected["history"]))
    packages = inspected["packages"]
    if packages is None:
        parts.append("Packages: the database can't be asked now.")
    elif packages:
        parts.append("Packages of the user's own: " + ", ".join(plain(one) for one in packages))
    else:
        parts.append("No packages of the user's own.")
    return "\n\n".join(parts)


def _facts(info: KernelInfo, now: datetime) -> str:
    doing = "idle"
    if info.phase is not None or info.state == "busy":
        running_s = info.cell_running_s
        doing = f"busy, {info.phase or 'running'}"
        doing += "" if running_s is None else f" for {span_text(running_s)}"
    else:
        doing += f" for {span_text((now - info.last_active_at).total_seconds())}"
    if info.waiting_cells:
        doing += f", {info.waiting_cells} waiting behind"
    cells = "1 cell" if info.cells == 1 else f"{info.cells} cells"
    facts = [
        ("user", plain(info.user_id)),
        ("kernel", info.kernel_id),
        ("process", str(info.pid)),
        ("state", doing),
        ("started", f"{started_text(info.started_at, now)}, {cells} since"),
        ("memory", size_text(info.memory_bytes)),
        ("processor", "?" if info.cpu_s is None else f"{span_text(info.cpu_s)} altogether"),
    ]
    if info.cpu_percent is not None:
        facts[-1] = ("processor", f"{facts[-1][1]}, {info.cpu_percent:.0f}% of one just now")
    if info.last_error:
        facts.append(("last error", plain(info.last_error)))
    return "\n".join(f"{name:<11}{value}" for name, value in facts)


def _variables(variables: Sequence[Mapping[str, Any]]) -> str:
    if not variables:
        return "No variables, or the kernel doesn't answer just now."
    rows = [
        (
            plain(one["name"], _NAME_CHARS),
            plain(one["type"], _TYPE_CHARS),
            plain(one["shape"] or "", _NAME_CHARS),
            "" if one["size_bytes"] is None else size_text(one["size_bytes"]),
        )
        for one in variables[:_MOST_VARIABLES]
    ]
    text = table(("VARIABLE", "TYPE", "SHAPE", "SIZE"), rows)
    left_out = len(variables) - len(rows)
    if not left_out:
        return text
    # Nobody knows of more than a kernel lists.
    at_least = "at least " if len(variables) >= MOST_VARIABLES else ""
    return f"{text}\nand {at_least}{left_out} more."


def _history(samples: Sequence[tuple[str, int, float | None]]) -> str:
    """What it used over the last half hour, as two curves of one line each."""
    if len(samples) < 2:
        return "It hasn't been watched for long enough to draw what it uses."
    first, last = (datetime.fromisoformat(samples[i][0]) for i in (0, -1))
    memory = [float(sample[1]) for sample in samples]
    cpu = [sample[2] or 0.0 for sample in samples]
    return (
        f"memory     {curve(memory)}  up to {size_text(int(max(memory)))}\n"
        f"processor  {curve(cpu)}  up to {max(cpu):.0f}%\n"
        f"           over the last {span_text((last - first).total_seconds())}"
    )


def curve(values: Sequence[float], width: int = _CURVE_WIDTH) -> str:
    """A line of bars, from 0 to the highest; each stands for the highest of a stretch."""
    columns = min(width, len(values))
    edges = [len(values) * i // columns for i in range(columns + 1)]
    heights = [max(values[a:b]) for a, b in pairwise(edges)]
    top = max(heights) or 1.0
    return "".join(_CURVE[round(height / top * (len(_CURVE) - 1))] for height in heights)
