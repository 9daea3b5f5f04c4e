"""Kernels that want more memory than there is for them, in every place that memory hides in."""

import pytest

from interpreter import Session
from tests.attacks.conftest import MEMORY_BYTES, Arena
from tests.attacks.resources import FILES_LIMIT, MEMORY, ROOM

#: What all attacks ask for: far more than the limit, and little enough for the machine.
_ASKED_BYTES = 1 << 30
#: How long an attacker holds on to what is too much, where a watcher has to find it first.
_PATIENCE_S = 30


@pytest.mark.parametrize(
    "code",
    [
        "import numpy as np; block = np.ones({asked} // 8)",
        "block = bytearray({asked})",
        "blocks = []\n"
        "while len(blocks) < {asked} >> 10: blocks.append('x' * 1024 + str(len(blocks)))",
        "block = list(range({asked} // 32))",
        "block = 'x' * {asked}",
        "block = 1 << 8 * {asked}",
        "import pandas as pd; block = pd.DataFrame({{'x': range({asked} // 16)}}).merge("
        "pd.DataFrame({{'y': range(100)}}), how='cross')",
        "import ctypes; block = (ctypes.c_char * {asked})()",
        "import mmap; block = mmap.mmap(-1, {asked}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "for at in range(0, {asked}, 4096): block[at] = 1",
    ],
    ids=["numpy", "bytearray", "list", "integers", "string", "number", "pandas", "ctypes", "mmap"],
)
async def test_greedy_allocation_is_an_error_that_keeps_the_variables(
    arena: Arena, attacker: Session, code: str
) -> None:
    await attacker.execute("kept = 1")
    result = await arena.attack(attacker, code.format(asked=_ASKED_BYTES), timeout_s=60)
    if result.status == "died":  # it was the control group that saw it first
        assert result.message is not None and MEMORY in result.message
        return
    assert (result.status, result.state_lost) == ("error", False)
    assert "MemoryError" in result.text or "Cannot allocate memory" in result.text
    assert (await attacker.execute("kept")).text == "1"


_IN_CHILDREN = """
import os, time
print('begun', flush=True)
reading, writing = os.pipe()
children = []
for number in range(6):  # 200 MB each: below the limit, and above it together
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        {first}
        block = bytearray(b'x') * (200 << 20)
        os.write(writing, bytes([number]))
        time.sleep(60)
        os._exit(0)
    children.append(pid)
os.close(writing)
got, ended = set(), set()
while len(got | ended) < 6:
    pid = os.waitpid(-1, os.WNOHANG)[0]
    if pid: ended.add(children.index(pid))
    elif select.select([reading], [], [], 0.05)[0]: got.update(os.read(reading, 1))
# One that had its share may have been ended for the next to get one: it takes a moment to go.
time.sleep(1)
while len(ended) < 6 and (pid := os.waitpid(-1, os.WNOHANG)[0]): ended.add(children.index(pid))
if len(got - ended) > {most}: time.sleep({patience})
print(len(got - ended), 'have got theirs', flush=True)
for pid in children:
    try: os.kill(pid, 9)
    except ProcessLookupError: pass
"""


@pytest.mark.parametrize("first", ["pass", "os.setsid()"], ids=["children", "sessions"])
async def test_children_cannot_have_together_what_one_may_not(
    arena: Arena, attacker: Session, first: str
) -> None:
    most = MEMORY_BYTES // (200 << 20)
    patience = 0 if arena.control_groups else _PATIENCE_S
    code = "import select\n" + _IN_CHILDREN.format(first=first, most=most, patience=patience)
    result = await arena.attack(attacker, code, timeout_s=60)
    if result.status == "died":
        assert result.message is not None and MEMORY in result.message
        return
    # The system ended some of the children, or refused them memory, and the kernel lives on.
    assert result.status == "ok", result.text
    assert int(result.text.split()[1]) <= most


