"""The turn loop with scripted cells: the model is a server that speaks the real protocol."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

import pytest

from bot import turn_events as events
from bot.chat import CUT_SHORT, Question, TurnControl, TurnLimits, TurnResult, run_turn
from bot.conversation import AssistantMessage, Exchange, ToolCall, ToolResult, UserMessage
from bot.openai_model import OpenAIModel
from bot.turn_events import TurnEvent
from interpreter import (
    DisplayData,
    Durations,
    KernelStartFailed,
    NoCapacity,
    QueueFull,
    Session,
    SessionClosed,
)
from interpreter.execution import PhaseName
from tests.bot.fakes import PNG, FakeSession, printed, result, stored_file
from tests.openai_server import Call, OpenAIServer, Words, python_call


@dataclass
class Talk:
    """Somebody who asks, the model's server, and the session."""

    openai: OpenAIServer
    model: OpenAIModel
    session: FakeSession = field(default_factory=FakeSession)
    events: list[TurnEvent] = field(default_factory=list)
    control: TurnControl = field(default_factory=TurnControl)
    limits: TurnLimits = field(default_factory=lambda: TurnLimits(time_s=60.0))
    waits: asyncio.Event = field(default_factory=asyncio.Event)
    opened: int = 0
    on_open: Callable[[], None] = lambda: None

    async def open_session(self) -> Session:
        self.opened += 1
        self.on_open()
        return self.session  # type: ignore[return-value]  # our own seam, faked

    def question(self, text: str = "What is 6 * 7?", **rest: object) -> Question:
        message = UserMessage(text)
        given = {"model": "m", "system": "s", "message": message, "kept": message, **rest}
        return Question(**given)  # type: ignore[arg-type]

    async def ask(self, text: str = "What is 6 * 7?", **rest: object) -> TurnResult:
        return await run_turn(
            self.question(text, **rest),
            model=self.model,
            open_session=self.open_session,
            limits=self.limits,
            on_event=self._tell,
            control=self.control,
        )

    def _tell(self, event: TurnEvent) -> None:
        self.events.append(event)
        if isinstance(event, events.CellWaiting):
            self.waits.set()

    def of_kind(self, kind: type) -> list[TurnEvent]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
async def talk() -> AsyncIterator[Talk]:
    async def no_sleep(seconds: float) -> None:
        pass

    async with (
        OpenAIServer.open() as openai,
        OpenAIModel.open(
            api_key="k", base_url=openai.base_url, timeout_s=30, sleep=no_sleep
        ) as model,
    ):
        yield Talk(openai, model)


def well_formed(exchange: Exchange) -> None:
    """A question first, an answer last, and in between each call answered once, in order."""
    first, *between, last = exchange.messages
    assert isinstance(first, UserMessage)
    assert isinstance(last, AssistantMessage) and last.text and not last.calls
    called: list[str] = []
    for message in between:
        assert isinstance(message, AssistantMessage | ToolResult)
        if isinstance(message, ToolResult):
            assert message.pictures == ()
            called.remove(message.call_id)
        else:
            assert not called
            called = [call.call_id for call in message.calls]
    assert not called


# -- answers -----------------------------------------------------------------------------------


async def test_words_are_the_answer(talk: Talk) -> None:
    talk.openai.say("It is 42.")
    turn = await talk.ask()
    assert (turn.status, turn.answer, turn.note, turn.cells) == ("answered", "It is 42.", None, ())
    assert turn.exchange.messages == (UserMessage("What is 6 * 7?"), AssistantMessage("It is 42."))
    assert turn.usage.total > 0
    assert events.AnswerText("It is 42.") in talk.events


async def test_a_cell_is_run_and_its_result_goes_to_the_model(talk: Talk) -> None:
    talk.session.will("6 * 7", result("42"))
    talk.openai.call("6 * 7", text="Let me see.")
    talk.openai.say("It is 42.")
    turn = await talk.ask()
    assert turn.answer == "It is 42."
    assert [cell.code for cell in turn.cells] == ["6 * 7"]
    assert "<output>\n42\n</output>" in talk.openai.last.last_result
    kinds = [type(event) for event in talk.events if not isinstance(event, events.AnswerText)]
    assert kinds == [
        *(events.Thinking, events.CellWaiting, events.CellRunning, events.CellOutput),
        *(events.CellDone, events.Thinking),
    ]
    well_formed(turn.exchange)


