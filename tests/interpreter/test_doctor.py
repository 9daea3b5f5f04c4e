"""What `python -m interpreter doctor` finds out and says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from interpreter import SandboxUnavailable
from interpreter.doctor import Finding, Report, _backend_finding

_GOOD = Finding("a", "good", "there.")
_WEAKER = Finding("b", "weaker", "not there.", "Less of it.", "Do this.")
_MISSING = Finding("c", "missing", "not there.", "None of it.", "Do that.")
_FAILURE = SandboxUnavailable("no namespaces", "Allow them.")


@pytest.mark.parametrize(
    ("backend", "findings", "status"),
    [
        ("namespaces", (_GOOD,), 0),
        ("namespaces", (_GOOD, _WEAKER), 1),
        ("namespaces", (_GOOD, _WEAKER, _MISSING), 2),
        (None, (_GOOD,), 2),
    ],
)
def test_exit_status_tells_how_safe_it_is(
    backend: str | None, findings: tuple[Finding, ...], status: int
) -> None:
    assert Report("auto", backend, findings).exit_status == status


def test_text_has_what_it_means_and_what_mends_it() -> None:
    text = Report("auto", "landlock", (_GOOD, _WEAKER)).as_text()
    assert "[ok] a: there." in text
    assert "[--] b: not there.\n     Less of it.\n     Do this." in text
    assert text.endswith(
        "Kernels would run on the backend 'landlock'. See the lines marked -- for what is weaker."
    )


def test_text_says_when_kernels_would_not_start_or_not_be_confined() -> None:
    assert "Kernels would not start: SANDBOX=landlock" in Report("landlock", None, ()).as_text()
    assert "WITHOUT any confinement" in Report("none", "none", (_WEAKER,)).as_text()


@pytest.mark.parametrize(
    ("backend", "sandbox", "works", "verdict"),
    [
        ("namespaces", "namespaces", [], "missing"),
        ("namespaces", "auto", [], "weaker"),
        ("landlock", "namespaces", ["namespaces"], "good"),
        ("landlock", "namespaces", [], "weaker"),
        ("landlock", "landlock", ["namespaces"], "missing"),
    ],
)
def test_a_backend_that_fails_matters_by_what_was_asked_for(
    backend: str, sandbox: str, works: list[str], verdict: str
) -> None:
    assert _backend_finding(backend, sandbox, _FAILURE, works).verdict == verdict


def _doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "interpreter", "doctor", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_this_machine_is_examined(tmp_path: Path) -> None:
    done = _doctor("--json", DATA_DIR=str(tmp_path / "data"), SANDBOX="namespaces")
    report = json.loads(done.stdout)
    assert done.returncode == report["exit_status"]
    names = {finding["name"]: finding for finding in report["findings"]}
    assert {"system", "control groups", "memory", "disk"} <= set(names)
    assert {"backend namespaces", "backend landlock"} <= set(names)
    # The other tests of this suite run kernels in namespaces here, so they work.
    assert names["backend namespaces"]["verdict"] == "good"
    assert report["backend"] == "namespaces"
    assert os.listdir(tmp_path / "data") == [], "something was left behind"


def test_wrong_settings_are_said_as_anywhere_else(tmp_path: Path) -> None:
    done = _doctor(SANDBOX="chroot", DATA_DIR=str(tmp_path))
    assert done.returncode == 2
    assert "SANDBOX is 'chroot', but it must be one of auto, namespaces" in done.stderr


def test_a_directory_that_cannot_be_used_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = _doctor(DATA_DIR=str(tmp_path / "file" / "data"))
    assert done.returncode == 2
    assert "[!!] data directory: " in done.stdout
    assert "Kernels would not start. See the lines marked !!" in done.stdout
