"""What is no attack: ordinary programs must go on working in the sandbox, beside other users."""

# ruff: noqa: E501 - lines of hostile code are left whole

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from interpreter import Session
from tests.attacks.conftest import Arena


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def worker(arena: Arena) -> AsyncIterator[Session]:
    """One honest user for all programs of this file."""
    async with arena.user() as session:
        yield session


PROGRAMS = {
    "tables": (
        "import io\nimport numpy as np, pandas as pd\n"
        "t = pd.read_csv(io.StringIO('a,b\\n1,2\\n3,4'))\n"
        "t.to_parquet('t.parquet'); t.to_excel('t.xlsx'); t.to_pickle('t.pkl')\n"
        "x = pd.read_excel('t.xlsx', index_col=0, engine='calamine')\n"
        "print(pd.read_parquet('t.parquet').equals(t), x.b.sum(), pd.read_pickle('t.pkl').shape)\n"
        "import os\nfor n in ('t.parquet', 't.xlsx', 't.pkl'): os.unlink(n)",
        "True 6 (2, 2)",
    ),
    "linear algebra": (
        "import numpy as np, scipy.optimize, scipy.linalg, scipy.stats\n"
        "m = np.random.default_rng(1).random((200, 200))\n"
        "print(np.allclose(np.linalg.inv(m) @ m, np.eye(200)),\n"
        "      round(scipy.optimize.brentq(lambda x: x * x - 2, 0, 2), 6),\n"
        "      scipy.linalg.svdvals(m).shape, round(float(scipy.stats.norm.cdf(0)), 1))",
        "True 1.414214 (200,) 0.5",
    ),
    "plots": (
        "import matplotlib.pyplot as plt, os\n"
        "f, a = plt.subplots(); a.plot([1, 2]); a.set_title('$x^2$')\n"
        "for kind in ('png', 'pdf', 'svg'): f.savefig('p.' + kind)\n"
        "print([os.path.getsize('p.' + k) > 1000 for k in ('png', 'pdf', 'svg')])\n"
        "plt.close('all')\nfor k in ('png', 'pdf', 'svg'): os.unlink('p.' + k)",
        "[True, True, True]",
    ),
    "a pool of processes": (
        "import multiprocessing as mp\n"
        "def square(x): return x * x\n"
        "with mp.Pool(2) as pool:\n    print(pool.map(square, range(5)))",
        "[0, 1, 4, 9, 16]",
    ),
    "a pool of spawned processes": (
        "import math, multiprocessing as mp\n"
        "with mp.get_context('spawn').Pool(2) as pool:\n    print(pool.map(math.factorial, range(5)))",
        "[1, 1, 2, 6, 24]",
    ),
    "executors": (
        "import math, concurrent.futures as cf\n"
        "with cf.ThreadPoolExecutor(4) as threads, cf.ProcessPoolExecutor(2) as processes:\n"
        "    print(list(threads.map(abs, [-1, -2])), list(processes.map(math.sqrt, [4, 9])))",
        "[1, 2] [2.0, 3.0]",
    ),
    "queues, pipes and locks between processes": (
        "import multiprocessing as mp\n"
        "q, lock, value = mp.Queue(), mp.Lock(), mp.Value('i', 0)\n"
        "ours, theirs = mp.Pipe()\n"
        "def work(q, lock, value, pipe):\n"
        "    with lock: value.value += 1\n"
        "    q.put('queued'); pipe.send('piped')\n"
        "ps = [mp.Process(target=work, args=(q, lock, value, theirs)) for _ in range(2)]\n"
        "for p in ps: p.start()\n"
        "print(q.get(timeout=20), ours.recv())\n"
        "for p in ps: p.join(20)\n"
        "print(value.value)",
        "queued piped\n2",
    ),
    "a thousand tasks on threads": (
        "import threading\ncounted, lock = 0, threading.Lock()\n"
        "def count():\n    global counted\n    with lock: counted += 1\n"
        "for _ in range(40):\n"
        "    ts = [threading.Thread(target=count) for _ in range(25)]\n"
        "    for t in ts: t.start()\n    for t in ts: t.join()\n"
        "print(counted)",
        "1000",
    ),
    "asyncio's subprocesses": (
        "import asyncio\n"
        "async def main():\n"
        "    p = await asyncio.create_subprocess_exec('cat', stdin=-1, stdout=-1)\n"
        "    return (await p.communicate(b'through'))[0], p.returncode\n"
        "print(await main())",
        "(b'through', 0)",
    ),
    "installed programs": (
        "import os, subprocess, sys\nopen('x', 'w').write('y' * 1000)\n"
        "def run(*words): return subprocess.run(words, capture_output=True, text=True, check=True).stdout\n"
        "print(run('sh', '-c', 'echo $((6 * 7)) | sed s/4/four-/').strip(), run('ls').strip())\n"
        "run('gzip', '-k', 'x'); run('tar', 'cf', 'x.tar', 'x'); print(run('tar', 'tf', 'x.tar').strip())\n"
        "print(run('sh', '-c', 'gzip -dc x.gz | wc -c').strip())\n"
        "print(run(sys.executable, '-c', 'import pandas; print(pandas.Series([1, 2]).sum())').strip())\n"
        "for n in ('x', 'x.gz', 'x.tar'): os.unlink(n)",
        "four-2 x\nx\n1000\n3",
    ),
    "os.system and shell lines": (
        "import os\nprint(os.system('exit 3') >> 8, os.popen('echo popen').read().strip())\n"
        "!echo shell line",
        "3 popen\nshell line",
    ),
    "sqlite on disk": (
        "import sqlite3, os\nwith sqlite3.connect('d.db') as c:\n"
        "    c.execute('pragma journal_mode=wal'); c.execute('create table t (x)')\n"
        "    c.executemany('insert into t values (?)', [(i,) for i in range(100)])\n"
        "c.close(); c = sqlite3.connect('d.db')\n"
        "print(c.execute('select sum(x) from t').fetchone()); c.close(); os.unlink('d.db')",
        "(4950,)",
    ),
    "temporary files and maps": (
        "import mmap, os, tempfile\n"
        "with tempfile.TemporaryDirectory() as d, tempfile.NamedTemporaryFile() as f:\n"
        "    f.write(b'a' * 5000); f.flush()\n"
        "    with mmap.mmap(f.fileno(), 0) as m:\n"
        "        m[0:1] = b'b'; m.flush()\n"
        "    f.seek(0); print(f.read(2), os.path.isdir(d))\n"
        "m = mmap.mmap(-1, 1 << 20); m[:3] = b'abc'; print(m[:3])",
        "b'ba' True\nb'abc'",
    ),
    "archives and pickles": (
        "import io, os, pickle, tarfile, zipfile, shutil\n"
        "os.mkdir('d'); open('d/a', 'w').write('1')\n"
        "shutil.make_archive('z', 'zip', 'd'); shutil.make_archive('z', 'gztar', 'd')\n"
        "print(zipfile.ZipFile('z.zip').namelist(), tarfile.open('z.tar.gz').getnames())\n"
        "shutil.unpack_archive('z.zip', 'e'); print(os.listdir('e'))\n"
        "print(pickle.loads(pickle.dumps({1: [2]})))\n"
        "for n in ('d', 'e'): shutil.rmtree(n)\nfor n in ('z.zip', 'z.tar.gz'): os.unlink(n)",
        "['a'] ['.', './a']\n['a']\n{1: [2]}",
    ),
    "files with permissions and links": (
        "import os, shutil, stat\nopen('a', 'w').write('1')\n"
        "os.chmod('a', 0o640); os.utime('a', (1, 1)); os.link('a', 'b'); os.symlink('a', 'c')\n"
        "shutil.copy2('a', 'd'); shutil.move('d', 'e'); os.rename('e', 'f')\n"
        "print(sorted(os.listdir()), open('c').read())\n"
        "for n in 'abcf': os.unlink(n)",
        "['a', 'b', 'c', 'f'] 1",
    ),
    "a child that prints": (
        "import os\npid = os.fork()\n"
        "if pid == 0:\n    print('from the child', flush=True); os._exit(7)\n"
        "print(os.waitpid(pid, 0)[1] >> 8)",
        {"from the child", "7"},
    ),
    "signals and timers": (
        "import signal\ngot = []\nsignal.signal(signal.SIGALRM, lambda *a: got.append('alarm'))\n"
        "signal.alarm(1); signal.pause(); signal.setitimer(signal.ITIMER_REAL, 0.01); signal.pause()\n"
        "import os; os.kill(os.getpid(), signal.SIGALRM)\n"
        "signal.signal(signal.SIGALRM, signal.SIG_DFL); print(got)",
        "['alarm', 'alarm', 'alarm']",
    ),
    "time zones and locales": (
        "import datetime, locale, time, zoneinfo\n"
        "print(datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin')).utcoffset())\n"
        "locale.setlocale(locale.LC_ALL, ''); print(locale.getpreferredencoding())\n"
        "print(time.time() > 1.6e9, time.monotonic() > 0)",
        "2:00:00\nUTF-8\nTrue True",
    ),
    "C calls": (
        "import ctypes, ctypes.util\nlibc = ctypes.CDLL(None)\n"
        "print(libc.abs(-3), libc.getpid() == __import__('os').getpid())\n"
        "m = ctypes.CDLL('libm.so.6'); m.sqrt.restype = ctypes.c_double\n"
        "print(m.sqrt(ctypes.c_double(16)))",
        "3 True\n4.0",
    ),
    "who and where": (
        "import getpass, os, platform, pathlib, resource, socket, sys\n"
        "print(bool(getpass.getuser()), pathlib.Path.home().is_dir(), os.path.expanduser('~') != '~')\n"
        "print(platform.system(), bool(platform.machine()), platform.python_implementation())\n"
        "print(bool(platform.platform()), os.cpu_count() > 0, len(os.sched_getaffinity(0)) > 0)\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 0, os.getloadavg()[0] >= 0,\n"
        "      os.nice(0) >= 0, bool(socket.gethostname()))",
        "True True True\nLinux True CPython\nTrue True True\nTrue True True True",
    ),
    "its own numbers in /proc": (
        "import os\nstatus = dict(l.split(':', 1) for l in open('/proc/self/status'))\n"
        "print(status['Name'].strip() != '', int(open('/proc/self/statm').read().split()[0]) > 0)\n"
        "print('MemTotal' in open('/proc/meminfo').read(), 'processor' in open('/proc/cpuinfo').read())\n"
        "print(open('/proc/self/stat').read().split()[0] == str(os.getpid()), len(os.listdir('/proc/self/fd')) > 3)\n"
        "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0)",
        "True True\nTrue True\nTrue True\nTrue",
    ),
    "faults are reported": (
        "import faulthandler, subprocess, sys, warnings\n"
        "p = subprocess.run([sys.executable, '-X', 'faulthandler', '-c', 'import os; os.abort()'],\n"
        "                   capture_output=True, text=True)\n"
        "print(p.returncode, 'Fatal Python error' in p.stderr)\n"
        "with warnings.catch_warnings(record=True) as seen:\n"
        "    warnings.simplefilter('always'); warnings.warn('x')\nprint(len(seen))",
        "-6 True\n1",
    ),
    "pipes, selectors and pairs of sockets": (
        "import os, select, selectors, socket\n"
        "a, b = socket.socketpair(); a.send(b'x'); r, w = os.pipe(); os.write(w, b'y')\n"
        "print(len(select.select([b, r], [], [], 5)[0]), b.recv(1), os.read(r, 1))\n"
        "p = select.epoll(); p.register(b); p.close()\n"
        "s = selectors.DefaultSelector(); s.register(b, 1); s.close(); a.close(); b.close()",
        "2 b'x' b'y'",
    ),
    "a large frame with threads": (
        "import pyarrow as pa, pyarrow.compute as pc, pandas as pd\n"
        "print(pc.sum(pa.array(range(1000))).as_py(), pd.Series(range(10)).rolling(2).mean().sum())",
        "499500 40.5",
    ),
}  # fmt: skip