async def test_several_calls_in_one_reply_run_in_order(talk: Talk) -> None:
    talk.openai.call("x = 1", "x")
    talk.openai.call("x + 1")
    talk.openai.say("Done.")
    turn = await talk.ask()
    assert talk.session.ran == ["x = 1", "x", "x + 1"]
    assert [event.number for event in talk.of_kind(events.CellDone)] == [1, 2, 3]  # type: ignore[union-attr]
    well_formed(turn.exchange)


async def test_earlier_exchanges_are_read_first(talk: Talk) -> None:
    before = Exchange((UserMessage("Hello"), AssistantMessage("Hi.")))
    talk.openai.say("It is 42.")
    await talk.ask(history=(before,))
    assert [message["content"] for message in talk.openai.last.messages] == [
        *("s", "Hello", "Hi.", "What is 6 * 7?")
    ]


async def test_the_model_reads_tracebacks_files_and_what_was_installed(talk: Talk) -> None:
    talk.session.will_fail("load()", "KeyError", "'amount'")
    talk.session.will(
        "save()",
        printed("saved\n"),
        artifacts=(stored_file("f1", "out.csv"),),
        installed=("seaborn 0.13.2",),
        durations=Durations(install_s=3.0, run_s=1.5),
    )
    talk.openai.call("load()")
    talk.openai.call("save()")
    talk.openai.say("Done.")
    await talk.ask()
    first, second = [m["content"] for m in talk.openai.last.messages if m["role"] == "tool"]
    assert "FAILED" in first and "KeyError: 'amount'" in first
    assert "out.csv (id f1" in second and "seaborn 0.13.2" in second and "1.5 s" in second


async def test_pictures_are_shown_to_models_that_see(talk: Talk) -> None:
    picture = DisplayData({"image/png": base64.b64encode(PNG).decode()}, {})
    talk.session.will("plot()", picture)
    for _ in range(2):
        talk.openai.call("plot()")
        talk.openai.say("A line.")
    turn = await talk.ask()
    assert len(talk.openai.last.pictures) == 1
    assert "base64" not in talk.openai.last.text
    well_formed(turn.exchange)
    await talk.ask(sees=False)
    assert talk.openai.last.pictures == []


async def test_the_answer_streams_as_it_comes(talk: Talk) -> None:
    talk.openai.say("It is 42, I am sure.")
    await talk.ask()
    texts = [event.text for event in talk.of_kind(events.AnswerText)]  # type: ignore[union-attr]
    assert texts == ["It is 4", "It is 42, I am", "It is 42, I am sure."]


async def test_an_installation_is_told(talk: Talk) -> None:
    talk.session.installs["import seaborn"] = ("seaborn",)
    talk.openai.call("import seaborn")
    talk.openai.say("Done.")
    await talk.ask()
    assert events.CellInstalling(1, ("seaborn",)) in talk.events


async def test_waiting_for_the_model_is_told(talk: Talk) -> None:
    talk.openai.fail(429, retry_after="3")
    talk.openai.say("It is 42.")
    assert (await talk.ask()).answer == "It is 42."
    waiting = talk.of_kind(events.ModelWaiting)
    assert [event.wait_s for event in waiting] == [3.0]  # type: ignore[union-attr]


async def test_a_front_end_that_fails_does_not_end_the_turn(talk: Talk) -> None:
    talk.openai.call("1")
    talk.openai.say("It is 42.")

    def fails(event: TurnEvent) -> None:
        raise RuntimeError("no screen")

    turn = await run_turn(
        talk.question(),
        model=talk.model,
        open_session=talk.open_session,
        limits=talk.limits,
        on_event=fails,
    )
    assert turn.answer == "It is 42."


# -- what models get wrong ---------------------------------------------------------------------

CODE = "import math\nprint(math.pi)"


