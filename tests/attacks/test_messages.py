"""Attacks through the messages between a kernel and the service: forged, malformed, too many."""

# ruff: noqa: E501 - lines of hostile code are left whole

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from interpreter import Session
from tests.attacks.conftest import Arena, service_memory_bytes

SENDING = r"""
import json, os, select, socket, struct, threading, time
kernel = get_ipython().kernel
session, iopub = kernel.session, kernel.iopub_socket
parent = kernel.get_parent("shell")
def frames(header, parent_header, metadata, content, signed=True, topic=b"kernel.x.stream"):
    parts = [p if isinstance(p, bytes) else json.dumps(p).encode()
             for p in (header, parent_header, metadata, content)]
    signature = session.sign(parts)
    return [topic, b"<IDS|MSG>", signature if signed else b"0" * 64, *parts]
def header(kind):
    return session.msg_header(kind) | {"date": "2026-01-01T00:00:00Z"}
def raw_send(*args, **options):
    iopub.send_multipart(frames(*args, **options))
mine = dict(parent["header"]) | {"date": "2026-01-01T00:00:00Z"}
"""
# Catches what a cell's reply is sent with, to send more of them later.
CATCH = (
    SENDING
    + r"""
if not hasattr(session, "true_send"):
    session.true_send, session.caught = session.send, {}
def spy(stream, kind, content=None, parent=None, ident=None, *args, **options):
    if kind == "execute_reply":
        session.caught.update(stream=stream, ident=ident)
    return session.true_send(stream, kind, content, parent, ident, *args, **options)
session.send = spy
"""
)
REPLY = "{'status': 'ok', 'execution_count': 77, 'user_expressions': {}, 'payload': []}"


def watch_peak() -> Callable[[], int]:
    """Start measuring; what it returns tells by how much this process's memory has grown at most."""
    Path("/proc/self/clear_refs").write_text("5")  # Source: proc(5); sets VmHWM to what it is now
    before = service_memory_bytes()

    def grown() -> int:
        status = Path("/proc/self/status").read_text()
        return (int(status.partition("VmHWM:")[2].split()[0]) << 10) - before

    return grown


async def _is_well(session: Session, number: int = 42) -> None:
    """The next cells' results are their own, and complete."""
    result = await session.execute(f"print('own words'); {number}")
    assert (result.status, result.text) == ("ok", f"own words\n{number}"), result
    assert result.message is None


async def test_forged_idle_ends_no_cell(arena: Arena, attacker: Session) -> None:
    result = await arena.attack(
        attacker,
        SENDING
        + "for _ in range(50): session.send(iopub, 'status', {'execution_state': 'idle'}, parent=parent)\n"
        "time.sleep(0.3); print('went on')",
    )
    assert (result.status, result.text) == ("ok", "went on\n")
    await _is_well(attacker)


async def test_forged_end_of_a_cell_gives_the_next_cell_nothing(
    arena: Arena, attacker: Session
) -> None:
    await attacker.execute(CATCH)
    forged = await arena.attack(
        attacker,
        SENDING + "session.send(iopub, 'status', {'execution_state': 'idle'}, parent=parent)\n"
        f"session.true_send(session.caught['stream'], 'execute_reply', {REPLY}, parent, session.caught['ident'])\n"
        "time.sleep(0.5); print('words of the forger')\n1000",
    )
    assert forged.status in ("ok", "died")
    await _is_well(attacker)
    await _is_well(attacker, 43)


async def test_replies_to_cells_of_before_and_after_are_nobodys(
    arena: Arena, attacker: Session
) -> None:
    await attacker.execute(CATCH)
    result = await arena.attack(
        attacker,
        SENDING + "stem, _, number = mine['msg_id'].rpartition('_')\n"
        "for n in range(max(0, int(number) - 20), int(number) + 40):\n"
        "    if n == int(number): continue\n"
        "    other = {'header': mine | {'msg_id': f'{stem}_{n}'}}\n"
        f"    session.true_send(session.caught['stream'], 'execute_reply', {REPLY}, other, session.caught['ident'])\n"
        "    session.send(iopub, 'stream', {'name': 'stdout', 'text': 'planted'}, parent=other)\n"
        "    session.send(iopub, 'execute_input', {'code': 'x', 'execution_count': 99}, parent=other)\n"
        "    session.send(iopub, 'status', {'execution_state': 'idle'}, parent=other)\n"
        "time.sleep(0.3); print('own')",
    )
    assert result.text == "own\n"
    for number in range(5):
        await _is_well(attacker, number)


