"""Print .env.example: what can be set, as the settings themselves document it."""

import textwrap

from interpreter.settings import Settings

_HEAD = """\
# Everything that can be set. Copy this file to .env and remove the # in front of what you change;
# a variable of the environment wins over .env. The values shown are the defaults.
"""


def env_example() -> str:
    entries = [_HEAD]
    for setting in Settings.documented():
        text = f"{setting.description} Allowed: {setting.allowed}."
        comment = textwrap.fill(text, 98, initial_indent="# ", subsequent_indent="# ")
        entries.append(f"{comment}\n#{setting.env_name}={setting.default}\n")
    return "\n".join(entries)


if __name__ == "__main__":
    print(env_example(), end="")
