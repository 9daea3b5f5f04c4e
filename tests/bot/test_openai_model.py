"""The real openai client against the scripted server: replies, failures, and what is sent."""

import asyncio
import json
import logging
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from bot.chat_model import ModelReply, ModelRequest, Usage
from bot.conversation import AssistantMessage, Message, Picture, ToolCall, ToolResult, UserMessage
from bot.errors import (
    BadModelRequest,
    ContextTooLong,
    ModelError,
    ModelKeyRefused,
    ModelUnavailable,
    UnknownModel,
)
from bot.openai_model import OpenAIModel
from bot.tools import EXECUTE
from tests.bot.fakes import PNG
from tests.openai_server import Call, OpenAIServer, Words

KEY = "sk-planted-7d1f0a2b9c"
QUESTION = (UserMessage("What is 6 * 7?"),)


@dataclass
class Asker:
    """Somebody who asks the server through the client, and counts how long it would have waited."""

    server: OpenAIServer
    model: OpenAIModel
    waits: list[float] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    async def ask(
        self, *messages: Message, tools: bool = True, model: str = "scripted", limit: int = 100
    ) -> ModelReply:
        request = ModelRequest(
            model=model,
            system="Be brief.",
            messages=messages or QUESTION,
            tools=(EXECUTE,) if tools else (),
            max_output_tokens=limit,
        )
        return await self.model.reply(
            request,
            on_text=self.texts.append,
            on_wait=lambda reason, wait_s: self.reasons.append(reason),
        )


@asynccontextmanager
async def an_asker(
    server: OpenAIServer,
    *,
    key: str | None = KEY,
    base_url: str | None = None,
    timeout_s: float = 30,
) -> AsyncIterator[Asker]:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    url = base_url or server.base_url
    async with OpenAIModel.open(
        api_key=key, base_url=url, timeout_s=timeout_s, sleep=sleep
    ) as model:
        yield Asker(server, model, waits)


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with OpenAIServer.open() as server:
        yield server


@pytest.fixture
async def asker(server: OpenAIServer) -> AsyncIterator[Asker]:
    async with an_asker(server) as asker:
        yield asker


# -- replies -----------------------------------------------------------------------------------


async def test_words_come_piece_by_piece_and_then_whole(asker: Asker) -> None:
    asker.server.say("The answer is 42.")
    reply = await asker.ask()
    assert reply.text == "The answer is 42."
    assert (reply.finish, reply.calls) == ("stop", ())
    assert asker.texts == ["The ans", "The answer is", "The answer is 42."]


async def test_the_request_says_what_it_has_to(asker: Asker) -> None:
    asker.server.say("42")
    await asker.ask()
    request = asker.server.last
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.system == "Be brief."
    assert request.question == "What is 6 * 7?"
    assert request.tool_names == ["execute_python_code"]
    assert request.body["max_tokens"] == 100
    assert request.wants_usage


async def test_tokens_are_those_that_the_server_counts(asker: Asker) -> None:
    asker.server.say("42")
    reply = await asker.ask()
    assert reply.usage.input_tokens == len(asker.server.last.text)


@pytest.mark.parametrize("streams", [True, False])
async def test_tokens_are_estimated_where_nobody_counts(asker: Asker, streams: bool) -> None:
    asker.server.streams = streams
    asker.server.say("x" * 300, usage=False)
    reply = await asker.ask()
    assert reply.usage.output_tokens == 100
    assert reply.usage.input_tokens > 0


async def test_a_server_that_does_not_stream_is_understood(asker: Asker) -> None:
    asker.server.streams = False
    asker.server.call("print(1)", text="Let me see.")
    reply = await asker.ask()
    assert reply.text == "Let me see."
    assert [call.arguments for call in reply.calls] == ['{"code": "print(1)"}']


async def test_calls_are_put_together_from_their_pieces(asker: Asker) -> None:
    asker.server.call("print(1)", "print(2)", text="Two things.")
    reply = await asker.ask()
    assert reply.finish == "calls"
    assert [json.loads(call.arguments)["code"] for call in reply.calls] == ["print(1)", "print(2)"]
    assert len({call.call_id for call in reply.calls}) == 2


