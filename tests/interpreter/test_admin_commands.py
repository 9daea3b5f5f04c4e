"""The operator's commands as far as they come without a service, and the texts they print."""

import asyncio
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from interpreter.__main__ import main
from interpreter.admin.client import NoService
from interpreter.admin.protocol import Request, kernel_from_json, kernel_to_json
from interpreter.admin.running import find_service
from interpreter.admin.sockets import actor_in_words, connect_in, listen_in
from interpreter.admin.tables import (
    curve,
    inspection_text,
    kernels_text,
    plain,
    size_text,
    span_text,
)
from interpreter.data_directory import DataDirectoryLock
from interpreter.inspection import KernelInfo
from tests.interpreter.kernel_infos import kernel_info

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
IDLE = kernel_info(NOW)
BUSY = replace(
    IDLE, user_id="7", kernel_id="ff", state="busy", cell_running_s=61.0, phase="installing"
)


def listed(*infos: KernelInfo, **more: Any) -> dict[str, Any]:
    kernels = [kernel_to_json(info) for info in infos]
    return {"kernels": kernels, "left_out": 0, "starting": 0, "spare": 0, **more}


# --- texts ------------------------------------------------------------------------------------


def test_a_kernel_is_the_same_after_its_way_over_the_socket() -> None:
    assert kernel_from_json(kernel_to_json(BUSY)) == BUSY


def test_a_request_is_the_same_after_its_way_over_the_socket() -> None:
    request = Request("shutdown", all=True, idle_only=True)
    assert Request.decoded(request.encoded()) == request


def test_the_list_has_a_line_for_each_kernel_and_what_they_come_to() -> None:
    lines = kernels_text(listed(IDLE, BUSY, starting=1, spare=2), NOW).splitlines()
    assert [line.split()[:5] for line in lines[:3]] == [
        ["USER", "KERNEL", "STATE", "PHASE", "RUNNING"],
        ["42", "00112233aabbccdd", "idle", "300", "MiB"],
        ["7", "ff", "busy", "installing", "61"],
    ]
    assert "  0%  5 min      7  " in lines[1]
    assert lines[4] == (
        "2 kernels, 1 busy, 600 MiB of memory, 1% of a processor. "
        "Besides, 1 starting and 2 ready for newcomers."
    )


def test_an_empty_list_is_a_sentence() -> None:
    assert kernels_text(listed(spare=1)) == ("No kernel is live. Besides, 1 ready for newcomers.")


def test_an_inspection_shows_facts_variables_curves_and_packages() -> None:
    variable = {"name": "df", "type": "DataFrame", "shape": "3 rows", "size_bytes": 2048}
    at = [(NOW - timedelta(minutes=m)).isoformat() for m in (20, 10, 0)]
    text = inspection_text(
        {
            "kernel": kernel_to_json(replace(BUSY, last_error="ValueError", waiting_cells=2)),
            "variables": [variable],
            "packages": ["seaborn==0.13.2"],
            "history": [[at[0], 100 << 20, None], [at[1], 400 << 20, 50.0], [at[2], 0, 100.0]],
        },
        NOW,
    )
    assert "state      busy, installing for 61 s, 2 waiting behind" in text
    assert "last error ValueError" in text
    assert "df        DataFrame  3 rows  2.0 KiB" in text
    assert "memory     ▃█▁  up to 400 MiB" in text
    assert "processor  ▁▅█  up to 100%\n           over the last 20 min" in text
    assert "seaborn==0.13.2" in text


