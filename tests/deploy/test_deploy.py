"""What deploy/ ships: the profile, the image, and Cellmate in containers, as far as emulated.

There need not be a container engine: container.py gives a process what a container would get.
"""

import asyncio
import configparser
import errno
import importlib.util
import json
import os
import re
import runpy
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bot.discord.run import _LEAST_FLUSH_S
from bot.settings import BotSettings
from interpreter.hosts import seccomp
from interpreter.kernel_env import ensure_kernel_environment
from interpreter.service import _SAVE_ALL_S
from interpreter.session_store import _LAST_WRITES_S
from interpreter.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


container = _load(Path(__file__).with_name("container.py"))
make_profile = _load(DEPLOY / "make_profile.py")
PROFILE: dict[str, Any] = json.loads((DEPLOY / "seccomp.json").read_text())

# --- the profile ------------------------------------------------------------------------------


def _names(action: str) -> set[str]:
    return {
        name for rule in PROFILE["syscalls"] if rule["action"] == action for name in rule["names"]
    }


def test_profile_is_what_its_script_writes() -> None:
    command = [sys.executable, DEPLOY / "make_profile.py"]
    printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert (DEPLOY / "seccomp.json").read_text() == printed, "run deploy/make_profile.py"


def test_profile_allows_no_more_than_kernels_and_those_around_them_need() -> None:
    allowed = _names("SCMP_ACT_ALLOW")
    never = """
        acct add_key bpf clock_settime delete_module finit_module init_module io_uring_enter
        io_uring_register io_uring_setup ioperm iopl kexec_file_load kexec_load keyctl
        name_to_handle_at open_by_handle_at open_tree perf_event_open pidfd_getfd
        process_vm_readv process_vm_writev ptrace quotactl reboot request_key setns settimeofday
        swapoff swapon syslog userfaultfd vhangup
    """
    assert not allowed & set(never.split())
    kept = {"mount", "pivot_root", "seccomp", "sethostname", "umount2", "unshare"}
    assert allowed & set(seccomp._REFUSED.split()) == kept | {"personality"}
    assert _names("SCMP_ACT_ERRNO") == set(seccomp._REFUSED.split()) - kept - {"personality"}


def test_profile_is_whole_and_answers_what_it_does_not_list_as_an_older_system() -> None:
    assert (PROFILE["defaultAction"], PROFILE["defaultErrnoRet"]) == (
        "SCMP_ACT_ERRNO",
        errno.ENOSYS,
    )
    assert [entry["architecture"] for entry in PROFILE["archMap"]] == [
        "SCMP_ARCH_X86_64",
        "SCMP_ARCH_AARCH64",
    ]
    for rule in PROFILE["syscalls"]:
        assert rule["names"] == sorted(set(rule["names"]))
        # Only these are decided by an argument; several rules about one call add up.
        assert ("args" in rule) == (rule["names"] in (["socket"], ["personality"]))
        assert rule["action"] == "SCMP_ACT_ALLOW" or rule["errnoRet"] == errno.EPERM


# --- the image --------------------------------------------------------------------------------