def _call(code: str, **how: object) -> Call:
    return Call("execute_python_code", json.dumps({"code": code}), **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param((_call("a", whole=True), _call("b", whole=True)), id="whole"),
        pytest.param(
            (_call("a", index=-1, whole=True), _call("b", index=-1, whole=True)), id="no index"
        ),
        pytest.param((_call("a", index=0), _call("b", index=0)), id="all numbered 0"),
        pytest.param(
            (_call("a", index=0, call_id=""), _call("b", index=0, call_id="")), id="0 and no id"
        ),
        pytest.param((_call("a", call_id="x"), _call("b", call_id="x")), id="one id twice"),
        pytest.param((_call("a", call_id=""), _call("b", call_id="")), id="no id"),
        pytest.param((_call("a", index=3), _call("b", index=7)), id="odd numbers"),
        pytest.param(
            (
                Call("execute_python_code", {"code": "a"}),
                Call("execute_python_code", {"code": "b"}),
            ),
            id="arguments as an object",
        ),
        pytest.param(
            (Call("execute_python_code", {"code": "a"}, "", -1), _call("b")), id="all of it"
        ),
    ],
)
async def test_calls_of_other_servers_are_told_apart(asker: Asker, calls: tuple[Call, ...]) -> None:
    asker.server.call_tools(*calls)
    reply = await asker.ask()
    assert [json.loads(call.arguments) for call in reply.calls] == [{"code": "a"}, {"code": "b"}]
    ids = {call.call_id for call in reply.calls}
    assert len(ids) == 2 and all(ids)


async def test_pieces_without_a_number_belong_to_the_last_call(asker: Asker) -> None:
    function = {"name": "execute_python_code", "arguments": '{"code"'}
    first = {"tool_calls": [{"id": "a", "function": function}]}
    rest = {"tool_calls": [{"function": {"name": None, "arguments": ': "a"}'}}]}
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in (first, rest)]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    asker.server.send(*chunks, end)
    reply = await asker.ask()
    assert reply.calls == (ToolCall("a", "execute_python_code", '{"code": "a"}'),)


async def test_a_name_that_comes_with_every_piece_is_one_name(asker: Asker) -> None:
    pieces = ['{"code"', ': "a"}']
    functions = [{"name": "execute_python_code", "arguments": piece} for piece in pieces]
    deltas = [{"tool_calls": [{"index": 0, "id": "a", "function": f}]} for f in functions]
    asker.server.send(
        *({"choices": [{"index": 0, "delta": delta}]} for delta in deltas),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    )
    reply = await asker.ask()
    assert reply.calls == (ToolCall("a", "execute_python_code", '{"code": "a"}'),)
    assert reply.finish == "calls"


async def test_the_former_function_call_is_understood(asker: Asker) -> None:
    delta = {"function_call": {"name": "execute_python_code", "arguments": '{"code": "a"}'}}
    asker.server.send({"choices": [{"index": 0, "delta": delta, "finish_reason": "function_call"}]})
    reply = await asker.ask()
    assert [call.arguments for call in reply.calls] == ['{"code": "a"}']


@pytest.mark.parametrize(
    "junk",
    [
        {"choices": None},
        {"choices": []},
        {"choices": [None]},
        {"choices": [{"index": 0, "delta": None}]},
        {"choices": [{"index": 0, "delta": {"content": 7, "tool_calls": "x"}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [None, {"function": 3}]}}]},
        {"usage": {"prompt_tokens": None, "completion_tokens": "many"}},
        {"x": 1},
        [],
        "null",
    ],
)
async def test_chunks_that_make_no_sense_are_passed_over(asker: Asker, junk: object) -> None:
    end = {"choices": [{"index": 0, "delta": {"content": "fine"}, "finish_reason": "stop"}]}
    asker.server.send(junk, end, junk)
    reply = await asker.ask()
    assert (reply.text, reply.calls) == ("fine", ())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<think>Hm, 6 * 7.</think>\n\nIt is 42.", "It is 42."),
        ("Hm, 6 * 7.</think>It is 42.", "It is 42."),
        ("<think>Hm, 6 * 7", ""),
        ("It is 42.\n<thinking>sure?</thinking>\nYes.", "It is 42.\nYes."),
        ("The tag `<think>` marks thoughts.", "The tag `<think>` marks thoughts."),
    ],
)
async def test_thoughts_are_no_part_of_an_answer(asker: Asker, text: str, shown: str) -> None:
    asker.server.say(text)
    assert (await asker.ask()).text == shown
    assert all("think" not in text or "`" in text for text in asker.texts)
    assert not any("6 * 7" in text for text in asker.texts if text.startswith("<"))


