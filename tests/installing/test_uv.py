"""uv in its sandbox: what it can reach there, how its failures are read, whom it may speak to."""

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from interpreter.hosts.installing import (
    IndexSettings,
    InstallFailed,
    InstallLimits,
    Locked,
    PackageInstaller,
    bytecode,
    indexes,
)
from interpreter.hosts.installing.failures import explain
from interpreter.hosts.installing.locks import read_lock, read_requirements
from interpreter.kernel_env import KernelEnvironment
from kernel_startup import landlock
from tests.installing.index import PackageIndex, make_wheel

pytestmark = pytest.mark.timeout(120)

CORE = {"numpy": "2.4.6", "pandas": "3.1.1"}
_HASH = f"    --hash=sha256:{'0' * 64}"


# What uv says (real outputs of uv 0.13.9) ------------------------------------------------------

_NO = "error: No solution found when resolving dependencies\n  cause: Because "
_END = ", we can conclude that your requirements are unsatisfiable.\n"
SAID = [
    (f"{_NO}gone was not found in the package registry and you require gone{_END}",
     "not_found", "gone"),
    (f"{_NO}nothere was not found in the package registry and all versions of lacks depend on "
     "nothere>=1, we can conclude that all versions of lacks cannot be used.\n         And because "
     f"you require lacks{_END}", "not_found", "nothere"),
    (f"{_NO}only fine<=2.0 is available and you require fine>=9{_END}", "no_version", "fine"),
    (f"{_NO}there is no version of fine==9.9 and you require fine==9.9{_END}",
     "no_version", "fine"),
    (f"{_NO}yanky==1.0 was yanked (reason: bad) and only yanky==1.0 is available, we can conclude "
     "that all versions of yanky cannot be used.\n         And because you require "
     f"yanky{_END}", "no_version", "yanky"),
    (f"{_NO}src==1.0 has no usable wheels and only src==1.0 is available, we can conclude that all "
     f"versions of src cannot be used.\n         And because you require src{_END}",
     "no_wheel", "src"),
    (f"{_NO}winny==1.0 has no wheels with a matching platform tag (e.g., `manylinux_2_36_x86_64`) "
     "and only winny==1.0 is available, we can conclude that all versions of winny cannot be "
     f"used.\n         And because you require winny{_END}", "no_wheel", "winny"),
    (f"{_NO}newpy==1.0 requires Python >=3.99 and only newpy==1.0 is available, we can conclude "
     f"that all versions of newpy cannot be used.\n And because you require newpy{_END}",
     "no_wheel", "newpy"),
    (f"{_NO}all versions of oldnum depend on numpy<2 and numpy==2.4.6, we can conclude that all "
     f"versions of oldnum cannot be used.\n         And because you require oldnum{_END}",
     "conflict", "oldnum"),
    (f"{_NO}you require numpy>=2.5 and numpy==2.4.6{_END}", "conflict", "numpy"),
    (f"{_NO}all versions of bb depend on fine>=2 and all versions of aa depend on fine<2, we can "
     "conclude that all versions of aa and all versions of bb are incompatible.\n         And "
     f"because you require aa and bb{_END}", "conflict", ""),
    (f"{_NO}fine was not found in the package registry and you require fine{_END}\nhint: An index "
     "URL (http://127.0.0.1:4/simple) could not be queried due to a lack of valid authentication "
     "credentials (401 Unauthorized)\n", "unreachable", ""),
    (f"{_NO}fine was not found in the cache and you require fine{_END}\nhint: Packages were "
     "unavailable because the network was disabled.\n", "unreachable", "fine"),
    ("error: Failed to download `wrong-hash==1.0`\n  cause: Hash mismatch for `wrong-hash==1.0`\n\n"
     "         Expected:\n           sha256:00\n", "hash", "wrong-hash"),
    ("error: Failed to download `err==1.0`\n  cause: Failed to fetch: http://127.0.0.1:4/files/err"
     "-1.0-py3-none-any.whl\n  cause: HTTP status server error (500 As said) for url (http://x)\n",
     "unreachable", "err"),
    ("error: Failed to download `cutt==1.0`\n  cause: Failed to write to the distribution cache\n"
     "  cause: error decoding response body\n  cause: request or response body error\n",
     "unreachable", "cutt"),
    ("error: Failed to fetch: http://127.0.0.1:4/simple/page/\n  cause: HTTP status server error "
     "(500 As said) for url (http://127.0.0.1:4/simple/page/)\n", "unreachable", "page"),
    ("error: Failed to fetch: http://127.0.0.1:4/simple/slow/\n  cause: error sending request for "
     "url (http://127.0.0.1:4/simple/slow/)\n  cause: operation timed out\n", "timeout", "slow"),
    ("error: Failed to fetch: http://no.invalid/simple/fine/\n  cause: error sending request for "
     "url (http://no.invalid/simple/fine/)\n  cause: client error (Connect)\n  cause: dns error\n",
     "unreachable", "fine"),
    ("error: Package metadata name `other` does not match given name `lying`\n",
     "unsafe", "lying"),
    ("error: Failed to download `badrec==1.0`\n  cause: `RECORD` file is invalid\n  cause: CSV "
     "deserialize error\n", "unsafe", "badrec"),
    ("error: Failed to download `notzip==1.0`\n  cause: Failed to extract archive: notzip-1.0-py3-"
     "none-any.whl\n  cause: Invalid zip file structure\n", "unsafe", "notzip"),
    ("error: Failed to resolve dependencies for package `trap==1.0`\n  cause: Package `evil` was "
     "included as a URL dependency. URL dependencies must be expressed as direct requirements or "
     "constraints.\n", "unsafe", "trap"),
    ("error: Failed to install: big-1.0-py3-none-any.whl (big==1.0)\n  cause: failed to write "
     "file: No space left on device (os error 28)\n", "disk", ""),
    ("error: Network connectivity is disabled, but the requested data wasn't found in the cache "
     "for: `x`\n", "unreachable", ""),
    ("something else altogether\n", "internal", ""),
    ("", "internal", ""),
]  # fmt: skip


