"""What of a conversation there is room for."""

from hypothesis import given
from hypothesis import strategies as st

from bot.conversation import (
    AssistantMessage,
    Exchange,
    Message,
    Picture,
    ToolCall,
    ToolResult,
    UserMessage,
)
from bot.history import cost_of, fitted, kept_exchange


def exchange(name: str, chars: int = 30) -> Exchange:
    return Exchange(
        (
            UserMessage(f"question {name} {'x' * chars}"),
            AssistantMessage("", (ToolCall("a", "execute_python_code", "{}"),)),
            ToolResult("a", "42"),
            AssistantMessage(f"answer {name}"),
        )
    )


def cost(messages: tuple[Message, ...]) -> int:
    return sum(map(cost_of, messages))


QUESTION = (UserMessage("What is 6 * 7?"),)


def test_everything_is_kept_where_there_is_room() -> None:
    history = (exchange("one"), exchange("two"))
    expected = (*history[0].messages, *history[1].messages, *QUESTION)
    assert fitted(history, QUESTION, tokens=1_000) == expected


def test_the_oldest_exchange_goes_first_and_whole() -> None:
    history = (exchange("one"), exchange("two"))
    both = cost((*history[0].messages, *history[1].messages, *QUESTION))
    assert len(fitted(history, QUESTION, tokens=both)) == 9
    assert len(fitted(history, QUESTION, tokens=both + 1)) == 9
    assert fitted(history, QUESTION, tokens=both - 1) == (*history[1].messages, *QUESTION)


def test_nothing_older_is_kept_than_what_was_dropped() -> None:
    history = (exchange("small"), exchange("large", 10_000), exchange("new"))
    kept = fitted(history, QUESTION, tokens=1_000)
    assert kept == (*history[2].messages, *QUESTION)


def test_in_a_long_turn_pictures_and_then_early_results_are_shortened() -> None:
    picture = Picture(b"", "image/png")
    calls = AssistantMessage("", tuple(ToolCall(i, "execute_python_code", "{}") for i in "ab"))
    turn = (
        *QUESTION,
        calls,
        ToolResult("a", "head " + "x " * 5_000 + "tail", (picture,)),
        ToolResult("b", "last " * 100, (picture,)),
    )
    kept = fitted((), turn, tokens=cost(turn) - 500)
    assert [getattr(m, "pictures", ()) for m in kept] == [(), (), (), (picture,)]
    assert kept[2].text == turn[2].text
    kept = fitted((), turn, tokens=2_500)
    assert kept[2].text.startswith("head ") and kept[2].text.endswith("tail")
    assert len(kept[2].text) < len(turn[2].text)
    assert kept[3] == turn[3]
    assert cost(kept) <= 2_500


def test_a_question_that_is_too_long_loses_its_middle() -> None:
    (kept,) = fitted((), (UserMessage("start " + "x " * 50_000 + "end"),), tokens=2_000)
    assert kept.text.startswith("start ") and kept.text.endswith("end")
    assert cost_of(kept) <= 2_000


def test_history_keeps_text_only_and_not_too_much_of_it() -> None:
    picture = Picture(b"x", "image/png")
    code = '{"code": "' + "x" * 20_000 + '"}'
    kept = kept_exchange(
        (
            UserMessage("q" * 50_000, (picture,)),
            AssistantMessage("", (ToolCall("a", "execute_python_code", code),)),
            ToolResult("a", "r" * 50_000, (picture,)),
            AssistantMessage("done"),
        )
    )
    assert cost(kept.messages) < 8_000
    assert not any(m.pictures for m in kept.messages if not isinstance(m, AssistantMessage))


words = st.text(max_size=300)


@given(
    st.lists(st.builds(exchange, words, st.integers(0, 500)), max_size=5),
    st.lists(words, max_size=4),
    st.integers(-100, 3_000),
)
def test_pairs_stay_together_whatever_is_dropped(
    history: list[Exchange], results: list[str], tokens: int
) -> None:
    calls = tuple(ToolCall(str(n), "execute_python_code", "{}") for n in range(len(results)))
    turn = (*QUESTION, *((AssistantMessage("", calls),) if calls else ()))
    turn += tuple(ToolResult(str(n), text) for n, text in enumerate(results))
    kept = fitted(history, turn, tokens=tokens)
    assert len(kept) == len(turn) + 4 * ((len(kept) - len(turn)) // 4)
    assert [type(message) for message in kept[-len(turn) :]] == [type(m) for m in turn]
    assert kept[: -len(turn)] == tuple(
        m for e in history[len(history) - (len(kept) - len(turn)) // 4 :] for m in e.messages
    )
