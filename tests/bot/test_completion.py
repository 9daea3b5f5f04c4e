"""What Tab offers."""

from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from bot.console.completion import ConsoleCompleter
from interpreter import Completion
from tests.bot.fakes import FakeService, stored_file


async def offered(text: str, service: FakeService | None = None) -> list[str]:
    """The whole line with each completion put in."""
    service = service or FakeService()
    completer = ConsoleCompleter(service, service.only_session)  # type: ignore[arg-type]
    document = Document(text)
    return [
        text[: len(text) + completion.start_position] + completion.text
        async for completion in completer.get_completions_async(document, CompleteEvent())
    ]


async def test_commands() -> None:
    assert await offered(":u") == [":upload"]
    assert await offered(":xyz") == []
    assert len(await offered(":")) > 8


async def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.csv", "two words.csv", "it's.csv", ".hidden", "bad\x1b[2J"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "in.csv").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert await offered(":upload ") == [
        ":upload a.csv",
        ":upload folder/",
        ":upload it\\'s.csv",
        ":upload two\\ words.csv",
    ]
    assert await offered(":upload a.csv two\\ w") == [":upload a.csv two\\ words.csv"]
    assert await offered(":upload folder/") == [":upload folder/in.csv"]
    assert await offered(":upload ~/a") == [":upload ~/a.csv"]
    assert await offered(":upload .h") == [":upload .hidden"]
    assert await offered(f":export {tmp_path}/f") == [f":export {tmp_path}/folder/"]
    assert await offered(":upload /nowhere/x") == []


async def test_file_ids_by_id_and_name() -> None:
    service = FakeService()
    service.files.stored = [stored_file("abc", "sales.csv"), stored_file("xyz", "Plot.png")]
    assert await offered('load_file("', service) == ['load_file("abc', 'load_file("xyz']
    assert await offered("df = load_file('ab", service) == ["df = load_file('abc"]
    assert await offered('x\nFILES["plo', service) == ['x\nFILES["xyz']
    assert await offered(":delete a", service) == [":delete abc"]
    assert await offered(":delete abc x", service) == [":delete abc xyz"]


async def test_the_kernel_is_asked_for_the_rest() -> None:
    service = FakeService()
    service.only_session.completions = Completion(("df.head", "df.hist\x1b"), 0, 4)
    assert await offered("df.h", service) == ["df.head", "df.hist\u241b"]


async def test_a_dead_kernel_offers_nothing() -> None:
    class Dead(FakeService):
        def __init__(self) -> None:
            super().__init__()

            async def complete(code: str, cursor: int) -> Completion:
                raise TimeoutError

            self.only_session.complete = complete  # type: ignore[method-assign]

    assert await offered("df.h", Dead()) == []


async def test_other_commands_have_nothing_to_complete() -> None:
    service = FakeService()
    service.only_session.completions = Completion(("no",), 0, 0)
    assert await offered(":files x", service) == []