@pytest.mark.parametrize(("output", "kind", "subject"), SAID)
def test_failures_are_told_apart(output: str, kind: str, subject: str) -> None:
    failure = explain(output, CORE)
    assert (failure.kind, failure.subject) == (kind, subject)
    assert "http" not in str(failure)


def test_conflict_names_what_all_kernels_have() -> None:
    output = f"{_NO}all versions of x depend on numpy<2 and numpy==2.4.6{_END}"
    assert explain(output, CORE).detail == "all kernels have numpy 2.4.6"


def test_output_of_any_length_is_read_quickly() -> None:
    explain("error: " + "a-" * 50_000 + "\n" + "x==" * 50_000, CORE)


# Requirements and locks -------------------------------------------------------------------------


def test_requirements_have_one_form() -> None:
    asked = ["Sea_Born >= 0.13, <1", "zip.pkg[b,A]", "seaborn; python_version>'3'", "zip.pkg[b,A]"]
    assert read_requirements(asked) == (
        "sea-born<1,>=0.13",
        'seaborn; python_version > "3"',
        "zip-pkg[A,b]",
    )


@pytest.mark.parametrize(
    "text", ["", "a b", "x @ file:///x", "x\n", "x\n-r y", "-e .", "./x", "x" * 2000, "\u0430bc"]
)
def test_what_is_no_requirement(text: str) -> None:
    with pytest.raises(InstallFailed) as caught:
        read_requirements([text])
    assert caught.value.kind == "bad"


def test_lock_is_read_in_any_order_and_written_in_one() -> None:
    text = f"B_x==1.0 \\\n{_HASH}\na==2 \\\n{_HASH.replace('0', '1', 1)} \\\n{_HASH}\n"
    locked = read_lock(text.replace("sha2561", "sha256:1"), without={"core"})
    assert locked.packages == (("a", "2"), ("b-x", "1.0"))
    assert read_lock(locked.text) == locked
    assert read_lock(locked.text, without={"a"}).packages == (("b-x", "1.0"),)
    assert read_lock("") == Locked("", ())


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("a==1\n", "hash"),
        ("-r other\n", "bad"),
        (f"--index-url http://x\na==1 \\\n{_HASH}\n", "bad"),
        (f"a @ http://x \\\n{_HASH}\n", "bad"),
        (f"a==1 --no-binary :all: \\\n{_HASH}\n", "bad"),
        (f"a==not!a!version \\\n{_HASH}\n", "bad"),
        ("a==1 \\\n    --hash=md5:00\n", "bad"),
    ],
)
def test_what_is_no_lock(text: str, kind: str) -> None:
    with pytest.raises(InstallFailed) as caught:
        read_lock(text)
    assert caught.value.kind == kind


