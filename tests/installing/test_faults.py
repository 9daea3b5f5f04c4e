"""What an index, its packages and their askers can do wrong, against a real uv in its sandbox."""

import asyncio
import functools
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from interpreter.hosts.installing import IndexSettings, InstallFailed, Locked
from tests.installing.conftest import Yard, with_limits
from tests.installing.index import Entry, Fault, Release, link, make_sdist, make_wheel

pytestmark = pytest.mark.timeout(180)

_MIB = 1 << 20


def sound(name: str = "sound") -> Release:
    """A wheel with nothing wrong about it, of a size that takes more than one read."""
    return make_wheel(name, files={f"{name}.py": f"# {'x' * 300_000}\nvalue = 1\n"})


# What is asked for ----------------------------------------------------------------------------

# These are about what is asked for, what the index says, the proxy before it, and what is made of
# the stage: our own code and uv's answers, which no backend changes.
_ONE_BACKEND = pytest.mark.parametrize("yard", ["namespaces"], indirect=True)


@_ONE_BACKEND
async def test_package_that_is_not_there(yard: Yard) -> None:
    failed = await yard.failure("missing")
    assert (failed.kind, failed.subject) == ("not_found", "missing")


@_ONE_BACKEND
async def test_dependency_that_is_not_there(yard: Yard) -> None:
    yard.index.add(make_wheel("needy", requires=["missing"]))
    failed = await yard.failure("needy")
    assert (failed.kind, failed.subject) == ("not_found", "missing")


@_ONE_BACKEND
async def test_version_that_is_not_there(yard: Yard) -> None:
    yard.index.add(sound())
    failed = await yard.failure("sound>=99")
    assert (failed.kind, failed.subject) == ("no_version", "sound")


@_ONE_BACKEND
async def test_all_versions_are_yanked(yard: Yard) -> None:
    yard.index.add(sound(), yanked="it eats files")
    failed = await yard.failure("sound")
    assert (failed.kind, failed.subject) == ("no_version", "sound")


@_ONE_BACKEND
async def test_yanked_version_is_passed_over(yard: Yard) -> None:
    yard.index.add(make_wheel("sound", "1.0"))
    yard.index.add(make_wheel("sound", "2.0"), yanked="it eats files")
    locked = await yard.installer.resolve(["sound"])
    assert locked.packages == (("sound", "1.0"),)


async def test_source_distribution_is_never_run(yard: Yard) -> None:
    canary = yard.outside / "run"
    yard.index.add(make_sdist("source", setup=f"open({str(canary)!r}, 'w')"))
    failed = await yard.failure("source")
    assert (failed.kind, failed.subject) == ("no_wheel", "source")
    assert yard.index.requests["GET /files/source-1.0.tar.gz"] == 0


@_ONE_BACKEND
async def test_newer_version_that_has_only_source_is_passed_over(yard: Yard) -> None:
    yard.index.add(make_wheel("sound", "1.0"), make_sdist("sound", "2.0"))
    locked = await yard.installer.resolve(["sound"])
    assert locked.packages == (("sound", "1.0"),)


@_ONE_BACKEND
@pytest.mark.parametrize(
    "tag",
    [
        "cp311-cp311-win_amd64",
        "cp27-cp27mu-manylinux1_x86_64",
        "py2-none-any",
        "py3-none-macosx_11_0_arm64",
    ],
)
async def test_wheels_only_for_others(yard: Yard, tag: str) -> None:
    yard.index.add(make_wheel("elsewhere", tag=tag))
    failed = await yard.failure("elsewhere")
    assert (failed.kind, failed.subject) == ("no_wheel", "elsewhere")


@_ONE_BACKEND
async def test_package_for_a_newer_python(yard: Yard) -> None:
    yard.index.add(make_wheel("future", requires_python=">=4"))
    failed = await yard.failure("future")
    assert failed.kind in ("no_version", "no_wheel")
    assert failed.subject == "future"


