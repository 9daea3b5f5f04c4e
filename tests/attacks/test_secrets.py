"""What must be nowhere in a kernel: the operator's secrets, the service's, and other users' keys."""

# ruff: noqa: E501 - lines of hostile code are left whole

import os
from pathlib import Path

from interpreter import Session
from tests.attacks.conftest import SECRET_NAME, Arena
from tests.attacks.hostile import SCAN_MEMORY, halves


def _needles(arena: Arena, planted_secret: str) -> dict[str, tuple[bytes, bytes]]:
    """What to look for, by what it is."""
    hosted = arena.bystander.hosted
    assert hosted is not None
    needles = {
        "planted secret": planted_secret,
        "name of the planted secret": SECRET_NAME,
        "key of another kernel": str(hosted.connection["key"]),
        "sandbox of another kernel": hosted.slot,
        "id of another kernel": hosted.kernel_id,
        "id of another user": f"user_id={arena.bystander.user_id}",
        "data directory": str(arena.data_dir / "user_files"),
    }
    passwords = [
        file.read_text().strip()
        for file in arena.data_dir.rglob("*password*")
        if file.is_file() and file.stat().st_size < 500
    ]
    for number, password in enumerate(passwords):
        needles[f"password {number} of the database"] = password
    return {name: halves(needle) for name, needle in needles.items()}


async def test_no_secret_and_no_key_of_another_is_in_a_kernels_memory(
    arena: Arena, attacker: Session, planted_secret: str
) -> None:
    needles = _needles(arena, planted_secret)
    assert len(needles) >= 7
    if os.environ.get("TEST_MONGODB_URI") is None:
        assert any("password" in name for name in needles)
    # Proves that the scan finds what is there: the attacker's own key.
    await attacker.execute("1")
    assert attacker.hosted is not None
    own = halves(str(attacker.hosted.connection["key"]))
    result = await arena.attack(
        attacker, SCAN_MEMORY + f"print(scan_memory({ {**needles, 'own key': own}!r}))"
    )
    assert result.status == "ok", result.text
    found, _, megabytes = result.text.strip("()\n").rpartition(", ")
    assert found == "['own key']", result.text
    assert int(megabytes) > 50


async def test_kernels_made_later_know_no_earlier_key(arena: Arena) -> None:
    async with arena.user() as first, arena.user() as second:
        keys = {}
        for name, session in (("first", first), ("second", second)):
            await session.execute("1")
            await session.restart()  # twice as many forks
            assert session.hosted is not None
            keys[name] = halves(str(session.hosted.connection["key"]))
        result = await arena.attack(second, SCAN_MEMORY + f"print(scan_memory({keys!r})[0])")
        assert result.text == "['second']\n"
        result = await arena.attack(first, SCAN_MEMORY + f"print(scan_memory({keys!r})[0])")
        assert result.text == "['first']\n"


async def test_no_secret_is_in_any_environment_or_file_within_reach(
    arena: Arena, attacker: Session, planted_secret: str
) -> None:
    assert planted_secret in os.environ.values()
    needles = _needles(arena, planted_secret)
    result = await arena.attack(
        attacker,
        "import glob, os, subprocess, sys\n"
        f"needles = {needles!r}\n"
        "def of(text): return [n for n, (a, b) in needles.items() if a + b in text]\n"
        "found, seen = [], 0\n"
        "skipped = {os.path.realpath(p) for p in ('/usr', '/proc', '/sys', sys.prefix, sys.base_prefix)}\n"
        "def look(path):\n"
        "    global seen\n"
        "    try:\n"
        "        d = os.open(path, os.O_RDONLY | os.O_NONBLOCK)\n"
        "        text = os.read(d, 1 << 16); os.close(d)\n"
        "    except OSError: return\n"
        "    seen += 1; found.extend((path, n) for n in of(text))\n"
        "for folder, folders, names in os.walk('/'):\n"
        "    folders[:] = [n for n in folders if os.path.join(folder, n) not in skipped]\n"
        "    for n in names: look(os.path.join(folder, n))\n"
        "for pid in ('self', 'thread-self', '1', str(os.getppid())):\n"
        "    for n in ('environ', 'cmdline', 'status', 'stat', 'maps', 'limits', 'cgroup', 'sched', 'numa_maps', 'smaps'):\n"
        "        look(f'/proc/{pid}/{n}')\n"
        "for path in glob.glob('/proc/*') + glob.glob('/proc/sys/kernel/*') + glob.glob('/proc/net/*'):\n"
        "    if os.path.isfile(path) and not path.endswith(('kmsg', 'kcore', 'kpagecount', 'kpageflags', 'kpagecgroup')): look(path)\n"
        "look_at = str(sorted(os.environ.items())) + str(sys.argv) + str(sys.orig_argv)\n"
        "found.extend(('here', n) for n in of(look_at.encode()))\n"
        "child = subprocess.run(['env'], capture_output=True).stdout\n"
        "found.extend(('child', n) for n in of(child))\n"
        "print(seen > 5, found)\n"
        "print([n for n in os.environ if any(w in n for w in ('TOKEN', 'MONGO', 'KEY', 'SECRET', 'PASSWORD'))])",
    )
    assert result.text == "True []\n[]\n"


async def test_only_the_mount_table_tells_where_the_service_keeps_a_kernels_own_files(
    arena: Arena, attacker: Session
) -> None:
    if arena.backend != "namespaces":
        return  # its own working directory is one
    result = await arena.attack(
        attacker,
        "import os\n"
        f"data = {str(arena.data_dir)[:8]!r} + {str(arena.data_dir)[8:]!r}\n"
        "told = []\n"
        "for n in ('mountinfo', 'mounts', 'mountstats', 'maps', 'cgroup', 'environ', 'cmdline', 'cpuset'):\n"
        "    try:\n        text = open(f'/proc/self/{n}').read()\n"
        "    except OSError:\n        continue\n"
        "    if data in text: told.append(n)\n"
        "print(told, os.path.realpath('.'))",
    )
    assert result.text in ("[] /work\n", "['mountinfo'] /work\n")


async def test_kernel_is_told_nothing_of_the_services_command_line(
    arena: Arena, attacker: Session
) -> None:
    mine = Path("/proc/self/cmdline").read_bytes().replace(b"\0", b" ").decode().split()[-1]
    result = await arena.attack(
        attacker,
        "import glob\nseen = []\n"
        "for path in glob.glob('/proc/[0-9]*/cmdline'):\n"
        "    try:\n        seen.append(open(path).read())\n"
        "    except OSError:\n        pass\n"
        f"print(len(seen) > 0 or {arena.backend != 'namespaces'}, [s for s in seen if 'pytest' in s or 'secantus' in s])",
    )
    assert result.text == "True []\n", mine