#: Each fills a place that is no process's own memory with up to 1 GB, and prints how much it got.
_HIDDEN = {
    "anonymous-shared": """
import mmap
block = mmap.mmap(-1, 1 << 30)
for at in range(0, 1 << 30, 1 << 20):
    block[at:at + (1 << 20)] = bytes(1 << 20); got(1 << 20)
""",
    "memfd": """
import os
for _ in range(1 << 6):
    fd = os.memfd_create('x')
    for _ in range(1 << 4): os.write(fd, bytes(1 << 20)); got(1 << 20)
""",
    "tmp-files": """
import os, tempfile
for n in range(1 << 6):
    with open(os.path.join(tempfile.gettempdir(), f'f{n}'), 'wb') as file:
        for _ in range(1 << 4): file.write(bytes(1 << 20)); file.flush(); got(1 << 20)
""",
    "shared-memory": """
from multiprocessing import shared_memory
blocks = []
for _ in range(1 << 6):
    block = shared_memory.SharedMemory(create=True, size=1 << 24); blocks.append(block)
    block.buf[:] = bytes(1 << 24); got(1 << 24)
""",
    "pipes": """
import fcntl, os
for _ in range(400):
    reading, writing = os.pipe(); os.set_blocking(writing, False)
    fcntl.fcntl(writing, 1031, 1 << 20)  # F_SETPIPE_SZ
    try:
        while True: got(os.write(writing, bytes(65536)))
    except BlockingIOError: pass
""",
    "unix-sockets": """
import socket
kept = []
for _ in range(400):
    a, b = socket.socketpair(); kept += [a, b]
    a.setblocking(False); a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)
    try:
        while True: got(a.send(bytes(65536)))
    except BlockingIOError: pass
""",
    "tcp-sockets": """
import socket
server = socket.create_server(('127.0.0.1', 0), backlog=64); kept = []
for _ in range(100):
    a = socket.create_connection(server.getsockname()); b, _ = server.accept(); kept += [a, b]
    a.setblocking(False)
    b.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)
    try:
        while True: got(a.send(bytes(65536)))
    except BlockingIOError: pass
""",
    "udp-sockets": """
import socket
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); kept = []
for _ in range(120):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0)); kept.append(s)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24); s.setblocking(False)
    for _ in range(100): sender.sendto(bytes(60000), s.getsockname())
for s in kept:  # what has arrived by now was all there at once
    try:
        while True: got(len(s.recv(65536)))
    except BlockingIOError: pass
""",
    "sysv": """
import ctypes
libc = ctypes.CDLL(None, use_errno=True); libc.shmat.restype = ctypes.c_void_p
for _ in range(1 << 6):
    segment = libc.shmget(0, ctypes.c_size_t(1 << 24), 0o1600)
    if segment < 0: raise OSError(ctypes.get_errno(), 'shmget')
    at = libc.shmat(segment, None, 0)
    ctypes.memset(at, 1, 1 << 24); libc.shmdt(ctypes.c_void_p(at)); got(1 << 24)
""",
    "sysv-messages": """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
class Message(ctypes.Structure):
    _fields_ = [('kind', ctypes.c_long), ('text', ctypes.c_char * 8000)]
message = Message(1, b'x')
for _ in range(30_000):
    queue = libc.msgget(0, 0o1600)
    if queue < 0: raise OSError(ctypes.get_errno(), 'msgget')
    while libc.msgsnd(queue, ctypes.byref(message), ctypes.c_size_t(8000), 0o4000) == 0: got(8000)
""",
    "thread-stacks": """
import pickle, sys, threading
sys.setrecursionlimit(1_000_000); threading.stack_size(32 << 20)
nested = []
for _ in range(30_000): nested = [nested]
begun = threading.Semaphore(0); stop = threading.Event()
def use():  # C code that calls itself 30,000 times
    try: pickle.dumps(nested)
    finally: begun.release(); stop.wait(10)
try:
    for _ in range(40): threading.Thread(target=use, daemon=True).start(); begun.acquire()
finally:
    stop.set()
    with open('/proc/self/statm') as file: got(int(file.read().split()[1]) * 4096)
    while nested: nested = nested[0]
""",
    "directories": """
import os, tempfile
top = tempfile.gettempdir()
for n in range(50_000): os.mkdir(os.path.join(top, f'd{n}')); got(1024)
""",
    "file-locks": """
import fcntl, os, tempfile
fd = os.open(os.path.join(tempfile.gettempdir(), 'locked'), os.O_RDWR | os.O_CREAT)
for n in range(10_000): fcntl.lockf(fd, fcntl.LOCK_EX, 1, 2 * n); got(200)
""",
    "timers": """
import ctypes
libc = ctypes.CDLL(None, use_errno=True); timer = ctypes.c_void_p()
for _ in range(100_000):
    if libc.timer_create(1, None, ctypes.byref(timer)): raise OSError(ctypes.get_errno(), 'timers')
    got(300)
""",
}
_GOT = """
total = 0
def got(count):
    global total
    total += count
    if total % (1 << 22) < count: print(total >> 20, flush=True)
try:
{attack}
except (OSError, MemoryError, RuntimeError) as error:
    print(type(error).__name__, error)
finally:
    print('in all', total >> 20, flush=True)
    import time
    time.sleep({patience} if total > {most} else 0)
"""
#: Memory that the system holds for a process. No watcher sees it.
_OF_THE_SYSTEM = ("pipes", "unix-sockets", "tcp-sockets", "udp-sockets")


@pytest.mark.parametrize("place", _HIDDEN)
async def test_memory_of_no_process_counts_too(arena: Arena, attacker: Session, place: str) -> None:
    attack = "\n".join(f"    {line}" for line in _HIDDEN[place].strip().splitlines())
    watched = not arena.control_groups and place not in _OF_THE_SYSTEM
    patience = _PATIENCE_S if watched else 0
    code = _GOT.format(attack=attack, most=MEMORY_BYTES, patience=patience)
    result = await arena.attack(attacker, code, timeout_s=60)
    assert result.status in ("ok", "died"), result.text
    if result.status == "died":
        # Where /tmp is on the disk, room or files ran out; a page of shared memory for which
        # there is none is a bus error.
        assert result.message is not None
        expected = (MEMORY, ROOM, FILES_LIMIT, "a bus error")
        assert any(words in result.message for words in expected), result.message
        if ROOM in result.message or FILES_LIMIT in result.message or watched:
            return
    most = max((int(word) for word in result.text.split() if word.isdigit()), default=0)
    if place in _OF_THE_SYSTEM and not arena.control_groups:
        pytest.skip("without control groups memory that the system holds isn't counted")
    assert most << 20 <= MEMORY_BYTES, f"{place}: it got {most} MB"


async def test_kernel_that_ran_out_of_memory_leaves_none_of_its_limit_to_the_next(
    arena: Arena, attacker: Session
) -> None:
    """After one that died of it, the same user's next kernel and another user's have all of it."""
    died = await arena.attack(
        attacker,
        "import mmap\nm = mmap.mmap(-1, 1 << 30)\nfor i in range(0, 1 << 30, 4096): m[i] = 1",
    )
    assert died.status == "died"
    take = (
        "import mmap\nm = mmap.mmap(-1, 200 << 20)\nfor i in range(0, 200 << 20, 4096): m[i] = 1\n"
        "len(m) >> 20"
    )
    async with arena.user() as other:
        for session in (attacker, other):
            result = await session.execute(take)
            assert (result.status, result.text) == ("ok", "200"), result.message