@_ONE_BACKEND
async def test_conflict_with_the_core_names_it(yard: Yard) -> None:
    yard.index.add(make_wheel("backward", requires=["numpy<1"]))
    failed = await yard.failure("backward")
    assert failed.kind == "conflict"
    assert "numpy" in failed.detail
    assert yard.installer.core()["numpy"] in failed.detail


@_ONE_BACKEND
async def test_core_package_of_another_version(yard: Yard) -> None:
    failed = await yard.failure("numpy<1")
    assert failed.kind == "conflict"
    assert yard.installer.core()["numpy"] in failed.detail


async def test_core_is_not_downloaded(yard: Yard) -> None:
    yard.index.add(make_wheel("light", requires=["numpy", "pandas>=1"]))
    locked = await yard.installer.resolve(["light"])
    assert locked.packages == (("light", "1.0"),)
    layer = await yard.installer.build(locked)
    assert sorted(path.name for path in layer.path.iterdir() if "dist-info" not in path.name) == [
        "light.py"
    ]


@_ONE_BACKEND
async def test_two_wishes_that_exclude_each_other(yard: Yard) -> None:
    yard.index.add(make_wheel("base", "1.0"), make_wheel("base", "2.0"))
    yard.index.add(
        make_wheel("left", requires=["base<2"]), make_wheel("right", requires=["base>=2"])
    )
    assert (await yard.failure("left", "right")).kind == "conflict"


@_ONE_BACKEND
@pytest.mark.parametrize(
    "requirement",
    [
        "not a requirement !!",
        "",
        "-r {outside}/canary",
        "--index-url={stranger}",
        "-e {outside}",
        "-c {outside}/canary",
        "{outside}",
        "./fine",
        "file://{outside}/fine-1.0-py3-none-any.whl",
        "fine @ file://{outside}/fine-1.0-py3-none-any.whl",
        "{stranger}/files/fine-1.0-py3-none-any.whl",
        "fine @ {stranger}/files/fine-1.0-py3-none-any.whl",
        "fine @ git+{stranger}/fine.git",
        "fine\n--extra-index-url {stranger}/simple",
        "fine\r\n--find-links {stranger}/simple",
        "fine\\\n --hash=sha256:00",
        "fine --hash=sha256:00",
        "fine # {stranger}",
        "fine\x00",
        "../../etc/passwd",
        "fi\u200bne",
    ],
)
async def test_requirement_that_is_none(yard: Yard, requirement: str) -> None:
    yard.stranger.add(make_wheel("fine"))
    asked = requirement.format(outside=yard.outside, stranger=yard.stranger.origin)
    failed = await yard.failure(asked)
    assert failed.kind == "bad"
    assert str(yard.outside) not in failed.detail or str(yard.outside) in asked


@_ONE_BACKEND
async def test_requirement_with_extras_and_markers(yard: Yard) -> None:
    yard.index.add(make_wheel("more"))
    yard.index.add(make_wheel("rich", extras=["all"], requires=["more; extra == 'all'"]))
    assert (await yard.installer.resolve(["rich"])).packages == (("rich", "1.0"),)
    both = await yard.installer.resolve(["rich[all]>=1; python_version >= '3'"])
    assert both.packages == (("more", "1.0"), ("rich", "1.0"))


@_ONE_BACKEND
@pytest.mark.parametrize(
    "text", ["fine==1.0\n", "--index-url {stranger}\nfine==1.0\n", "nonsense !!"]
)
async def test_lock_that_nobody_locked_is_not_built(yard: Yard, text: str) -> None:
    locked = Locked(text.format(stranger=yard.stranger.url), (("fine", "1.0"),))
    with pytest.raises(InstallFailed) as caught:
        await yard.installer.build(locked)
    assert caught.value.kind in ("hash", "bad", "internal")


# What the index does --------------------------------------------------------------------------


@_ONE_BACKEND
async def test_page_answers_500(yard: Yard) -> None:
    yard.index.page_faults["sound"] = "error"
    assert (await yard.failure("sound")).kind == "unreachable"


