"""Print .env.example: what can be set, as the settings themselves document it."""

import textwrap
from collections.abc import Iterable

from bot.settings import BotSettings
from interpreter.environment import SettingDocumentation
from interpreter.settings import Settings

_HEAD = """\
# Everything that can be set. Copy this file to .env and remove the # in front of what you change;
# a variable of the environment wins over .env. The values shown are the defaults.
"""
_PARTS = (
    ("The bot and its language model", BotSettings),
    ("The service: kernels, files, packages", Settings),
)


def env_example() -> str:
    entries = [_HEAD]
    for title, settings in _PARTS:
        entries.append(f"# --- {title} ".ljust(100, "-") + "\n")
        entries.extend(_entries(settings.documented()))
    return "\n".join(entries)


def _entries(documented: Iterable[SettingDocumentation]) -> Iterable[str]:
    for setting in documented:
        text = f"{setting.description} Allowed: {setting.allowed}."
        comment = textwrap.fill(text, 98, initial_indent="# ", subsequent_indent="# ")
        yield f"{comment}\n#{setting.env_name}={setting.default}\n"


if __name__ == "__main__":
    print(env_example(), end="")
