"""The installer on a host: requirements become a lock, a lock becomes a layer of packages.

Both are uv's work, in a sandbox of its own: it reaches the index through a proxy of ours and
nothing else, and writes its cache and its stage. Wheels only: nothing of a package runs.
"""

from interpreter.hosts.installing.installer import PackageInstaller
from interpreter.hosts.installing.terms import (
    FailureKind,
    IndexSettings,
    InstallFailed,
    InstallLimits,
    Layer,
    Locked,
)

__all__ = [
    "FailureKind",
    "IndexSettings",
    "InstallFailed",
    "InstallLimits",
    "Layer",
    "Locked",
    "PackageInstaller",
]
