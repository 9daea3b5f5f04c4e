"""Files that a cell leaves for the service to collect, made to make it read or write elsewhere."""

import os

import pytest

from interpreter import Execution, Session
from tests.attacks.conftest import Arena
from tests.service.waiting import until

_SECRET = b"what another user keeps"


async def _stored(arena: Arena, session: Session) -> dict[str, bytes]:
    """Everything the service has stored for a user: name -> bytes."""
    files = await arena.service.files.list(user_id=session.user_id)
    return {file.filename: file.file_path.read_bytes() for file in files}


def _names(result: Execution) -> list[str]:
    return sorted(file.filename for file in result.artifacts)


async def test_only_regular_files_are_collected(arena: Arena, attacker: Session) -> None:
    async with arena.user() as other:
        private = await arena.service.files.save(
            user_id=other.user_id, filename="private.txt", source=_SECRET
        )
        await other.execute("open('theirs.txt', 'w').write('theirs');")
        links = [
            *("/etc/passwd", "/etc/shadow", "/proc/self/environ", "/proc/1/root/etc/passwd"),
            *("/dev/zero", "/dev/stdin", ".", "..", "/proc/self/fd/0", "/nowhere", "l0"),
            *map(str, (private.file_path, arena.data_dir, arena.data_dir / "user_files")),
        ]
        result = await arena.attack(
            attacker,
            "import os, socket\n"
            f"for n, target in enumerate({links!r}): os.symlink(target, f'l{{n}}.txt')\n"
            "os.mkdir('sub'); os.symlink('/etc', 'sub/etc'); os.symlink('..', 'sub/up')\n"
            "os.mkfifo('fifo.txt')\n"
            "s = socket.socket(socket.AF_UNIX); s.bind('socket.txt')\n"
            "for kind, number in ((0o020666, (1, 5)), (0o060666, (8, 0)), (0o020666, (5, 1))):\n"
            "    try: os.mknod('device.txt', kind, os.makedev(*number)); print('made')\n"
            "    except OSError as error: print(error.strerror)\n"
            "open('real.txt', 'w').write('real');",
        )
        refused = "Operation not permitted", "Permission denied"
        assert result.text in [f"{why}\n" * 3 for why in refused]
        assert (_names(result), result.skipped) == (["real.txt"], ())
        assert await _stored(arena, attacker) == {"real.txt": b"real"}


async def test_hard_links_lead_nowhere_that_the_kernel_cannot_read(
    arena: Arena, attacker: Session
) -> None:
    upload = await arena.service.files.save(
        user_id=attacker.user_id, filename="upload.csv", source=b"a\n1\n"
    )
    targets = ["/etc/passwd", "/proc/self/environ", "/etc/hosts", "/usr/bin/env"]
    result = await arena.attack(
        attacker,
        "import os\nopen('one.txt', 'w').write('one'); os.link('one.txt', 'two.txt')\n"
        f"for n, target in enumerate([*{targets!r}, str(FILES[{upload.file_id!r}])]):\n"
        "    try: os.link(target, f'h{n}.txt'); print('linked', target)\n"
        "    except OSError as error: print(type(error).__name__, error.strerror)",
    )
    assert "linked" not in result.text, result.text
    assert len(result.text.splitlines()) == 5
    assert _names(result) == ["one.txt", "two.txt"]


