"""KernelsApp: live kernels as they are, in a terminal; the chosen one can be stopped."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Static

from interpreter.admin.client import AdminClient, NoService, Refused
from interpreter.admin.protocol import Request, kernel_from_json
from interpreter.admin.tables import plain, size_text, span_text, started_text, totals_text
from interpreter.inspection import KernelInfo

_REFRESH_S = 2.0
#: Column -> its width; the last ones need a terminal wider than 80 columns.
_WIDTHS = {
    **{"user": 25, "state": 10, "running": 7, "memory": 8, "cpu": 5, "idle": 6, "cells": 5},
    **{"started": 12, "kernel": 16},
}
_TO_THE_RIGHT = frozenset({"running", "memory", "cpu", "idle", "cells"})
_SORTS: dict[str, Callable[[KernelInfo], float]] = {
    "memory": lambda info: info.memory_bytes or 0,
    "cpu": lambda info: info.cpu_percent or 0.0,
    "running": lambda info: -1.0 if info.cell_running_s is None else info.cell_running_s,
    "idle": lambda info: -info.last_active_at.timestamp(),
}


@dataclass(frozen=True, slots=True)
class _Cell:
    """A table's cell: text in which nothing is markup."""

    text: str

    def __str__(self) -> str:
        return self.text


def cells_of(info: KernelInfo, now: datetime) -> dict[str, str]:
    """What stands in a kernel's line, by column."""
    idle = info.phase is None and info.state == "idle"
    return {
        "user": plain(info.user_id, _WIDTHS["user"]),
        "state": info.phase or info.state,
        "running": "" if info.cell_running_s is None else span_text(info.cell_running_s),
        "memory": size_text(info.memory_bytes),
        "cpu": "?" if info.cpu_percent is None else f"{info.cpu_percent:.0f}%",
        "idle": span_text((now - info.last_active_at).total_seconds()) if idle else "",
        "cells": str(info.cells),
        "started": started_text(info.started_at, now),
        "kernel": info.kernel_id,
    }


