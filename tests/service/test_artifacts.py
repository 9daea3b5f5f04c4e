"""Files that a cell makes come back, and nothing else does."""

import errno
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from interpreter import HostError, Interpreter, Session
from interpreter.hosts.base import KernelHost, WorkingDirectory
from interpreter.outputs import DisplayData, Stream


def names(files: tuple[object, ...]) -> list[str]:
    return sorted(file.filename for file in files)  # type: ignore[attr-defined]


async def test_new_and_changed_files_are_stored_with_an_id(
    service: Interpreter, session: Session
) -> None:
    first = await session.execute("open('a.txt', 'w').write('one');open('b.txt','w').write('b');")
    assert names(first.artifacts) == ["a.txt", "b.txt"]
    second = await session.execute("open('a.txt', 'w').write('other');")
    (changed,) = second.artifacts
    assert (changed.filename, changed.origin) == ("a.txt", "cell")
    assert changed.file_path.read_bytes() == b"other"
    loaded = await session.execute(f"load_file('{changed.file_id}')")
    assert loaded.text == "'other'"
    assert loaded.artifacts == ()


async def test_files_in_subdirectories_come_back(session: Session) -> None:
    result = await session.execute(
        "import os\nos.makedirs('out/deep')\nopen('out/deep/x.csv', 'w').write('a,b\\n1,2\\n');"
    )
    assert names(result.artifacts) == ["x.csv"]


async def test_hidden_files_links_devices_and_fifos_do_not_come_back(session: Session) -> None:
    result = await session.execute(
        "import os\n"
        "open('.hidden', 'w').write('x')\n"
        "os.makedirs('.cache'); open('.cache/x', 'w').write('x')\n"
        "os.makedirs('__pycache__'); open('__pycache__/x.pyc', 'w').write('x')\n"
        "os.symlink('/etc/passwd', 'link'); os.symlink('/etc', 'linked')\n"
        "os.mkfifo('fifo')\n"
        "import socket; s = socket.socket(socket.AF_UNIX); s.bind('socket')\n"
        "open('real.txt', 'w').write('x');"
    )
    assert result.status == "ok"
    assert names(result.artifacts) == ["real.txt"]
    assert result.skipped == ()


async def test_unchanged_copy_of_an_upload_does_not_come_back(
    service: Interpreter, session: Session
) -> None:
    stored = await service.files.save(
        user_id=session.user_id, filename="in.csv", source=b"a,b\n1,2\n"
    )
    result = await session.execute(
        "import shutil\n"
        f"shutil.copy(FILES['{stored.file_id}'], 'copy.csv')\n"
        "open('changed.csv', 'w').write('a,b\\n1,3\\n');"
    )
    assert names(result.artifacts) == ["changed.csv"]


async def test_number_of_files_is_limited_exactly(session: Session) -> None:
    result = await session.execute("for i in range(5):\n    open(f'{i}.txt', 'w').write(str(i))")
    assert len(result.artifacts) == 5 and result.skipped == ()
    result = await session.execute(
        "for i in range(6):\n    open(f'more{i}.txt', 'w').write(f'm{i}')"
    )
    assert len(result.artifacts) == 5
    (skipped,) = result.skipped
    assert skipped.reason == "a cell can hand out at most 5 files"
    assert result.message == f"Not handed out: {skipped.name}: {skipped.reason}."


@pytest.mark.parametrize(("size", "stored"), [(-1, True), (0, True), (1, False)])
async def test_size_of_a_file_is_limited_exactly(session: Session, size: int, stored: bool) -> None:
    result = await session.execute(
        f"import os; open('big.bin', 'wb').write(os.urandom({(4 << 20) + size}));"
    )
    assert (len(result.artifacts), len(result.skipped)) == ((1, 0) if stored else (0, 1))
    if not stored:
        assert result.skipped[0].name == "big.bin"
        assert result.skipped[0].reason == "it is larger than 4 MB"


async def test_size_of_all_files_together_is_limited(session: Session) -> None:
    result = await session.execute(
        "import os\nfor i in range(3):\n    open(f'{i}.bin', 'wb').write(os.urandom(3 << 20))"
    )
    assert names(result.artifacts) == ["0.bin", "1.bin"]
    assert [(file.name, file.reason) for file in result.skipped] == [
        ("2.bin", "the files of a cell can have 8 MB together")
    ]


async def test_sparse_file_of_a_terabyte_is_named_not_read(session: Session) -> None:
    result = await session.execute(
        "with open('huge.bin', 'wb') as f:\n"
        "    try:\n        f.truncate(400 << 20)\n"
        "    except OSError as e:\n        print(e)"
    )
    assert result.artifacts == ()
    assert names_of_skipped(result.skipped) == ["huge.bin"]


def names_of_skipped(skipped: tuple[object, ...]) -> list[str]:
    return [file.name for file in skipped]  # type: ignore[attr-defined]


