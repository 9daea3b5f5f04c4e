"""Attacks on files: those of the system, of the service, of others, and the user's stored ones."""

# ruff: noqa: E501 - lines of hostile code are left whole

import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from interpreter import Session
from tests.attacks.conftest import SECRET, Arena
from tests.attacks.hostile import ATTEMPT, IN_CHILD, TAMPER


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A directory of the host that everybody may write to, with a file that everybody may read."""
    directory = Path(tempfile.mkdtemp(prefix="cellmate-attack-", dir="/tmp"))
    directory.chmod(0o777)
    (directory / "words").write_text("words of the host")
    (directory / "words").chmod(0o666)
    yield directory
    shutil.rmtree(directory)


async def test_system_and_packages_cannot_be_changed(arena: Arena, attacker: Session) -> None:
    result = await arena.attack(
        attacker,
        TAMPER + "import sys, sysconfig, kernel_startup, pandas, glob\n"
        "files = [sys.executable, os.path.realpath(sys.executable), pandas.__file__, os.__file__,\n"
        "         kernel_startup.__file__, '/usr/bin/env', '/bin/sh', '/etc/passwd', '/etc/hosts',\n"
        "         '/etc/ld.so.cache', '/etc/nsswitch.conf', '/etc/localtime',\n"
        "         *sorted(glob.glob('/usr/lib/*-linux-gnu/libc.so.6')),\n"
        "         *sorted(glob.glob('/lib64/ld-linux*'))]\n"
        "tried = 0\n"
        "for path in files:\n"
        "    try:\n        had = tamper(path)\n"
        "    except OSError:\n        continue\n"
        "    tried += 1\n"
        "    if had: print(path, had)\n"
        "site = os.path.dirname(os.path.dirname(pandas.__file__))\n"
        "for folder in ('/', '/bin', '/boot', '/dev', '/etc', '/home', '/lib', '/lib64', '/media', '/mnt', '/opt',\n"
        "               '/proc', '/proc/self', '/proc/1', '/root', '/run', '/sbin', '/srv', '/sys', '/usr', '/usr/bin',\n"
        "               '/usr/lib', '/usr/local', '/usr/share', '/var', '/var/tmp', '/var/lib', '/sessions',\n"
        "               '/env', '/python', '/startup', '/run/user', '/run/lock',\n"
        "               sys.prefix, sys.base_prefix, sys.prefix + '/bin', site, site + '/pandas',\n"
        "               os.path.dirname(os.__file__), os.path.dirname(kernel_startup.__file__),\n"
        "               os.path.dirname(os.path.dirname(kernel_startup.__file__)),\n"
        "               os.path.dirname(os.getcwd()), str(FILES._root)):\n"
        "    had = plant(folder)\n"
        "    if had: print(folder, had)\n"
        "print('tried', tried > 8)\n",
    )
    assert result.text == "tried True\n"


async def test_stored_files_cannot_be_changed(arena: Arena, attacker: Session) -> None:
    words = b"kept as it was uploaded\n" * 10
    stored = await arena.service.files.save(
        user_id=attacker.user_id, filename="kept.txt", source=words
    )
    path = Path(stored.file_path)
    before = path.stat()
    result = await arena.attack(
        attacker,
        TAMPER + f"path = FILES[{stored.file_id!r}]\n"
        "print(len(open(path, 'rb').read()), tamper(path, destroy=True), plant(os.path.dirname(path)))\n"
        f"print(os.path.isfile(path), len(load_file({stored.file_id!r})))",
    )
    assert result.text.splitlines() == [f"{len(words)} [] []", f"True {len(words)}"]
    after = path.stat()
    assert path.read_bytes() == words
    assert (after.st_mode, after.st_mtime_ns, after.st_uid) == (
        before.st_mode,
        before.st_mtime_ns,
        before.st_uid,
    )


async def test_deleted_file_is_not_brought_back_by_a_descriptor_kept_open(
    arena: Arena, attacker: Session
) -> None:
    stored = await arena.service.files.save(
        user_id=attacker.user_id, filename="gone.txt", source=b"gone"
    )
    await attacker.execute(f"import os; held = os.open(FILES[{stored.file_id!r}], os.O_RDONLY)")
    await arena.service.files.delete(user_id=attacker.user_id, file_id=stored.file_id)
    result = await arena.attack(
        attacker,
        ATTEMPT + "print(attempt(os.link, f'/proc/self/fd/{held}', 'back', follow_symlinks=True))\n"
        "print(attempt(os.open, f'/proc/self/fd/{held}', os.O_RDWR))\n"
        f"print({stored.file_id!r} in FILES, os.listdir())\nos.close(held)",
    )
    lines = result.text.splitlines()
    assert "done" not in lines[:2], result.text
    assert lines[2] == "False []"


async def test_directory_open_to_all_on_the_host_is_closed_to_kernels(
    arena: Arena, attacker: Session, open_to_all: Path
) -> None:
    before = (open_to_all / "words").stat().st_mtime_ns
    result = await arena.attack(
        attacker,
        TAMPER + ATTEMPT + f"where = {str(open_to_all)!r}\n"
        "print('planted', plant(where))\n"
        "print('read', attempt(open, where + '/words'))\n"
        "print('write', attempt(open, where + '/words', 'a'))\n"
        "print('list', attempt(os.listdir, where))\n"
        "print('up', attempt(open, os.getcwd() + '/' + '../' * 20 + where + '/words'))\n"
        + ("print('enter', attempt(os.chdir, where))\n" if arena.backend == "namespaces" else "")
        + "print('link', attempt(os.link, where + '/words', 'mine'))\n"
        "os.symlink(where + '/words', 'there'); print('through a link', attempt(open, 'there'))\n"
        "os.unlink('there')",
    )
    lines = result.text.splitlines()
    assert lines[0] == "planted []", result.text
    assert len(lines) >= 7, result.text
    assert {line.split()[-1] for line in lines[1:]} <= {"ENOENT", "EACCES", "EPERM", "EXDEV"}
    assert os.listdir(open_to_all) == ["words"]
    assert (open_to_all / "words").stat().st_mtime_ns == before


READ = r'''
import glob, os
def said_by(path):
    """What can be learned by reading a file, opening a directory, or following a link."""
    said = []
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return said
    try:
        said.append("opened")
        said.append(os.read(descriptor, 200))
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return said
'''


async def test_what_the_host_keeps_to_itself_cannot_be_read(
    arena: Arena, attacker: Session, planted_secret: str
) -> None:
    user_names = {line.split(":")[0] for line in Path("/etc/passwd").read_text().splitlines()}
    user_names -= {"user", "root", "nobody", "bin", "sys", "games", "man"}
    result = await arena.attack(
        attacker,
        READ + f"pid, ppid = {os.getpid()}, {os.getppid()}\n"
        "paths = ['/etc/shadow', '/etc/gshadow', '/etc/sudoers', '/etc/ssh', '/etc/hostname', '/etc/machine-id',\n"
        "  '/root', '/root/.ssh', '/root/.bashrc', '/var/log', '/var/lib', '/run/secrets', '/run/docker.sock',\n"
        "  '/proc/kcore', '/proc/kmsg', '/dev/kmsg', '/dev/mem', '/dev/kmem', '/dev/port', '/dev/fuse', '/dev/kvm',\n"
        "  '/dev/net/tun', '/dev/loop-control', '/dev/loop0', '/dev/vda', '/dev/sda', '/dev/nvme0n1', '/dev/vsock',\n"
        "  '/dev/vhost-net', '/dev/vhost-vsock', '/dev/uinput', '/dev/console', '/dev/tty0', '/dev/ttyS0',\n"
        "  '/dev/mapper/control', '/dev/btrfs-control', '/dev/userfaultfd', '/dev/rtc0', '/dev/hpet',\n"
        "  '/sys', '/sys/kernel', '/sys/fs/cgroup', '/sys/class/net', '/sys/devices', '/sys/firmware',\n"
        "  '/proc/1/environ', '/proc/1/fd', '/proc/1/root', '/proc/1/root/etc', '/proc/1/cwd', '/proc/1/maps',\n"
        "  '/proc/1/mem', '/proc/1/auxv', '/proc/1/syscall', '/proc/1/stack', '/proc/1/map_files', '/proc/1/exe']\n"
        "for p in (pid, ppid):\n"
        "    paths += [f'/proc/{p}/{n}' for n in ('environ', 'cmdline', 'fd', 'root', 'cwd', 'maps', 'mem', 'exe',\n"
        "              'status', 'mountinfo', 'net/tcp', 'task')]\n"
        "for path in paths:\n"
        "    said = said_by(path)\n"
        "    if said: print(path, said)\n"
        "print('looked', len(paths) > 60)\n",
    )
    assert result.text == "looked True\n"
    accounts = await arena.attack(
        attacker, READ + "print(said_by('/etc/passwd'), said_by('/etc/group'))"
    )
    assert {name for name in user_names if name in accounts.text} == set()


async def test_devices_cannot_be_made(arena: Arena, attacker: Session) -> None:
    result = await arena.attack(
        attacker,
        ATTEMPT + "import stat, tempfile\n"
        "for name, kind, number in (('null', stat.S_IFCHR, (1, 3)), ('mem', stat.S_IFCHR, (1, 1)),\n"
        "                           ('disk', stat.S_IFBLK, (253, 0)), ('loop', stat.S_IFBLK, (7, 0))):\n"
        "    for where in (os.getcwd(), tempfile.gettempdir(), os.environ['HOME']):\n"
        "        path = os.path.join(where, name)\n"
        "        print(name, attempt(os.mknod, path, kind | 0o666, os.makedev(*number)))\n",
    )
    lines = result.text.splitlines()
    assert len(lines) == 12
    assert {line.split()[-1] for line in lines} <= {"EPERM", "EACCES"}


async def test_working_directory_of_another_user_is_out_of_reach(
    arena: Arena, attacker: Session
) -> None:
    words = f"words-{secrets.token_hex(8)}"
    async with arena.user() as victim:
        wrote = await victim.execute(
            f"open('private-{words}.txt', 'w').write({words!r})\n"
            "import os; os.chmod('.', 0o777); os.chmod('..', 0o777) if os.access('..', os.W_OK) else 0\n"
            "print(os.getcwd(), os.environ['HOME'], os.getpid())"
        )
        assert wrote.status == "ok", wrote.text
        pid = wrote.text.split()[-1]
        host_pid = arena.pid_of(victim)
        slot = victim.slot
        assert slot is not None
        host_work = arena.data_dir / "sessions" / slot / "work"
        assert (host_work / f"private-{words}.txt").read_text() == words
        stored = await arena.service.files.save(
            user_id=victim.user_id, filename="stored.txt", source=words.encode()
        )
        first, second = words[:12], words[12:]
        result = await arena.attack(
            attacker,
            READ + f"words = ({first!r} + {second!r}).encode()\n"
            f"name = 'private-' + {first!r} + {second!r} + '.txt'\n"
            f"host, slot, pids = {str(host_work)!r}, {slot!r}, ({host_pid}, {pid})\n"
            f"sessions, data, stored = {str(host_work.parents[1])!r}, {str(arena.data_dir)!r}, {str(stored.file_path)!r}\n"
            "bases = [host, f'/sessions/{slot}/work', f'{os.getcwd()}/../../{slot}/work',\n"
            "         f'{os.getcwd()}/../../../sessions/{slot}/work', f'/newroot{host}', f'/oldroot{host}']\n"
            "for p in (*pids, 1, 'self', 'thread-self'):\n"
            "    bases += [f'/proc/{p}/cwd', f'/proc/{p}/root{host}', f'/proc/{p}/root/work',\n"
            "              f'/proc/{p}/root/sessions/{slot}/work', f'/proc/{p}/task/{p}/cwd']\n"
            "    bases += glob.glob(f'/proc/{p}/fd/*') + glob.glob(f'/proc/{p}/map_files/*')\n"
            "os.symlink(host, 'there'); bases.append('there')\n"
            "for base in bases:\n"
            "    for path in (f'{base}/{name}', f'{base}/.'):\n"
            "        said = said_by(path)\n"
            "        if any(words in s for s in said if isinstance(s, bytes)): print('read', path)\n"
            "    try:\n"
            "        if name in os.listdir(base): print('listed', base)\n"
            "    except OSError: pass\n"
            "    try:\n        os.link(f'{base}/{name}', 'linked'); print('linked', base); os.unlink('linked')\n"
            "    except OSError: pass\n"
            "for path in (stored, f'/proc/self/root{stored}'):\n"
            "    if said_by(path): print('stored file read', path)\n"
            "for path in (sessions, '/sessions', data, data + '/user_files', data + '/embedded_mongodb', data + '/etc',\n"
            "             f'{sessions}/{slot}', f'{sessions}/{slot}/run', f'{sessions}/{slot}/home',\n"
            "             f'{sessions}/{slot}/files', os.path.dirname(os.path.dirname(os.getcwd()))):\n"
            "    try:\n"
            "        if slot in os.listdir(path) or path != '/sessions' and os.listdir(path) and data in path:\n"
            "            print('listed', path, os.listdir(path)[:5])\n"
            "    except OSError: pass\n"
            "os.unlink('there')\n"
            "print('looked at', len(bases) > 25)\n",
        )
        assert result.text == "looked at True\n"
        assert (await victim.execute(f"open('private-{words}.txt').read() == {words!r}")).text == (
            "True"
        )


async def test_nothing_of_another_user_is_found_by_looking_everywhere(
    arena: Arena, attacker: Session
) -> None:
    marker = f"treasure{secrets.token_hex(4)}"
    await arena.bystander.execute(
        f"import os, tempfile\nplaces = [os.getcwd(), os.environ['HOME'], tempfile.gettempdir()]\n"
        f"for p in places: open(os.path.join(p, {marker!r}), 'w').write('x')"
    )
    result = await arena.attack(
        attacker,
        "import os, sys\nfound, seen = [], 0\n"
        f"marker = {marker[:8]!r} + {marker[8:]!r}\n"
        "skipped = {os.path.realpath(p) for p in ('/usr', sys.prefix, sys.base_prefix, '/proc', '/sys')}\n"
        "import itertools, tempfile\n"
        "tops = ('/', '.', '..', os.environ['HOME'], tempfile.gettempdir(), '/tmp', '/dev/shm', '/home', '/var')\n"
        "for n in ('a', 'b', 'c', 'd', 'e', 'f'): open(n, 'w').close()\n"
        "for folder, folders, names in itertools.chain(*(os.walk(top) for top in tops)):\n"
        "    folders[:] = [n for n in folders if os.path.join(folder, n) not in skipped]\n"
        "    seen += len(names)\n"
        "    found += [os.path.join(folder, n) for n in names if n == marker]\n"
        "print(seen > 5, found)\n"
        "for n in ('a', 'b', 'c', 'd', 'e', 'f'): os.unlink(n)",
    )
    await arena.bystander.execute(
        f"for p in places: os.unlink(os.path.join(p, {marker!r}))\ndel places"
    )
    assert result.text == "True []\n"


async def test_kernel_inherits_no_descriptor_but_its_own(arena: Arena, attacker: Session) -> None:
    result = await arena.attack(
        attacker,
        "import os, socket, stat\n"
        "own = (os.getcwd(), os.environ['HOME'], '/dev/null', f'/proc/{os.getpid()}')\n"
        "for name in sorted(os.listdir('/proc/self/fd'), key=int):\n"
        "    try:\n        target = os.readlink(f'/proc/self/fd/{name}')\n"
        "    except OSError:\n        continue\n"
        "    if target.startswith(('pipe:', 'anon_inode:[event', 'anon_inode:[timerfd')) or target in own:\n"
        "        continue\n"
        "    if target.startswith(f'/proc/{os.getpid()}/fd') or target.startswith('/proc/self/fd'):\n"
        "        continue\n"
        "    if not target.startswith('socket:'):\n        print(name, target); continue\n"
        "    s = socket.socket(fileno=os.dup(int(name)))\n"
        "    family, address = s.family, s.getsockname()\n"
        "    if family == socket.AF_INET and address[0] in ('127.0.0.1', '0.0.0.0'):\n        pass\n"
        "    elif family == socket.AF_UNIX:\n"
        "        credentials = s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)\n"
        "        peer = int.from_bytes(credentials[:4], 'little', signed=True)\n"
        "        kind = s.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)\n"
        "        if kind == socket.SOCK_SEQPACKET: print('control socket', name, address, peer)\n"
        "    else:\n        print(name, family, address)\n"
        "    s.close()\n"
        "print('looked', os.path.exists('/proc/self/fd'))",
    )
    assert result.text == "looked True\n"


async def test_links_in_the_working_directory_lead_the_service_nowhere(
    arena: Arena, attacker: Session, planted_secret: str, tmp_path: Path
) -> None:
    secret_file = tmp_path / "operator.env"
    secret_file.write_text(f"TOKEN={SECRET}\n")
    slot = arena.bystander.slot
    other = arena.data_dir / "sessions" / str(slot) / "work"
    await arena.bystander.execute("open('mine.txt', 'w').write('words of the bystander');")
    result = await arena.attack(
        attacker,
        "import os\n"
        f"targets = [{str(secret_file)!r}, '/etc/shadow', '/etc/passwd', '/proc/self/environ', '/proc/1/environ',\n"
        f"           {str(other / 'mine.txt')!r}]\n"
        "for i, t in enumerate(targets): os.symlink(t, f'leak{i}.txt')\n"
        f"for i, t in enumerate(({str(tmp_path)!r}, '/etc', '/root', {str(other)!r}, '..', '/')):\n"
        "    os.symlink(t, f'folder{i}')\n"
        "os.mkfifo('pipe.txt'); open('honest.txt', 'w').write('honest')",
    )
    assert [stored.filename for stored in result.artifacts] == ["honest.txt"]
    (artifact,) = result.artifacts
    assert Path(artifact.file_path).read_text() == "honest"
    await arena.bystander.execute("import os; os.unlink('mine.txt')")


async def test_files_swapped_for_links_while_they_are_collected_give_nothing_away(
    arena: Arena, attacker: Session, tmp_path: Path
) -> None:
    secret_file = tmp_path / "operator.env"
    secret_file.write_text(SECRET)
    await attacker.execute(
        "import os, subprocess, sys\n"
        "flip = '''import os, sys, time\n"
        "end = time.monotonic() + 20\n"
        "os.makedirs('d', exist_ok=True)\n"
        "while time.monotonic() < end and not os.path.exists('stop'):\n"
        "    for name in ('a.txt', 'd/b.txt'):\n"
        "        open('.t', 'w').write('harmless' * 3); os.rename('.t', name)\n"
        f"        os.symlink({str(secret_file)!r}, '.l'); os.rename('.l', name)\n"
        "    os.rename('d', 'e'); os.symlink("
        f"{str(tmp_path)!r}, 'd'); os.unlink('d'); os.rename('e', 'd')\n"
        "'''\nflipping = subprocess.Popen([sys.executable, '-c', flip])"
    )
    seen = set()
    async with arena.undisturbed():
        for _ in range(12):
            result = await attacker.execute("open('c.txt', 'w').write(os.urandom(4).hex());")
            for artifact in result.artifacts:
                seen.add(Path(artifact.file_path).read_text())
    await attacker.execute("open('stop', 'w').close(); flipping.wait()")
    assert seen
    assert [text for text in seen if SECRET in text] == []


async def test_locks_on_stored_files_do_not_hold_up_the_service(
    arena: Arena, attacker: Session
) -> None:
    stored = await arena.service.files.save(
        user_id=attacker.user_id, filename="locked.txt", source=b"locked"
    )
    held = await arena.attack(
        attacker,
        ATTEMPT + IN_CHILD + "import fcntl, glob\nkept = []\n"
        f"paths = [FILES[{stored.file_id!r}], os.path.dirname(FILES[{stored.file_id!r}]), str(FILES._root)]\n"
        "for path in paths:\n"
        "    d = os.open(path, os.O_RDONLY); kept.append(d)\n"
        "    print(attempt(fcntl.flock, d, fcntl.LOCK_EX | fcntl.LOCK_NB),\n"
        "          attempt(fcntl.fcntl, d, fcntl.F_SETLEASE, fcntl.F_RDLCK))",
    )
    assert len(held.text.splitlines()) == 3
    async with arena.undisturbed():
        report = await arena.service.files.clean_up()
        got = await arena.service.files.get(user_id=attacker.user_id, file_id=stored.file_id)
        assert Path(got.file_path).read_bytes() == b"locked", report
        await arena.service.files.delete(user_id=attacker.user_id, file_id=stored.file_id)
        assert not Path(stored.file_path).exists()


async def test_environment_of_kernels_cannot_be_locked_against_the_service(
    arena: Arena, attacker: Session
) -> None:
    result = await arena.attack(
        attacker,
        ATTEMPT + "import fcntl, pandas\n"
        "held = os.open(pandas.__file__.partition('/lib/python')[0], os.O_RDONLY)\n"
        "print(attempt(fcntl.flock, held, fcntl.LOCK_EX | fcntl.LOCK_NB))",
    )
    assert result.text == "EAGAIN\n"
    for environment in arena.service.settings.kernel_env_dir.glob("[0-9a-f]" * 16):
        descriptor = os.open(environment, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # as a service that starts
        os.close(descriptor)