def _instructions() -> list[list[str]]:
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    return [line.split() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def test_all_that_the_image_copies_is_there_and_not_left_out_of_its_context() -> None:
    wanted = {
        source
        for words in _instructions()
        if words[0] == "COPY" and not any(word.startswith("--from") for word in words)
        for source in [word for word in words[1:-1] if not word.startswith("--")]
    }
    assert {"bot", "interpreter", "kernel_startup", "requirements.lock"} <= wanted
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split("\n")
    assert {line[1:] for line in ignored if line.startswith("!")} == wanted
    assert "*" in ignored
    for source in wanted:
        assert (ROOT / source).exists(), source


def test_image_sets_only_settings_that_there_are() -> None:
    environment = [words[1:] for words in _instructions() if words[0] == "ENV"]
    values = dict(word.split("=", 1) for word in environment[-1])
    known = {setting.env_name for setting in Settings.documented()}
    assert values.keys() - known == {"HOME", "PATH", "PYTHONDONTWRITEBYTECODE"}
    Settings(
        data_dir=Path(values["DATA_DIR"]),
        kernel_env_dir=Path(values["KERNEL_ENV_DIR"]),
        sandbox=values["SANDBOX"],
    )


def test_image_takes_the_locked_installer() -> None:
    script = next(words for words in _instructions() if words[:2] == ["RUN", "sed"])
    command = shlex.split(" ".join(script[1 : script.index(">")]))
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    assert re.match(r"uv==\S+ \\\n(    --hash=sha256:\w+( \\)?\n)+", printed)
    assert len(re.findall(r"^\S", printed, re.MULTILINE)) == 1
    assert re.search(r"^hatchling==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)


def test_scripts_are_programs_and_valid() -> None:
    for name in ("as-user.sh",):
        assert (DEPLOY / name).stat().st_mode & stat.S_IXUSR
        subprocess.run(["sh", "-n", DEPLOY / name], check=True)
    runpy.run_path(str(DEPLOY / "healthcheck.py"))


# --- what else is read by machines and people -------------------------------------------------


def test_compose_file_gives_what_the_full_backend_needs_and_publishes_nothing() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    for line in ("seccomp=seccomp.json", "systempaths=unconfined", "no-new-privileges=true"):
        assert f"      - {line}\n" in text
    assert "cap_drop: [ALL]" in text and "SYS_ADMIN" not in text
    assert "ports:" not in text and "privileged: true" not in text
    (context,) = re.findall(r"^      context: (\S+)$", text, re.MULTILINE)
    (dockerfile,) = re.findall(r"^      dockerfile: (\S+)$", text, re.MULTILINE)
    assert (DEPLOY / context / dockerfile).resolve() == DEPLOY / "Dockerfile"
    assert 'entrypoint: ["/opt/cellmate/as-user.sh"]' in text
    assert "    read_only: true\n" in text
    (added,) = re.findall(r"^    cap_add: \[(.*SETPCAP.*)\]$", text, re.MULTILINE)
    assert added.split(", ") == _COMPOSE["capabilities"]


def test_unit_takes_nothing_that_kernels_need() -> None:
    unit = configparser.RawConfigParser(strict=False, delimiters=("=",))
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "cellmate.service")
    service = unit["Service"]
    assert service["Delegate"] == "cpu memory pids"
    # What is there when the service is started again must not be in its way, nor be ended.
    assert (service["KillMode"], service["DelegateSubgroup"]) == ("process", "service")
    needed = """
        PrivateNetwork PrivateUsers ProcSubset ProtectControlGroups ProtectHostname
        ProtectKernelLogs ProtectKernelTunables ProtectProc RestrictNamespaces SystemCallFilter
    """
    assert not {*needed.split()} & {*service}


def test_everything_gives_a_stop_the_time_that_it_takes() -> None:
    needed_s = BotSettings().drain_s + _LEAST_FLUSH_S + _SAVE_ALL_S + _LAST_WRITES_S
    compose = (DEPLOY / "compose.yaml").read_text()
    (grace,) = re.findall(r"^    stop_grace_period: (\d+)s$", compose, re.MULTILINE)
    unit = (DEPLOY / "cellmate.service").read_text()
    (stop,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    readme = (DEPLOY / "README.md").read_text()
    runs = re.findall(r"docker run --rm -it (.*?)\n```", readme, re.DOTALL)
    times = [time for run in runs for time in re.findall(r"--stop-timeout (\d+) ", run)]
    assert len(times) == len(runs) == 2
    assert min(int(time) for time in (grace, stop, *times)) > needed_s


def test_readme_names_only_what_there_is() -> None:
    text = (DEPLOY / "README.md").read_text()
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        # SECURITY.md is the repository's own page about what protects from what.
        assert link == "../SECURITY.md" or (DEPLOY / link).exists(), link
    for path in re.findall(r"\bdeploy/[\w.-]+", text):
        assert (ROOT / path).exists(), path
    for module in re.findall(r"python -m ([a-z_]+)", text):
        assert (ROOT / module / "__main__.py").exists(), module
    for file in (DEPLOY / "cellmate.service", DEPLOY / "cellmate.apparmor"):
        for path in re.findall(r"\bdeploy/[\w.-]+", file.read_text()):
            assert (ROOT / path).exists(), path


# --- containers -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Container:
    """A kind of container, and a volume of its own."""

    volume: Path
    options: dict[str, Any]
    programs: Path

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as the image would."""
        options = self.options
        specification = {
            "command": [*options["entrypoint"], *command],
            "environment": {
                "PATH": f"{self.programs}:/usr/bin:/bin:/usr/sbin:/sbin",
                "PYTHONPATH": str(ROOT),
                "PYTHONDONTWRITEBYTECODE": "1",
                "HOME": str(self.volume),
                "DATA_DIR": str(self.volume / "data"),
                "KERNEL_ENV_DIR": str(Settings().kernel_env_dir),
                "SANDBOX": "auto",
                "WARM_KERNELS": "0",
                **environment,
            },
            "profile": options["profile"],
            "capabilities": options["capabilities"],
            "uid": options["uid"],
            "whole_proc": options["whole_proc"],
            "writable_groups": options["writable_groups"],
            "no_new_privileges": options["no_new_privileges"],
            "shown": [str(path) for path in _image(self.programs)],
            "volumes": [str(self.volume)],
            "read_only": options["read_only"],
        }
        return subprocess.run(
            [sys.executable, container.__file__, json.dumps(specification)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    def doctor(self, **environment: str) -> tuple[int, dict[str, Any]]:
        """What `doctor` ends with, and its report."""
        done = self.run(*(sys.executable, "-m", "interpreter", "doctor", "--json"), **environment)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def run_cells(self, cells: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run cells as `python -m bot --run` does."""
        file = self.volume / "cells.py"
        file.write_text(cells)
        file.chmod(0o644)
        output = str(self.volume / "output")
        return self.run(
            *(sys.executable, "-m", "bot", "--run", str(file), "--output", output), **environment
        )


def _image(programs: Path) -> list[Path]:
    """What an image of this working tree would hold, and every user could read."""
    return [ROOT, Path(sys.base_prefix), Settings().kernel_env_dir, programs]


_PLAIN = {
    "profile": container.REFUSING_PROFILE,
    "capabilities": [*container.DEFAULT_CAPABILITIES],
    "uid": 0,
    "whole_proc": False,
    "writable_groups": False,
    "no_new_privileges": False,
    "read_only": False,
    "entrypoint": [],
}
#: `docker run --user 10000:10000` with the options of the README.
_FULL = {
    **_PLAIN,
    "profile": PROFILE,
    "capabilities": [],
    "uid": 10_000,
    "whole_proc": True,
    "no_new_privileges": True,
}
#: compose.yaml.
_COMPOSE = {
    **_FULL,
    "capabilities": ["CHOWN", "SETGID", "SETPCAP", "SETUID"],
    "uid": 0,
    "writable_groups": True,
    "read_only": True,
    "entrypoint": [str(DEPLOY / "as-user.sh")],
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory of programs of the image: an `id` that knows its user."""
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("only root can emulate a container")
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip("this machine refuses namespaces even to root")
    if shutil.which("setpriv") is None:
        pytest.skip("there is no setpriv, which is in the image")
    asyncio.run(ensure_kernel_environment(root=Settings().kernel_env_dir))
    directory = tmp_path_factory.mktemp("programs")
    program = directory / "id"
    program.write_text('#!/bin/sh\n[ "$*" = "-u cellmate" ] && echo 10000\n')
    program.chmod(0o755)
    directory.chmod(0o755)
    yield directory


def _container(options: dict[str, Any], programs: Path, tmp_path: Path) -> Container:
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o1777)
    return Container(volume, options, programs)


def _verdicts(report: dict[str, Any]) -> dict[str, str]:
    return {finding["name"]: finding["verdict"] for finding in report["findings"]}


_NO_CAPABILITIES = f"capabilities {0:016x} {0:016x}"
_CELLS = """
import os
from pathlib import Path
status = dict(line.split(":\\t") for line in Path("/proc/self/status").read_text().splitlines())
print("uid", os.getuid(), "capabilities", status["CapEff"], status["CapBnd"])
Path("table.csv").write_text("a,b\\n1,2\\n")
print("sum", pd.read_csv("table.csv").sum().sum())
"""


def test_plain_container_takes_landlock_and_says_that_it_is_weaker(
    programs: Path, tmp_path: Path
) -> None:
    plain = _container(_PLAIN, programs, tmp_path)
    status, report = plain.doctor()
    verdicts = _verdicts(report)
    if verdicts["backend landlock"] != "good":
        pytest.skip("this machine has no Landlock")
    assert (status, report["backend"]) == (1, "landlock")
    assert verdicts["backend namespaces"] == "weaker"

    done = plain.run_cells(_CELLS)
    assert done.returncode == 0, done.stderr
    uid = re.search(rf"^uid (\d+) {_NO_CAPABILITIES}\nsum 3$", done.stdout, re.MULTILINE)
    assert uid is not None and int(uid[1]) >= Settings().kernel_uid
    assert (plain.volume / "output" / "table.csv").read_text() == "a,b\n1,2\n"


def test_plain_container_asked_for_namespaces_says_why_not_and_what_to_do(
    programs: Path, tmp_path: Path
) -> None:
    plain = _container(_PLAIN, programs, tmp_path)
    done = plain.run_cells("1 + 1", SANDBOX="namespaces")
    assert done.returncode == 2
    assert "Operation not permitted" in done.stderr
    assert "profile in deploy/" in done.stderr and "SANDBOX=landlock" in done.stderr


def test_the_profile_lets_an_ordinary_user_have_namespaces(programs: Path, tmp_path: Path) -> None:
    full = _container(_FULL, programs, tmp_path)
    status, report = full.doctor()
    verdicts = _verdicts(report)
    assert report["backend"] == "namespaces"
    assert verdicts["backend namespaces"] == "good"
    assert {name for name, verdict in verdicts.items() if verdict != "good"} == {"control groups"}
    assert status == 1


def test_a_whole_proc_is_needed_for_that(programs: Path, tmp_path: Path) -> None:
    masked = _container({**_FULL, "whole_proc": False}, programs, tmp_path)
    status, report = masked.doctor(SANDBOX="namespaces")
    assert status == 2
    (finding,) = [f for f in report["findings"] if f["name"] == "backend namespaces"]
    assert "/proc" in finding["found"]


def test_compose_file_gives_all_that_there_is(programs: Path, tmp_path: Path) -> None:
    if not container.can_make_groups():
        pytest.skip("containers' control groups are emulated for version 1 only")
    compose = _container(_COMPOSE, programs, tmp_path)
    status, report = compose.doctor()
    assert (status, report["backend"]) == (0, "namespaces"), report

    done = compose.run_cells(_CELLS)
    assert done.returncode == 0, done.stderr
    assert f"uid 1000 {_NO_CAPABILITIES}\nsum 3\n" in done.stdout


def test_cells_run_there_and_the_health_check_tells_a_service_from_none(
    programs: Path, tmp_path: Path
) -> None:
    full = _container(_FULL, programs, tmp_path)
    python = shlex.quote(sys.executable)
    check = f"{python} -I -S {shlex.quote(str(DEPLOY / 'healthcheck.py'))}"
    cells = full.volume / "cells.py"
    cells.write_text(f"{_CELLS}# %%\nimport time; time.sleep(4)\n")
    cells.chmod(0o644)
    script = f"""
        {check}; echo "before $?"
        cd {full.volume} && {python} -m bot --run {cells} > printed &
        for try in $(seq 300); do {check} 2> /dev/null && break; sleep 0.1; done
        {check}; echo "meanwhile $?"
        wait
        {check}; echo "after $?"
    """
    done = full.run("sh", "-c", script, SANDBOX="namespaces")
    assert done.stdout.splitlines() == ["before 1", "meanwhile 0", "after 1"], done.stderr
    assert "no service has used" in done.stderr and "the service does not run" in done.stderr
    assert f"uid 1000 {_NO_CAPABILITIES}\nsum 3\n" in (full.volume / "printed").read_text()
