"""A storm: users at work on one service, while everything around them is killed."""

import asyncio
import random
import re
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.history import Event, History
from tests.chaos.processes import Standing, database_of, family_of, kill, left_over
from tests.chaos.service import Service, ServiceGone, ServiceRefused

#: Appends the cell's number to what its kernel has seen, and tells that after its token.
_CELL = """
seen = [*globals().get('seen', ()), {seq}]
print('token {user}:{seq}', *seen, flush=True)
"""
_SEQ = re.compile(r"print\('[a-z ]+[0-9]+:([0-9]+)'")
_KINDS = {
    "count": ("", 10),
    "slow": ("import time; time.sleep({slow})\n", 4),
    "write": ("open('f{seq}.txt', 'w').write('{user}:{seq} ' * 50);\n", 5),
    "table": ("df = pd.DataFrame({{'n': seen}}); total = int(df.n.sum())\n", 2),
    "error": ("raise ValueError('{user}:{seq}')\n", 1),
    "load": ("assert '{user}:' in load_file('{file}')\n", 3),
}
_FAULTS = {
    "kernel": 6,
    "init": 2,
    "fork server": 2,
    "bwrap": 1,
    "database": 3,
    "database stopped": 1,
    "service": 4,
    "restart": 2,
}
#: Before each fault: while there are kinds that have not been, and afterwards.
_FIRST_PAUSE_S, _PAUSE_S = (0.5, 2.0), (1.5, 5.0)
#: How much longer than planned a storm may take, so that on a slow machine too all kinds have been.
_LONGER_S = 60.0
#: One of so many users does nothing between two cells until the kernel is culled.
_VISITORS = 4
_IDLE_S = 3.0
_LOOK_S = 0.3
#: What a visitor is told who finds the variables again.
_CULLED = re.compile(r"stopped after being idle for long; .* restored")
#: How long a database that is stopped, not killed, stays away.
_STOPPED_S = 3.0
_THINKING_S = 1.0
_CELL_S = 20.0
_MOST_UPLOADS = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What a storm is to be.

    Attributes:
        users: how many work at the same time.
        seconds: how long faults go on.
        seed: of all that is left to chance here; what the machine does is not.
    """

    users: int
    seconds: float
    seed: int


def settings_for(plan: Plan) -> dict[str, Any]:
    """A service with bounds that are soon reached."""
    return {
        "max_kernels": plan.users + 4,
        "warm_kernels": 1,
        "cell_timeout_s": _CELL_S,
        "interrupt_grace_s": 2.0,
        "max_files_per_user": 1000,
        "max_artifacts": 1000,
        "kernel_idle_s": _IDLE_S,
        "orphan_s": 120.0,
        "snapshot_interval_s": 5.0,
    }


#: All that is to be in a storm.
KINDS = frozenset({*_FAULTS, "cull"})


def happened(events: Iterable[Event]) -> set[str]:
    """Which of ``KINDS`` have been in a history."""
    found = set()
    for event in events:
        if event["kind"] == "fault":
            found.add(event["what"])
        elif event["kind"] == "service" and event["state"] == "down":
            found.add(event["how"])
        elif event["kind"] == "result" and _CULLED.search(event["message"] or ""):
            found.add("cull")
    return found


@dataclass(slots=True)
class Storm:
    """One storm on one service."""

    plan: Plan
    service: Service
    history: History
    over: asyncio.Event = field(default_factory=asyncio.Event)
    culled: asyncio.Event = field(default_factory=asyncio.Event)
    uploads: dict[str, list[str]] = field(default_factory=dict)
    delivered: set[tuple[str, int]] = field(default_factory=set)
    acknowledging: set[asyncio.Task[None]] = field(default_factory=set)

    def names(self) -> Iterator[str]:
        """The users."""
        return (f"user{number}" for number in range(self.plan.users))

    async def run(self) -> None:
        """Have everybody work through the faults, then look at what is left."""
        users = [
            asyncio.create_task(self._work(name, is_visitor=number % _VISITORS == 0))
            for number, name in enumerate(self.names())
        ]
        faults = asyncio.create_task(self._break_things())
        await faults
        self.over.set()
        await asyncio.gather(*users)
        await self._calm_down()

    # -- users -----------------------------------------------------------------------------------

    async def _work(self, user: str, *, is_visitor: bool) -> None:
        chance = random.Random(f"{self.plan.seed} {user}")
        seq = 0
        while not self.over.is_set():
            seq += 1
            await self.service.ready.wait()
            if chance.random() < 0.15:
                await self._upload(user, seq)
            cells = [self._cell(user, seq, chance)]
            if chance.random() < 0.1:  # two at once: the second one waits behind the first
                seq += 1
                cells.append(self._cell(user, seq, chance))
            await asyncio.gather(*cells)
            await asyncio.sleep(chance.uniform(0, _THINKING_S))
            if is_visitor:
                await self._without_kernel(user)

    async def _without_kernel(self, user: str) -> None:
        """Do nothing while the user has a kernel."""
        with suppress(ServiceGone, ServiceRefused):
            while await self.service.call("live", user=user):
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.over.wait(), _LOOK_S)
                    return

    async def _cell(self, user: str, seq: int, chance: random.Random) -> None:
        code = _CELL.format(user=user, seq=seq) + self._rest_of_cell(user, seq, chance)
        self.history.add("sent", user=user, seq=seq)
        try:
            result = await self.service.call(
                "execute",
                user=user,
                code=code,
                note={"seq": str(seq)},
                timeout_s=_CELL_S,
                on_phase=lambda name: self._phase(user, seq, name),
            )
        except ServiceGone:
            if (user, seq) not in self.delivered:
                self.history.add("failed", user=user, seq=seq, error="gone")
        except ServiceRefused as refusal:
            self.history.add("failed", user=user, seq=seq, error=refusal.name, text=str(refusal))
        else:
            self._deliver(user, seq, "live", result)

    def _rest_of_cell(self, user: str, seq: int, chance: random.Random) -> str:
        weights = [weight for _, weight in _KINDS.values()]
        (kind,) = chance.choices(list(_KINDS), weights)
        uploads = self.uploads.get(user)
        if kind == "load" and not uploads:
            kind = "count"
        slow = round(chance.uniform(0.5, 6.0), 1)
        file = chance.choice(uploads) if uploads else ""
        return _KINDS[kind][0].format(user=user, seq=seq, slow=slow, file=file)

    def _phase(self, user: str, seq: int, name: str) -> None:
        if name == "running":
            self.history.add("running", user=user, seq=seq)

    async def _upload(self, user: str, seq: int) -> None:
        if len(self.uploads.get(user, ())) >= _MOST_UPLOADS:
            return
        name, content = f"up{seq}.txt", f"{user}:{seq} uploaded\n" * 20
        try:
            file = await self.service.call("save", user=user, name=name, content=content)
        except (ServiceGone, ServiceRefused):
            return  # not acknowledged: it may be there or not
        self.history.add("saved", user=user, file=file)
        self.uploads.setdefault(user, []).append(file["file_id"])

    def _deliver(self, user: str, seq: int, how: str, result: dict[str, Any]) -> None:
        """Take a result as a front end does: once for each cell."""
        kind = "again" if (user, seq) in self.delivered else "result"
        self.delivered.add((user, seq))
        self.history.add(kind, user=user, seq=seq, how=how, **result)
        if _CULLED.search(result["message"] or ""):
            self.culled.set()

    def on_event(self, event: dict[str, Any]) -> None:
        """Take what the service says by itself: results of cells that outlived an earlier one."""
        if event["event"] == "ready":  # noted before anything else that this service gives
            service = self.service
            self.history.add(
                "service", state="up", seconds=service.took_s, reattached=service.reattached
            )
        elif event["event"] == "recovered":
            # A cell that nobody had time to write down has no note, but it says what it is.
            seq = event["note"].get("seq") or _SEQ.findall(event["code"])[0]
            user, seq = event["user"], int(seq)
            self._deliver(user, seq, "recovered", event["result"])
            task = asyncio.create_task(self._acknowledge(user, seq, event["cell_id"]))
            self.acknowledging.add(task)
            task.add_done_callback(self.acknowledging.discard)

    async def _acknowledge(self, user: str, seq: int, cell_id: str) -> None:
        await self.service.ready.wait()
        with suppress(ServiceGone, ServiceRefused):  # it is given again, and left aside
            await self.service.call("acknowledge", cell_id=cell_id)
            self.history.add("acknowledged", user=user, seq=seq)

    # -- faults ----------------------------------------------------------------------------------

    async def _break_things(self) -> None:
        """Go through all kinds of faults once, then break at random; see somebody culled, too."""
        chance = random.Random(self.plan.seed)
        end = time.monotonic() + self.plan.seconds
        coming = list(_FAULTS)
        chance.shuffle(coming)
        while (now := time.monotonic()) < end or (coming and now < end + _LONGER_S):
            await asyncio.sleep(chance.uniform(*(_FIRST_PAUSE_S if coming else _PAUSE_S)))
            (what,) = coming[:1] or chance.choices(list(_FAULTS), list(_FAULTS.values()))
            has_been = await self._break(what, chance)
            coming = coming[1:] + ([] if has_been else coming[:1])
        with suppress(TimeoutError):
            await asyncio.wait_for(self.culled.wait(), max(0.0, end + _LONGER_S - time.monotonic()))

    async def _break(self, what: str, chance: random.Random) -> bool:
        """Have a fault of one kind. Returns whether there was something to break."""
        if what in ("service", "restart"):
            await self._restart(what, chance)
            return True
        family = await asyncio.to_thread(family_of, self.service.data_dir)
        database = database_of(self.service.data_dir)
        candidates = {
            "kernel": family.kernels,
            "init": family.inits,
            "fork server": family.servers,
            "bwrap": family.outer,
        }.get(what, (database,) if database else ())
        if not candidates:
            return False
        process = chance.choice(candidates)
        stopped = what == "database stopped"
        if not kill(process, signal.SIGSTOP if stopped else signal.SIGKILL):
            return False
        self.history.add("fault", what=what, pid=process.pid)
        if stopped:
            await asyncio.sleep(_STOPPED_S)
            kill(process, signal.SIGCONT)
        return True

    async def _restart(self, how: str, chance: random.Random) -> None:
        self.history.add("service", state="down", how=how)
        if how == "service":
            await self.service.kill()
        else:
            await self.service.leave()
        await asyncio.sleep(chance.uniform(0.0, 2.0))
        await self.service.start()

    # -- afterwards ------------------------------------------------------------------------------

    async def _calm_down(self) -> None:
        """See that everybody can work, and what is there of their files."""
        await asyncio.gather(*map(self._final_cell, self.names()))
        for user in self.names():
            with suppress(ServiceRefused, ServiceGone):
                files = await self.service.call("files", user=user)
                self.history.add("files", user=user, files=files)

    async def _final_cell(self, user: str) -> None:
        began = time.monotonic()
        code = f"print('final', '{user}')"
        try:
            result = await self.service.call(
                "execute", user=user, code=code, note={"seq": "0"}, timeout_s=_CELL_S
            )
        except (ServiceGone, ServiceRefused) as error:
            self.history.add("final", user=user, ok=False, seconds=0.0, text=str(error))
            return
        ok = result["status"] == "ok" and f"final {user}\n" == result["text"]
        seconds = round(time.monotonic() - began, 2)
        self.history.add("final", user=user, ok=ok, seconds=seconds, text=result["text"])


async def weather(plan: Plan, work: Path) -> History:
    """Have a storm on a fresh service below an empty directory.

    Returns:
        All that happened; also in ``history.jsonl`` there, beside the service's log.
    """
    with History(work / "history.jsonl") as history:
        log = work / "service.log"
        settings = settings_for(plan)
        data_dir = work / "data"
        service = Service(data_dir, settings=settings, log=log)
        storm = Storm(plan, service, history)
        service.on_event = storm.on_event
        try:
            await service.start()
            await storm.run()
        finally:
            groups = Standing.of(data_dir).groups
            await service.end()
        history.add("end", left=left_over(data_dir, groups))
    return history
