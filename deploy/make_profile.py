"""Write seccomp.json, the profile of a container in which kernels get namespaces of their own.

    python deploy/make_profile.py > deploy/seccomp.json

Engines don't add profiles up: this one is whole. It allows what kernels may call, as
interpreter/hosts/seccomp.py lists it, and what the trusted programs around them need on top; each
kernel loads the stricter filters of that module itself. An unlisted call fails with ENOSYS, as on
an older Linux, so that programs try what they did before it existed.

Source: seccomp(2), the OCI runtime specification (config-linux, "Seccomp"), and the manual page of
each call.
"""

import errno
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # run as a script, this directory is in its place
    sys.path.insert(0, str(ROOT))

from interpreter.hosts import seccomp  # noqa: E402

#: Calls that build the sandboxes, with who makes them. The system itself refuses them without a
#: capability, which only a process in a user namespace of its own has, over that namespace.
SANDBOXES = {
    "mount": "bubblewrap and each kernel's init",
    "pivot_root": "bubblewrap",
    "sethostname": "bubblewrap and each kernel's init",
    "umount2": "bubblewrap",
    "unshare": "bubblewrap and the fork server",
}
#: Calls of the service and of the programs it runs that kernels have no use for.
SERVICE = {
    "landlock_add_rule": "the backend `landlock`",
    "landlock_create_ruleset": "the backend `landlock`, and the question whether there is any",
    "landlock_restrict_self": "the backend `landlock`",
    "seccomp": "libseccomp asks which answers the system knows",
    "sync": "written environments and files are on the disk when that is said",
    "syncfs": "as sync",
}
#: Local sockets, the internet, and the question which addresses this machine has: no others, such
#: as those to a hypervisor or to the system's cryptography.
SOCKET_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
#: The usual execution domain, and the question which it is.
PERSONALITIES = (0, 0xFFFF_FFFF)

_TABLES = {
    name: set(value.split())
    for name, value in vars(seccomp).items()
    if name.startswith("_") and name.isupper() and isinstance(value, str)
}
REFUSED = _TABLES["_REFUSED"] - SANDBOXES.keys() - SERVICE.keys()
KERNELS = set[str]().union(
    *(names for table, names in _TABLES.items() if table not in ("_REFUSED", "_IGNORED"))
)
_BY_ARGUMENT = {"socket", "personality"}


def profile() -> dict[str, Any]:
    """The profile as a value for ``json``."""
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.ENOSYS,
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []},
        ],
        "syscalls": [
            _rule("What kernels may call.", KERNELS - _BY_ARGUMENT),
            _rule("What builds the sandboxes.", set(SANDBOXES)),
            _rule("What the service calls besides.", set(SERVICE)),
            *(
                _rule(f"Sockets of {name}.", {"socket"}, (0, number))
                for name, number in SOCKET_FAMILIES.items()
            ),
            *(
                _rule("Asking for the execution domain.", {"personality"}, (0, persona))
                for persona in PERSONALITIES
            ),
            {
                "comment": "Refused for what they are. All other calls don't exist.",
                "names": sorted(REFUSED - _BY_ARGUMENT),
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": errno.EPERM,
            },
        ],
    }


def _rule(comment: str, names: set[str], *arguments: tuple[int, int]) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "comment": comment,
        "names": sorted(names),
        "action": "SCMP_ACT_ALLOW",
    }
    if arguments:
        rule["args"] = [
            {"index": index, "value": value, "op": "SCMP_CMP_EQ"} for index, value in arguments
        ]
    return rule


def text() -> str:
    """The profile as the file has it."""
    return json.dumps(profile(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
