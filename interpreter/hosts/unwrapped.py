"""A fork server without bubblewrap around it, for systems that refuse namespaces."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from interpreter.hosts.bubblewrap import SYSTEM_FILES
from interpreter.kernel_env import SANDBOX_PYTHON, KernelEnvironment

_SYSTEM_DIRECTORIES = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
#: Without it, libraries would take a container's share of the processors for one.
_PROCESSORS = "/sys/devices/system/cpu"


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """What the fork server runs in where it has no sandbox of its own: this machine, as it is.

    Its kernels are confined by Landlock, or by nothing.

    Attributes:
        backend: ``landlock`` or ``none``.
        environment: the kernels' environment.
        startup: the kernel_startup package.
        sessions: the directory of all slots.
        layers: the directory of the layers of users' packages.
        invented: a directory of this service for the fork server's own few files.
    """

    backend: Literal["landlock", "none"]
    environment: KernelEnvironment
    startup: Path
    sessions: Path
    layers: Path
    invented: Path
    own_processes: bool = False

    def slot_path(self, slot: str) -> str:
        """A slot's directory as the fork server sees it."""
        return str(self.sessions / slot)

    def layer_path(self, layer_id: str) -> str:
        """A layer's directory as kernels see it."""
        return str(self.layers / layer_id)

    def sockets(self, slot: str, socket_root: Path) -> str:
        """What the paths of a kernel's sockets begin with, as the kernel sees them."""
        return str(socket_root / slot / "run" / "s")

    def readable(self) -> list[str]:
        """What kernels may read of the system."""
        return [
            *_SYSTEM_DIRECTORIES,
            *SYSTEM_FILES,
            _PROCESSORS,
            str(self.environment.path),
            str(self.environment.base_prefix),
            str(self.startup),
            str(self.layers),
            str(self._import_path),
        ]

    @property
    def _import_path(self) -> Path:
        # The package's own directory may hold the service's code, too. Kernels of an earlier
        # service may have another copy of it.
        return self.invented / "path" / self.startup.parent.name

    @property
    def _python(self) -> str:
        return self._on_host(os.readlink(self.environment.path / "bin" / "python"))

    def _on_host(self, path: str) -> str:
        """A path of the sealed environment, which names the sandbox's places, as it is here."""
        if path == SANDBOX_PYTHON or path.startswith(f"{SANDBOX_PYTHON}/"):
            return str(self.environment.base_prefix) + path[len(SANDBOX_PYTHON) :]
        return path

    def arguments(self, python_arguments: Sequence[str], *, lasting: bool = False) -> list[str]:
        """The whole command line that runs the kernels' Python; it is lasting in any case."""
        return [self._python, *python_arguments]

    def environ(self) -> dict[str, str]:
        """All of the fork server's environment, and with it of its kernels'."""
        (packages,) = self.environment.path.glob("lib/python3.*/site-packages")
        home = str(self.invented / "home")
        bins = [str(Path(self._python).parent), "/usr/local/bin", "/usr/bin", "/bin"]
        return {
            "PATH": ":".join(bins),
            "HOME": home,
            "TMPDIR": home,
            "USER": "user",
            "LOGNAME": "user",
            "SHELL": "/bin/sh",
            "LANG": "C.UTF-8",
            "PYTHONPATH": f"{self._import_path}:{packages}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONNOUSERSITE": "1",
            "MPLCONFIGDIR": f"{home}/matplotlib",
            "IPYTHONDIR": f"{home}/ipython",
            "JPY_PARENT_PID": "1",
            "CELLMATE_ENV": str(self.environment.path),
            **{name: self._on_host(value) for name, value in self.environment.environ.items()},
        }

    def prepare(self) -> None:
        """Make the fork server's few files.

        Raises:
            OSError: they can't be made.
        """
        path = self._import_path
        for directory in (self.invented, path.parent, path, self.invented / "home"):
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o755)
        link = path / "kernel_startup"
        if not link.is_symlink() or link.readlink() != self.startup:
            link.unlink(missing_ok=True)
            link.symlink_to(self.startup)
