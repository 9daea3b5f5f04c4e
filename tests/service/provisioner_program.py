"""``python -m tests.service.provisioner_program DIRECTORY``: a Jupyter tool with one kernel.

It says the kernel's provisioner info, as JSON. After a line of input it leaves without having ended
the kernel, and ends.
"""

import asyncio
import json
import sys
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from interpreter.hosts.provisioner import CellmateProvisioner, write_kernelspec


def provisioner_in(directory: Path) -> CellmateProvisioner:
    """A provisioner whose kernels outlive its program, with a data directory below this one."""
    write_kernelspec(directory)
    specs = KernelSpecManager(kernel_dirs=[str(directory)], ensure_native_kernel=False)
    spec = specs.get_kernel_spec("cellmate")
    config = spec.metadata["kernel_provisioner"]["config"]
    config.update({"data_dir": str(directory / "data"), "orphan_s": 60.0})
    manager = AsyncKernelManager(kernel_name="cellmate", kernel_spec_manager=specs)
    made = KernelProvisionerFactory.instance().create_provisioner_instance(
        "a-kernel", spec, manager
    )
    assert isinstance(made, CellmateProvisioner)
    return made


async def main(directory: Path) -> None:
    """Start a kernel, say which, and leave when asked to."""
    provisioner = provisioner_in(directory)
    await provisioner.pre_launch()
    await provisioner.launch_kernel([])
    print(json.dumps(await provisioner.get_provisioner_info()), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await provisioner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