async def test_replies_sent_twice_and_outputs_after_the_end_count_once(
    arena: Arena, attacker: Session
) -> None:
    result = await arena.attack(
        attacker,
        CATCH + "def spy(stream, kind, content=None, parent=None, ident=None, *args, **options):\n"
        "    sent = None\n"
        "    for _ in range(5 if kind in ('execute_reply', 'status') else 1):\n"
        "        sent = session.true_send(stream, kind, content, parent, ident, *args, **options)\n"
        "    if kind == 'status' and content.get('execution_state') == 'idle':\n"
        "        session.true_send(iopub, 'stream', {'name': 'stdout', 'text': 'late'}, parent=parent)\n"
        "    return sent\n"
        "session.send = spy\nprint('first')",
    )
    assert result.status == "ok"
    for number in range(4):
        result = await attacker.execute(f"print('own words'); {number}")
        # What it sends with its own cell's name after the end may still be taken for that cell's.
        assert result.text.removesuffix("\nlate") == f"own words\n{number}"


async def test_messages_with_a_wrong_signature_are_not_believed(
    arena: Arena, attacker: Session
) -> None:
    result = await arena.attack(
        attacker,
        SENDING + "for name in ('stdout', 'stderr'):\n"
        "    raw_send(header('stream'), mine, {}, {'name': name, 'text': 'unsigned'}, signed=False)\n"
        "raw_send(header('status'), mine, {}, {'execution_state': 'idle'}, signed=False)\n"
        "iopub.send_multipart([b'x', b'<IDS|MSG>', b'', b'{}', b'{}', b'{}', b'{}'])\n"
        "time.sleep(0.2); print('signed')",
    )
    assert (result.status, result.text) == ("ok", "signed\n")
    await _is_well(attacker)


MALFORMED = r"""
kinds = ("stream", "display_data", "update_display_data", "execute_result", "error", "clear_output", "status",
         "execute_input", "comm_open", "comm_msg", "comm_close", "input_request", "execute_reply", "debug_event",
         "shutdown_reply", "no_such_type", "", "x" * 5000)
deep_list, deep_object = b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000
contents = [b"", b"{", b"null", b"[]", b'"text"', b"17", b"NaN", b"\xff\xfe\x00", b'{"text": "\xff"}', deep_list, deep_object,
            b'{"name": "stdout", "text": NaN}', b'{"name": "stdout", "text": 1e999}',
            b'{"name": "stdout", "text": ' + b"9" * 10_000 + b"}", b'{"execution_count": ' + b"9" * 5000 + b"}",
            b'{"name": ["stdout"], "text": {"a": 1}}', b'{"name": null, "text": null}', b'{"wait": "yes"}',
            b'{"name": "stdout", "text": "\\ud800 lone"}', b'{"name": "stdin", "text": "no such stream"}',
            b'{"data": [], "metadata": 3, "transient": "x"}', b'{"data": {"text/plain": ["a", 1]}, "metadata": []}',
            b'{"data": {"text/plain": {"deep": ' + deep_list + b'}}}', b'{"data": {"": "", "a/b": null, "image/png": 5}}',
            b'{"data": {"image/png": "not base64 \\u0000"}, "transient": {"display_id": {"a": 1}}}',
            b'{"ename": 1, "evalue": [], "traceback": {"a": 1}}', b'{"traceback": [null, 1, [], {}], "ename": null}',
            b'{"execution_state": ["idle"]}', b'{"execution_state": {"idle": 1}}', b'{"execution_state": NaN}',
            b'{"execution_state": "dead"}', b'{"execution_state": "restarting"}', b'{"execution_count": -1, "data": {}}',
            b'{"execution_count": true}', b'{"execution_count": "7"}', b'{"prompt": [], "password": "x"}',
            b'{"status": null}', b'{"status": ["ok"]}', b'{"status": {"a": 1}, "user_expressions": 3, "payload": 7}']
headers = [b"", b"[]", b"null", b'"text"', b"{}", b'{"msg_type": null}', b'{"msg_type": []}', b'{"msg_type": {"a": 1}}',
           b'{"msg_type": "stream"}', b'{"msg_id": 5, "msg_type": "stream", "date": []}', b"\xff", deep_list, deep_object,
           b'{"msg_id": "a", "msg_type": "stream", "date": "9999-99-99T99:99:99Z"}',
           b'{"msg_id": "a", "msg_type": "stream", "date": "0001-01-01T00:00:00+23:59"}',
           b'{"msg_id": "a", "msg_type": "status", "version": {"a": []}}']
parents = [b"", b"[]", b"null", b'"x"', b"3", b'{"msg_id": null}', b'{"msg_id": []}', b'{"msg_id": {"a": 1}}', deep_list]
metadatas = [b"", b"[]", b"null", b'"x"', b'{"cellmate": {"left_out": 1e308}}', b'{"cellmate": {"left_out": -5}}',
             b'{"cellmate": {"left_out": ' + b"9" * 400 + b'}}', b'{"cellmate": []}', b'{"cellmate": {"left_out": "many"}}', deep_list]
good = json.dumps({"name": "stdout", "text": ""}).encode()
sent = 0
for kind in kinds:
    for content in contents:
        raw_send(header(kind), mine, {}, content); sent += 1
for bad in headers:
    raw_send(bad, mine, {}, good); sent += 1
for bad in parents:
    raw_send(header("stream"), bad, {}, good); sent += 1
for bad in metadatas:
    raw_send(header("stream"), mine, bad, good); sent += 1
for odd in ([], [b""], [b"x"] * 3, [b"<IDS|MSG>"], [b"<IDS|MSG>"] * 20, [b"x", b"<IDS|MSG>", b"y"], [b""] * 100,
            [b"\0" * 100_000] * 7, frames(header("stream"), mine, {}, good) + [b"buffer"] * 100):
    if odd:
        iopub.send_multipart(odd); sent += 1
time.sleep(0.2)
print("sent", sent > 500)
"""