async def test_thoughts_in_a_field_of_their_own_are_left_out(asker: Asker) -> None:
    asker.server.say("It is 42.", reasoning="Let me multiply these.")
    assert (await asker.ask()).text == "It is 42."


@pytest.mark.parametrize(
    ("sent", "meant"), [("stop", "stop"), ("length", "length"), ("content_filter", "filtered")]
)
async def test_why_it_ended_is_told(asker: Asker, sent: str, meant: str) -> None:
    asker.server.say("It is 4", finish=sent)
    reply = await asker.ask()
    assert (reply.text, reply.finish) == ("It is 4", meant)


async def test_a_refusal_is_told_with_its_words(asker: Asker) -> None:
    asker.server.refuse("I can't help with that.")
    reply = await asker.ask()
    assert (reply.text, reply.finish) == ("I can't help with that.", "refused")


async def test_a_request_that_a_filter_stops_is_a_refusal(asker: Asker) -> None:
    asker.server.fail(400, code="content_filter", message="The prompt was filtered.")
    assert (await asker.ask()).finish == "refused"


async def test_an_empty_reply_is_a_reply(asker: Asker) -> None:
    asker.server.empty()
    assert await asker.ask() == ModelReply(usage=asker_usage(asker))


def asker_usage(asker: Asker) -> Usage:
    return Usage(len(asker.server.last.text), len('{"role": "assistant", "content": null}'))


# -- trying again ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 408, 409, 429, 500, 502, 503, 529])
async def test_what_may_pass_is_tried_again(asker: Asker, status: int) -> None:
    asker.server.fail(status, times=4)
    asker.server.say("42")
    assert (await asker.ask()).text == "42"
    assert len(asker.waits) == len(asker.reasons) == 4
    assert all(reason.endswith(".") and ";" not in reason for reason in asker.reasons)
    for wait_s, most_s in zip(asker.waits, (1, 2, 4, 8), strict=True):
        assert most_s / 2 <= wait_s <= most_s


@pytest.mark.parametrize("status", [0, 429, 500])
async def test_after_five_tries_it_gives_up(asker: Asker, status: int) -> None:
    asker.server.fail(status, times=5)
    with pytest.raises(ModelUnavailable):
        await asker.ask()
    assert len(asker.waits) == 4
    assert asker.server.left == 0


@pytest.mark.parametrize(("retry_after", "waited"), [("7", 7.0), ("0.5", 0.5), ("60", 60.0)])
async def test_the_server_says_how_long_to_wait(
    asker: Asker, retry_after: str, waited: float
) -> None:
    asker.server.fail(429, retry_after=retry_after)
    asker.server.say("42")
    await asker.ask()
    assert asker.waits == [waited]


async def test_a_date_to_wait_for_is_understood(asker: Asker) -> None:
    at = datetime.now(UTC) + timedelta(seconds=30)
    asker.server.fail(503, retry_after=format_datetime(at, usegmt=True))
    asker.server.say("42")
    await asker.ask()
    assert 0 < asker.waits[0] <= 30


async def test_nobody_is_kept_waiting_for_more_than_a_minute(asker: Asker) -> None:
    asker.server.fail(429, retry_after="61")
    with pytest.raises(ModelUnavailable):
        await asker.ask()
    assert asker.waits == []


@pytest.mark.parametrize("retry_after", ["soon", "nan", "-3", "inf"])
async def test_a_wait_that_is_no_time_is_ignored(asker: Asker, retry_after: str) -> None:
    asker.server.fail(429, retry_after=retry_after)
    asker.server.say("42")
    await asker.ask()
    assert 0.5 <= asker.waits[0] <= 1.0


async def test_an_answer_that_breaks_off_is_asked_for_again(asker: Asker) -> None:
    asker.server.drop("It is not what you think")
    asker.server.say("It is 42.")
    assert (await asker.ask()).text == "It is 42."
    assert len(asker.waits) == 1