@_ONE_BACKEND
@pytest.mark.parametrize("fault", ["silent", "trickle"])
async def test_page_never_comes_to_an_end(yard: Yard, fault: Fault) -> None:
    yard.index.page_faults["sound"] = fault
    await yard.reopen(with_limits(timeout_s=3))
    assert (await yard.failure("sound")).kind == "timeout"
    await yard.nothing_left()


@_ONE_BACKEND
@pytest.mark.parametrize("fault", ["huge", "endless"])
async def test_page_is_huge(yard: Yard, fault: Fault) -> None:
    yard.index.page_faults["sound"] = fault
    assert (await yard.failure("sound")).kind == "too_large"


@_ONE_BACKEND
async def test_nobody_listens(yard: Yard) -> None:
    await yard.reopen(
        index=IndexSettings("http://127.0.0.1:9/simple", extra=(), file_hosts=(), offline=False)
    )
    assert (await yard.failure("sound")).kind == "unreachable"


@_ONE_BACKEND
async def test_index_that_wants_a_password(yard: Yard) -> None:
    yard.index.add(sound())
    yard.index.password = "user:planted-5e1f"
    assert (await yard.failure("sound")).kind == "unreachable"
    with_password = IndexSettings(
        yard.index.url_with_password, extra=(), file_hosts=(), offline=False
    )
    await yard.reopen(index=with_password)
    assert (await yard.install("sound")).modules == ("sound",)
    failed = await yard.failure("missing")
    assert "planted" not in f"{failed} {failed.detail}"


async def test_offline_takes_what_is_cached_and_asks_nobody(yard: Yard) -> None:
    yard.index.add(sound())
    locked = await yard.installer.resolve(["sound"])
    await yard.installer.build(locked)
    yard.index.requests.clear()
    offline = IndexSettings(yard.index.url, extra=(), file_hosts=(), offline=True)
    await yard.reopen(index=offline)
    assert (await yard.install("sound")).modules == ("sound",)
    assert (await yard.failure("missing")).kind in ("not_found", "unreachable")
    assert not yard.index.requests


# What files do --------------------------------------------------------------------------------


@_ONE_BACKEND
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("error", "unreachable"),
        ("cut", "unreachable"),
        ("huge", "too_large"),
        ("endless", "too_large"),
    ],
)
@pytest.mark.parametrize("metadata", [True, False])
async def test_file_misbehaves(yard: Yard, fault: Fault, kind: str, metadata: bool) -> None:
    yard.index.add(sound(), fault=fault, metadata=metadata)
    failed = await yard.failure("sound")
    assert failed.kind == kind


@_ONE_BACKEND
@pytest.mark.parametrize("fault", ["silent", "trickle"])
async def test_file_never_comes(yard: Yard, fault: Fault) -> None:
    yard.index.add(sound(), fault=fault)
    await yard.reopen(with_limits(timeout_s=3))
    assert (await yard.failure("sound")).kind == "timeout"
    await yard.nothing_left()


@_ONE_BACKEND
async def test_file_is_there_at_the_second_try(yard: Yard) -> None:
    yard.index.add(sound(), fault="cut")
    assert (await yard.failure("sound")).kind == "unreachable"
    yard.index.add(sound())
    assert (await yard.install("sound")).modules == ("sound",)


@_ONE_BACKEND
async def test_file_has_another_hash(yard: Yard) -> None:
    yard.index.add(sound(), hash="0" * 64)
    failed = await yard.failure("sound")
    assert (failed.kind, failed.subject) == ("hash", "sound")


@_ONE_BACKEND
async def test_file_was_replaced_after_it_was_locked(yard: Yard) -> None:
    yard.index.add(sound())
    locked = await yard.installer.resolve(["sound"])
    yard.index.add(make_wheel("sound", files={"sound.py": "replaced = True\n"}))
    with pytest.raises(InstallFailed) as caught:
        await yard.installer.build(locked)
    assert (caught.value.kind, caught.value.subject) == ("hash", "sound")


@_ONE_BACKEND
async def test_file_without_a_hash_is_hashed_before_it_is_locked(yard: Yard) -> None:
    release = sound()
    yard.index.add(release, hash="none")
    locked = await yard.installer.resolve(["sound"])
    assert f"sha256:{release.sha256}" in locked.text


