"""Pictures in the terminal: when, how, and never one that could harm it."""

import base64
import io
import struct

import pytest

from bot.console.images import image_protocol, image_sequence
from bot.console.screen import Screen, TerminalSize
from tests.bot.fakes import PNG


def png(width: int, height: int, padding: int = 0) -> bytes:
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height)
    return header + b"\0" * padding


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({}, None),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "KONSOLE_VERSION": "220400"}, "kitty"),
        ({"TERM": "xterm-256color", "KONSOLE_VERSION": "220399"}, None),
        ({"TERM": "xterm-256color", "KONSOLE_VERSION": "x"}, None),
        ({"TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        ({"TERM_PROGRAM": "WezTerm"}, "iterm2"),
        ({"TERM_PROGRAM": "vscode"}, None),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux"}, None),
        ({"TERM": "screen.xterm-256color", "TERM_PROGRAM": "iTerm.app"}, None),
    ],
)
def test_the_terminal_is_known_by_its_environment(
    environment: dict[str, str], protocol: str | None
) -> None:
    assert image_protocol(environment) == protocol


def test_iterm2_gets_the_whole_picture() -> None:
    sequence = image_sequence(PNG, protocol="iterm2", columns=80)
    payload = base64.b64encode(PNG).decode()
    assert sequence == f"\x1b]1337;File=inline=1;size={len(PNG)}:{payload}\x07"


def test_kitty_gets_pieces_and_must_not_answer() -> None:
    content = png(10, 10, 8000)
    sequence = image_sequence(content, protocol="kitty", columns=80)
    assert sequence
    first, second, third, rest = sequence.split("\x1b\\")
    assert first.startswith("\x1b_Ga=T,f=100,q=2,m=1;")
    assert second.startswith("\x1b_Gm=1;") and third.startswith("\x1b_Gm=0;") and not rest
    joined = "".join(piece.partition(";")[2] for piece in (first, second, third))
    assert base64.b64decode(joined) == content
    assert max(len(piece) for piece in (first, second, third)) < 4096 + 30


@pytest.mark.parametrize("protocol", ["kitty", "iterm2"])
def test_a_wide_picture_is_scaled_to_the_terminal(protocol: str) -> None:
    sequence = image_sequence(png(2000, 10), protocol=protocol, columns=80)  # type: ignore[arg-type]
    assert sequence and {"kitty": "c=80,", "iterm2": "width=80;"}[protocol] in sequence


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (png(10_000, 4_000), True),
        (png(10_001, 1), False),
        (png(6_325, 6_325), False),
        (png(0, 5), False),
        (png(1, 1, 8 * 1024 * 1024 - 24), True),
        (png(1, 1, 8 * 1024 * 1024 - 23), False),
        (b"\x89PNG\r\n\x1a\n", False),
        (b"GIF89a" + b"\0" * 40, False),
        (b"", False),
    ],
)
def test_only_a_png_of_sane_size_is_shown(content: bytes, shown: bool) -> None:
    assert (image_sequence(content, protocol="kitty", columns=80) is not None) is shown


def test_a_picture_is_out_of_reach_of_what_is_taken_back() -> None:
    out = io.StringIO()
    screen = Screen(out, size=lambda: TerminalSize(80, 24), images="kitty")
    mark = screen.mark()
    screen.write("text")
    assert screen.image(PNG)
    assert out.getvalue().startswith("text\n\x1b_G")
    assert not screen.clear_to(mark)