@pytest.mark.parametrize(
    "arguments",
    [
        json.dumps({"code": CODE}),
        CODE,
        f"```python\n{CODE}\n```",
        '{"code": "import math\nprint(math.pi)"}',
        repr({"code": CODE}),
        json.dumps({"code": f"```python\n{CODE}\n```"}),
        json.dumps(json.dumps({"code": CODE})),
        json.dumps({"code": CODE})[:-1],
        json.dumps({"code": CODE.replace("\n", "\\n")}),
        json.dumps({"code": CODE.split("\n")}),
        json.dumps({"script": CODE}),
        json.dumps(CODE),
        f"```json\n{json.dumps({'code': CODE})}\n```",
    ],
)
async def test_the_obvious_is_repaired_in_a_call(talk: Talk, arguments: str) -> None:
    talk.openai.call_tools(Call("execute_python_code", arguments))
    talk.openai.say("Done.")
    await talk.ask()
    assert talk.session.ran == [CODE]


async def test_line_breaks_in_strings_are_mended_where_that_makes_it_python(talk: Talk) -> None:
    meant = 'x = 1  # it\'s one\nprint(f"a\\n{x}")\ny = """a\nb"""'
    broken = meant.replace("\\n{x}", "\n{x}")
    talk.openai.call(broken, "1 +\n'")
    talk.openai.say("Done.")
    await talk.ask()
    assert talk.session.ran == [meant, "1 +\n'"]


@pytest.mark.parametrize(
    "arguments", ["", "{}", '{"code": "print(1', "[1, 2]", '{"code": 7}', "{not json}", "Ich denke"]
)
async def test_what_has_no_code_in_it_is_not_run_and_said(talk: Talk, arguments: str) -> None:
    talk.openai.call_tools(Call("execute_python_code", arguments))
    talk.openai.say("Sorry.")
    turn = await talk.ask()
    assert talk.session.ran == []
    assert "Nothing was run" in talk.openai.last.last_result
    assert turn.answer == "Sorry."
    well_formed(turn.exchange)


async def test_a_tool_that_is_not_there_is_said(talk: Talk) -> None:
    talk.openai.call_tools(Call("web_search", '{"query": "x"}'))
    talk.openai.say("Sorry.")
    await talk.ask()
    assert "There is no tool 'web_search'" in talk.openai.last.last_result
    assert talk.session.ran == []


@pytest.mark.parametrize("name", ["python", "code_interpreter", "functions.execute_python_code"])
async def test_other_names_of_the_tool_are_understood(talk: Talk, name: str) -> None:
    talk.openai.call_tools(Call(name, '{"code": "1"}'))
    talk.openai.say("Done.")
    await talk.ask()
    assert talk.session.ran == ["1"]


@pytest.mark.parametrize(
    "text",
    [
        'I run it:\n```json\n{"name": "execute_python_code", "arguments": {"code": "6 * 7"}}\n```',
        'I run it:\n<tool_call>\n{"name": "execute_python_code", "arguments": {"code": "6 * 7"}}\n'
        "</tool_call>\nThe output is 41.",
        'I run it:\n{"name": "execute_python_code", "arguments": {"code": "6 * 7"}}',
        'I run it:\n```json\n{"name": "execute_python_code", "arguments": {"code": "6 * 7"}}\n```\n'
        '```json\n{"name": "execute_python_code", "arguments": {"code": "6 * 7"}}\n```',
        "I run it:\n<function=execute_python_code>\n<parameter=code>\n6 * 7\n</parameter>\n"
        "</function>",
    ],
)
async def test_a_call_written_as_words_is_a_call(talk: Talk, text: str) -> None:
    talk.session.will("6 * 7", result("42"))
    talk.openai.say(text)
    talk.openai.say("It is 42.")
    turn = await talk.ask()
    assert talk.session.ran == ["6 * 7"]
    assert turn.answer == "It is 42."
    assert turn.writes_calls
    texts = [event.text for event in talk.of_kind(events.AnswerText)]  # type: ignore[union-attr]
    assert not any("execute_python_code" in shown or "41" in shown for shown in texts)
    well_formed(turn.exchange)


async def test_code_that_only_works_here_is_run(talk: Talk) -> None:
    talk.openai.say('I look:\n```python\nload_file("sales.csv").describe()\n```')
    talk.openai.say("Fine.")
    await talk.ask()
    assert talk.session.ran == ['load_file("sales.csv").describe()']