@_ONE_BACKEND
async def test_file_that_is_no_zip(yard: Yard) -> None:
    yard.index.add(Release("sound-1.0-py3-none-any.whl", b"<html>sign in</html>", b""))
    assert (await yard.failure("sound")).kind == "unsafe"


@_ONE_BACKEND
async def test_metadata_beside_the_file_lies(yard: Yard) -> None:
    wheel = make_wheel("sound", requires=["missing"])
    told = make_wheel("sound").metadata
    yard.index.add(Release(wheel.filename, wheel.content, told))
    try:
        assert (await yard.install("sound")).modules == ("sound",)
    except InstallFailed as failed:
        assert failed.kind in ("bad", "not_found", "unsafe")


# Where else uv could be sent ------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2", "[::1]", "0.0.0.0"])
@pytest.mark.parametrize("metadata", [True, False])
async def test_page_names_files_on_another_port_of_this_machine(
    yard: Yard, host: str, metadata: bool
) -> None:
    wheel = sound()
    yard.stranger.add(wheel)
    yard.index.add(wheel, at=f"http://{host}:{yard.stranger.port}/files", metadata=metadata)
    assert (await yard.failure("sound")).kind in ("unreachable", "unsafe")
    assert not yard.stranger.requests


@pytest.mark.parametrize("what", ["page", "file", "metadata"])
async def test_index_redirects_to_another_port_of_this_machine(yard: Yard, what: str) -> None:
    wheel = sound()
    path = {
        "page": "/simple/sound/",
        "file": f"/files/{wheel.filename}",
        "metadata": f"/files/{wheel.filename}.metadata",
    }[what]
    yard.index.add(wheel)
    yard.stranger.add(wheel)
    yard.index.redirects[path] = f"{yard.stranger.origin}{path}"
    assert (await yard.failure("sound")).kind in ("unreachable", "unsafe")
    assert not yard.stranger.requests


@pytest.mark.parametrize(
    "dependency",
    [
        "evil @ {stranger}/files/evil-1.0-py3-none-any.whl",
        "evil @ git+{stranger}/evil.git",
        "evil @ file:///etc/evil-1.0-py3-none-any.whl",
        "evil @ file://{outside}/evil-1.0-py3-none-any.whl",
    ],
)
async def test_dependency_by_url_is_not_followed(yard: Yard, dependency: str) -> None:
    asked = dependency.format(stranger=yard.stranger.origin, outside=yard.outside)
    (yard.outside / "evil-1.0-py3-none-any.whl").write_bytes(make_wheel("evil").content)
    yard.stranger.add(make_wheel("evil"))
    yard.index.add(make_wheel("trap", requires=[asked]))
    failed = await yard.failure("trap")
    assert failed.kind in ("conflict", "bad", "unsafe", "unreachable", "no_version")
    assert not yard.stranger.requests
    (yard.outside / "evil-1.0-py3-none-any.whl").unlink()


# Wheels that mean harm ------------------------------------------------------------------------


def _module(path: str) -> Release:
    return make_wheel("malice", files={"malice.py": "", path: "raise SystemExit('shadowed')\n"})


def _raw(*entries: Entry) -> Release:
    return make_wheel("malice", entries=entries)


@functools.cache
def _bomb() -> Release:
    return _raw(Entry("malice.bin", zeros=256 * _MIB))


@functools.cache
def _many_files() -> Release:
    return _raw(*(Entry(f"many/{number}.py") for number in range(100_000)))