async def test_strange_names_come_back_under_safe_ones(session: Session) -> None:
    result = await session.execute(
        "for n in ['ünï 漢字 😀.txt', 'a\\nb.txt', '\\u202egnp.txt', '-rf', 'x' * 251 + '.txt']:\n"
        "    open(n, 'w').write(n)"
    )
    assert result.status == "ok"
    assert len(result.artifacts) == 5
    shown = names(result.artifacts)
    assert "ünï 漢字 😀.txt" in shown
    assert not any("\n" in name or "/" in name for name in shown)


async def test_name_that_is_no_unicode_comes_back(session: Session) -> None:
    result = await session.execute("open(b'bad\\xff.txt', 'w').write('x');")
    assert len(result.artifacts) == 1
    assert result.artifacts[0].filename.endswith(".txt")


async def test_unreadable_and_vanishing_files_are_no_failure(session: Session) -> None:
    result = await session.execute(
        "import os\nopen('locked', 'w').write('x'); os.chmod('locked', 0)\n"
        "os.makedirs('dark'); open('dark/x', 'w').write('x'); os.chmod('dark', 0)\n"
        "open('gone', 'w').write('x'); os.remove('gone')\n"
        "open('fine', 'w').write('x');"
    )
    assert result.status == "ok"
    assert "fine" in names(result.artifacts) and "gone" not in names(result.artifacts)


async def test_figure_shown_and_saved_with_the_same_bytes_names_the_file(
    session: Session,
) -> None:
    result = await session.execute(
        "import io\nfrom IPython.display import Image, display\n"
        "fig, ax = plt.subplots(); ax.plot([1, 2])\n"
        "buffer = io.BytesIO(); fig.savefig(buffer); plt.close(fig)\n"
        "open('figure.png', 'wb').write(buffer.getvalue())\n"
        "display(Image(buffer.getvalue()))"
    )
    (artifact,) = result.artifacts
    pictures = [output for output in result.outputs if isinstance(output, DisplayData)]
    assert [picture.file_id for picture in pictures] == [artifact.file_id]


async def test_file_saved_again_with_the_same_bytes_keeps_its_id(session: Session) -> None:
    code = "open('same.txt', 'w').write('same');"
    first = await session.execute(code)
    second = await session.execute("import os; os.remove('same.txt')\n" + code)
    assert [file.file_id for file in second.artifacts] == [first.artifacts[0].file_id]


class _Unsighted:
    """A host that can't look at files, or can't read them, for what its machine lacks."""

    def __init__(self, host: KernelHost, step: str, error: Exception) -> None:
        self._host, self._step, self._error = host, step, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    async def scan(self, slot: str) -> WorkingDirectory:
        if self._step == "scan":
            raise self._error
        return await self._host.scan(slot)

    async def read(self, slot: str, path: str) -> AsyncIterator[bytes]:
        if self._step == "read":
            raise self._error
        async for piece in self._host.read(slot, path):
            yield piece


_LACK = OSError(errno.EMFILE, "Too many open files")
_UNSEEN = (
    "Not handed out: files it may have saved: the working directory can't be looked at just now; "
    "they come with the next cell."
)
_UNREAD = (
    "Not handed out: late.txt: this machine lacks memory or open files for it just now; it stays "
    "in the working directory and is handed out with the next cell."
)


@pytest.mark.parametrize(
    ("step", "error", "sentence"),
    [
        ("scan", _LACK, _UNSEEN),
        ("scan", HostError("it is gone"), _UNSEEN),
        ("read", _LACK, _UNREAD),
        ("read", HostError("it is gone"), _UNSEEN),
    ],
)
async def test_what_can_not_be_looked_at_just_now_comes_with_the_next_cell(
    session: Session, step: str, error: Exception, sentence: str
) -> None:
    await session.execute("open('early.txt', 'w').write('early');")
    assert await session.cull("It was stopped.")
    cells = session._cells
    host = cells._host
    cells._host = cast(KernelHost, _Unsighted(host, step, error))
    try:
        result = await session.execute("print(6 * 7); open('late.txt', 'w').write('late');")
    finally:
        cells._host = host
    assert (result.status, result.outputs) == ("ok", (Stream("stdout", "42\n"),))
    assert result.artifacts == ()
    assert result.message == f"It was stopped. There were no variables. {sentence}"
    later = await session.execute("1;")
    assert (names(later.artifacts), later.message) == (["late.txt"], None)


async def test_too_many_files_to_look_at_is_said(session: Session) -> None:
    result = await session.execute(
        "import os\nos.mkdir('many')\n"
        "for i in range(11_000):\n    os.close(os.open(f'many/{i}', os.O_CREAT))",
        timeout_s=120,
    )
    assert result.status == "ok"
    assert any("too many" in file.reason for file in result.skipped)
    # Now that the scan gets further again, what it had not seen before is still not new.
    fewer = await session.execute("for i in range(5000):\n    os.remove(f'many/{i}')")
    assert fewer.artifacts == ()
    await session.execute("import shutil; shutil.rmtree('many')")
