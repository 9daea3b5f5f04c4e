"""Packages that cells lack: installed off the clock, shared, refused with a sentence."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from interpreter import Interpreter, PackagesDisabled, Session, Settings
from interpreter.hosts.installing import Layer, Locked
from tests.attacks.conftest import _where_others_can_read
from tests.installing.index import PackageIndex, make_sdist, make_wheel

_PLAIN = make_wheel(
    "plainly",
    "1.2",
    files={"plainly/__init__.py": "value = 'plain'\n", "plainly/inner.py": "value = 3\n"},
)
_OLD = make_wheel("changing", "1.0", files={"changing.py": "version = 1\n"})
_NEW = make_wheel("changing", "2.0", files={"changing.py": "version = 2\n"})
_BASE = make_wheel("basely", "3.0", files={"basely.py": "value = 'base'\n"})
_UPON = make_wheel("upon", "1.0", files={"upon.py": "import basely\n"}, requires=["basely>=2"])
_PART = make_wheel("spaced-part", "1.0", files={"spaced_part/inner/__init__.py": "value = 5\n"})
_CLASH = make_wheel("clashing", requires=["pandas<1"])
_FOREIGN = make_wheel("foreign", tag="cp311-cp311-win_amd64")
_BEHIND = make_wheel("behindly", files={"behindly.py": "value = 'found late'\n"})


@dataclass(frozen=True, slots=True)
class Shop:
    """A service whose packages come from an index of the tests."""

    service: Interpreter
    index: PackageIndex
    settings: Settings


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["namespaces", "landlock"])
async def shop(request: pytest.FixtureRequest) -> AsyncIterator[Shop]:
    """One for all tests, on each backend."""
    directory = Path(tempfile.mkdtemp(prefix="cellmate-shop-"))
    directory.chmod(0o711)
    async with PackageIndex.open() as index:
        index.add(_PLAIN, _OLD, _NEW, _BASE, _UPON, _PART, _CLASH, _FOREIGN, _BEHIND)
        index.add(make_sdist("sourcely"))
        settings = _settings(directory / "data", index, request.param)
        async with Interpreter.open(settings) as service:
            yield Shop(service, index, settings)
    shutil.rmtree(directory, ignore_errors=True)


def _settings(data_dir: Path, index: PackageIndex, sandbox: str, **more: Any) -> Settings:
    return Settings(
        data_dir=data_dir,
        mongodb_uri=os.environ.get("TEST_MONGODB_URI"),
        package_index=index.url,
        sandbox=sandbox,
        packages_denied="basely==1.*, forbidden*",
        max_kernels=40,
        **(_where_others_can_read() if sandbox == "landlock" else {}),
        **more,
    )


@pytest_asyncio.fixture(loop_scope="session")
async def buyer(shop: Shop, user_id: str) -> AsyncIterator[Session]:
    """A user nobody else is."""
    session = await shop.service.session(user_id=f"buyer-{user_id}")
    yield session
    await session.close()


async def test_import_of_what_is_not_there_installs_it_and_the_cell_goes_on(
    buyer: Session,
) -> None:
    result = await buyer.execute("import plainly\nplainly.value")
    assert (result.status, result.text) == ("ok", "'plain'")
    assert result.installed == ("plainly==1.2",)
    assert result.durations.install_s > 0
    again = await buyer.execute("import plainly\nplainly.value")
    assert (again.text, again.installed, again.durations.install_s) == ("'plain'", (), 0)


async def test_dependencies_come_along_and_are_named(buyer: Session) -> None:
    result = await buyer.execute("import upon\nupon.basely.value")
    assert (result.status, result.text) == ("ok", "'base'")
    assert set(result.installed) == {"basely==3.0", "upon==1.0"}
    assert await buyer.packages() == ("basely==3.0", "upon==1.0")


async def test_import_in_mid_cell_waits_off_the_clock(
    shop: Shop, buyer: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = shop.service._host
    install = host.install

    async def slow(locked: Locked) -> Layer:
        await asyncio.sleep(3)
        return await install(locked)

    monkeypatch.setattr(type(host), "install", lambda _, locked: slow(locked))
    code = "import time; time.sleep(0.5)\nname = 'behind' + 'ly'\n__import__(name).value"
    result = await buyer.execute(code, timeout_s=2)
    assert (result.status, result.text) == ("ok", "'found late'")
    assert result.durations.install_s >= 3 and result.durations.run_s < 2


async def test_module_of_a_package_that_is_not_there_is_found(buyer: Session) -> None:
    result = await buyer.execute("from plainly.inner import value\nvalue")
    assert (result.text, result.installed) == ("3", ("plainly==1.2",))


async def test_part_of_a_namespace_is_found(buyer: Session) -> None:
    await buyer.install("spaced-part")
    result = await buyer.execute("from spaced_part.inner import value\nvalue")
    assert result.text == "5"


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("nowhere_to_be_found", "There is no package nowhere-to-be-found on the index."),
        ("sourcely", "sourcely has no wheel for this Python and platform, and packages aren't"),
        ("foreign", "foreign has no wheel for this Python and platform, and packages aren't"),
        ("clashing", "clashing doesn't go together with what is installed"),
        ("forbidden_fruit", "forbidden-fruit may not be installed here"),
        ("reqeusts", "reqeusts was not installed: it looks like a slip of requests."),
    ],
)
async def test_what_can_not_be_had_is_an_import_error_with_the_reason(
    buyer: Session, module: str, sentence: str
) -> None:
    result = await buyer.execute(f"print('before')\nimport {module}")
    assert result.status == "error" and result.text.startswith("before\n")
    assert "ModuleNotFoundError: No module named" in result.text
    assert sentence in result.text.replace("\n", " "), result.text
    assert "Traceback" in result.text and "kernel_startup" not in result.text


async def test_guarded_import_that_fails_is_no_error(buyer: Session) -> None:
    code = "try:\n    import nowhere_to_be_found\nexcept ImportError:\n    print('without')"
    result = await buyer.execute(code)
    assert (result.status, result.text) == ("ok", "without\n")


async def test_one_that_fails_keeps_no_other_from_being_installed(buyer: Session) -> None:
    result = await buyer.execute("import plainly, basely\nimport nowhere_to_be_found")
    assert result.status == "error"
    assert set(result.installed) == {"plainly==1.2", "basely==3.0"}


@pytest.mark.parametrize(
    "code",
    ["%pip install plainly", "!pip install plainly", "pip install plainly", "%uv add plainly"],
)
async def test_pip_by_hand_goes_the_same_way(buyer: Session, code: str) -> None:
    result = await buyer.execute(code)
    assert result.status == "ok", result.text
    assert (result.installed, "plainly 1.2" in result.text) == (("plainly==1.2",), True)
    assert (await buyer.execute("import plainly; plainly.value")).text == "'plain'"


async def test_versions_can_be_named_and_changed_with_a_restart_recommended(
    buyer: Session,
) -> None:
    await buyer.execute("%pip install changing==1.0")
    assert (await buyer.execute("import changing; changing.version")).text == "1"
    result = await buyer.execute("%pip install -U changing==2.0")
    assert result.installed == ("changing==2.0",)
    assert "restart" in result.text
    await buyer.restart()
    assert (await buyer.execute("import changing; changing.version")).text == "2"


async def test_pip_list_and_uninstall(buyer: Session) -> None:
    await buyer.execute("%pip install upon")
    listed = (await buyer.execute("%pip list")).text
    assert "upon" in listed and "basely" in listed and "pandas" in listed
    gone = await buyer.execute("%pip uninstall -y upon")
    assert gone.status == "ok" and "upon" in gone.text
    assert await buyer.packages() == ()
    kept = await buyer.execute("%pip uninstall pandas")
    assert "belongs to every kernel here" in kept.text


async def test_core_can_not_be_replaced(buyer: Session) -> None:
    result = await buyer.execute("%pip install pandas==1.0")
    assert "belongs to every kernel here and can't be replaced" in result.text.replace("\n", " ")
    there = await buyer.execute("%pip install pandas")
    assert there.status == "ok" and there.installed == ()


async def test_two_users_download_once(shop: Shop, user_id: str) -> None:
    wheel = make_wheel(f"shared{user_id}", files={f"shared{user_id}.py": "value = 1\n"})
    shop.index.add(wheel)
    sessions = [await shop.service.session(user_id=f"{user_id}-{n}") for n in range(5)]
    code = f"import shared{user_id}\nshared{user_id}.value"
    results = await asyncio.gather(*(session.execute(code) for session in sessions))
    assert [result.text for result in results] == ["1"] * 5
    assert shop.index.downloads(wheel) == 1
    for session in sessions:
        await session.close()


async def test_packages_outlive_kernel_session_and_layer(shop: Shop, user_id: str) -> None:
    session = await shop.service.session(user_id=user_id)
    assert (await session.execute("import plainly")).installed
    await session.restart()
    assert (await session.execute("import plainly; plainly.value")).text == "'plain'"
    await session.close()
    session = await shop.service.session(user_id=user_id)
    result = await session.execute("import plainly; plainly.value")
    assert (result.text, result.installed) == ("'plain'", ())
    await session.close()


async def test_interrupt_ends_an_installation(shop: Shop, buyer: Session) -> None:
    shop.index.page_faults["neverly"] = "silent"
    cell = asyncio.create_task(buyer.execute("kept = 1\nimport neverly"))
    await shop.index.asked_for("/simple/neverly/")
    assert await buyer.interrupt()
    result = await cell
    assert (result.status, result.state_lost) == ("interrupted", False)
    assert (await buyer.execute("1 + 1")).text == "2"


async def test_tool_installs_without_a_kernel(shop: Shop, buyer: Session) -> None:
    done = await buyer.install("plainly", "nowhere_to_be_found")
    assert done.installed == ("plainly==1.2",)
    assert done.failed == {
        "nowhere_to_be_found": "There is no package nowhere-to-be-found on the index."
    }
    assert done.message.startswith("Installed plainly 1.2 in ")
    assert (await buyer.execute("import plainly; plainly.value")).text == "'plain'"
    assert (await buyer.uninstall("plainly")).removed == ("plainly",)
    with pytest.raises(ValueError, match="from 1 to 50"):
        await buyer.install()


@pytest.mark.parametrize(
    "requirement",
    [
        "plainly @ http://127.0.0.1/x.whl",
        "../plainly",
        "-r x",
        "plainly; import os",
        "a" * 300,
        "\0",
    ],
)
async def test_requirement_that_is_none_is_refused_in_a_sentence(
    buyer: Session, requirement: str
) -> None:
    done = await buyer.install(requirement)
    (sentence,) = done.failed.values()
    assert done.installed == () and sentence.endswith(".") and len(sentence) < 300


async def test_hostile_requests_harm_nobody(buyer: Session) -> None:
    code = """