def test_nothing_from_a_kernel_acts_on_the_terminal() -> None:
    hostile = "\x1b[2Jgone\r\n\x07\u202e\udc80"
    variable = {"name": hostile, "type": hostile, "shape": hostile, "size_bytes": None}
    text = inspection_text(
        {
            "kernel": kernel_to_json(replace(IDLE, last_error=hostile)),
            "variables": [variable],
            "packages": [hostile],
            "history": [],
        },
        NOW,
    )
    assert all(c.isprintable() or c == "\n" for c in text)
    assert plain("a" * 50, 10) == "aaaaaaaaa…"


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        *((None, "?"), (0, "0 B"), (999, "999 B"), (1000, "1.0 KiB"), (300 << 20, "300 MiB")),
        *((5 << 30, "5.0 GiB"), (5000 << 30, "5000 GiB")),
    ],
)
def test_sizes_are_short(size_bytes: int | None, text: str) -> None:
    assert size_text(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (119.4, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 d")],
)
def test_spans_are_short(seconds: float, text: str) -> None:
    assert span_text(seconds) == text


def test_a_curve_begins_at_zero_and_never_gets_wider_than_asked() -> None:
    assert curve([0.0, 50.0, 100.0]) == "▁▅█"
    assert curve([0.0, 0.0]) == "▁▁"
    wide = curve([*([0.0] * 500), 9.0], width=60)
    assert len(wide) == 60 and wide.endswith("█")


# --- sockets ----------------------------------------------------------------------------------


def test_sockets_work_in_directories_with_long_paths(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 200) / ("b" * 200)
    deep.mkdir(parents=True)
    with listen_in(deep, "s") as listening, connect_in(deep, "s") as connected:
        listening.setblocking(True)
        accepted, _ = listening.accept()
        connected.send(b"hello")
        assert accepted.recv(5) == b"hello"
        accepted.close()
    with pytest.raises(ConnectionRefusedError):
        connect_in(deep, "s")
    listen_in(deep, "s").close()  # in place of the one that was left


def test_who_logged_in_is_named_first() -> None:
    assert actor_in_words(0, None) == actor_in_words(0, 0) == "root (uid 0)"
    assert actor_in_words(4_000_001, 0) == "root as user 4000001 (uid 4000001)"


# --- which process the service is -------------------------------------------------------------


def test_the_service_is_who_holds_the_lock(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    assert find_service(data_dir) is None
    with DataDirectoryLock(data_dir):
        found = find_service(data_dir)
        assert found is not None and found.pid == os.getpid()
        found.close()
    assert find_service(data_dir) is None


def test_a_process_that_got_a_dead_services_number_is_not_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text(f"{os.getppid()}\n")
    assert find_service(tmp_path) is None


def test_a_lock_that_another_than_the_written_process_holds_is_left_alone(tmp_path: Path) -> None:
    with open(tmp_path / ".lock", "w") as lock:
        lock.write("1\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(NoService, match="runs in another container"):
            find_service(tmp_path)


async def test_the_end_of_a_service_is_awaited(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from interpreter.data_directory import DataDirectoryLock\n"
        "with DataDirectoryLock(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "data")]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and await process.stdout.readline() == b"held\n"
        found = find_service(tmp_path / "data")
        assert found is not None and found.pid == process.pid
        assert not await found.has_ended(0.05)
        found.signal(signal.SIGKILL)
        assert await found.has_ended(10)
        assert await found.has_ended(10)
        found.signal(signal.SIGKILL)  # nobody gets it
        found.close()
    finally:
        await process.wait()


# --- the command line -------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("kernels", "list"), ("top",)])
def test_without_a_service_a_sentence_says_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "nothing"))
    for name in ("stdin", "stdout"):
        monkeypatch.setattr(getattr(sys, name), "isatty", lambda: True)
    assert main(list(words)) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"No service is running in '{tmp_path}/nothing'.")
    assert not (tmp_path / "nothing").exists()


def test_where_the_data_is_may_stand_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(f"DATA_DIR={tmp_path}/from-file\n")
    assert main(["kernels", "list"]) == 2
    assert f"{tmp_path}/from-file" in capsys.readouterr().err


def test_top_without_textual_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "interpreter.admin.top", raising=False)
    monkeypatch.setitem(sys.modules, "textual.app", None)
    assert main(["top"]) == 2
    assert capsys.readouterr().err == (
        "`top` needs the package textual, which isn't installed: install it with "
        "`pip install textual`, or use `kernels list`.\n"
    )


@pytest.mark.parametrize("words", [(), ("42", "--all"), ("42", "--idle")])
def test_what_to_shut_down_has_to_be_said_once(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as ending:
        main(["kernels", "shutdown", *words])
    assert ending.value.code == 2
    assert "--" in capsys.readouterr().err


def test_stopping_where_nothing_runs_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "nothing"))
    assert main(["stop"]) == 0
    assert capsys.readouterr().out == (
        f"No service is running in '{tmp_path}/nothing', and nothing is left of one.\n"
    )
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("words", [["kernels", "list"], ["stop"]])
def test_root_that_may_not_is_told_which_account_to_be(tmp_path: Path, words: list[str]) -> None:
    """As `docker exec` has it in a container without capabilities."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can give up its rights like that")
    (tmp_path / "control").mkdir(mode=0o700)
    (tmp_path / ".lock").touch(mode=0o600)
    for path in (tmp_path, tmp_path / "control", tmp_path / ".lock"):
        os.chown(path, 64_321, 64_321)
    tmp_path.chmod(0o711)
    without_rights = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]
    done = subprocess.run(
        [*without_rights, sys.executable, "-m", "interpreter", *words],
        env={**os.environ, "DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (1, 2)
    assert "un this as the account with id 64321" in done.stderr
