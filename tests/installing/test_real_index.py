"""Small real packages from the index that this machine is configured with."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from interpreter.hosts.installing import (
    IndexSettings,
    InstallFailed,
    InstallLimits,
    Layer,
    PackageInstaller,
)
from interpreter.kernel_env import SANDBOX_PYTHON, KernelEnvironment

pytestmark = pytest.mark.timeout(300)

_LIMITS = InstallLimits(
    download_bytes=256 << 20,
    layer_bytes=512 << 20,
    layer_files=20_000,
    timeout_s=120.0,
    layers=20,
    cache_bytes=2 << 30,
)


@pytest.fixture(params=["namespaces", "landlock"])
async def real(
    request: pytest.FixtureRequest, environment: KernelEnvironment, directory: Path
) -> AsyncIterator[PackageInstaller]:
    """An installer with an empty cache and the machine's own index."""
    async with PackageInstaller.open(
        root=directory / "packages",
        environment=environment,
        backend=request.param,
        index=IndexSettings(None, extra=(), file_hosts=(), offline=False),
        limits=_LIMITS,
    ) as installer:
        try:
            await installer.resolve(["humanize"])
        except InstallFailed as failed:
            if failed.kind == "unreachable":
                pytest.skip("the package index can't be reached from here")
            raise
        yield installer


async def run_python(environment: KernelEnvironment, layer: Layer, code: str) -> str:
    """What the kernels' Python prints, on the host, with the core first and the layer last."""

    def on_host(path: str) -> str:
        if path.startswith(f"{SANDBOX_PYTHON}/"):
            return str(environment.base_prefix) + path.removeprefix(SANDBOX_PYTHON)
        return path

    (core,) = environment.path.glob("lib/python3.*/site-packages")
    process = await asyncio.create_subprocess_exec(
        on_host(os.readlink(environment.path / "bin" / "python")),
        *("-S", "-B", "-c", code),
        env={
            "PYTHONPATH": f"{core}:{layer.path}",
            **{name: on_host(value) for name, value in environment.environ.items()},
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode().strip()


@pytest.mark.parametrize(
    ("requirement", "module", "code", "printed"),
    [
        ("humanize", "humanize", "import humanize; print(humanize.intcomma(12345))", "12,345"),
        ("emoji>=2", "emoji", "import emoji; print(len(emoji.emojize(':snake:')))", "1"),
        ("PyJWT", "jwt", "import jwt; print(jwt.encode({}, 'k' * 32).count('.'))", "2"),
    ],
)
async def test_package_is_importable(
    real: PackageInstaller,
    environment: KernelEnvironment,
    requirement: str,
    module: str,
    code: str,
    printed: str,
) -> None:
    locked = await real.resolve([requirement])
    assert len(locked.packages) == 1
    assert "--hash=sha256:" in locked.text
    layer = await real.build(locked)
    assert module in layer.modules
    assert layer.files > 0 < layer.size_bytes
    assert await run_python(environment, layer, code) == printed


async def test_dependencies_of_the_core_are_not_in_the_layer(
    real: PackageInstaller, environment: KernelEnvironment
) -> None:
    locked = await real.resolve(["seaborn"])
    assert [name for name, _ in locked.packages] == ["seaborn"]
    layer = await real.build(locked)
    assert layer.modules == ("seaborn",)
    names = {path.name.lower() for path in layer.path.iterdir()}
    assert not {name for name in names if name.startswith(("numpy", "pandas", "matplotlib"))}
    code = "import seaborn, numpy; print(seaborn.__file__); print(numpy.__file__)"
    seaborn, numpy = (await run_python(environment, layer, code)).splitlines()
    assert Path(seaborn).is_relative_to(layer.path)
    assert Path(numpy).is_relative_to(environment.path)


async def test_what_the_core_has_needs_no_layer(real: PackageInstaller) -> None:
    locked = await real.resolve(["numpy", "pandas>=1"])
    assert (locked.text, locked.packages) == ("", ())


async def test_earlier_versions_are_kept_until_an_upgrade(real: PackageInstaller) -> None:
    old = await real.resolve(["humanize==4.9.0"])
    kept = await real.resolve(["humanize", "emoji"], keep=old.text)
    assert dict(kept.packages)["humanize"] == "4.9.0"
    upgraded = await real.resolve(["humanize", "emoji"], keep=kept.text, upgrade=["humanize"])
    assert dict(upgraded.packages)["humanize"] != "4.9.0"
    assert dict(upgraded.packages)["emoji"] == dict(kept.packages)["emoji"]


async def test_equal_sets_give_equal_locks(real: PackageInstaller) -> None:
    one = await real.resolve(["humanize", "emoji"])
    other = await real.resolve(["Emoji", "humanize>=1"])
    assert one == other


@pytest.mark.parametrize(
    ("requirement", "kind"),
    [
        ("humanize>=9999", "no_version"),
        ("numpy<1", "conflict"),
    ],
)
async def test_what_cannot_be_had(real: PackageInstaller, requirement: str, kind: str) -> None:
    with pytest.raises(InstallFailed) as caught:
        await real.resolve([requirement])
    assert caught.value.kind == kind