@pytest.mark.parametrize("writes_calls", [False, True])
async def test_code_that_could_be_an_answer_is_one_unless_the_model_is_known(
    talk: Talk, writes_calls: bool
) -> None:
    talk.openai.say("```python\nprint(6 * 7)\n```")
    if writes_calls:
        talk.openai.say("It is 42.")
    turn = await talk.ask("How do I multiply?", writes_calls=writes_calls)
    assert talk.session.ran == (["print(6 * 7)"] if writes_calls else [])
    assert turn.answer == ("It is 42." if writes_calls else "```python\nprint(6 * 7)\n```")


async def test_an_empty_reply_is_asked_for_once_more(talk: Talk) -> None:
    talk.openai.empty()
    talk.openai.say("It is 42.")
    turn = await talk.ask()
    assert turn.answer == "It is 42."
    assert "empty" in talk.openai.last.question
    assert turn.exchange.messages == (UserMessage("What is 6 * 7?"), AssistantMessage("It is 42."))


async def test_two_empty_replies_are_no_answer(talk: Talk) -> None:
    talk.openai.empty()
    talk.openai.empty()
    turn = await talk.ask()
    assert (turn.status, turn.answer) == ("failed", "")
    assert turn.note == "The language model gave no answer; please put the question differently."
    well_formed(turn.exchange)


async def test_words_beside_a_call_are_the_answer_where_no_others_come(talk: Talk) -> None:
    talk.openai.call("6 * 7", text="It is 42, see for yourself.")
    talk.openai.empty()
    talk.openai.empty()
    turn = await talk.ask()
    assert (turn.status, turn.answer) == ("answered", "It is 42, see for yourself.")


async def test_thinking_without_an_answer_is_said(talk: Talk) -> None:
    for _ in range(2):
        talk.openai.say("<think>Hm, hm", finish="length")
    turn = await talk.ask()
    assert turn.status == "failed"
    assert turn.note is not None and "length limit" in turn.note


async def test_a_refusal_is_an_answer(talk: Talk) -> None:
    talk.openai.refuse("I won't do that.")
    talk.openai.filtered()
    assert (await talk.ask()).answer == "I won't do that."
    assert (await talk.ask()).answer == "The language model declined to answer that."


async def test_an_answer_that_was_cut_off_says_so(talk: Talk) -> None:
    talk.openai.say("It is 4", finish="length")
    turn = await talk.ask()
    assert turn.answer == "It is 4"
    assert turn.note is not None and "cut off" in turn.note


async def test_an_answer_that_a_filter_cut_off_says_so(talk: Talk) -> None:
    talk.openai.filtered("First one mixes")
    turn = await talk.ask()
    assert (turn.status, turn.answer) == ("answered", "First one mixes")
    assert turn.note == "A filter of the language model's server cut the answer off there."


async def test_a_call_that_was_cut_off_is_not_run_and_said(talk: Talk) -> None:
    talk.openai.call_tools(Call("execute_python_code", '{"code": "print(1'), finish="length")
    talk.openai.say("Shorter.")
    await talk.ask()
    assert talk.session.ran == []
    assert "write less at once" in talk.openai.last.last_result


async def test_the_same_failing_cell_runs_twice_at_most(talk: Talk) -> None:
    talk.session.will_fail("load()")
    talk.openai.otherwise(lambda request: _calls("load()") if request.tool_names else "I give up.")
    turn = await talk.ask()
    assert talk.session.ran == ["load()", "load()"]
    assert turn.status == "rounds"
    assert turn.answer == "I give up."
    assert turn.note is not None and "in vain" in turn.note
    well_formed(turn.exchange)


async def test_the_same_cell_runs_three_times_at_most(talk: Talk) -> None:
    talk.openai.otherwise(lambda request: _calls("1") if request.tool_names else "It is 1.")
    assert (await talk.ask()).answer == "It is 1."
    assert talk.session.ran == ["1"] * 3


async def test_the_same_call_twice_in_a_reply_runs_once(talk: Talk) -> None:
    talk.openai.call("1", "1")
    talk.openai.say("It is 1.")
    turn = await talk.ask()
    assert talk.session.ran == ["1"]
    well_formed(turn.exchange)


def _calls(code: str) -> Words:
    return Words(calls=(python_call(code),))