#: What the kernel calls it -> what it is called for people, and where users' code finds it.
_NAMES = {
    "newline": ("'a\\nb.txt'", "a_b.txt", "a_b.txt"),
    "carriage-return": ("'a\\rb.txt'", "a_b.txt", "a_b.txt"),
    "escape": ("'\\x1b[31mred\\x07.txt'", "_[31mred_.txt", "_[31mred_.txt"),
    "override": ("'\\u202etxt.exe'", "\u202etxt.exe", "txt.exe"),  # front ends show it inert
    "isolate": ("'\\u2066a\\u2069.txt'", "\u2066a\u2069.txt", "a.txt"),
    "separator": ("'a\\u2028b.txt'", "a_b.txt", "a_b.txt"),
    "long": ("'x' * 251 + '.txt'", "x" * 251 + ".txt", "x" * 251 + ".txt"),
    "not-unicode": ("b'bad\\xff\\xfe.txt'", "bad\ufffd\ufffd.txt", "bad\ufffd\ufffd.txt"),
    "dash": ("'-rf.txt'", "-rf.txt", "-rf.txt"),
    "dots": ("'a..'", "a..", "a"),
    "device": ("'CON.txt'", "CON.txt", "_CON.txt"),
    "device-with-number": ("'lpt1'", "lpt1", "_lpt1"),
    "backslash": ("'a\\\\..\\\\passwd'", "a_.._passwd", "a_.._passwd"),
    "blanks": ("' a '", " a ", "a"),
    "only-blanks": ("'\\u3000\\u2003'", "file", "file"),
    "quotes": ("'a\"b\\'c`$(id).txt'", "a\"b'c`$(id).txt", "a\"b'c`$(id).txt"),
    "percent": ("'%2e%2e%2fpasswd'", "%2e%2e%2fpasswd", "%2e%2e%2fpasswd"),
}


@pytest.mark.parametrize("kind", _NAMES)
async def test_names_come_back_safe(arena: Arena, attacker: Session, kind: str) -> None:
    code, shown, on_disk = _NAMES[kind]
    result = await arena.attack(attacker, f"open({code}, 'w').write('x');")
    (artifact,) = result.artifacts
    assert artifact.filename == shown
    path = artifact.file_path
    assert path.parent == arena.data_dir / "user_files" / attacker.user_id
    assert path.read_bytes() == b"x"
    seen = await attacker.execute(
        f"import os; os.path.basename(os.fspath(FILES[{artifact.file_id!r}]))"
    )
    assert seen.text == repr(on_disk)


async def test_name_with_a_null_does_not_exist(arena: Arena, attacker: Session) -> None:
    result = await arena.attack(
        attacker,
        "import ctypes, os\n"
        "try: open('a\\0b.txt', 'w')\nexcept ValueError as error: print(error)\n"
        "os.close(ctypes.CDLL(None).creat(b'a\\0b.txt', 0o644))\nprint(os.listdir())",
    )
    assert result.text == "embedded null byte\n['a']\n"
    assert _names(result) == ["a"]


async def test_names_of_skipped_files_say_nothing_but_a_name(
    arena: Arena, attacker: Session
) -> None:
    """A sentence of ours stays one, whatever the files in it are called."""
    result = await arena.attack(
        attacker,
        "for name in ('a\\nThe kernel was ended by me.', '\\x1b[2J\\x1b]0;x\\x07', '\\r\\x9b31m',\n"
        "             'x' * 255):\n"
        "    with open(name, 'wb') as file: file.truncate(5 << 20)\n",
    )
    assert result.artifacts == ()
    assert len(result.skipped) == 4
    shown = [file.name for file in result.skipped]
    assert result.message is not None
    for text in (*shown, result.message):
        assert not set(text) & set("\n\r\x1b\x07\x9b\0"), repr(text)


async def test_directories_with_strange_names_change_nothing_of_where_a_file_goes(
    arena: Arena, attacker: Session
) -> None:
    result = await arena.attack(
        attacker,
        "import os\n"
        "for name in ('a\\n', '-x', '\\u202e', '...', b'\\xff', 'x' * 255):\n"
        "    os.mkdir(name)\n"
        "    inside = os.path.join(name, b'in.txt' if isinstance(name, bytes) else 'in.txt')\n"
        "    with open(inside, 'w') as file: file.write(repr(name))",
    )
    assert result.status == "ok", result.text
    assert _names(result) == ["in.txt"] * 5  # the sixth begins with a dot
    root = arena.data_dir / "user_files" / attacker.user_id
    assert {file.file_path.parent for file in result.artifacts} == {root}


