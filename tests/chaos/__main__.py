"""``python -m tests.chaos``: a storm of any length; exit status 1 if a promise was broken."""

import argparse
import asyncio
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.chaos.checker import check
from tests.chaos.history import Event, read
from tests.chaos.storm import Plan, weather


def summary(events: list[Event]) -> str:
    """What a storm was like."""
    results = Counter(e["status"] for e in events if e["kind"] == "result")
    failed = Counter(e["error"] for e in events if e["kind"] == "failed")
    faults = Counter(e["what"] for e in events if e["kind"] == "fault")
    faults += Counter(e["how"] for e in events if e.get("state") == "down")
    ups = [e for e in events if e.get("state") == "up"][1:]
    finals = [e["seconds"] for e in events if e["kind"] == "final"]
    recovered = sum(e.get("how") == "recovered" and e["kind"] == "result" for e in events)
    files = sum(len(e["files"]) for e in events if e["kind"] == "result")
    files += sum(e["kind"] == "saved" for e in events)
    again = sum(e["kind"] == "again" for e in events)
    lines = [
        f"cells: {sum(results.values())} answered ({_listed(results)}), {recovered} of them after "
        f"a restart; {again} given again; not answered: {_listed(failed) or 'none'}",
        f"faults: {_listed(faults)}",
        f"services started again: {len(ups)}, in at most "
        f"{max((e['seconds'] for e in ups), default=0):.1f} s, with "
        f"{sum(e['reattached'] for e in ups)} kernels found alive",
        f"files acknowledged: {files}",
        f"last cells: {len(finals)}, in at most {max(finals, default=0):.2f} s",
    ]
    return "\n".join(lines)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))


def main() -> int:
    """Have a storm, or read the history of one, and check it."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="of faults; at most 120")
    parser.add_argument("--users", type=int, default=20, help="at most 200")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--history", type=Path, help="only check this one")
    parser.add_argument("--keep", type=Path, help="an empty directory for history, log and data")
    options = parser.parse_args()
    if options.history:
        events = list(read(options.history))
    else:
        plan = Plan(min(options.users, 200), min(options.minutes, 120) * 60, options.seed)
        with tempfile.TemporaryDirectory(prefix="cellmate-chaos-") as temporary:
            work = options.keep or Path(temporary)
            work.mkdir(exist_ok=True)
            os.chmod(work, 0o711)
            events = asyncio.run(weather(plan, work)).events
    print(summary(events))
    violations = check(events)
    for violation in violations:
        cell = f" {violation.seq}" if violation.seq else ""
        print(f"BROKEN, {violation.rule}: {violation.user}{cell}: {violation.what}")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