UNSAFE: dict[str, Callable[[], Release]] = {
    "numpy": lambda: _module("numpy/__init__.py"),
    "a part of numpy": lambda: _module("numpy/evil.py"),
    "numpy as one file": lambda: _module("numpy.py"),
    "numpy as an extension": lambda: _module("numpy.cpython-311-x86_64-linux-gnu.so"),
    "numpy by its data": lambda: _module("malice-1.0.data/purelib/numpy/__init__.py"),
    "ipykernel": lambda: _module("ipykernel/kernelbase.py"),
    "IPython": lambda: _module("IPython/__init__.py"),
    "kernel_startup": lambda: _module("kernel_startup/__init__.py"),
    "the standard library": lambda: _module("json.py"),
    "a package of the standard library": lambda: _module("asyncio/__init__.py"),
    "an accelerator of the standard library": lambda: _module("_json.abi3.so"),
    "builtins": lambda: _module("builtins.py"),
    "another package's metadata": lambda: make_wheel(
        "malice", dist_info="numpy-99.0.dist-info", metadata_name="numpy"
    ),
    "metadata of numpy beside its own": lambda: _raw(
        Entry("numpy-99.0.dist-info/METADATA", b"Metadata-Version: 2.1\nName: numpy\nVersion: 99\n")
    ),
}

#: Either refused, or a layer in which the thing isn't or does no harm.
HARMLESS: dict[str, Callable[[], Release]] = {
    "a link": lambda: _raw(link("malice_link", "/etc/passwd")),
    "a link to a directory, and through it": lambda: _raw(
        link("through", "../../../outside"), Entry("through/planted.py", b"1")
    ),
    "a path that climbs": lambda: _raw(
        *(Entry(f"{'../' * depth}outside/planted", b"1") for depth in range(1, 9)),
        *(Entry(f"{'../' * depth}planted", b"1") for depth in range(1, 9)),
    ),
    "a path that climbs inside": lambda: _raw(Entry("malice/../../../planted", b"1")),
    "backslashes": lambda: _raw(Entry("..\\..\\planted", b"1")),
    "an absolute path": lambda: _raw(
        Entry("/tmp/cellmate-planted", b"1"), Entry("//etc/cellmate-planted", b"1")
    ),
    "data that climbs": lambda: _raw(
        Entry("malice-1.0.data/data/../../../planted", b"1"),
        Entry("malice-1.0.data/scripts/../../planted", b"1"),
    ),
    "data with an absolute path": lambda: _raw(
        Entry("malice-1.0.data/data//tmp/cellmate-planted", b"1")
    ),
    "scripts": lambda: _raw(Entry("malice-1.0.data/scripts/python", b"#!python\n", 0o100755)),
    "headers and data": lambda: _raw(
        Entry("malice-1.0.data/headers/evil.h", b"1"),
        Entry("malice-1.0.data/data/etc/evil", b"1"),
    ),
    "a .pth file": lambda: _raw(Entry("evil.pth", b"import os; os.system('touch planted')\n")),
    "a .pth file by its data": lambda: _raw(
        Entry("malice-1.0.data/purelib/evil.pth", b"import sys\n")
    ),
    "sitecustomize": lambda: _module("sitecustomize.py"),
    "usercustomize": lambda: _module("usercustomize/__init__.py"),
    "set-user-id": lambda: _raw(Entry("malice_su", b"1", stat.S_IFREG | 0o6755)),
    "writable by all": lambda: _raw(Entry("malice_open.py", b"1", stat.S_IFREG | 0o666)),
    "readable by nobody": lambda: _raw(Entry("malice_shut.py", b"1", stat.S_IFREG)),
    "a device": lambda: _raw(Entry("malice_device", b"", stat.S_IFBLK | 0o666)),
    "a pipe": lambda: _raw(Entry("malice_pipe", b"", stat.S_IFIFO | 0o666)),
    "a RECORD that lies": lambda: make_wheel(
        "malice",
        record="malice.py,sha256=AAAA,1\n../../../outside/canary,,\n/etc/passwd,,\n",
    ),
    "a RECORD that is empty": lambda: make_wheel("malice", record=""),
    "compiled code": lambda: _raw(Entry("__pycache__/malice.cpython-311.pyc", b"evil")),
    "the same entry twice": lambda: _raw(Entry("malice.py", b"twice = True\n")),
    "a file where a directory is": lambda: _raw(
        Entry("malice_x", b"1"), Entry("malice_x/y.py", b"1")
    ),
    "entry points": lambda: _raw(
        Entry(
            "malice-1.0.dist-info/entry_points.txt",
            b"[console_scripts]\n../../../planted = malice:x\n/tmp/cellmate-planted = malice:x\n",
        )
    ),
    "a very long name": lambda: _raw(Entry("/".join(["d" * 200] * 30) + ".py", b"1")),
    "another package's name in METADATA": lambda: make_wheel("malice", metadata_name="other"),
}