# -- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("needed", "status"), [(2, "answered"), (3, "rounds")])
async def test_rounds_are_limited_and_then_there_is_a_last_answer(
    talk: Talk, needed: int, status: str
) -> None:
    talk.limits = replace(talk.limits, rounds=3)
    for number in range(needed):
        talk.openai.call(f"x{number}")
    talk.openai.say("It is 42.")
    turn = await talk.ask()
    assert (turn.status, turn.answer) == (status, "It is 42.")
    assert len(turn.cells) == needed
    assert talk.openai.last.tool_names == ([] if needed == 3 else ["execute_python_code"])
    assert (turn.note is None) == (status == "answered")
    well_formed(turn.exchange)


async def test_a_last_answer_that_fails_leaves_an_honest_sentence(talk: Talk) -> None:
    talk.limits = replace(talk.limits, rounds=1)
    talk.openai.call("1")
    talk.openai.fail(400, message="no")
    turn = await talk.ask()
    assert (turn.status, turn.answer) == ("rounds", "")
    assert turn.note == "Stopped after 1 step, the limit for one answer; ask to go on."
    well_formed(turn.exchange)


async def test_tokens_are_limited(talk: Talk) -> None:
    talk.limits = replace(talk.limits, tokens=4_000)
    talk.session.will("long()", printed("x " * 5_000))
    talk.openai.call("long()")
    talk.openai.say("It is long.")
    turn = await talk.ask()
    assert (turn.status, turn.answer) == ("tokens", "It is long.")
    assert turn.usage.total < 8_000  # the server counts each character as a token
    well_formed(turn.exchange)


async def test_no_tokens_are_no_request(talk: Talk) -> None:
    talk.limits = replace(talk.limits, tokens=0)
    turn = await talk.ask()
    assert (turn.status, turn.answer, talk.openai.requests) == ("tokens", "", [])
    assert turn.note is not None


async def test_history_is_left_out_before_the_budget_ends(talk: Talk) -> None:
    talk.limits = replace(talk.limits, tokens=3_000)
    before = Exchange((UserMessage("x" * 30_000), AssistantMessage("Hi.")))
    talk.openai.say("It is 42.")
    assert (await talk.ask(history=(before,))).status == "answered"
    assert "xxx" not in talk.openai.last.text


async def test_time_is_limited_while_the_model_thinks(talk: Talk) -> None:
    talk.limits = replace(talk.limits, time_s=0.1)
    gate = talk.openai.hold("Let me think about it")
    turn = await talk.ask()
    gate.set()
    assert (turn.status, turn.answer) == ("time", "Let me")
    well_formed(turn.exchange)


async def test_time_is_limited_while_a_cell_runs(talk: Talk) -> None:
    talk.limits = replace(talk.limits, time_s=0.1)
    talk.session.will_run_on("loop()")
    talk.openai.call("loop()")
    turn = await talk.ask()
    assert turn.status == "time"
    assert [cell.status for cell in turn.cells] == ["interrupted"]
    assert talk.session.interrupts == 1
    well_formed(turn.exchange)


async def test_a_cell_gets_the_limit_it_was_given(talk: Talk) -> None:
    talk.limits = replace(talk.limits, cell_s=12.0)
    talk.openai.call("1")
    talk.openai.say("It is 1.")
    await talk.ask()
    assert events.CellRunning(1, 12.0) in talk.events


async def test_a_context_that_is_too_long_loses_its_oldest_exchanges(talk: Talk) -> None:
    history = tuple(
        Exchange((UserMessage(f"question {n} " * 20), AssistantMessage("Yes."))) for n in range(8)
    )
    talk.openai.fail(400, code="context_length_exceeded", message="too long")
    talk.openai.say("It is 42.")
    assert (await talk.ask(history=history)).answer == "It is 42."
    assert "question 0" not in talk.openai.last.text
    assert "question 7" in talk.openai.last.text


async def test_a_turn_that_is_too_long_has_its_results_shortened(talk: Talk) -> None:
    talk.session.will("long()", printed("start" + "x " * 5_000 + "end"))
    talk.openai.call("long()")
    talk.openai.too_long()
    talk.openai.too_long()
    talk.openai.say("It is long.")
    turn = await talk.ask()
    assert turn.answer == "It is long."
    results = [request.last_result for request in talk.openai.requests[1:]]
    assert len(results[0]) > len(results[-1])
    assert "start" in results[-1] and "end" in results[-1]