# Whom uv may speak to ---------------------------------------------------------------------------


async def test_index_is_the_one_that_uv_is_configured_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://us:word@index.test/simple")
    monkeypatch.setenv("UV_INDEX", "https://more.test:444/simple")
    found = await indexes.find_indexes(IndexSettings(extra=("http://extra.test/",)), tmp_path)
    assert found.urls == (
        "http://extra.test/",
        "https://more.test:444/simple",
        "https://us:word@index.test/simple",
    )
    assert found.places() == {("extra.test", 80), ("more.test", 444), ("index.test", 443)}
    assert found.environ("file:///core") == {
        "UV_DEFAULT_INDEX": "https://us:word@index.test/simple",
        "UV_INDEX": "file:///core http://extra.test/ https://more.test:444/simple",
    }


async def test_index_of_the_settings_comes_before_uvs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://other.test/simple")
    found = await indexes.find_indexes(IndexSettings("https://index.test/simple"), tmp_path)
    assert found.urls == ("https://index.test/simple",)


def test_hosts_that_an_operator_added() -> None:
    hosts = indexes.canonical_hosts((" Files.test", "other.test:8080"))
    reach = indexes.Reach(indexes.Indexes(("https://index.test/simple",)), hosts)
    for host, port, may in (
        ("index.test", 443, True),
        ("index.test", 80, False),
        ("files.test", 443, True),
        ("files.test", 80, True),
        ("files.test", 22, False),
        ("other.test", 8080, True),
        ("other.test", 443, False),
        ("others.test", 443, False),
    ):
        assert reach.configured((host, port)) is may, (host, port)


@pytest.mark.parametrize(
    ("address", "private_index", "may"),
    [
        ("8.8.8.8", False, True),
        ("2606:4700::1111", False, True),
        ("10.1.2.3", False, False),
        ("10.1.2.3", True, True),
        ("192.168.0.9", False, False),
        ("fd00::1", False, False),
        ("127.0.0.1", True, False),
        ("127.9.9.9", True, False),
        ("::1", True, False),
        ("::ffff:127.0.0.1", True, False),
        ("::ffff:10.0.0.1", False, False),
        ("169.254.169.254", True, False),
        ("fe80::1", True, False),
        ("0.0.0.0", True, False),
        ("::", True, False),
        ("255.255.255.255", True, False),
        ("224.0.0.1", True, False),
    ],
)
def test_addresses_that_an_index_may_name(address: str, private_index: bool, may: bool) -> None:
    assert indexes._forbidden(address, private=private_index) is not may


async def test_hosts_are_learned_from_pages_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async with PackageIndex.open() as index:
        index.add(make_wheel("near"), at="files")
        index.add(make_wheel("far"), at="https://192.0.2.7:8443/files")
        reach = indexes.Reach(indexes.Indexes((index.url,)), ())
        # The index is on this machine, so its files may be in a private network.
        assert await reach.learn(("192.0.2.7", 8443), ["near"]) is None
        assert await reach.learn(("192.0.2.7", 443), ["near", "far"]) is None
        assert await reach.learn(("192.0.2.7", 8443), ["near", "far"]) == ("192.0.2.7",)
        asked = index.requests.total()
        assert await reach.learn(("192.0.2.7", 8443), ["near"]) == ("192.0.2.7",)
        assert index.requests.total() == asked


# The sandbox ------------------------------------------------------------------------------------


@pytest.fixture(params=["namespaces", "landlock"])
async def installer(
    request: pytest.FixtureRequest, environment: KernelEnvironment, directory: Path
) -> AsyncIterator[PackageInstaller]:
    """An installer whose index has nothing."""
    if request.param == "landlock" and landlock.version() < landlock.OLDEST_VERSION:
        pytest.skip("this system has no Landlock")
    async with (
        PackageIndex.open() as index,
        PackageInstaller.open(
            root=directory / "packages",
            environment=environment,
            backend=request.param,
            index=IndexSettings(index.url),
            limits=InstallLimits(timeout_s=60),
        ) as opened,
    ):
        yield opened