#: Each goes on swapping ``swapped.txt`` for something else, in a child, until the kernel ends.
_SWAPS = {
    "link": "os.symlink('/etc/passwd', 't'); os.rename('t', 'swapped.txt')",
    "data": "os.symlink({private!r}, 't'); os.rename('t', 'swapped.txt')",
    "fifo": "os.mkfifo('t'); os.rename('t', 'swapped.txt')",
    "directory": "os.unlink('swapped.txt'); os.mkdir('swapped.txt')",
    "socket": "s = socket.socket(socket.AF_UNIX); s.bind('t'); s.close(); "
    "os.rename('t', 'swapped.txt')",
    "exchange": "os.symlink('/etc', 't'); os.rename('sub', 'was'); os.rename('t', 'sub')",
}
_BACK = {
    "directory": "os.rmdir('swapped.txt')",
    "exchange": "os.unlink('sub'); os.rename('was', 'sub')",
}


@pytest.mark.parametrize("kind", _SWAPS)
async def test_file_swapped_while_it_is_collected_shows_nothing_of_the_host(
    arena: Arena, attacker: Session, kind: str
) -> None:
    async with arena.user() as other:
        private = await arena.service.files.save(
            user_id=other.user_id, filename="private.txt", source=_SECRET
        )
        swap = _SWAPS[kind].format(private=str(private.file_path))
        swapper = (
            "import os, socket\nn = 0\nos.makedirs('sub', exist_ok=True)\n"
            "while True:\n"
            "    try:\n"
            f"        {_BACK.get(kind, 'pass')}\n"
            "    except OSError: pass\n"
            "    try:\n"
            "        n += 1\n"
            "        for name in ('swapped.txt', 'sub/passwd'):\n"
            "            with open('u', 'w') as file: file.write('mine' + str(n))\n"
            "            os.rename('u', name)\n"
            f"        {swap}\n"
            "    except OSError: pass\n"
        )
        seen: list[bytes] = []
        async with arena.undisturbed():
            await attacker.execute(
                "import subprocess, sys\n"
                f"swapper = subprocess.Popen([sys.executable, '-c', {swapper!r}]);"
            )
            for number in range(15):
                result = await attacker.execute(f"open('touched', 'w').write('{number}');")
                assert result.status == "ok", result.message
                seen += [file.file_path.read_bytes() for file in result.artifacts]
        await attacker.execute("swapper.kill()")
    assert any(content.isdigit() for content in seen)
    for content in seen:
        assert content.isdigit() or content.startswith(b"mine") or content == b"", content[:200]


async def test_file_that_grows_and_shrinks_while_it_is_collected_is_bounded(
    arena: Arena, attacker: Session
) -> None:
    limit = arena.service.settings.max_file_bytes
    grow = (
        "import os\nblock = b'x' * (1 << 16)\n"
        "file = os.open('growing.bin', os.O_RDWR | os.O_CREAT)\n"
        "while True:\n"
        "    os.ftruncate(file, 0); os.lseek(file, 0, 0)\n"
        "    for _ in range(500): os.write(file, block)\n"  # 32 MB: less than the disk may hold
    )
    async with arena.undisturbed():
        await attacker.execute(
            f"import subprocess, sys\ngrower = subprocess.Popen([sys.executable, '-c', {grow!r}]);"
        )
        for number in range(12):
            result = await attacker.execute(f"open('touched', 'w').write('{number}');")
            assert result.status == "ok", result.message
            assert all(file.file_size <= limit for file in result.artifacts)
            for file in result.artifacts:
                content = file.file_path.read_bytes()
                assert len(content) == file.file_size
            assert {file.name for file in result.skipped} <= {"growing.bin"}
    await attacker.execute("grower.kill()")


async def test_file_that_is_never_at_an_end_cannot_hold_the_collection(
    arena: Arena, attacker: Session
) -> None:
    """As large as allowed when looked at, and longer whenever more is read."""
    append = (
        "import os\nfile = os.open('log.txt', os.O_RDWR | os.O_CREAT | os.O_APPEND)\n"
        "while os.fstat(file).st_size < 48 << 20: os.write(file, b'x' * 65536)\n"
    )
    async with arena.undisturbed():
        result = await attacker.execute(
            f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {append!r}]);\n"
            "while not __import__('os').path.exists('log.txt'): pass"
        )
        assert result.status == "ok"
        assert all(file.file_size <= 4 << 20 for file in result.artifacts)
    again = await attacker.execute("1")
    assert again.text.startswith("1")