OF_NAMESPACES = {
    "a manager's objects": (
        "import multiprocessing as mp\n"
        "with mp.Manager() as manager:\n    d = manager.dict(a=1); d['b'] = 2; print(dict(d))",
        "{'a': 1, 'b': 2}",
    ),
    "named shared memory": (
        "from multiprocessing import shared_memory\n"
        "m = shared_memory.SharedMemory(create=True, size=1 << 20); m.buf[:3] = b'abc'\n"
        "again = shared_memory.SharedMemory(name=m.name); print(bytes(again.buf[:3]))\n"
        "again.close(); m.close(); m.unlink()",
        "b'abc'",
    ),
    "sockets on loopback": (
        "import socket, threading\nserver = socket.create_server(('127.0.0.1', 0))\n"
        "def serve():\n    c, _ = server.accept(); c.sendall(c.recv(9).upper()); c.close()\n"
        "threading.Thread(target=serve).start()\n"
        "with socket.create_connection(('localhost', server.getsockname()[1])) as c:\n"
        "    c.sendall(b'hello'); print(c.recv(9))\nserver.close()\n"
        "u = socket.socket(type=socket.SOCK_DGRAM); u.bind(('127.0.0.1', 0))\n"
        "u.sendto(b'udp', u.getsockname()); print(u.recv(9)); u.close()",
        "b'HELLO'\nb'udp'",
    ),
    "asyncio's server and client": (
        "import asyncio\n"
        "async def main():\n"
        "    async def answer(r, w):\n        w.write((await r.readline()).upper()); w.close()\n"
        "    server = await asyncio.start_server(answer, '127.0.0.1', 0)\n"
        "    async with server:\n"
        "        r, w = await asyncio.open_connection(*server.sockets[0].getsockname())\n"
        "        w.write(b'line\\n'); said = await r.readline(); w.close()\n"
        "        return said\nprint(await main())",
        "b'LINE\\n'",
    ),
    "a web server of one's own": (
        "import http.server, threading, urllib.request\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n        self.send_response(200); self.end_headers(); self.wfile.write(b'page')\n"
        "    def log_message(self, *a): pass\n"
        "s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), H)\n"
        "threading.Thread(target=s.serve_forever, daemon=True).start()\n"
        "print(urllib.request.urlopen(f'http://127.0.0.1:{s.server_port}/').read()); s.shutdown(); s.server_close()",
        "b'page'",
    ),
    "Unix sockets of one's own": (
        "import os, socket, threading\ns = socket.socket(socket.AF_UNIX); s.bind('own'); s.listen()\n"
        "c = socket.socket(socket.AF_UNIX); c.connect('own'); a, _ = s.accept()\n"
        "c.send(b'x'); print(a.recv(1)); a.close(); c.close(); s.close(); os.unlink('own')",
        "b'x'",
    ),
    "its user's name": (
        "import getpass, os, pwd, grp\n"
        "print(getpass.getuser(), pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name)",
        "user user user",
    ),
    "pseudo-terminals": (
        "import os, pty\npid, fd = pty.fork()\n"
        "if pid == 0:\n    os.execvp('echo', ['echo', 'on a terminal'])\n"
        "print(os.read(fd, 100)); os.waitpid(pid, 0); os.close(fd)",
        "b'on a terminal\\r\\n'",
    ),
}  # fmt: skip


