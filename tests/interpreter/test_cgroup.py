"""Control groups: which group the kernels' ones are made in, and where the service itself goes."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from interpreter.hosts import cgroup

ROOT = Path(__file__).parents[2]


def _groups(top: Path, *names: str, delegated: str = "") -> list[Path]:
    """Directories one below the other; one of them says that it is delegated."""
    groups = [top.joinpath(*names[: count + 1]) for count in range(len(names))]
    groups[-1].mkdir(parents=True)
    for group in groups:
        if group.name == delegated:
            try:
                os.setxattr(group, "user.delegate", b"1")
            except OSError as error:
                pytest.skip(f"this file system keeps no attributes: {error.strerror}")
    return groups


def test_kernels_groups_are_beside_that_of_the_service_where_systemd_delegates_the_one_above(
    tmp_path: Path,
) -> None:
    _, unit, service = _groups(
        tmp_path, "system.slice", "cellmate.service", "service", delegated="cellmate.service"
    )
    assert cgroup._base_of(service) == unit


def test_kernels_groups_are_below_that_of_the_service_where_that_one_is_delegated(
    tmp_path: Path,
) -> None:
    _, unit = _groups(tmp_path, "system.slice", "cellmate.service", delegated="cellmate.service")
    assert cgroup._base_of(unit) == unit


def test_a_group_further_above_is_somebody_else_s(tmp_path: Path) -> None:
    *_, own = _groups(tmp_path, "user@1000.service", "app", "own", delegated="user@1000.service")
    assert cgroup._base_of(own) == own


def test_what_is_said_of_a_group_counts_only_as_systemd_says_it(tmp_path: Path) -> None:
    unit, service = _groups(tmp_path, "cellmate.service", "service", delegated="cellmate.service")
    os.setxattr(unit, "user.delegate", b"0")
    assert cgroup._base_of(service) == service


def test_a_program_that_has_replaced_itself_finds_the_group_it_was_in(tmp_path: Path) -> None:
    base, leaf = _groups(tmp_path, "container", f"cellmate-{os.getpid()}")
    assert cgroup._base_of(leaf) == base


# -- in real groups of version 2, of whatever controllers there are --------------------------------

_MOVE = """
import os, sys
from pathlib import Path
from interpreter.hosts import cgroup

base, own, controllers = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
top = Path(sys.argv[1]).parent

def here():
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return next(line for line in lines if line.startswith("0::")).rpartition("/")[2]

def handed():
    return ",".join((base / "cgroup.subtree_control").read_text().split())

cgroup._write(own / "cgroup.procs", str(os.getpid()))
place = cgroup._PlaceV2(base, own)
place.hand_down(controllers)
kernels = base / "kernels"
kernels.mkdir()
cgroup._write(kernels / "cgroup.subtree_control", " ".join("+" + name for name in controllers))
print(here().replace(str(os.getpid()), "PID"), handed())
place.leave()  # kernels have the controllers still
print(here().replace(str(os.getpid()), "PID"), handed())
kernels.rmdir()
place.leave()
print(here(), handed())
cgroup._write(top / "cgroup.procs", str(os.getpid()))
"""


@pytest.fixture
def unit() -> Iterator[tuple[Path, str]]:
    """A group of version 2, and a controller that groups below it may have."""
    where = cgroup._mount_points().get("")
    if where is None:
        pytest.skip("there are no control groups of version 2")
    handed = (where[0] / "cgroup.subtree_control").read_text().split()
    offered = handed or (where[0] / "cgroup.controllers").read_text().split()
    group = where[0] / f"cellmate-test-{secrets.token_hex(4)}"
    try:
        if not offered:
            pytest.skip("all controllers are in groups of version 1")
        cgroup._write(where[0] / "cgroup.subtree_control", f"+{offered[0]}")
        group.mkdir()
    except OSError as error:
        pytest.skip(f"this account may make no groups of version 2: {error.strerror}")
    yield group, offered[0]
    for left in (*group.glob("*/"), group):
        with suppress(OSError):
            left.rmdir()
    if not handed:
        cgroup._write(where[0] / "cgroup.subtree_control", f"-{offered[0]}")
    assert not group.exists()


def _moved(base: Path, own: Path, controller: str) -> list[str]:
    command = [sys.executable, "-c", _MOVE, str(base), str(own), controller]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_service_leaves_a_group_that_hands_controllers_down_and_goes_back_at_its_end(
    unit: tuple[Path, str],
) -> None:
    base, controller = unit
    assert _moved(base, base, controller) == [
        f"cellmate-PID {controller}",
        f"cellmate-PID {controller}",
        f"{base.name} ",
    ]
    assert not [*base.glob("*/")]


def test_service_in_a_group_beside_those_of_kernels_stays_there(unit: tuple[Path, str]) -> None:
    base, controller = unit
    service = base / "service"
    service.mkdir()
    assert _moved(base, service, controller) == [f"service {controller}"] * 3
    assert [*base.glob("*/")] == [service]