@_ONE_BACKEND
@pytest.mark.parametrize("name", UNSAFE)
async def test_wheel_that_brings_what_it_may_not_is_refused(yard: Yard, name: str) -> None:
    yard.index.add(UNSAFE[name]())
    failed = await yard.failure("malice")
    assert failed.kind in ("unsafe", "bad")
    assert failed.subject == "malice"


@pytest.mark.parametrize("name", HARMLESS)
async def test_wheel_that_means_harm_does_none(yard: Yard, name: str) -> None:
    wheel = HARMLESS[name]()
    yard.index.add(wheel)
    try:
        layer = await yard.install("malice")
    except InstallFailed as failed:
        assert failed.kind in ("unsafe", "bad"), failed
        assert failed.subject in ("malice", "other")
        return
    for path in layer.path.rglob("*"):
        status = path.lstat()
        assert stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode), path
        assert status.st_mode & 0o7022 == 0, f"{path} {status.st_mode:o}"
        readable = 0o555 if path.is_dir() else 0o444
        assert status.st_mode & readable == readable, f"{path} {status.st_mode:o}"
        assert path.suffix not in (".pth", ".pyc"), path
        assert path.name not in ("sitecustomize.py", "usercustomize"), path
    assert {path.name for path in layer.path.iterdir()} & {"bin", "etc", "include"} == set()


async def test_zip_bomb(yard: Yard) -> None:
    yard.index.add(_bomb())
    failed = await yard.failure("malice")
    assert failed.kind == "too_large"


async def test_hundred_thousand_files(yard: Yard) -> None:
    yard.index.add(_many_files())
    failed = await yard.failure("malice")
    assert failed.kind == "too_large"


async def test_files_and_bytes_at_the_limit(yard: Yard) -> None:
    yard.index.add(make_wheel("exact", files={f"exact/m{n}.py": "x = 1\n" for n in range(50)}))
    layer = await yard.install("exact")
    assert (layer.files, layer.size_bytes) == _weighed(layer.path)
    locked = await yard.installer.resolve(["exact"])
    for files, size, fits in (
        (layer.files, layer.size_bytes, True),
        (layer.files - 1, layer.size_bytes, False),
        (layer.files, layer.size_bytes - 1, False),
    ):
        limits = with_limits(layer_files=files, layer_bytes=size, layers=0)
        installer = await yard.reopen(limits)
        await installer.prune(in_use={yard.earlier.layer_id})
        if fits:
            assert (await installer.build(locked)).files == files
        else:
            with pytest.raises(InstallFailed) as caught:
                await installer.build(locked)
            assert caught.value.kind == "too_large"


# Many at once, and giving up ------------------------------------------------------------------


@_ONE_BACKEND
async def test_ten_at_once_download_each_file_once(yard: Yard) -> None:
    wheels = [sound("one"), sound("two")]
    wheels.append(make_wheel("both", requires=["one", "two"]))
    yard.index.add(*wheels)
    layers = await asyncio.gather(*(yard.install("both") for _ in range(10)))
    assert len({layer.layer_id for layer in layers}) == 1
    assert layers[0].modules == ("both", "one", "two")
    assert [yard.index.downloads(wheel) for wheel in wheels] == [1, 1, 1]
    assert yard.index.requests["GET /simple/both/"] <= 3


@_ONE_BACKEND
async def test_a_set_that_was_built_is_not_built_again(yard: Yard) -> None:
    yard.index.add(sound())
    first = await yard.install("sound")
    yard.index.requests.clear()
    assert await yard.install("sound") == first
    assert not yard.index.requests


