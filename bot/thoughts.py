"""What reasoning models think aloud, which is no part of their answer."""

import re

# Only where it begins a line: an answer may well speak of such a tag.
_THOUGHT = re.compile(
    r"^[ \t]*<(think|thinking)>.*?(?:</\1>|\Z)[ \t]*\n?", re.DOTALL | re.MULTILINE
)
#: Some servers begin the thinking themselves, and only its end is seen.
_END = re.compile(r"\A(?:(?!<think>|<thinking>|```).)*?</(?:think|thinking)>", re.DOTALL)
_TAGS = ("<think>", "<thinking>")


def without_thoughts(text: str) -> str:
    """An answer, or the beginning of one, without the thoughts before and in it."""
    if "</think" in text:
        text = _END.sub("", text, count=1)
    text = _THOUGHT.sub("", text)
    line_start = text.rfind("\n") + 1
    last_line = text[line_start:].lstrip()
    if last_line and any(tag.startswith(last_line) for tag in _TAGS):
        text = text[:line_start]  # a tag that is still coming
    return text.strip()