def run_inside(installer: PackageInstaller, code: str) -> object:
    """What a Python says in uv's place."""
    sandbox = installer._runner.sandbox
    program = [
        sandbox.python,
        "-I",
        "-S",
        "-c",
        f"import json, os\n{code}\nprint(json.dumps(said))",
    ]
    answer = subprocess.run(
        sandbox.command(program),
        env=sandbox.environ(),
        cwd=sandbox.root / "stage",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(answer.stdout)


_TRY = """
said = []
def attempt(what):
    try:
        what()
    except (OSError, PermissionError):
        return
    said.append(what.__name__)
"""


def test_only_cache_and_stage_can_be_written(
    installer: PackageInstaller, directory: Path, environment: KernelEnvironment
) -> None:
    outside = directory / "outside"
    outside.mkdir()
    root = installer._runner.sandbox
    places = {
        "stage": root.inside("stage", "new"),
        "cache": root.inside("cache", "new"),
        "layers": root.inside("layers", "new"),
        "known": root.inside("known", "new"),
        "known layers": root.inside("known", "layers", "new.json"),
        "outside": str(outside / "new"),
        "environment": str(environment.path / "new"),
        "usr": "/usr/new",
        "etc": "/etc/new",
        "root": "/new",
    }
    code = f"""{_TRY}
for name, path in {places!r}.items():
    def write():
        with open(path, "w") as file:
            file.write("x")
    write.__name__ = name
    attempt(write)
"""
    assert run_inside(installer, code) == ["stage", "cache"]
    for name in ("stage", "cache"):
        (root.root / name / "new").unlink()


def test_secrets_and_other_files_cannot_be_read(
    installer: PackageInstaller, directory: Path
) -> None:
    (directory / "outside").write_text("secret")
    layer = installer._layers.adopt(Path(), Locked("", ()))
    inside = installer._runner.sandbox.inside
    paths = [
        inside("secret"),
        str(directory / "outside"),
        str(Path(__file__)),
        "/etc/shadow",
        "/proc/1/environ",
    ]
    code = f"""{_TRY}
for path in {paths!r}:
    def read():
        if not open(path).read():
            raise OSError
    attempt(read)
try:
    said += os.listdir({inside("layers")!r})
except OSError:
    pass
"""
    assert layer.path.is_dir()
    assert run_inside(installer, code) == []


def test_environment_is_empty_but_for_what_uv_needs(
    installer: PackageInstaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANTED_TOKEN", "secret")
    assert "PLANTED_TOKEN" not in str(run_inside(installer, "said = dict(os.environ)"))


def test_network_is_out_of_reach(installer: PackageInstaller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"""{_TRY}
import _socket
def loopback():
    _socket.socket().connect(("127.0.0.1", {port}))
attempt(loopback)
"""
        assert run_inside(installer, code) == []


def test_nothing_can_be_gained(installer: PackageInstaller) -> None:
    code = """
import ctypes
libc = ctypes.CDLL(None)
said = [libc.mount(b"none", b"/tmp", b"tmpfs", 0, None), libc.prctl(39, 0, 0, 0, 0)]
"""
    assert run_inside(installer, code) == [-1, 1]  # no mounts; no-new-privs is set


def test_limits_are_set(installer: PackageInstaller) -> None:
    code = """
import resource
said = [resource.getrlimit(kind)[0] for kind in
        (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_CPU, resource.RLIMIT_AS)]
"""
    size, core, cpu, memory = run_inside(installer, code)  # type: ignore[misc]
    assert 0 < size < 2 << 30
    assert core == 0
    assert 0 < cpu < 10_000
    assert 0 < memory < 16 << 30


async def test_large_layer_gets_bytecode_without_running_anything(
    environment: KernelEnvironment, directory: Path
) -> None:
    source = "raise SystemExit('run')\n" + "x = 1  # " + "x" * 1000 + "\n"
    source *= bytecode.WORTH_BYTES // len(source) + 1
    async with PackageIndex.open() as index:
        files = {"large/__init__.py": source, "large/broken.py": "def", "large/tests/t.py": ""}
        index.add(make_wheel("large", files=files))
        async with PackageInstaller.open(
            root=directory / "packages",
            environment=environment,
            backend="namespaces",
            index=IndexSettings(index.url),
            limits=InstallLimits(),
        ) as installer:
            layer = await installer.build(await installer.resolve(["large"]))
            await asyncio.gather(*installer._compiling)
            cached = list(layer.path.rglob("*.pyc"))
            assert [path.name.split(".")[0] for path in cached] == ["__init__"]
            assert os.listdir(directory / "packages" / "stage") == []
            assert await installer.build(await installer.resolve(["large"])) == layer
