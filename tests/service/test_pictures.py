"""Pictures that a session's kernel draws of what cells showed."""

import asyncio
import os
import shutil
import struct
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import nbformat
import pytest
import pytest_asyncio

from interpreter import ExecuteResult, Interpreter, Session, Settings
from interpreter.pictures import is_png
from kernel_startup.picture_types import MOST_CONTENT_BYTES, MOST_PNG_BYTES
from tests.attacks.conftest import _where_others_can_read
from tests.installing.index import PackageIndex, make_wheel
from tests.interpreter.test_pictures import png

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40"><g/></svg>'
PLOTLY = "application/vnd.plotly.v1+json"


async def test_drawing_becomes_a_picture(session: Session) -> None:
    drawn = await session.picture(SVG, "image/svg+xml")
    assert drawn is not None
    assert is_png(drawn)
    assert struct.unpack_from(">II", drawn, 16) == (120, 80)


async def test_table_shown_by_a_cell_becomes_a_picture(session: Session) -> None:
    result = await session.execute("pd.DataFrame({'a': range(100), 'b': 'x'})")
    (shown,) = result.outputs
    assert isinstance(shown, ExecuteResult)
    assert await session.picture(shown.data["text/html"].encode(), "text/html")
    assert await session.picture(shown.data["text/csv"].encode(), "text/csv")
    assert shown.data["text/csv"].startswith("a,b\n0,x\n")
    assert "text/csv" not in result.text
    assert "96,x" not in result.text


async def test_exported_notebook_has_no_csv(session: Session) -> None:
    await session.execute("pd.DataFrame({'a': range(1000)})")
    notebook = await session.export_notebook()
    nbformat.validate(notebook)
    assert list(notebook.cells[-1].outputs[0].data) == ["text/plain", "text/html"]


async def test_picture_is_drawn_while_a_cell_runs_and_changes_nothing(session: Session) -> None:
    await session.execute("x = 1")
    running = asyncio.create_task(session.execute("input()", on_input=_wait_for_ever))
    assert await session.picture(rb"$\frac{1}{x}$", "text/latex")
    assert not running.done()
    await session.interrupt()
    await running
    result = await session.execute("import os\nprint(x, os.listdir('.'))")
    assert result.text == "1 []\n"
    assert result.count == 3


async def _wait_for_ever(prompt: str, password: bool) -> str:
    await asyncio.Event().wait()
    return ""


@pytest.mark.parametrize(
    ("content", "mime"),
    [
        (b"", "text/html"),
        (b"x", "text/plain"),
        (b"x", "image/png"),
        (b"x" * (MOST_CONTENT_BYTES + 1), "text/csv"),
        (b"\xff\xfe", "image/svg+xml"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>" + b"<g>" * 200_000, "image/svg+xml"),
    ],
    ids=["nothing", "text", "picture", "too large", "no text", "too deep"],
)
async def test_what_cannot_be_drawn_is_none(session: Session, content: bytes, mime: str) -> None:
    assert (await session.execute("x = 5")).status == "ok"
    assert await session.picture(content, mime) is None
    assert (await session.execute("print(x)")).text == "5\n"


async def test_content_of_the_largest_size_is_drawn(session: Session) -> None:
    content = b"a\n" + b"1\n" * ((MOST_CONTENT_BYTES - 2) // 2)
    assert len(content) == MOST_CONTENT_BYTES
    assert await session.picture(content, "text/csv")


@pytest.mark.parametrize(
    "answer",
    ["None", "b''", "b'x' * 30_000_000", "b'\\x89PNG\\r\\n\\x1a\\n' + b'x' * 5_000_000", "1/0"],
)
async def test_hostile_kernel_can_give_no_other_bytes(session: Session, answer: str) -> None:
    await session.execute(
        f"import kernel_startup.kernel as k\nk.picture_of = lambda *a, **o: {answer}"
    )
    assert await session.picture(SVG, "image/svg+xml") is None


async def test_large_picture_comes_whole(session: Session) -> None:
    large = png(4000, 4000, size=MOST_PNG_BYTES)
    assert len(large) == MOST_PNG_BYTES
    await session.execute(
        "import kernel_startup.kernel as k\n"
        f"large = {large[:50]!r} + b'x' * {len(large) - 70} + {large[-20:]!r}\n"
        "k.picture_of = lambda *a, **o: large"
    )
    drawn = await session.picture(SVG, "image/svg+xml")
    assert drawn is not None
    assert len(drawn) == MOST_PNG_BYTES


async def test_closed_session_draws_nothing(service: Interpreter, user_id: str) -> None:
    session = await service.session(user_id=user_id)
    await session.close()
    assert await session.picture(SVG, "image/svg+xml") is None


_RENDERER = make_wheel(
    "ziamath",
    files={
        "ziamath.py": f"""
class config:
    svg2 = True

class Latex:
    def __init__(self, formula, size):
        pass

    def svg(self):
        return {SVG.decode()!r}
"""
    },
)


@pytest_asyncio.fixture(loop_scope="session", params=["namespaces", "landlock"])
async def customer(request: pytest.FixtureRequest) -> AsyncIterator[Session]:
    """A session of a service with an index where one renderer can be had, and no other."""
    directory = Path(tempfile.mkdtemp(prefix="cellmate-pictures-"))
    directory.chmod(0o711)
    async with PackageIndex.open() as index:
        index.add(_RENDERER)
        settings = Settings(
            data_dir=directory / "data",
            mongodb_uri=os.environ.get("TEST_MONGODB_URI"),
            package_index=index.url,
            sandbox=request.param,
            **(_where_others_can_read() if request.param == "landlock" else {}),
        )
        async with Interpreter.open(settings) as service:
            yield await service.session(user_id="customer")
    shutil.rmtree(directory, ignore_errors=True)


async def test_what_draws_is_installed_when_it_is_needed(customer: Session) -> None:
    matrix = rb"$\begin{matrix}1 & 2\end{matrix}$"
    assert await customer.packages() == ()
    assert await customer.picture(matrix, "text/latex")
    assert await customer.packages() == ("ziamath==1.0",)
    # What can't be had is done without, if it can be.
    assert await customer.picture(b'{"data": [{"y": [1, 2]}]}', PLOTLY) is None
    assert await customer.picture(b"<h1>A page</h1>", "text/html") is None
    page = b"<p>" + b"words " * 100 + b"</p><table><tr><td>1</td></tr></table>"
    assert await customer.picture(page, "text/html")
    assert await customer.packages() == ("ziamath==1.0",)
