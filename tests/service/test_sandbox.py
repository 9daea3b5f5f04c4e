"""What a kernel can see and do. The attacks proper come with the limits that they test."""

import os
from pathlib import Path

from interpreter import Interpreter, Session


async def test_kernel_has_no_root_no_capabilities_and_gains_none(session: Session) -> None:
    result = await session.execute(
        "import os, glob\n"
        "print(os.getuid(), os.geteuid(), os.getgid())\n"
        "for path in sorted(glob.glob('/proc/self/task/*/status')):\n"
        "    fields = dict(line.split(':', 1) for line in open(path))\n"
        "    print({fields[n].strip() for n in ('CapInh','CapPrm','CapEff','CapBnd','CapAmb')},\n"
        "          fields['NoNewPrivs'].strip())"
    )
    lines = result.text.splitlines()
    assert lines[0] == "1000 1000 1000"
    assert len(lines) > 3
    assert set(lines[1:]) == {"{'0000000000000000'} 1"}


async def test_host_sees_the_kernel_as_an_unprivileged_user(
    service: Interpreter, session: Session
) -> None:
    await session.execute("1")
    (kernel,) = [kernel for kernel in service.kernels() if kernel.user_id == session.user_id]
    with open(f"/proc/{kernel.pid}/status") as status:
        uids = next(line.split()[1:] for line in status if line.startswith("Uid:"))
    assert "0" not in uids


async def test_secrets_of_the_service_are_nowhere_in_the_kernel(
    session: Session, planted_secret: str
) -> None:
    assert planted_secret in os.environ.values()
    result = await session.execute(
        "import glob, os\n"
        "seen = [str(dict(os.environ))]\n"
        "for path in glob.glob('/proc/*/environ') + glob.glob('/proc/*/cmdline'):\n"
        "    try:\n        seen.append(open(path, 'rb').read().decode(errors='replace'))\n"
        "    except OSError:\n        pass\n"
        f"print(len(seen) > 2, any({planted_secret[:6]!r} + {planted_secret[6:]!r} in s "
        "for s in seen), sorted(os.environ))"
    )
    assert result.text.startswith("True False")
    assert "TOKEN" not in result.text and "MONGODB" not in result.text


async def test_kernel_sees_only_its_own_processes(session: Session) -> None:
    result = await session.execute(
        "import os; print([p for p in os.listdir('/proc') if p.isdigit()])"
    )
    assert result.text == "['1', '2']\n"


async def test_kernel_has_no_network_but_its_own_loopback(session: Session) -> None:
    result = await session.execute(
        "import socket\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname()).close(); print('loopback')\n"
        "try:\n    socket.create_connection(('192.0.2.1', 80), timeout=2); print('outside')\n"
        "except OSError as e:\n    print(e.strerror)\n"
        "print(socket.if_nameindex(), socket.gethostname())"
    )
    assert result.text == "loopback\nNetwork is unreachable\n[(1, 'lo')] cellmate\n"


def _listening_ports() -> list[int]:
    """The ports that anything on this machine listens on, the embedded database among them."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sorted({int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A"})


async def test_kernel_cannot_reach_what_listens_on_the_host(session: Session) -> None:
    ports = _listening_ports()
    assert ports
    result = await session.execute(
        "import socket\n"
        f"for port in {ports}:\n"
        "    with socket.socket() as s:\n"
        "        if s.connect_ex(('127.0.0.1', port)) == 0:\n            print(port)\n"
    )
    assert result.text == ""


async def test_system_is_read_only(session: Session) -> None:
    result = await session.execute(
        "import os\n"
        "for where in ('/', '/usr', '/etc', '/env', '/env/bin', '/startup',\n"
        "              '/startup/kernel_startup', '/files', '/sessions',\n"
        "              '/proc/sys/kernel', '/dev', '/run'):\n"
        "    try:\n        open(os.path.join(where, 'planted'), 'w'); print('wrote', where)\n"
        "    except OSError:\n        pass"
    )
    assert result.text == ""


async def test_other_sessions_are_out_of_sight(service: Interpreter, session: Session) -> None:
    other = await service.session(user_id=f"{session.user_id}-other")
    secret = "the other user's words"
    await other.execute(f"open('mine.txt', 'w').write({secret!r});")
    stored = await service.files.save(
        user_id=other.user_id, filename="private.txt", source=secret.encode()
    )
    result = await session.execute(
        "import os\n"
        "print(os.listdir('/sessions'), len(FILES))\n"
        "found = []\n"
        "for top in ('/work', '/home', '/files', '/sessions', '/run', '/tmp', '/dev/shm'):\n"
        "    for folder, _, names in os.walk(top):\n"
        "        found += [os.path.join(folder, n) for n in names]\n"
        "print([f for f in found if 'mine' in f or 'private' in f])\n"
        f"try:\n    load_file({stored.file_id!r}); print('loaded')\n"
        "except Exception as e:\n    print(type(e).__name__)"
    )
    lines = result.text.splitlines()
    assert lines[0] == "[] 0"
    assert lines[1] == "[]"
    assert "loaded" not in lines[2]
    await other.close()


async def test_service_code_and_packages_are_out_of_sight(session: Session) -> None:
    result = await session.execute(
        "import importlib.util, os\n"
        "print([n for n in ('interpreter', 'bot', 'beanie', 'pymongo', 'interactions', 'openai')\n"
        "       if importlib.util.find_spec(n)])\n"
        "print(os.path.exists('/root'), os.listdir('/home'))"
    )
    assert result.text == "[]\nFalse ['user']\n"


async def test_user_code_cannot_make_namespaces_or_mounts(session: Session) -> None:
    result = await session.execute(
        "import ctypes\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "print(libc.unshare(0x10000000), libc.unshare(0x00020000),\n"
        "      libc.mount(b'none', b'/tmp', b'tmpfs', 0, None), libc.umount2(b'/sessions', 0),\n"
        "      libc.sethostname(b'x', 1), libc.chroot(b'/tmp'))"
    )
    assert result.text == "-1 -1 -1 -1 -1 -1\n"


async def test_home_and_temporary_directory_are_inside_and_writable(session: Session) -> None:
    result = await session.execute(
        "import os, tempfile, pathlib\n"
        "with tempfile.NamedTemporaryFile() as f:\n    print(os.path.dirname(f.name))\n"
        "p = pathlib.Path.home() / 'note'; p.write_text('x'); print(p, os.getcwd())"
    )
    assert result.text == "/tmp\n/home/user/note /work\n"


async def test_processes_are_limited(session: Session) -> None:
    result = await session.execute(
        "import os, time\n"
        "children = []\n"
        "try:\n"
        "    for _ in range(200):\n"
        "        pid = os.fork()\n"
        "        if pid == 0:\n            time.sleep(30); os._exit(0)\n"
        "        children.append(pid)\n"
        "except OSError as e:\n    print('refused', e.strerror)\n"
        "finally:\n"
        "    for pid in children:\n        os.kill(pid, 9); os.waitpid(pid, 0)\n"
        "print(len(children) < 64)"
    )
    assert result.text.splitlines()[-2:] == [
        "refused Resource temporarily unavailable",
        "True",
    ]
    assert (await session.execute("1")).text == "1"
