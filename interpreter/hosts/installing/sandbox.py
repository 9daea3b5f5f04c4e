"""uv's sandbox: what it sees, as a command line and an environment."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from interpreter.hosts.bubblewrap import SYSTEM_FILES
from interpreter.kernel_env import SANDBOX_PYTHON, KernelEnvironment

Backend: TypeAlias = Literal["namespaces", "landlock", "none"]

_SYSTEM_DIRECTORIES = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_LAUNCHER = Path(__file__).with_name("launcher.py")
_STARTUP = Path(__file__).resolve().parents[3] / "kernel_startup"
# Where the sandbox shows things.
_ROOT, _LAYER = "/packages", "/layer"
_UV, _CERTIFICATES, _LAUNCHER_INSIDE = "/run/uv", "/run/trust", "/run/launcher"

_MEMORY_BYTES = 6 << 30
_CPU_GRACE_S = 10


@dataclass(frozen=True, slots=True)
class UvSandbox:
    """What uv runs in.

    Attributes:
        backend: how it is confined.
        root: the installer's directory, with ``cache`` and ``stage`` for uv to write, and ``known``
            to read.
        environment: the kernels'; uv asks the Python below it what it is.
        uv: the program.
        bwrap: bubblewrap, for namespaces.
        certificates: whom to trust; None leaves that to uv.
        directories: indexes that are directories, to read.
        file_bytes: how long a file may get.
        timeout_s: how long a run may take.
    """

    backend: Backend
    root: Path
    environment: KernelEnvironment
    uv: Path
    bwrap: Path | None
    certificates: str | None
    directories: tuple[Path, ...]
    file_bytes: int
    timeout_s: float

    @property
    def wrapped(self) -> bool:
        """Whether it has namespaces, a network among them."""
        return self.backend == "namespaces"

    def inside(self, *parts: str) -> str:
        """A path below the root as uv sees it."""
        return os.path.join(_ROOT if self.wrapped else str(self.root), *parts)

    @property
    def python(self) -> str:
        """The Python below the kernels', as uv sees it."""
        link = os.readlink(self.environment.path / "bin" / "python")
        return link if self.wrapped else self._on_host(link)

    def _on_host(self, path: str) -> str:
        if path == SANDBOX_PYTHON or path.startswith(f"{SANDBOX_PYTHON}/"):
            return str(self.environment.base_prefix) + path[len(SANDBOX_PYTHON) :]
        return path

    def environ(self) -> dict[str, str]:
        """All of uv's environment but what concerns the network."""
        needed = self.environment.environ
        trusted = _CERTIFICATES if self.wrapped else self.certificates
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": "/nonexistent",
            "TMPDIR": "/tmp" if self.wrapped else self.inside("cache"),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "UV_CACHE_DIR": self.inside("cache"),
            "UV_NO_CONFIG": "1",
            "UV_NO_PROGRESS": "1",
            "UV_LINK_MODE": "hardlink",
            "UV_CONCURRENT_INSTALLS": "1",  # several linking at once get in each other's way
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_KEYRING_PROVIDER": "disabled",
            "UV_HTTP_TIMEOUT": str(max(1, round(self.timeout_s))),
            "UV_HTTP_RETRIES": "2",
            **({"SSL_CERT_FILE": trusted} if self.certificates and trusted else {}),
            **{
                name: value if self.wrapped else self._on_host(value)
                for name, value in needed.items()
            },
        }

    def uv_program(self, arguments: Sequence[str]) -> list[str]:
        """uv with arguments, to be run inside."""
        program = [_UV if self.wrapped else str(self.uv), *arguments]
        program += ["--color", "never", "--quiet", "--no-python-downloads"]
        return [*program, "--system-certs"] if self.certificates else program

    def layer_inside(self, layer: Path) -> str:
        """Where a layer is seen."""
        return _LAYER if self.wrapped else str(layer)

    def command(
        self,
        program: Sequence[str],
        *,
        control: int | None = None,
        port: int = 0,
        layer: Path | None = None,
    ) -> list[str]:
        """The whole command line of a run.

        Args:
            program: what runs inside.
            control: descriptor that the launcher sends its listening socket to; None for a run
                without network.
            port: of the proxy on this machine's own loopback; without namespaces only.
            layer: a layer to read.
        """
        if self.wrapped:
            if control is not None:
                program = self._launched(_LAUNCHER_INSIDE, "listen", str(control), program=program)
            return self._limited([*self._bubblewrap(layer), *program])
        if self.backend == "landlock":
            readable, writable = "\n".join(self._readable(layer)), "\n".join(self._writable())
            words = ["restrict", str(_STARTUP), str(port), readable, writable]
            program = self._launched(str(_LAUNCHER), *words, program=program)
        return self._limited(program)

    def _launched(self, launcher: str, *words: str, program: Sequence[str]) -> list[str]:
        return [self.python, "-I", "-S", "-B", launcher, *words, "--", *program]

    def _limited(self, program: Sequence[str]) -> list[str]:
        """Let a shell set limits first: it costs a millisecond, and no code in this process."""
        cpu_s = round(self.timeout_s * (os.cpu_count() or 1)) + _CPU_GRACE_S
        blocks, kib = self.file_bytes // 512 + 1, _MEMORY_BYTES >> 10
        limits = [f"ulimit -{kind}" for kind in ("c 0", f"f {blocks}", f"t {cpu_s}", f"v {kib}")]
        return ["/bin/sh", "-c", " && ".join([*limits, 'exec "$@"']), "sh", *program]

    def _readable(self, layer: Path | None) -> list[str]:
        return [
            *([str(layer)] if layer else []),
            *_SYSTEM_DIRECTORIES,
            *SYSTEM_FILES,
            *(str(path) for path in self.directories),
            *([self.certificates] if self.certificates else []),
            str(self.uv),
            str(self.environment.base_prefix),
            str(self.root / "known"),
        ]

    def _writable(self) -> list[str]:
        return [str(self.root / "cache"), str(self.root / "stage")]

    def _bubblewrap(self, layer: Path | None) -> list[str]:
        base = self.environment.base_prefix
        words = [str(self.bwrap), "--die-with-parent", "--unshare-all", "--hostname", "packages"]
        words += ["--cap-drop", "ALL", "--ro-bind", "/usr", "/usr"]
        for link in _SYSTEM_DIRECTORIES[1:]:
            if os.path.islink(link):
                words += ["--symlink", os.readlink(link), link]
            elif os.path.isdir(link):
                words += ["--ro-bind", link, link]
        for path in SYSTEM_FILES:
            words += ["--ro-bind-try", path, path]
        if not base.is_relative_to("/usr"):
            words += ["--ro-bind", str(base), SANDBOX_PYTHON]
        words += ["--ro-bind", str(self.uv), _UV, "--ro-bind", str(_LAUNCHER), _LAUNCHER_INSIDE]
        if self.certificates:
            words += ["--ro-bind", self.certificates, _CERTIFICATES]
        for directory in self.directories:
            words += ["--ro-bind-try", str(directory), str(directory)]
        if layer is not None:
            words += ["--ro-bind", str(layer), _LAYER]
        words += ["--dev", "/dev", "--tmpfs", "/tmp", *self._root_mounts()]
        return [*words, "--remount-ro", "/", "--chdir", "/", "--"]

    def _root_mounts(self) -> list[str]:
        """One mount for cache and stage, or files couldn't have names in both; the rest covered."""
        layers, secret = f"{_ROOT}/layers", f"{_ROOT}/secret"
        words = ["--bind", str(self.root), _ROOT]
        words += ["--perms", "0555", "--tmpfs", layers, "--remount-ro", layers]
        words += ["--ro-bind", "/dev/null", secret]
        return [*words, "--ro-bind", str(self.root / "known"), f"{_ROOT}/known"]