async def test_what_never_fits_is_said(talk: Talk) -> None:
    for _ in range(5):
        talk.openai.too_long()
    turn = await talk.ask()
    assert turn.status == "failed"
    assert turn.note is not None
    assert turn.note.endswith("more than the language model can read at once; please ask for less.")


async def test_the_window_that_a_server_tells_is_taken(talk: Talk) -> None:
    history = tuple(
        Exchange((UserMessage("word " * 3_000), AssistantMessage("Yes."))) for _ in range(8)
    )
    talk.openai.too_long()
    talk.openai.say("It is 42.")
    await talk.ask(history=history)
    assert 0 < len(talk.openai.last.text) <= 8192 * 3


# -- stopping ----------------------------------------------------------------------------------


async def test_a_stop_while_the_model_thinks_ends_its_request(talk: Talk) -> None:
    gate = talk.openai.hold("Let me think about it")
    asking = asyncio.create_task(talk.ask())
    await talk.openai.came.wait()
    talk.control.stop()
    turn = await asking
    gate.set()
    assert turn.status == "stopped"
    assert turn.note == "Stopped. The variables are kept."
    well_formed(turn.exchange)


async def test_a_stop_interrupts_the_cell_and_keeps_what_there_is(talk: Talk) -> None:
    talk.session.will_run_on("loop()")
    talk.openai.call("x = 1", "loop()", "never()")
    asking = asyncio.create_task(talk.ask())
    while "loop()" not in talk.session.ran:
        talk.session.running.clear()
        await talk.session.running.wait()
    talk.control.stop()
    turn = await asking
    assert turn.status == "stopped"
    assert [cell.status for cell in turn.cells] == ["ok", "interrupted"]
    assert talk.session.ran == ["x = 1", "loop()"]
    assert len(talk.openai.requests) == 1
    well_formed(turn.exchange)


async def test_a_turn_that_is_left_lets_its_cell_run_on(talk: Talk) -> None:
    talk.session.will_run_on("loop()")
    talk.openai.call("loop()")
    asking = asyncio.create_task(talk.ask())
    await talk.session.running.wait()
    talk.control.leave()
    turn = await asking
    assert (turn.status, talk.session.interrupts, talk.session.kept) == ("left", 0, 1)
    assert talk.session.cancelled == []
    well_formed(turn.exchange)
    talk.session.stopped.set()


async def test_a_turn_that_is_being_stopped_can_not_be_left(talk: Talk) -> None:
    talk.session.will_run_on("loop()")
    talk.openai.call("loop()")
    asking = asyncio.create_task(talk.ask())
    await talk.session.running.wait()
    talk.control.stop()
    talk.control.leave()
    turn = await asking
    assert (turn.status, talk.session.interrupts) == ("stopped", 1)


async def test_a_turn_that_is_left_while_its_cell_waits_is_stopped(talk: Talk) -> None:
    talk.session.busy_with_others = True
    talk.openai.call("1")
    asking = asyncio.create_task(talk.ask())
    await talk.waits.wait()
    talk.control.leave()
    turn = await asking
    assert (turn.status, talk.session.interrupts, turn.note) == ("stopped", 0, CUT_SHORT)


@pytest.mark.parametrize("phase", ["starting", "input"])
async def test_a_turn_that_is_left_with_a_cell_that_can_t_go_on_was_cut_short(
    talk: Talk, phase: PhaseName
) -> None:
    talk.session.will_run_on("loop()")
    talk.session.stays_in = phase
    talk.openai.call("loop()")
    asking = asyncio.create_task(talk.ask())
    await talk.session.running.wait()
    talk.control.leave()
    turn = await asking
    assert (turn.status, turn.note, talk.session.kept) == ("stopped", CUT_SHORT, 0)
    assert [cell.status for cell in turn.cells] == ["interrupted"]
    well_formed(turn.exchange)


async def test_a_stop_of_a_cell_that_waits_leaves_the_one_before_it_alone(talk: Talk) -> None:
    talk.session.busy_with_others = True
    talk.openai.call("1")
    asking = asyncio.create_task(talk.ask())
    await talk.waits.wait()
    talk.control.stop()
    turn = await asking
    assert (turn.status, turn.cells, talk.session.interrupts) == ("stopped", (), 0)
    well_formed(turn.exchange)


