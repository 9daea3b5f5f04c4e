"""What commands such as `pip install x` ask for; what they do is in test_packages.py."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("zmq")
pytest.importorskip("packaging")

from kernel_startup.pip_commands import Command, Refused, parse, recognise, split_line


def _parsed(line: str) -> Command:
    recognised = recognise(split_line(line)[0])
    assert recognised is not None
    return parse(*recognised)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("pip install a", ["a"]),
        ("pip install a b  c", ["a", "b", "c"]),
        ("pip install 'a>=1,<2' \"b[x,y]\"", ["a<2,>=1", "b[x,y]"]),
        ("pip install a>=1", ["a>=1"]),
        ("pip install a >= 1", ["a>=1"]),
        ("pip install a == 1 b", ["a==1", "b"]),
        ("pip install a  # because", ["a"]),
        ("pip3 install a", ["a"]),
        ("pip3.12 install a", ["a"]),
        ("/env/bin/python3.12 -m pip install a", ["a"]),
        ("python -m uv pip install a", ["a"]),
        ("sudo -H pip install a", ["a"]),
        ("PIP_PROGRESS_BAR=off pip install a", ["a"]),
        ("pip -q install a", ["a"]),
        ("pip install --user --no-cache-dir --pre -qq -v a --progress-bar off", ["a"]),
        ("pip install --timeout=5 --retries 3 a", ["a"]),
        ("pip install 'a; python_version>=\"3\"' 'b; python_version<\"3\"'", ["a"]),
        ("uv add a", ["a"]),
        ("uv pip install --system a", ["a"]),
        ("conda install -y -c conda-forge a=1.2 b==2 conda-forge::c d=1.2=py312_0", None),
        ("mamba install a", ["a"]),
    ],
)
def test_installs_are_read(line: str, names: list[str] | None) -> None:
    command = _parsed(line)
    assert command.action == "install"
    assert list(command.names) == (names or ["a==1.2.*", "b==2", "c", "d==1.2.*"])


@pytest.mark.parametrize(
    "line",
    [
        "pip install -U a",
        "pip install a --upgrade",
        "pip install -qU a",
        "uv pip install -P a",
        "conda update a",
    ],
)
def test_upgrades_are_read(line: str) -> None:
    assert _parsed(line).upgrade
    assert _parsed(line).names == ("a",)
    assert not _parsed("pip install a").upgrade


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("pip install https://x.invalid/a.whl", "address"),
        ("pip install git+ssh://x.invalid/a", "address"),
        ("pip install 'a @ https://x.invalid/a.whl'", "address"),
        ("pip install ./a", "path"),
        ("pip install .", "path"),
        ("pip install /a", "path"),
        ("pip install ~/a", "path"),
        ("pip install dist/a-1.0-py3-none-any.whl", "path"),
        ("pip install a.tar.gz", "path"),
        ("pip install -e .", "-e can't be used"),
        ("pip install --editable=.", "--editable can't be used"),
        ("pip install -i https://x.invalid a", "-i can't be used"),
        ("pip install --index-url https://x.invalid a", "--index-url can't be used"),
        ("pip install --extra-index-url=https://x.invalid a", "--extra-index-url can't be used"),
        ("pip install -f x a", "-f can't be used"),
        ("pip install --target=x a", "--target can't be used"),
        ("pip install --no-binary :all: a", "--no-binary can't be used"),
        ("pip install --never-heard-of a", "--never-heard-of can't be used"),
        ("pip install 'a b'", "neither the name"),
        ("pip install 'a>>1'", "neither the name"),
        ("pip install -r", "needs a value"),
        ("pip install -r /nowhere/x.txt", "could not be read"),
        ("pip install -r '\0'", "could not be read"),
        ("pip install " + " ".join(f"a{number}" for number in range(51)), "At most 50"),
        ("pip download a", "does not work here"),
        ("pip config list", "does not work here"),
        ("pip list a", "takes no names"),
        ("conda create -n x", "does not work here"),
    ],
)
def test_refusals_give_the_reason(line: str, reason: str) -> None:
    with pytest.raises(Refused) as refusal:
        _parsed(line)
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "line",
    [
        "pipx install a",
        "echo pip install a",
        "apt-get install pip",
        "uv run x",
        "uv --version",
        "python -c 'pip install a'",
        "python pip install a",
        "pip install 'a",
        "",
        "  ",
        "# pip",
    ],
)
def test_other_commands_are_not_recognised(line: str) -> None:
    assert recognise(line) is None


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("pip install a", ("pip install a", "")),
        ("pip install a | tail -1", ("pip install a ", "| tail -1")),
        ("pip install a && ls", ("pip install a ", "&& ls")),
        ("pip install a; ls", ("pip install a", "; ls")),
        ("pip install a > b.txt", ("pip install a", "> b.txt")),
        ("pip install a 2>&1 | tail", ("pip install a", "2>&1 | tail")),
        ("pip install a &> b", ("pip install a ", "> b")),
        ("pip install a &", ("pip install a ", "")),
        ("pip install 'a; x<1 | y' b", ("pip install 'a; x<1 | y' b", "")),
        ("pip install a>=1 b<2", ("pip install a>=1 b<2", "")),
        ("pip install a >=1", ("pip install a >=1", "")),
    ],
)
def test_a_line_is_split_at_the_shells_operators(line: str, parts: tuple[str, str]) -> None:
    assert split_line(line) == parts


def test_other_actions_are_read() -> None:
    assert _parsed("pip uninstall -y a b") == Command("uninstall", ("a", "b"))
    assert _parsed("pip list --format=json") == Command("list", form="json")
    assert _parsed("pip freeze").action == "freeze"
    assert _parsed("pip show a").names == ("a",)
    assert _parsed("pip --version").action == "version"
    assert _parsed("pip").action == _parsed("pip -h").action == "help"


def test_requirement_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkdir("more")
    Path("a.txt").write_text(
        "\ufeff# a comment\nb >= 1 # why\n\nc[x]==2 \\\n    --hash=sha256:00\n-r more/d.txt\n"
    )
    Path("more/d.txt").write_text("e\n")
    assert _parsed("pip install -r a.txt f").names == ("b>=1", "c[x]==2", "e", "f")
    assert _parsed("pip install -ra.txt").names == _parsed("pip install --requirement=a.txt").names


def test_requirement_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("itself.txt").write_text("-r itself.txt\n")
    Path("long.txt").write_text("#" * (64 * 1024 + 1))
    Path("options.txt").write_text("--index-url https://x.invalid\n")
    Path("local.txt").write_text("-e .\n")
    for name in ("itself.txt", "long.txt", "options.txt", "local.txt", "."):
        with pytest.raises(Refused, match=name):
            _parsed(f"pip install -r {name}")


@given(st.text(max_size=80))
def test_any_line_is_read_or_refused(text: str) -> None:
    for line in (text, f"pip {text}", f"pip install {text}"):
        command = recognise(split_line(line)[0])
        if command is not None:
            try:
                parse(*command)
            except Refused as refusal:
                assert str(refusal)