#: They make semaphores, which are files in /dev/shm.
_OF_SHARED_MEMORY = (
    "a pool of processes",
    "a pool of spawned processes",
    "executors",
    "queues, pipes and locks between processes",
)


async def _run(arena: Arena, session: Session, code: str, expected: object) -> None:
    result = await arena.attack(session, code)
    assert result.status == "ok", result.text
    if isinstance(expected, set):
        assert {line for line in result.text.splitlines() if line} == expected
    else:
        assert result.text.strip() == expected


@pytest.mark.parametrize("name", PROGRAMS)
async def test_ordinary_programs_work(arena: Arena, worker: Session, name: str) -> None:
    if name in _OF_SHARED_MEMORY and not arena.shared_memory:
        refused = await arena.attack(worker, PROGRAMS[name][0])
        assert refused.status == "error" and "PermissionError" in refused.text, refused.text
        pytest.skip(f"without root, only namespaces promise this: {name}")
    await _run(arena, worker, *PROGRAMS[name])


@pytest.mark.parametrize("name", OF_NAMESPACES)
async def test_programs_that_need_a_network_or_memory_of_their_own_work(
    arena: Arena, worker: Session, name: str
) -> None:
    if arena.backend != "namespaces":
        pytest.skip(f"only namespaces promise this: {name}")
    await _run(arena, worker, *OF_NAMESPACES[name])
