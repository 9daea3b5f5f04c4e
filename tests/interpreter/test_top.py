"""`top` at a terminal of 80 by 24, on a service that is played."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from interpreter.admin.protocol import Request, encode_answer, encode_refusal, kernel_to_json
from interpreter.admin.sockets import ADMIN_SOCKET, CONTROL, listen_in
from interpreter.admin.top import Confirmation, KernelsApp
from interpreter.hosts.control import make_private_directory
from interpreter.inspection import KernelInfo
from tests.interpreter.kernel_infos import kernel_info

NOW = datetime.now(UTC)
LARGE = kernel_info(
    NOW,
    user_id="large",
    kernel_id="aaaa000000000000",
    last_active_at=NOW - timedelta(hours=3),
    cells=4,
    memory_bytes=900 << 20,
    cpu_percent=0.0,
)
BUSY = replace(
    LARGE,
    **{"user_id": "busy", "kernel_id": "bbbb000000000000", "state": "busy", "phase": "running"},
    **{"memory_bytes": 100 << 20, "cpu_percent": 98.0, "cell_running_s": 75.0},
)


class PlayedService:
    """What answers on the admin socket: kernels as the test sets them.

    Attributes:
        infos: the kernels.
        asked: what was asked for, but for the list.
        refusal: the answer to that; None to do it.
    """

    def __init__(self, *infos: KernelInfo) -> None:
        self.infos = infos
        self.asked: list[Request] = []
        self.refusal: str | None = None

    @asynccontextmanager
    async def serve(self, data_dir: Path) -> AsyncIterator[None]:
        """Answer for as long as the context lasts."""
        data_dir.mkdir(exist_ok=True)
        make_private_directory(data_dir / CONTROL)
        listening = listen_in(data_dir / CONTROL, ADMIN_SOCKET)
        server = await asyncio.start_server(self._answer, sock=listening)
        try:
            yield
        finally:
            server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            request = Request.decoded(line)
            if request.do == "list":
                writer.write(encode_answer(self._listed()))
                continue
            self.asked.append(request)
            if self.refusal is not None:
                writer.write(encode_refusal(self.refusal))
            elif request.do == "shutdown":
                gone = [info for info in self.infos if info.kernel_id == request.target]
                self.infos = tuple(info for info in self.infos if info not in gone)
                writer.write(encode_answer({"user_ids": [info.user_id for info in gone]}))
            else:
                writer.write(encode_answer({"user_id": "busy", "was_running": True}))
        writer.close()

    def _listed(self) -> dict[str, Any]:
        kernels = [kernel_to_json(info) for info in self.infos]
        return {"kernels": kernels, "left_out": 0, "starting": 0, "spare": 1}


@asynccontextmanager
async def top(data_dir: Path) -> AsyncIterator[tuple[KernelsApp, Pilot[None]]]:
    """The program at a small terminal, which looks only when the test has it look."""
    app = KernelsApp(data_dir, refresh_s=3600)
    async with app.run_test(size=(80, 24)) as pilot:
        while not app.asked:
            await pilot.pause(0.01)
        yield app, pilot


def lines(app: KernelsApp) -> list[list[str]]:
    """The table's cells, line by line."""
    table = app.query_one(DataTable)
    return [[str(cell).strip() for cell in table.get_row_at(i)] for i in range(table.row_count)]


def text_of(app: KernelsApp, name: str) -> str:
    return str(app.screen_stack[0].query_one(f"#{name}", Static).render())


async def until_said(app: KernelsApp, pilot: Pilot[None], words: str) -> None:
    while words not in text_of(app, "message"):
        await pilot.pause(0.01)


async def test_kernels_are_sorted_by_memory_or_as_a_key_says(tmp_path: Path) -> None:
    async with PlayedService(BUSY, LARGE).serve(tmp_path), top(tmp_path) as (app, pilot):
        assert [line[0] for line in lines(app)] == ["large", "busy"]
        assert lines(app)[0][1:7] == ["idle", "", "900 MiB", "0%", "3 h", "4"]
        assert lines(app)[1][1:7] == ["running", "75 s", "100 MiB", "98%", "", "4"]
        for key in ("c", "r"):
            await pilot.press(key)
            assert [line[0] for line in lines(app)] == ["busy", "large"], key
            await pilot.press("m")
            assert [line[0] for line in lines(app)] == ["large", "busy"], key
        head = text_of(app, "head")
        assert head == "2 kernels, 1 busy, 1.0 GiB of memory, 98% of a processor, 1 spare"