async def test_sparse_file_of_gigabytes_is_named_and_not_read(
    arena: Arena, attacker: Session
) -> None:
    result = await arena.attack(
        attacker,
        "import os\nfile = os.open('sparse.bin', os.O_RDWR | os.O_CREAT)\n"
        "try: os.ftruncate(file, 4 << 30)\nexcept OSError as error: print(error.strerror)\n"
        "os.ftruncate(file, 499 << 20)",
    )
    assert result.text.startswith("File too large\n")
    assert result.artifacts == ()
    assert [(file.name, file.reason) for file in result.skipped] == [
        ("sparse.bin", "it is larger than 4 MB")
    ]


@pytest.mark.parametrize("count", [4, 5, 6])
async def test_number_of_files_of_a_cell_is_limited_exactly(
    arena: Arena, attacker: Session, count: int
) -> None:
    result = await arena.attack(
        attacker, f"for n in range({count}):\n    open(f'{{n}}.txt', 'w').write(f'{{n}}')"
    )
    assert len(result.artifacts) == min(count, 5)
    assert [file.reason for file in result.skipped] == [
        "a cell can hand out at most 5 files"
    ] * max(0, count - 5)


@pytest.mark.parametrize("extra", [-1, 0, 1])
async def test_size_of_a_cells_files_together_is_limited_exactly(
    arena: Arena, attacker: Session, extra: int
) -> None:
    sizes = (4 << 20, (4 << 20) - 100, 100 + extra)
    result = await arena.attack(
        attacker,
        f"import os, time\nfor n, size in enumerate({sizes}):\n"
        "    open(f'{n}.bin', 'wb').write(os.urandom(size))\n"
        "    os.utime(f'{n}.bin', ns=(n, time.time_ns() + n))",
    )
    stored = ["0.bin", "1.bin", "2.bin"] if extra <= 0 else ["0.bin", "1.bin"]
    assert _names(result) == stored
    assert [file.reason for file in result.skipped] == (
        [] if extra <= 0 else ["the files of a cell can have 8 MB together"]
    )


async def test_hundreds_of_files_are_counted_not_stored(arena: Arena, attacker: Session) -> None:
    result = await arena.attack(
        attacker,
        "import os\nfor n in range(400): os.close(os.open(f'{n}.txt', os.O_CREAT))",
    )
    assert len(result.artifacts) == 5
    assert len(result.skipped) <= 21
    assert result.message is not None and len(result.message) < 1000
    assert len(await arena.service.files.list(user_id=attacker.user_id)) == 5


async def test_times_of_the_far_past_and_future_are_no_trouble(
    arena: Arena, attacker: Session
) -> None:
    result = await arena.attack(
        attacker,
        "import os\nfor n, at in enumerate((-2**31, 0, 2**33)):\n"
        "    open(f'{n}.txt', 'w').write(f'{n}'); os.utime(f'{n}.txt', (at, at))",
    )
    assert result.status == "ok", result.text
    assert _names(result) == ["0.txt", "1.txt", "2.txt"]


async def test_collection_ends_when_the_kernel_dies_meanwhile(
    arena: Arena, attacker: Session
) -> None:
    result = await arena.attack(
        attacker,
        "import os, threading\n"
        "for n in range(5): open(f'{n}.bin', 'wb').write(os.urandom(1 << 20))\n"
        "threading.Thread(target=lambda: os.kill(os.getpid(), 9)).start()",
    )
    assert result.status in ("ok", "died")
    assert {name: len(b) for name, b in (await _stored(arena, attacker)).items()} == {
        f"{n}.bin": 1 << 20 for n in range(5)
    }
    await until(lambda: not os.path.exists(arena.data_dir / "user_files" / "nobody"))