@_ONE_BACKEND
async def test_two_sets_at_once(yard: Yard) -> None:
    shared, left, right = sound("shared"), sound("left"), sound("right")
    yard.index.add(shared, left, right)
    one, other = await asyncio.gather(
        yard.install("shared", "left"), yard.install("shared", "right")
    )
    assert one.modules == ("left", "shared")
    assert other.modules == ("right", "shared")
    assert one.layer_id != other.layer_id
    assert yard.index.downloads(shared) == 1


@_ONE_BACKEND
async def test_failure_of_one_leaves_others_alone(yard: Yard) -> None:
    yard.index.add(sound(), UNSAFE["numpy"](), make_wheel("broken"))
    yard.index.add(make_wheel("broken"), fault="error")
    results = await asyncio.gather(
        *(yard.install(name) for name in ("sound", "malice", "broken", "missing")),
        return_exceptions=True,
    )
    kinds = [getattr(result, "kind", "built") for result in results]
    assert kinds == ["built", "unsafe", "unreachable", "not_found"]


@pytest.mark.parametrize("fault", ["silent", "trickle", "huge"])
async def test_cancelled_while_it_downloads(yard: Yard, fault: Fault) -> None:
    wheel = sound()
    yard.index.add(wheel, fault=fault)
    installing = asyncio.create_task(yard.install("sound"))
    await yard.index.asked_for(wheel.filename)
    installing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await installing
    await yard.nothing_left()


async def test_cancelled_while_it_resolves(yard: Yard) -> None:
    yard.index.page_faults["sound"] = "silent"
    resolving = asyncio.create_task(yard.installer.resolve(["sound"]))
    await yard.index.asked_for("/simple/sound/")
    resolving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await resolving
    await yard.nothing_left()


async def test_one_gives_up_and_the_other_gets_its_layer(yard: Yard) -> None:
    wheel = sound()
    yard.index.add(wheel)
    locked = await yard.installer.resolve(["sound"])
    first = asyncio.create_task(yard.installer.build(locked))
    second = asyncio.create_task(yard.installer.build(locked))
    await yard.index.asked_for(wheel.filename)
    first.cancel()
    assert (await second).modules == ("sound",)
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_closed_while_it_downloads(yard: Yard) -> None:
    wheel = sound()
    yard.index.add(wheel, fault="trickle")
    installing = asyncio.create_task(yard.install("sound"))
    await yard.index.asked_for(wheel.filename)
    await yard.close()
    await yard.nothing_left()
    with pytest.raises((asyncio.CancelledError, InstallFailed)):
        await installing


@_ONE_BACKEND
async def test_stage_that_was_left_is_removed(yard: Yard) -> None:
    left = yard.root / "stage" / "left"
    (left / "deep").mkdir(parents=True)
    (left / "deep" / "file.py").write_text("1")
    await yard.reopen()
    assert yard.staged() == []


# Making room ----------------------------------------------------------------------------------


@_ONE_BACKEND
async def test_oldest_unused_layers_are_pruned(yard: Yard) -> None:
    names = [f"layer{number}" for number in range(5)]
    yard.index.add(*(make_wheel(name) for name in names))
    installer = await yard.reopen(with_limits(layers=2))
    layers = [await yard.install(name) for name in names]
    in_use = {yard.earlier.layer_id, layers[0].layer_id}
    await installer.prune(in_use=in_use)
    assert {path.name for path in (yard.root / "layers").iterdir()} == in_use
    assert (await yard.install(names[1])).modules == (names[1],)


@_ONE_BACKEND
async def test_full_cache_is_pruned_and_layers_in_use_stay(yard: Yard) -> None:
    yard.index.add(*(sound(f"big{number}") for number in range(4)))
    layers = [await yard.install(f"big{number}") for number in range(4)]
    installer = await yard.reopen(with_limits(cache_bytes=_MIB // 2))
    await installer.prune(in_use={layers[0].layer_id, yard.earlier.layer_id})
    assert (layers[0].path / "big0.py").is_file()
    assert _weighed(yard.root / "cache")[1] <= _MIB
    assert (await yard.install("big1")).modules == ("big1",)


def _weighed(directory: Path) -> tuple[int, int]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return len(files), sum(path.stat().st_size for path in files)
