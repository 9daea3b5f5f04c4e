"""A program that starts kernels and is then killed: run as a module by the tests of adoption.

It says on standard output, as JSON, what the next service has to know of its kernels.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from interpreter.hosts.local import LocalKernelHost
from interpreter.limits import Limits
from interpreter.settings import Settings


def open_host(
    data_dir: Path,
    *,
    sandbox: str = "namespaces",
    limits: Limits | None = None,
    **options: Any,
) -> AbstractAsyncContextManager[LocalKernelHost]:
    """A host for a test, with an environment that its kernels can read."""
    base = Path(sys.base_prefix)
    places: Mapping[str, Any] = {"kernel_env_dir": Settings().kernel_env_dir}
    closed = not all(path.stat().st_mode & 0o001 for path in (base, *base.parents))
    if sandbox != "namespaces" and os.geteuid() == 0 and closed:
        places = {
            "kernel_env_dir": Path("/var/cache/cellmate/kernel-envs"),
            "kernel_python": Path("/usr/bin/python3"),
        }
    return LocalKernelHost.open(
        data_dir=data_dir, sandbox=sandbox, limits=limits or Limits(), **places, **options
    )


async def main(data_dir: Path, options: dict[str, Any]) -> None:
    """Start kernels, say which, and wait to be killed."""
    kernels = options.pop("kernels")
    async with open_host(data_dir, **options) as host:
        started = [await host.start(None) for _ in range(kernels)]
        spare = await host.open_slot()
        infos = [host.provisioner_info(kernel.kernel_id) for kernel in started]
        print(json.dumps({"infos": infos, "spare_slot": spare}), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
