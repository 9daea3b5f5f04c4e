"""Tool calls that a model wrote as text, as small models do. Pure."""

import json
import re
from collections.abc import Iterator

from bot.conversation import ToolCall
from bot.reply_assembly import new_call_id
from bot.tools import EXECUTE, is_known

_TAGGED = re.compile(r"<tool_call>\s*(?P<inside>.*?)\s*(?:</tool_call>|\Z)", re.DOTALL)
_XML = re.compile(
    r"<function=(?P<name>[\w.-]+)>\s*<parameter=\w+>\n?(?P<code>.*?)\n?</parameter>"
    r"(?:\s*</function>)?",
    re.DOTALL,
)
_OBJECT = re.compile(r'\{\s*"(?:name|function|tool)"\s*:\s*"(?P<name>[\w.-]+)"')
_ARGUMENTS = re.compile(r'"(?:arguments|parameters|args)"\s*:\s*', re.DOTALL)
_BLOCK = re.compile(r"```(?:python|py|ipython)[ \t]*\n(?P<code>.*?)\n[ \t]*```", re.DOTALL)
_FENCE_BEFORE = re.compile(r"(?:```[\w+-]*[ \t]*\n?|<tool_call>)\s*\Z")
_BEGINNINGS = re.compile(
    r'<tool_call|<function=|(?:```(?:json|tool_call)?\s*)?\{\s*"(?:name|function|tool)"\s*:'
    r"|```(?:json|tool_call)\s*\Z"
)
#: What only makes sense in the kernel here.
_MEANT_FOR_HERE = re.compile(
    r"\bload_file\(|\bFILES\b|\.show\(\)|\bsavefig\(|\.to_(?:csv|excel|parquet|json)\("
)
_MOST_WORDS_BESIDE_BLOCK = 300


def words_before_call(text: str) -> str:
    """The words of an answer, complete or not, without a call that is written in it."""
    match = _BEGINNINGS.search(text)
    return (text[: match.start()] if match else text).strip()


def written_calls(text: str, *, blocks: bool = False) -> tuple[str, tuple[ToolCall, ...]]:
    """The calls written in an answer, each once, and the words before them.

    What follows the first call is no answer: the model has made up what the call would give.

    Args:
        text: the answer.
        blocks: whether any block of Python at its end is a call; otherwise one is only if it
            can't be meant for anywhere else.
    """
    for find in (_xml_calls, _tagged_calls, _objects):
        found = list(dict.fromkeys(find(text)))
        if found:
            start = found[0][2]
            return (
                _FENCE_BEFORE.sub("", text[:start]).strip(),
                tuple(
                    ToolCall(new_call_id(), name, arguments) for name, arguments, _ in _once(found)
                ),
            )
    matches = list(_BLOCK.finditer(text))
    if len(matches) == 1 and _is_call(text, matches[0], blocks):
        arguments = json.dumps({"code": matches[0]["code"]})
        words = text[: matches[0].start()].strip()
        return words, (ToolCall(new_call_id(), EXECUTE.name, arguments),)
    return text.strip(), ()


def _once(found: list[tuple[str, str, int]]) -> Iterator[tuple[str, str, int]]:
    seen = set()
    for name, arguments, start in found:
        if arguments not in seen:
            seen.add(arguments)
            yield name, arguments, start


def _xml_calls(text: str) -> Iterator[tuple[str, str, int]]:
    for match in _XML.finditer(text):
        yield match["name"], json.dumps({"code": match["code"]}), match.start()


def _tagged_calls(text: str) -> Iterator[tuple[str, str, int]]:
    for tagged in _TAGGED.finditer(text):
        for name, arguments, _ in _objects(tagged["inside"]):
            yield name, arguments, tagged.start()


def _objects(text: str) -> Iterator[tuple[str, str, int]]:
    """Objects such as ``{"name": ..., "arguments": ...}``, also broken ones."""
    at = 0
    while match := _OBJECT.search(text, at):
        at = match.end()
        if not is_known(match["name"]):
            continue
        try:
            value, at = json.JSONDecoder(strict=False).raw_decode(text, match.start())
        except (ValueError, RecursionError):
            yield match["name"], _rest(text[match.end() :]), match.start()
            return
        named = (value[name] for name in ("arguments", "parameters", "args") if name in value)
        arguments: object = next(named, {})
        written = arguments if isinstance(arguments, str) else json.dumps(arguments)
        yield match["name"], written, match.start()


def _rest(text: str) -> str:
    """What can be told of the arguments in an object that is no JSON."""
    match = _ARGUMENTS.search(text)
    arguments = text[match.end() :] if match else text
    arguments = arguments.partition("\n```")[0].partition("</tool_call>")[0].strip()
    return arguments.removesuffix("}").strip()


def _is_call(text: str, block: re.Match[str], blocks: bool) -> bool:
    beside = text[: block.start()]
    if text[block.end() :].strip() or len(beside) > _MOST_WORDS_BESIDE_BLOCK:
        return False
    return blocks or _MEANT_FOR_HERE.search(block["code"]) is not None