async def test_an_error_in_mid_stream_is_tried_again(asker: Asker) -> None:
    asker.server.say("It is 42, I am sure.", error_after=3)
    asker.server.say("It is 42.")
    assert (await asker.ask()).text == "It is 42."


async def test_a_stream_without_an_end_is_taken_the_second_time(asker: Asker) -> None:
    piece = {"choices": [{"index": 0, "delta": {"content": "It is 42."}}]}
    asker.server.send(piece)
    asker.server.send(piece)
    assert (await asker.ask()).text == "It is 42."
    assert len(asker.waits) == 1


async def test_a_stream_that_is_no_json_is_tried_again(asker: Asker) -> None:
    asker.server.send("{broken")
    asker.server.say("It is 42.")
    assert (await asker.ask()).text == "It is 42."


async def test_a_page_instead_of_an_answer_is_no_answer(asker: Asker) -> None:
    for _ in range(5):
        asker.server.fail(200, raw="<html>Log in, please</html>")
    with pytest.raises(ModelUnavailable):
        await asker.ask()


async def test_a_silent_server_is_asked_twice(server: OpenAIServer) -> None:
    gates = [server.hold(), server.hold()]
    async with an_asker(server, timeout_s=0.05) as asker:
        with pytest.raises(ModelUnavailable, match="too long"):
            await asker.ask()
        assert len(asker.waits) == 1
    for gate in gates:
        gate.set()


async def test_a_server_that_is_not_there_is_said_to_be_away(server: OpenAIServer) -> None:
    async with an_asker(server, base_url="http://127.0.0.1:9/v1") as asker:
        with pytest.raises(ModelUnavailable, match="can't be reached"):
            await asker.ask()
        assert len(asker.waits) == 4


async def test_cancelling_ends_the_request(asker: Asker) -> None:
    gate = asker.server.hold()
    asking = asyncio.create_task(asker.ask())
    await asker.server.came.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    gate.set()