async def test_malformed_messages_do_no_harm(arena: Arena, attacker: Session) -> None:
    grown = watch_peak()
    result = await arena.attack(attacker, SENDING + MALFORMED)
    assert grown() < 192 << 20, f"the service took {grown() >> 20} MiB meanwhile"
    assert result.status == "ok", result.text
    assert "sent True" in result.text
    await _is_well(attacker)


async def test_malformed_replies_do_no_harm(arena: Arena, attacker: Session) -> None:
    await attacker.execute(CATCH)
    result = await arena.attack(
        attacker,
        SENDING + "stream, ident = session.caught['stream'], session.caught['ident']\n"
        "values = [None, [], 'x', 7, {}, {'status': None}, {'status': []}, {'status': 'nonsense'}, {'variables': 5}]\n"
        "for kind in ('execute_reply', 'kernel_info_reply', 'variables_reply', 'complete_reply', 'shutdown_reply', 'x'):\n"
        "    for value in values:\n"
        "        other = {'header': mine | {'msg_id': 'another'}}\n"
        "        session.true_send(stream, kind, json.dumps(value).encode(), other, ident)\n"
        "print('sent')",
    )
    assert result.text == "sent\n"
    await _is_well(attacker)


async def test_flood_of_small_messages_is_bounded(arena: Arena, attacker: Session) -> None:
    grown = watch_peak()
    result = await arena.attack(
        attacker,
        SENDING + "ready = frames(header('stream'), mine, {}, {'name': 'stdout', 'text': 'x'})\n"
        "session.digest_history and session.digest_history.clear()\n"
        "for _ in range(20_000): iopub.send_multipart(ready)\n",
        timeout_s=20,
    )
    assert grown() < 192 << 20, f"the service took {grown() >> 20} MiB meanwhile"
    assert result.status in ("ok", "timeout"), result.message
    assert len(result.text) < 100_000


@pytest.mark.parametrize(
    "kind", ["update_display_data", "display_data", "clear_output", "comm_msg"]
)
async def test_flood_of_displays_is_bounded(arena: Arena, attacker: Session, kind: str) -> None:
    result = await arena.attack(
        attacker,
        SENDING + "for i in range(1_500):\n"
        f"    session.send(iopub, {kind!r}, {{'data': {{'text/plain': 'x' * 500, f'a/{{i}}': 'y' * 100}}, 'metadata': {{}},\n"
        "        'transient': {'display_id': f'd{i}'}, 'wait': True, 'comm_id': str(i)}, parent=parent)\n"
        "print('sent')",
        timeout_s=50,
    )
    assert result.status == "ok", result.text
    assert len(result.outputs) < 200
    assert len(result.text) < 100_000
    await _is_well(attacker)


async def test_hostile_names_and_values_of_representations_are_harmless(
    arena: Arena, attacker: Session
) -> None:
    result = await arena.attack(
        attacker,
        SENDING
        + "names = ['', '/', '../../etc/passwd', 'text/plain; charset=\\0', 'image/png\\n', '\\x1b[31mred', 'a' * 100_000,\n"
        "         'image/svg+xml', 'text/html', 'application/json', 'application/javascript', '\\u202eevil/exe', 'text/plain']\n"
        "values = ['', 'x' * 200_000, '<script>alert(1)</script>', None, 5, ['a'] * 1000, {'a': {'b': 'c'}}, '\\x1b]0;title\\x07', 1e308]\n"
        "for name in names:\n"
        "    for value in values[:]:\n"
        "        session.send(iopub, 'display_data', {'data': {name: value}, 'metadata': {name: value}, 'transient': {}}, parent=parent)\n"
        "print('sent')",
    )
    assert result.status == "ok", result.text
    for forbidden in ("\x1b", "\x07", "\0", "\u202e"):
        assert forbidden not in result.text
    assert len(result.outputs) <= 60
    await _is_well(attacker)