class Confirmation(ModalScreen[bool]):
    """Asks whether something is to be done."""

    CSS = """
    Confirmation { align: center middle; }
    Confirmation > Static { width: 60; height: auto; padding: 1 2; border: round $warning; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape,q", "answer(False)", "No"),
    ]

    def __init__(self, question: str) -> None:
        """Ask ``question``."""
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """Called by textual."""
        yield Static(f"{self._question}\n\ny  yes     n  no", markup=False)

    def action_answer(self, answer: bool) -> None:
        """Called by textual."""
        self.dismiss(answer)


class KernelsApp(App[None]):
    """The list of kernels, asked for anew every two seconds."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head, #message { height: 1; padding: 0 1; }
    #head { text-style: bold; }
    #message { color: $text-warning; }
    DataTable { height: 1fr; scrollbar-size: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "sort('memory')", "Memory"),
        Binding("c", "sort('cpu')", "CPU"),
        Binding("r", "sort('running')", "Running"),
        Binding("d", "sort('idle')", "Idle"),
        Binding("i", "interrupt", "Interrupt"),
        Binding("k", "shut_down", "Shut down"),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(self, data_dir: Path, *, refresh_s: float = _REFRESH_S) -> None:
        """Make it.

        Args:
            data_dir: of the service to look at.
            refresh_s: how often, in seconds.
        """
        super().__init__()
        self._data_dir = data_dir
        self._refresh_s = refresh_s
        self._infos: dict[str, KernelInfo] = {}
        self._shown: dict[str, dict[str, str]] = {}
        self._sort = "memory"
        self.asked = 0

    # -- what is shown ---------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Called by textual."""
        with Vertical():
            yield Static("", id="head", markup=False)
            yield DataTable[_Cell](cursor_type="row", id="kernels")
            yield Static("", id="message", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Called by textual."""
        table = self._table
        for name, width in _WIDTHS.items():
            heading = name.upper()
            label = heading.rjust(width) if name in _TO_THE_RIGHT else heading
            table.add_column(label, width=width, key=name)
        table.focus()
        self.run_worker(self._watch())

    @property
    def _table(self) -> "DataTable[_Cell]":
        return self.query_one("#kernels", DataTable)

    async def _watch(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(self._refresh_s)

    async def look(self) -> None:
        """Ask how things are, and show it."""
        try:
            listed = await self._ask(Request("list"))
        except (NoService, Refused) as error:
            self._show([])
            self._say_head(str(error))
        else:
            infos = [kernel_from_json(one) for one in listed["kernels"]]
            self._show(infos)
            spare = f", {listed['spare']} spare" if listed["spare"] else ""
            starting = f", {listed['starting']} starting" if listed["starting"] else ""
            self._say_head(f"{totals_text(infos)}{starting}{spare}")
        self.asked += 1

    def _show(self, infos: Sequence[KernelInfo]) -> None:
        table, chosen = self._table, self._chosen
        self._infos = {info.kernel_id: info for info in infos}
        now = datetime.now(UTC)
        rows = {info.kernel_id: cells_of(info, now) for info in infos}
        with self.batch_update():
            for gone in self._shown.keys() - rows.keys():
                table.remove_row(gone)
            for kernel_id, cells in rows.items():
                self._show_row(kernel_id, cells)
            self._shown = rows
            self._put_in_order()
            if chosen is not None and chosen.kernel_id in rows:
                at = table.get_row_index(chosen.kernel_id)
                table.move_cursor(row=at, animate=False, scroll=False)

    def _show_row(self, kernel_id: str, cells: dict[str, str]) -> None:
        before = self._shown.get(kernel_id)
        if before is None:
            self._table.add_row(*(_cell(name, cells[name]) for name in _WIDTHS), key=kernel_id)
            return
        for name, text in cells.items():
            if before[name] != text:
                self._table.update_cell(kernel_id, name, _cell(name, text))

    def _put_in_order(self) -> None:
        key = _SORTS[self._sort]

        def value(kernel_id: Any) -> float:
            info = self._infos.get(str(kernel_id))
            return 0.0 if info is None else key(info)

        self._table.sort("kernel", key=value, reverse=True)

    @property
    def _chosen(self) -> KernelInfo | None:
        """The kernel that the cursor is on."""
        table = self._table
        if not table.is_valid_row_index(table.cursor_row):
            return None
        row_key = table.coordinate_to_cell_key(table.cursor_coordinate).row_key
        return self._infos.get(str(row_key.value))

    def _say_head(self, text: str) -> None:
        self.query_one("#head", Static).update(text)

    def say(self, sentence: str) -> None:
        """Show a sentence in the line above the keys."""
        self.query_one("#message", Static).update(plain(sentence, 500))

    # -- what keys do ----------------------------------------------------------------------------

    def action_sort(self, by: str) -> None:
        """Called by textual: have the kernels with the most come first."""
        chosen = self._chosen
        self._sort = by
        self._put_in_order()
        if chosen is not None:
            self._table.move_cursor(row=self._table.get_row_index(chosen.kernel_id))
        self.say(f"Sorted by {by}.")

    def action_interrupt(self) -> None:
        """Called by textual: stop the chosen kernel's cell."""
        self._confirm("interrupt", "Interrupt the cell of user {user}? The variables stay.")

    def action_shut_down(self) -> None:
        """Called by textual: end the chosen kernel."""
        self._confirm("shutdown", "End the kernel of user {user}? The files stay.")

    def _confirm(self, deed: Any, question: str) -> None:
        chosen = self._chosen
        if chosen is None:
            self.say("No kernel is live.")
            return
        # Later on the cursor may be on another one.
        request = Request(deed, chosen.kernel_id)

        def answered(yes: bool | None) -> None:
            if yes:
                self.run_worker(self._do(request))

        user = plain(chosen.user_id, 64)
        self.push_screen(Confirmation(question.format(user=user)), answered)

    async def _do(self, request: Request) -> None:
        try:
            done = await self._ask(request)
        except (NoService, Refused) as error:
            self.say(str(error))
            return
        if request.do == "interrupt":
            running = done["was_running"]
            text = "is being interrupted" if running else "wasn't running a cell"
            self.say(f"The kernel of user {done['user_id']} {text}.")
        else:
            ended = ", ".join(done["user_ids"])
            self.say(f"The kernel of user {ended} has ended." if ended else "Nothing has ended.")
        await self.look()

    async def _ask(self, request: Request) -> dict[str, Any]:
        async with AdminClient.connect(self._data_dir) as client:
            return await client.ask(request)


def _cell(name: str, text: str) -> _Cell:
    return _Cell(text.rjust(_WIDTHS[name]) if name in _TO_THE_RIGHT else text)