async def test_all_that_matters_fits_into_80_columns(tmp_path: Path) -> None:
    async with PlayedService(LARGE).serve(tmp_path), top(tmp_path) as (app, pilot):
        await pilot.pause()
        picture = app.export_screenshot()
        for word in ("USER", "STATE", "RUNNING", "MEMORY", "CPU", "IDLE", "CELLS", "Quit"):
            assert word in picture


async def test_the_cursor_stays_on_its_kernel_while_others_come_and_go(tmp_path: Path) -> None:
    played = PlayedService(LARGE, BUSY)
    async with played.serve(tmp_path), top(tmp_path) as (app, pilot):
        await pilot.press("down")
        third = replace(LARGE, user_id="third", kernel_id="cccc", memory_bytes=1 << 30)
        played.infos = (third, replace(LARGE, memory_bytes=1 << 20), BUSY)
        await app.look()
        assert [line[0] for line in lines(app)] == ["third", "busy", "large"]
        table = app.query_one(DataTable)
        assert str(table.get_row_at(table.cursor_row)[0]) == "busy"
        played.infos = (third,)
        await app.look()
        assert [line[0] for line in lines(app)] == ["third"]


@pytest.mark.parametrize(
    ("key", "deed", "said"),
    [
        ("i", "interrupt", "The kernel of user busy is being interrupted."),
        ("k", "shutdown", "The kernel of user busy has ended."),
    ],
)
async def test_the_chosen_kernel_is_stopped_once_that_is_confirmed(
    tmp_path: Path, key: str, deed: Any, said: str
) -> None:
    played = PlayedService(LARGE, BUSY)
    async with played.serve(tmp_path), top(tmp_path) as (app, pilot):
        await pilot.press("down", key)
        assert isinstance(app.screen, Confirmation)
        await pilot.press("n")
        assert not isinstance(app.screen, Confirmation)
        await pilot.press(key)
        # Meanwhile the order changes: the one that was chosen is meant.
        played.infos = (replace(BUSY, memory_bytes=2 << 30), LARGE)
        await app.look()
        await pilot.press("y")
        await until_said(app, pilot, said)
        assert played.asked == [Request(deed, BUSY.kernel_id)]


async def test_what_the_service_refuses_is_shown(tmp_path: Path) -> None:
    played = PlayedService(BUSY)
    played.refusal = "Nothing was done: [bold]the database[/] is away."
    async with played.serve(tmp_path), top(tmp_path) as (app, pilot):
        await pilot.press("i", "y")
        await until_said(app, pilot, played.refusal)


async def test_a_service_that_ends_and_comes_back_is_told_and_shown_again(tmp_path: Path) -> None:
    played = PlayedService(LARGE)
    async with played.serve(tmp_path), top(tmp_path) as (app, pilot):
        (tmp_path / CONTROL / ADMIN_SOCKET).unlink()
        await app.look()
        assert lines(app) == []
        assert text_of(app, "head").startswith("No service is running in")
        await pilot.press("i")
        assert text_of(app, "message") == "No kernel is live."
        async with played.serve(tmp_path):
            await app.look()
            assert [line[0] for line in lines(app)] == ["large"]


async def test_markup_in_what_is_shown_is_text(tmp_path: Path) -> None:
    played = PlayedService(replace(LARGE, user_id="[red]me[/red]"))
    async with played.serve(tmp_path), top(tmp_path) as (app, pilot):
        assert "[red]me[/red]" in app.export_screenshot().replace("&#160;", " ")
        await pilot.press("k")
        await pilot.pause()
        assert "[red]me[/red]" in app.export_screenshot().replace("&#160;", " ")