async def test_message_of_twenty_megabytes_is_bounded(arena: Arena, attacker: Session) -> None:
    grown = watch_peak()
    result = await arena.attack(
        attacker,
        SENDING
        + "raw_send(header('display_data'), mine, {}, b'{\"data\": {\"text/plain\": \"' + b'x' * (20 << 20) + b'\"}}')\n"
        "raw_send(header('display_data'), mine, {}, b'{\"data\": {\"a/b\": [' + b'[],' * (7 << 20) + b'[]]}}')\n"
        "raw_send(header('stream'), mine, {}, b'{\"name\": \"stdout\", \"text\": \"' + b'x' * (20 << 20) + b'\"}')\n"
        "raw_send(header('x'), mine, {}, b'{\"a\": \"' + b'x' * (20 << 20) + b'\"}')\nprint('sent')",
    )
    assert grown() < 192 << 20, f"the service took {grown() >> 20} MiB meanwhile"
    assert result.status == "ok", result.message
    assert len(result.text) < 200_000
    await _is_well(attacker)


@pytest.mark.parametrize(
    "frames",
    ["[b'x' * (48 << 20)]", "[b'x' * (5 << 20)] * 20", "[b''] * 100_000"],
    ids=["large", "sum", "many"],
)
async def test_message_too_large_for_any_purpose_costs_the_kernel(
    arena: Arena, attacker: Session, frames: str
) -> None:
    grown = watch_peak()
    result = await arena.attack(
        attacker,
        SENDING + f"kept = 1\niopub.send_multipart({frames})\ntime.sleep(1)",
        timeout_s=10,
    )
    assert grown() < 192 << 20, f"the service took {grown() >> 20} MiB meanwhile"
    assert result.state_lost
    assert result.message is not None and "replaced by a new one" in result.message


async def test_flood_of_questions_is_bounded(arena: Arena, attacker: Session) -> None:
    code = (
        SENDING + "stdin = kernel.stdin_socket\n"
        "ident = kernel._get_shell_context_var(kernel._shell_parent_ident) if hasattr(kernel, '_shell_parent_ident') else kernel._parent_ident['shell']\n"
        "for i in range(3000):\n"
        "    session.send(stdin, 'input_request', {'prompt': 'p' * 5000, 'password': i % 2}, parent, ident=ident)\n"
        "time.sleep(0.5); print('sent')"
    )
    nobody = await arena.attack(attacker, code)
    assert nobody.text == "sent\n"
    asked: list[int] = []

    async def slow(prompt: str, password: bool) -> str:
        asked.append(len(prompt))
        await asyncio.sleep(3600)
        return ""

    result = await arena.attack(attacker, code, on_input=slow, timeout_s=30)
    assert (result.status, result.text) == ("ok", "sent\n")
    assert len(asked) == 1 and asked[0] <= 2000
    await _is_well(attacker)


WIRE = (
    SENDING
    + r'''
def own_connections():
    """The kernel's ends of the service's connections, by channel."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            s = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        try:
            if s.family == socket.AF_UNIX and s.type == socket.SOCK_STREAM:
                address = s.getsockname()
                s.getpeername()
                if isinstance(address, str) and address.startswith(kernel.parent.ip):
                    found.setdefault(address[-1], []).append(s)
                    continue
        except OSError:
            pass
        s.close()
    return [s for channel in sorted(found) for s in found[channel]]
def pour(connections, piece, limit):
    """Write as much as the other end takes, up to a limit."""
    written, quiet = 0, 0
    for s in connections: s.setblocking(False)
    end = time.monotonic() + 4
    while written < limit and time.monotonic() < end:
        ready = select.select([], connections, [], 0.5)[1]
        if not ready:
            break
        for s in ready:
            try:
                written += s.send(piece)
            except BlockingIOError:
                pass
            except OSError:
                connections.remove(s)
        if not connections:
            break
    return written
connections = own_connections()
count = len(connections)
'''
)
WIRE_ATTACKS = {
    "garbage": "os.urandom(1 << 16), 4 << 20",
    "zeros": "bytes(1 << 16), 4 << 20",
    "a frame without end": "b'\\x02' + (1 << 62).to_bytes(8, 'big') + b'x' * 65527, 48 << 20",
    "a frame that is just allowed, again and again": "b'\\x03' + (23 << 20).to_bytes(8, 'big') + b'x' * (23 << 20), 96 << 20",
    "small frames of one endless message": "b'\\x01\\x01x' * 20_000, 24 << 20",
    "empty frames of one endless message": "b'\\x01\\x00' * 30_000, 24 << 20",
    "commands without end": "b'\\x04\\x04\\x03SUBx'[:6] * 20_000, 8 << 20",
    "subscriptions": "b''.join(b'\\x00\\x09\\x01' + i.to_bytes(8, 'big') for i in range(6000)), 8 << 20",
    "a ping that wants a long answer": "b'\\x04\\x17\\x04PING\\x00\\x00' + b'x' * 16, 4 << 20",
}  # fmt: skip