async def test_a_cell_that_does_not_stop_is_given_up(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.chat.GRACE_S", 0.01)
    talk.session.will_run_on("loop()", after_interrupt=None)
    talk.openai.call("loop()")
    asking = asyncio.create_task(talk.ask())
    await talk.session.running.wait()
    talk.control.stop()
    turn = await asking
    assert talk.session.cancelled == ["loop()"]
    assert turn.note is not None and "variables are gone" in turn.note
    well_formed(turn.exchange)


async def test_a_turn_stopped_before_it_begins_asks_nobody(talk: Talk) -> None:
    talk.control.stop()
    assert (await talk.ask()).status == "stopped"


async def test_cancelling_a_turn_cancels_its_cell(talk: Talk) -> None:
    talk.session.will_run_on("loop()")
    talk.openai.call("loop()")
    asking = asyncio.create_task(talk.ask())
    await talk.session.running.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert talk.session.cancelled == ["loop()"]


# -- what goes wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal", [QueueFull(3), NoCapacity(2), KernelStartFailed("no memory is left")]
)
async def test_what_the_service_refuses_is_told_to_the_model(
    talk: Talk, refusal: Exception
) -> None:
    talk.session.refusal = refusal  # type: ignore[assignment]
    talk.openai.call("1")
    talk.openai.say("Later, please.")
    turn = await talk.ask()
    assert (turn.status, turn.answer, turn.cells) == ("answered", "Later, please.", ())
    assert f"NOT RUN: {refusal}" in talk.openai.last.last_result
    well_formed(turn.exchange)


async def test_what_the_service_keeps_refusing_is_told_to_the_user(talk: Talk) -> None:
    talk.session.refusal = NoCapacity(2)
    talk.openai.otherwise(
        lambda request: _calls(f"x{len(talk.openai.requests)}") if request.tool_names else "Sorry."
    )
    turn = await talk.ask()
    assert turn.answer == "Sorry."
    assert turn.note == str(NoCapacity(2))


async def test_a_session_that_was_closed_is_replaced(talk: Talk) -> None:
    talk.session.refusal = SessionClosed("42")

    def mend() -> None:
        if talk.opened == 2:
            talk.session.refusal = None

    talk.on_open = mend
    talk.openai.call("1")
    talk.openai.say("It is 1.")
    turn = await talk.ask()
    assert [cell.code for cell in turn.cells] == ["1"]


async def test_a_kernel_that_dies_is_told_and_the_turn_goes_on(talk: Talk) -> None:
    talk.session.will("die()", status="died", state_lost=True, message="It used too much memory.")
    talk.openai.call("die()")
    talk.openai.say("It took too much memory.")
    turn = await talk.ask()
    assert turn.answer == "It took too much memory."
    told = talk.openai.last.last_result
    assert "DIED" in told and "too much memory" in told and "variables" in told


@pytest.mark.parametrize("status", [401, 404, 500])
async def test_a_model_without_an_answer_is_one_sentence(talk: Talk, status: int) -> None:
    talk.openai.call("1")
    talk.openai.fail(status, times=5 if status == 500 else 1, message="the model is missing")
    turn = await talk.ask()
    assert turn.status == "failed"
    assert len(turn.cells) == 1
    assert turn.note is not None and turn.note == str(turn.error)
    well_formed(turn.exchange)


async def test_a_fault_of_ours_is_a_note_and_in_the_log(
    talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> None:
        raise RuntimeError("a fault")

    talk.on_open = fails
    talk.openai.call("1")
    turn = await talk.ask()
    assert turn.status == "failed"
    assert turn.note is not None and "a fault" not in turn.note
    assert "a fault" in caplog.text
    well_formed(turn.exchange)


async def test_history_keeps_no_long_results(talk: Talk) -> None:
    talk.session.will("long()", printed("x" * 50_000))
    talk.openai.call("long()")
    talk.openai.say("It is long.")
    turn = await talk.ask()
    kept = [m for m in turn.exchange.messages if isinstance(m, ToolResult)]
    assert len(kept[0].text) < 2_100
    assert ToolCall(kept[0].call_id, "execute_python_code", '{"code": "long()"}') in (
        turn.exchange.messages[1].calls  # type: ignore[union-attr]
    )