# -- what can't be mended ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "message", "error"),
    [
        (401, "invalid_api_key", f"Incorrect API key provided: {KEY}.", ModelKeyRefused),
        (403, None, "Country not supported", ModelKeyRefused),
        (402, None, "Payment required", ModelKeyRefused),
        (429, "insufficient_quota", "You exceeded your current quota", ModelKeyRefused),
        (404, "model_not_found", "The model does not exist", UnknownModel),
        (404, None, 'model "scripted" not found, try pulling it first', UnknownModel),
        (403, "model_not_found", "Project has no access to the model", UnknownModel),
        (404, None, "Not Found", BadModelRequest),
        (400, "context_length_exceeded", "maximum context length is 8192", ContextTooLong),
        (400, None, "the request exceeds the available context size", ContextTooLong),
        (413, None, "Request too large", ContextTooLong),
        (400, None, "messages: roles must alternate", BadModelRequest),
        (422, None, "temperature: out of range", BadModelRequest),
    ],
)
async def test_what_can_t_be_mended_is_said_at_once(
    asker: Asker, status: int, code: str | None, message: str, error: type[ModelError]
) -> None:
    asker.server.fail(status, code=code, message=message)
    with pytest.raises(error) as caught:
        await asker.ask()
    assert type(caught.value) is error
    assert asker.waits == []
    assert str(caught.value).endswith(".")
    assert message.replace(KEY, "[key]") in caught.value.detail


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
async def test_the_key_is_told_to_nobody(
    asker: Asker, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asker.server.fail(status, times=5, message=f"key {KEY} and sk-another*****f1c9")
    with pytest.raises(ModelError) as caught:
        await asker.ask()
    told = [*traceback.format_exception(caught.value), repr(caught.value), caught.value.detail]
    told += [repr(asker.model), repr(vars(asker.model)), caplog.text, *asker.reasons]
    assert not any(KEY in text or "f1c9" in text for text in told)
    assert caught.value.__cause__ is caught.value.__context__ is None


# -- servers that take less --------------------------------------------------------------------


@pytest.mark.parametrize(
    "unknown",
    [
        {"stream_options"},
        {"max_tokens"},
        {"stream"},
        {"max_tokens", "stream_options"},
        {"max_tokens", "stream"},
    ],
)
async def test_what_a_server_refuses_is_left_out_and_remembered(
    asker: Asker, unknown: set[str]
) -> None:
    asker.server.unknown = unknown
    for _ in range(2):
        asker.server.call("print(1)")
    assert len((await asker.ask()).calls) == 1
    before = len(asker.server.requests)
    assert len((await asker.ask()).calls) == 1
    assert len(asker.server.requests) == before + 1
    assert asker.waits == []
    assert "max_tokens" in unknown or asker.server.last.body["max_tokens"] == 100
    assert "max_tokens" not in unknown or asker.server.last.body["max_completion_tokens"] == 100


async def test_a_server_that_streams_no_calls_still_streams_words(asker: Asker) -> None:
    asker.server.streams_tools = False
    asker.server.call("print(1)")
    asker.server.say("It is 42.")
    assert (await asker.ask()).calls
    assert not asker.server.last.wants_stream
    assert (await asker.ask(tools=False)).text == "It is 42."
    assert asker.server.last.wants_stream


async def test_a_limit_that_is_too_high_is_not_tried_for_ever(asker: Asker) -> None:
    for _ in range(2):
        asker.server.fail(
            400, code="invalid_value", message="max_tokens is too large: 100. At most 50."
        )
    with pytest.raises(BadModelRequest):
        await asker.ask()


async def test_openai_s_own_server_is_asked_as_it_wants_it() -> None:
    async with OpenAIModel.open(api_key=KEY, base_url=None, timeout_s=1) as model:
        assert model._first.limit == "max_completion_tokens"


async def test_a_server_without_a_key_is_asked_without_one(server: OpenAIServer) -> None:
    server.say("42")
    async with an_asker(server, key=None) as asker:
        assert (await asker.ask()).text == "42"


# -- what is sent ------------------------------------------------------------------------------

PICTURE = Picture(PNG, "image/png")


async def test_pictures_of_cells_follow_their_results(asker: Asker) -> None:
    calls = (ToolCall("a", "execute_python_code", "{}"), ToolCall("b", "execute_python_code", "{}"))
    asker.server.say("A line.")
    await asker.ask(
        UserMessage("Plot it.", (PICTURE,)),
        AssistantMessage("", calls),
        ToolResult("a", "[image/png 1x1]", (PICTURE,)),
        ToolResult("b", "[image/png 1x1]", (PICTURE,)),
        AssistantMessage("Done."),
        UserMessage("What do you see?"),
    )
    roles = [message["role"] for message in asker.server.last.messages]
    assert roles == ["system", "user", "assistant", "tool", "tool", "user", "assistant", "user"]
    assert len(asker.server.last.pictures) == 3


@pytest.mark.parametrize("status", [400, 500])
async def test_a_model_that_can_t_see_is_asked_without_pictures(asker: Asker, status: int) -> None:
    asker.server.fail(status, message="image input is not supported by this model")
    asker.server.say("I can't see it.")
    asker.server.say("Still not.")
    for _ in range(2):
        await asker.ask(UserMessage("What is it?", (PICTURE,)))
        assert asker.server.last.pictures == []
    assert len(asker.server.requests) == 3


@pytest.mark.parametrize("arguments", ["", "print(1)", "[1]", '"x"', '{"code": "pri'])
async def test_broken_arguments_go_back_as_json(asker: Asker, arguments: str) -> None:
    # The scripted server refuses, as llama.cpp and vLLM do, what isn't an object.
    asker.server.say("Sorry.")
    await asker.ask(
        *QUESTION,
        AssistantMessage("", (ToolCall("a", "no such tool!", arguments),)),
        ToolResult("a", "That is no JSON."),
    )
    call = asker.server.last.messages[2]["tool_calls"][0]["function"]
    assert json.loads(call["arguments"]) == {"unreadable": arguments}
    assert call["name"] == "no_such_tool_"


async def test_half_characters_are_sent_as_whole_ones(asker: Asker) -> None:
    asker.server.say("A half.")
    await asker.ask(UserMessage("What is \ud83d?"))
    assert asker.server.last.question == "What is \ufffd?"


async def test_two_questions_at_once_get_their_own_answers(asker: Asker) -> None:
    asker.server.otherwise(lambda request: Words(text=f"You said {request.question}."))
    replies = await asyncio.gather(*(asker.ask(UserMessage(f"no. {n}")) for n in range(8)))
    assert [reply.text for reply in replies] == [f"You said no. {n}." for n in range(8)]