@pytest.mark.parametrize("what", WIRE_ATTACKS)
async def test_kernel_that_speaks_the_wire_protocol_itself_harms_only_itself(
    arena: Arena, attacker: Session, what: str
) -> None:
    async with arena.undisturbed():
        await attacker.execute("1")
        grown = watch_peak()
        result = await attacker.execute(
            WIRE + f"assert count >= 4, count\nwritten = pour(connections, {WIRE_ATTACKS[what]})\n",
            timeout_s=3,
        )
        assert grown() < 192 << 20, f"the service took {grown() >> 20} MiB meanwhile"
        assert "AssertionError" not in result.text
        assert result.status in ("ok", "died", "timeout", "error"), result
        # Whatever became of the connection, the session is usable.
        after = await attacker.execute("print('own words'); 5", timeout_s=5)
        if after.status != "ok" or after.state_lost:
            after = await attacker.execute("print('own words'); 5", timeout_s=5)
        assert after.text.startswith("own words\n5"), after


async def test_sockets_put_in_place_of_the_kernels_get_no_connection(
    arena: Arena, attacker: Session
) -> None:
    code = (
        WIRE
        + r"""
prefix = kernel.parent.ip
listeners = []
for number in range(1, 6):
    path = f"{prefix}-{number}"
    os.unlink(path)
    s = socket.socket(socket.AF_UNIX); s.bind(path); s.listen(); s.settimeout(0.2)
    listeners.append(s)
came, kept = [], []
def accept():
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        for s in select.select(listeners, [], [], 0.2)[0]:
            c, _ = s.accept(); kept.append(c)
            pid = struct.unpack("i", c.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4))[0]
            if pid != os.getpid(): came.append(s.getsockname())
            open("came.txt", "w").write(str(came))
            c.settimeout(0.2)
            try: c.sendall(b"\xff\0\0\0\0\0\0\0\x01\x7f\x03" + bytes(53) + b"\x02" + (1 << 62).to_bytes(8, "big"))
            except OSError: pass
open("came.txt", "w").write(str(came))
for s in connections: s.shutdown(socket.SHUT_RDWR)
accept()
"""
    )
    result = await arena.attack(attacker, code, timeout_s=15)
    assert result.state_lost
    assert result.message is not None and "replaced by a new one" in result.message
    told = await attacker.execute("import os; open('came.txt').read()")
    assert told.text == "'[]'"


async def test_sockets_replaced_by_links_to_anothers_lead_to_nobody(
    arena: Arena, attacker: Session
) -> None:
    run = arena.data_dir / "sessions" / str(arena.bystander.slot) / "run"
    code = (
        WIRE + f"run = {str(run)!r}\n"
        "for number in range(1, 6):\n"
        "    os.unlink(f'{kernel.parent.ip}-{number}')\n"
        "    os.symlink(f'{run}/s-{number}', f'{kernel.parent.ip}-{number}')\n"
        "for s in connections: s.shutdown(socket.SHUT_RDWR)\ntime.sleep(1)"
    )
    result = await arena.attack(attacker, code, timeout_s=15)
    assert result.state_lost
    async with arena.undisturbed():
        await attacker.restart()
        assert (await attacker.execute("'count' in globals(), 'kept' in globals()")).text == (
            "(False, False)"
        )
    assert (await arena.bystander.execute("kept")).text == "'mine'"


async def test_kernel_that_falls_silent_ends_at_its_deadline(
    arena: Arena, attacker: Session
) -> None:
    result = await arena.attack(
        attacker,
        SENDING + "session.send = lambda *a, **o: None\nkernel.session.send = session.send",
        timeout_s=3,
    )
    assert result.status == "timeout"
    assert result.message is not None and "time limit" in result.message
