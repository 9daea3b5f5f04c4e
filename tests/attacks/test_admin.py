"""Attacks on the sockets of admins: kernels get at none of them, and hold up none."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient

from interpreter import Session
from interpreter.admin.client import AdminClient
from interpreter.admin.protocol import Request
from interpreter.admin.tables import inspection_text
from tests.attacks.conftest import Arena

REACH = """
import os, socket, subprocess
reached = []
def attempt(name, what):
    try:
        reached.append((name, what()))
    except (OSError, ZeroDivisionError):
        pass
control, own = {control!r}, {own!r}
attempt('list', lambda: os.listdir(control))
for path in (control + '/admin', own + '/k-1', own + '/kernel.json'):
    attempt('stat ' + path, lambda: os.stat(path))
    attempt('open ' + path, lambda: open(path).read(1))
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        attempt('connect to ' + path, lambda: socket.socket(socket.AF_UNIX, kind).connect(path))
attempt('write', lambda: open(control + '/mine', 'w'))
for pid in ('self', 1, os.getppid()):
    for number in range(100):
        place = f'/proc/{{pid}}/fd/{{number}}'
        attempt('descriptor', lambda: control in os.readlink(place) or 1 / 0)
        attempt('through a descriptor', lambda: os.stat(place + '/admin'))
# Landlock doesn't look at what a file's facts are, only at what is in it.
print([one for one in reached if {guarded} or not one[0].startswith('stat ')])
"""


async def ask(arena: Arena, request: Request) -> dict[str, Any]:
    async with AdminClient.connect(arena.data_dir) as client:
        return await client.ask(request)


async def test_kernels_get_at_no_socket_of_an_admin(arena: Arena, attacker: Session) -> None:
    await attacker.execute("1")
    done = await ask(arena, Request("attach", attacker.user_id))
    own = str(Path(done["connection_file"]).parent)
    guarded = arena.backend == "namespaces" or arena.own_users
    code = REACH.format(control=str(arena.data_dir / "control"), own=own, guarded=guarded)
    result = await arena.attack(attacker, code)
    assert result.text == "[]\n"


async def test_a_flood_that_an_admin_is_attached_to_holds_up_nobody(
    arena: Arena, attacker: Session
) -> None:
    await attacker.execute("1")
    done = await ask(arena, Request("attach", attacker.user_id))
    # One client that reads nothing, one that sends nonsense to each of the kernel's sockets.
    directory = Path(done["connection_file"]).parent
    clients = []
    for name in ("k-2", "k-2", "k-1", "k-3", "k-4", "k-5"):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(directory / name))
        client.sendall(b"\xff" * 9 + b"\x7f" + b"nonsense" * 100)
        clients.append(client)
    code = "import sys\nfor _ in range(300): display('x' * 100_000); sys.stdout.write('y' * 10_000)"
    result = await arena.attack(attacker, code)
    assert result.status == "ok"
    listed = await asyncio.wait_for(ask(arena, Request("list")), 10)
    assert attacker.user_id in {kernel["user_id"] for kernel in listed["kernels"]}
    for client in clients:
        client.close()


LIE_ABOUT_VARIABLES = """
import kernel_startup.kernel as k
odd = [10**400, -1, True, 1e999, None, 1 << 63, (1 << 63) - 1, 'x', [1]]
lie = {'name': '\\x1b]0;' + 'x' * 300, 'type': ['a'], 'shape': 5}
lies = [{**lie, 'size_bytes': size} for size in odd]
k.summarise = lambda *a, **o: [{'name': 'many', 'size_bytes': 1}] * 400 + lies
"""


async def test_a_kernel_that_lies_about_its_variables_can_be_inspected(
    arena: Arena, attacker: Session
) -> None:
    await arena.attack(attacker, LIE_ABOUT_VARIABLES)
    inspected = await ask(arena, Request("inspect", attacker.user_id))
    variables = inspected["variables"]
    assert [one["size_bytes"] for one in variables[-9:]] == [*[None] * 6, (1 << 63) - 1, None, None]
    assert len(variables) == 200
    text = inspection_text(inspected)
    assert "and at least 100 more." in text
    assert all(c.isprintable() or c == "\n" for c in text)


ON_THE_TERMINAL = """
kernel = get_ipython().kernel
session, admin = kernel.session, {admin!r}.encode()
evil = '\\x1b]52;c;ZXZpbA==\\x07\\x1b]0;title\\x07\\x9b2J\\x1b[31mred\\x1b[0m\\x7f\\x08\\r\\n'
parent = {{'msg_id': {admin!r} + '_1', 'session': {admin!r}, 'msg_type': 'execute_request'}}
def forge(kind, content, stream=kernel.iopub_socket, **more):
    session.send(stream, kind, content, parent=parent, **more)
forge('stream', {{'name': 'stdout', 'text': evil}})
forge('error', {{'ename': evil, 'evalue': evil, 'traceback': [evil]}})
forge('display_data', {{'data': {{'text/plain': evil, evil: [{{evil: evil}}]}}, 'metadata': {{}}}})
forge(evil, {{}})
forge('stream', {{'name': 'stdout', 'text': 'the last'}})
ask = {{'prompt': '[sudo] password for admin: ', 'password': True}}
forge('input_request', ask)
forge('input_request', ask, kernel.stdin_socket, ident=admin)
"""


async def test_a_kernel_does_not_get_at_the_terminal_of_an_admin(
    arena: Arena, attacker: Session
) -> None:
    await attacker.execute("1")
    done = await ask(arena, Request("attach", attacker.user_id))
    client = AsyncKernelClient(connection_file=done["connection_file"])
    client.load_connection_file()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=20)
        await arena.attack(attacker, ON_THE_TERMINAL.format(admin=client.session.session))
        shown = []
        while not shown or shown[-1]["content"].get("text") != "the last":
            shown.append(await client.get_iopub_msg(timeout=20))
        kinds = [message["header"]["msg_type"] for message in shown]
        assert {"stream", "error", "display_data"} <= set(kinds)
        assert "input_request" not in kinds
        written = "".join(texts_of([message["header"] | message["content"] for message in shown]))
        assert "red" in written
        assert [c for c in written if not c.isprintable() and c not in "\n\t\r\b"] == []
        # Of what it asks only that comes through which a cell of the admin's asks, and it says so.
        client.execute("name = input('Who? ')")
        asked = await client.get_stdin_msg(timeout=20)
        assert asked["content"]["prompt"] == "[the user's kernel asks] Who? "
        client.input("me")
        reply = await client.get_shell_msg(timeout=20)
        while reply["header"]["msg_type"] != "execute_reply":
            reply = await client.get_shell_msg(timeout=20)
        assert reply["content"]["status"] == "ok"
    finally:
        client.stop_channels()


def texts_of(value: Any) -> Iterator[str]:
    """All texts in a value of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from texts_of(one)
    elif isinstance(value, dict):
        yield from texts_of([*value.keys(), *value.values()])