kernel = get_ipython().kernel
parent, ident = kernel.get_parent('shell'), kernel._parent_ident['shell']
for content in ({}, {'action': 'install'}, {'action': 'install', 'kind': 'import',
        'requirements': ['x'] * 10**5}, {'action': 'install', 'kind': 'command',
        'requirements': ['x' * 10**6]}, {'action': 'install', 'kind': 'import',
        'requirements': [None]}, {'action': 'uninstall', 'kind': 'command',
        'requirements': ['pandas', '../../etc']}) * 20:
    kernel.session.send(kernel.stdin_socket, 'install_request', content, parent, ident=ident)
"""
    result = await buyer.execute(code, timeout_s=20)
    assert result.status == "ok", result.text
    assert (await buyer.execute("import plainly; plainly.value")).text == "'plain'"


async def test_layers_are_nobodys_to_change_or_list(shop: Shop, buyer: Session) -> None:
    """Without users of their own kernels may list them; what changes them then does nothing."""
    await buyer.execute("import plainly")
    code = """
import os
path = next(p for p in sys.path if p.endswith('/current'))
def fails(do):
    try: do()
    except OSError: return True
print(fails(lambda: open(os.path.join(path, 'plainly', 'x.py'), 'w')),
      fails(lambda: os.unlink(os.path.join(path, 'plainly', '__init__.py'))),
      fails(lambda: os.unlink(path)))
was = os.stat(path).st_mode
fails(lambda: os.chmod(os.path.realpath(path), 0o777))
print(os.stat(path).st_mode == was,
      OWN and not fails(lambda: os.listdir(os.path.dirname(os.path.realpath(path)))))
"""
    own_users = os.geteuid() == 0
    result = await buyer.execute("import sys" + code.replace("OWN", str(own_users)))
    assert result.text == "True True True\nTrue False\n"


async def test_service_without_packages_installs_none(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", install_packages=False)
    async with Interpreter.open(settings) as service:
        session = await service.session(user_id="u")
        result = await session.execute("import plainly")
        assert "ModuleNotFoundError: No module named 'plainly'" in result.text
        with pytest.raises(PackagesDisabled):
            await session.install("plainly")
        assert await session.packages() == ()
