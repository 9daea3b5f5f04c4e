"""From Jupyter messages to frozen outputs: order, bounds, and messages nobody should send."""

import base64
import json
import math
import pickle
import struct
import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interpreter.mime import png_size
from interpreter.outputs import (
    CellError,
    ClearOutput,
    DisplayData,
    ExecuteResult,
    Output,
    OutputCollector,
    Stream,
    text_of,
)

Live = tuple[Output | ClearOutput, ...]

PNG = base64.b64encode(
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", 640, 480) + b"\x08" * 40
).decode()


def stream(collector: OutputCollector, text: str, name: str = "stdout", left_out: int = 0) -> Live:
    metadata = {"cellmate": {"left_out": left_out}} if left_out else {}
    return collector.add("stream", {"name": name, "text": text}, metadata)


def display(
    collector: OutputCollector,
    data: dict[str, Any] | str,
    display_id: str | None = None,
    msg_type: str = "display_data",
) -> Live:
    bundle = {"text/plain": data} if isinstance(data, str) else data
    content: dict[str, Any] = {"data": bundle, "metadata": {}}
    if display_id is not None:
        content["transient"] = {"display_id": display_id}
    return collector.add(msg_type, content)


def update(collector: OutputCollector, data: dict[str, Any] | str, display_id: str) -> Live:
    return display(collector, data, display_id, "update_display_data")


def result(collector: OutputCollector, text: str, count: int = 1) -> Live:
    content = {"data": {"text/plain": text}, "metadata": {}, "execution_count": count}
    return collector.add("execute_result", content)


def clear(collector: OutputCollector, *, wait: bool = False) -> Live:
    return collector.add("clear_output", {"wait": wait})


def shown(text: str, display_id: str | None = None, *, update: bool = False) -> DisplayData:
    return DisplayData({"text/plain": text}, {}, display_id, update)


# Streams


def test_pieces_of_one_stream_are_one_output_in_order_with_the_others() -> None:
    collector = OutputCollector(100)
    stream(collector, "a")
    stream(collector, "b\n")
    stream(collector, "warning\n", "stderr")
    stream(collector, "c\n")
    display(collector, "shown")
    stream(collector, "d\n")
    result(collector, "42", 7)
    assert collector.result() == (
        Stream("stdout", "ab\n"),
        Stream("stderr", "warning\n"),
        Stream("stdout", "c\n"),
        shown("shown"),
        Stream("stdout", "d\n"),
        ExecuteResult({"text/plain": "42"}, {}, 7),
    )


def test_stream_that_shows_nothing_leaves_no_output() -> None:
    collector = OutputCollector(100)
    stream(collector, "a")
    stream(collector, "\x1b[0m", "stderr")
    stream(collector, "b")
    stream(collector, "")
    assert collector.result() == (Stream("stdout", "ab"),)


def test_progress_bar_collapses_to_its_last_state() -> None:
    collector = OutputCollector(100)
    for percent in range(101):
        stream(collector, f"\r\x1b[32m{percent:3}%\x1b[0m", "stderr")
    stream(collector, "\n", "stderr")
    assert collector.result() == (Stream("stderr", "100%\n"),)


def test_sequence_split_over_messages_of_one_stream_is_removed() -> None:
    collector = OutputCollector(100)
    stream(collector, "a\x1b[3")
    stream(collector, "other\n", "stderr")
    stream(collector, "1mb")
    assert text_of(collector.result()) == "a\nother\nb"


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (99, "x" * 99),
        (100, "x" * 100),
        (101, "x" * 50 + "\n… 1 character left out …\n" + "x" * 50),
    ],
)
def test_character_limit_is_exact(length: int, expected: str) -> None:
    collector = OutputCollector(100)
    stream(collector, "x" * length)
    assert collector.result() == (Stream("stdout", expected),)


def test_character_limit_holds_for_all_streams_together() -> None:
    collector = OutputCollector(10)
    stream(collector, "aaaa")
    stream(collector, "bbbb", "stderr")
    display(collector, "between")
    stream(collector, "cccc")
    stream(collector, "dddd", "stderr")
    assert collector.result() == (
        Stream("stdout", "aaaa"),
        Stream("stderr", "b\n… 6 characters left out …\n"),
        shown("between"),
        Stream("stdout", "c"),
        Stream("stderr", "dddd"),
    )


def test_displays_stay_in_order_while_the_text_around_them_is_left_out() -> None:
    collector = OutputCollector(10)
    for number in range(5):
        stream(collector, f"{number}" * 20)
        display(collector, f"figure {number}")
    assert collector.result() == (
        Stream("stdout", "00000\n… 90 characters left out …\n"),
        *(shown(f"figure {number}") for number in range(4)),
        Stream("stdout", "44444"),
        shown("figure 4"),
    )


def test_alternating_streams_are_bounded_in_objects_and_memory() -> None:
    collector = OutputCollector(200_000)
    live = 0
    tracemalloc.start()
    try:
        for number in range(60_000):
            live += len(stream(collector, "ab\n", "stderr" if number % 2 else "stdout"))
        outputs = collector.result()
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    texts = [output for output in outputs if isinstance(output, Stream)]
    assert len(texts) == len(outputs) <= 1_001
    assert {(a.name, b.name) for a, b in pairwise(texts)} == {
        ("stdout", "stderr"),
        ("stderr", "stdout"),
    }
    whole = text_of(outputs)
    kept = whole.count("ab\n")
    assert f"… {(60_000 - kept) * 3:,} characters left out …\n" in whole
    assert live <= 60_000


def test_a_few_hundred_alternations_lose_nothing() -> None:
    collector = OutputCollector(200_000)
    for number in range(900):
        stream(collector, f"{number}\n", "stderr" if number % 2 else "stdout")
    assert text_of(collector.result()) == "".join(f"{number}\n" for number in range(900))


def test_flood_of_200_megabytes_stays_within_the_bound() -> None:
    chunk = "the quick brown fox jumps over the lazy dog\n" * 5_000
    collector = OutputCollector(200_000)
    tracemalloc.start()
    try:
        live = sum(len(event.text) for _ in range(1_000) for event in stream(collector, chunk))
        (output,) = collector.result()
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()
    assert live == 100_000
    count = len(chunk) * 1_000 - 200_000
    assert output.text.startswith("the quick")
    assert f"… {count:,} characters left out …\n" in output.text
    assert output.text.endswith("lazy dog\n")
    assert len(output.text) < 200_100


# What the kernel's side left out


def test_characters_left_out_by_the_kernel_are_counted_at_the_cut() -> None:
    collector = OutputCollector(10)
    stream(collector, "0123456789ABCDEF")
    stream(collector, "xyz", left_out=1_000)
    assert collector.result() == (Stream("stdout", "01234\n… 1,009 characters left out …\nEFxyz"),)


def test_characters_left_out_by_the_kernel_show_where_they_were_if_nothing_else_is() -> None:
    collector = OutputCollector(1_000)
    stream(collector, "before")
    stream(collector, "after\n", left_out=5)
    stream(collector, "end\n", left_out=2)
    assert collector.result() == (
        Stream("stdout", "before\n… 7 characters left out …\nafter\nend\n"),
    )


def test_characters_left_out_before_any_text_are_shown() -> None:
    collector = OutputCollector(1_000)
    collector.count_left_out(3)
    assert collector.result() == (Stream("stdout", "… 3 characters left out …\n"),)
    stream(collector, "text\n", "stderr")
    assert collector.result() == (Stream("stderr", "… 3 characters left out …\ntext\n"),)


def test_messages_too_large_to_be_read_are_counted() -> None:
    collector = OutputCollector(1_000)
    collector.add_left_out("stderr", 10_000_000)
    collector.add_left_out("display_data", 10_000_000)
    assert collector.result() == (Stream("stderr", "… 10,000,000 characters left out …\n"),)
    assert collector.dropped == ("1 output was left out: too large to be read.",)


NONSENSE_COUNTS: list[Any] = [-1, 0, True, None, "3", 1.5, math.nan, 2**60, []]


@pytest.mark.parametrize(
    "metadata",
    [None, [], {"cellmate": 3}, *({"cellmate": {"left_out": n}} for n in NONSENSE_COUNTS)],
)
def test_nonsense_in_place_of_a_count_is_ignored(metadata: object) -> None:
    collector = OutputCollector(100)
    collector.add("stream", {"name": "stdout", "text": "a"}, metadata)
    assert collector.result() == (Stream("stdout", "a"),)


# Live events


def test_live_pieces_are_new_text_without_sequences() -> None:
    collector = OutputCollector(1_000)
    assert stream(collector, "\x1b[1mab\r") == (Stream("stdout", "ab\r"),)
    assert stream(collector, "\x1b[0m") == ()
    assert stream(collector, "c\b\n", "stderr") == (Stream("stderr", "c\b\n"),)


@pytest.mark.parametrize(("length", "live", "rest"), [(49, 49, 0), (50, 50, 0), (51, 50, 1)])
def test_live_text_ends_with_the_first_half(length: int, live: int, rest: int) -> None:
    collector = OutputCollector(100)
    assert stream(collector, "x" * length) == (Stream("stdout", "x" * live),)
    assert collector.unseen() == ((Stream("stdout", "x" * rest),) if rest else ())
    assert bool(stream(collector, "y")) is (length == 49)


def test_displays_are_live_after_live_text_has_ended() -> None:
    collector = OutputCollector(10)
    stream(collector, "x" * 20)
    assert stream(collector, "more") == ()
    assert display(collector, "figure") == (shown("figure"),)


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.text("ab\n", max_size=30))))
def test_live_text_and_unseen_text_make_up_the_whole(pieces: list[tuple[str, str]]) -> None:
    collector = OutputCollector(40)
    live = "".join(event.text for name, text in pieces for event in stream(collector, text, name))
    whole = "".join(output.text for output in collector.result())
    assert live + "".join(output.text for output in collector.unseen()) == whole


@given(
    st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.text("ab\n", max_size=30))),
    st.integers(0, 10),
)
def test_one_who_comes_late_gets_the_same_live_text(
    pieces: list[tuple[str, str]], late: int
) -> None:
    collector, live = OutputCollector(40), ""
    for name, text in pieces[:late]:
        live += "".join(event.text for event in stream(collector, text, name))
    assert "".join(output.text for output in collector.seen()) == live


@given(st.lists(st.text("ab\r\b\n", max_size=6)), st.integers(0, 10))
def test_one_who_comes_late_sees_the_same_screen(pieces: list[str], late: int) -> None:
    collector, early, joined = OutputCollector(10_000), OutputCollector(10_000), ""
    for piece in pieces[:late]:
        stream(collector, piece)
    joined = "".join(output.text for output in collector.seen())
    joined += "".join(event.text for piece in pieces[late:] for event in stream(collector, piece))
    stream(early, joined)
    assert early.result() == collector.result()


def test_one_who_comes_late_gets_displays_as_they_are_now() -> None:
    collector = OutputCollector(100)
    stream(collector, "before\n")
    display(collector, "first", "id")
    update(collector, "second", "id")
    stream(collector, "50%\r")
    assert collector.seen() == (
        Stream("stdout", "before\n"),
        shown("second", "id"),
        Stream("stdout", "50%\r"),
    )


def test_live_text_of_an_endless_progress_bar_is_bounded() -> None:
    collector = OutputCollector(100)
    live = sum(len(event.text) for _ in range(1_000) for event in stream(collector, "\r50%|##  |"))
    assert live == 1_000
    assert [output.text for output in collector.unseen()] == ["50%|##  |"]


# Displays


def test_bundle_is_kept_whole() -> None:
    data = {
        "text/plain": "<Figure size 640x480 with 1 Axes>",
        "image/png": PNG,
        "image/jpeg": "/9j/4AAQ",
        "image/svg+xml": "<svg/>",
        "text/html": "<b>bold</b>",
        "text/latex": "$x^2$",
        "text/markdown": "*x*",
        "application/json": {"a": [1, 2.5, None, True, "é"]},
        "application/pdf": "JVBERi0xLjQ=",
        "application/vnd.plotly.v1+json": {"data": [{"x": [1, 2]}], "layout": {}},
        "application/vnd.vegalite.v5+json": {"mark": "bar"},
    }
    content = {"data": data, "metadata": {"image/png": {"width": 640}}, "transient": {}}
    collector = OutputCollector(1_000)
    expected = DisplayData(data, {"image/png": {"width": 640}})
    assert collector.add("display_data", content) == (expected,)
    assert collector.result() == (expected,)
    assert list(expected.data) == list(data)


def test_update_replaces_the_display_in_its_place() -> None:
    collector = OutputCollector(1_000)
    display(collector, "0 of 2", "bar")
    stream(collector, "text\n")
    assert update(collector, "1 of 2", "bar") == (shown("1 of 2", "bar", update=True),)
    update(collector, "2 of 2", "bar")
    assert collector.result() == (shown("2 of 2", "bar"), Stream("stdout", "text\n"))


def test_update_replaces_every_display_of_that_name() -> None:
    collector = OutputCollector(1_000)
    display(collector, "a", "same")
    display(collector, "b", "same")
    display(collector, "c", "other")
    assert len(update(collector, "new", "same")) == 1
    assert [output.text for output in collector.result()] == ["new", "new", "c"]


def test_update_of_an_earlier_cells_display_is_appended_once() -> None:
    collector = OutputCollector(1_000)
    stream(collector, "text\n")
    assert update(collector, "1", "earlier") == (shown("1", "earlier", update=True),)
    assert update(collector, "2", "earlier") == (shown("2", "earlier", update=True),)
    assert collector.result() == (
        Stream("stdout", "text\n"),
        shown("2", "earlier", update=True),
    )


@pytest.mark.parametrize(
    ("count", "dropped"),
    [
        (2, ()),
        (3, ()),
        (4, ("1 display was left out: a cell may show 3.",)),
        (1_003, ("1,000 displays were left out: a cell may show 3.",)),
    ],
)
def test_number_of_displays_is_limited_exactly(count: int, dropped: tuple[str, ...]) -> None:
    collector = OutputCollector(1_000, max_bundles=3)
    for number in range(count):
        assert bool(display(collector, f"{number}")) is (number < 3)
    assert [output.text for output in collector.result()] == ["0", "1", "2"][:count]
    assert collector.dropped == dropped


def test_first_result_has_a_place_of_its_own() -> None:
    collector = OutputCollector(1_000, max_bundles=2)
    for number in range(3):
        display(collector, f"{number}")
    assert result(collector, "value")
    assert not result(collector, "another")
    assert [output.text for output in collector.result()] == ["0", "1", "value"]


def test_result_takes_no_place_from_displays() -> None:
    collector = OutputCollector(1_000, max_bundles=2)
    result(collector, "value")
    for number in range(3):
        display(collector, f"{number}")
    assert [output.text for output in collector.result()] == ["value", "0", "1"]


@pytest.mark.parametrize(("size", "kept"), [(999, True), (1_000, True), (1_001, False)])
def test_size_of_a_representation_is_limited_exactly(size: int, kept: bool) -> None:
    collector = OutputCollector(1_000, max_bundle_bytes=1_000)
    display(collector, {"text/html": "x" * size, "text/plain": "small"})
    (output,) = collector.result()
    assert isinstance(output, DisplayData)
    assert ("text/html" in output.data) is kept
    assert output.data["text/plain"] == "small"
    assert bool(collector.dropped) is not kept


def test_largest_representations_are_left_out_until_the_rest_fits() -> None:
    collector = OutputCollector(1_000, max_bundle_bytes=2**20)
    mib = 2**20
    data = {"text/html": "x" * (mib // 2), "image/png": "y" * mib, "text/latex": "z" * (mib // 4)}
    (output,) = display(collector, data)
    assert isinstance(output, DisplayData)
    assert list(output.data) == ["text/html", "text/latex"]
    assert collector.dropped == (
        "Too large and left out: image/png (1). One display may have 1 MB, all of a cell 64 MB.",
    )


@pytest.mark.parametrize(("limit", "kept"), [(299, 2), (300, 3), (301, 3)])
def test_size_of_all_displays_is_limited_exactly(limit: int, kept: int) -> None:
    collector = OutputCollector(1_000, max_bundle_bytes=200, max_total_bytes=limit)
    for _ in range(3):
        display(collector, {"text/html": "x" * 100})
    assert len(collector.result()) == kept
    assert bool(collector.dropped) is (kept < 3)


def test_updating_for_ever_needs_no_more_room() -> None:
    collector = OutputCollector(1_000, max_bundle_bytes=200, max_total_bytes=250)
    display(collector, {"image/png": "a" * 200}, "plot")
    for _ in range(100):
        update(collector, {"image/png": "b" * 200}, "plot")
    assert collector.result() == (DisplayData({"image/png": "b" * 200}, {}, "plot"),)
    assert collector.dropped == ()


def test_update_that_is_too_large_leaves_the_display_as_it_was() -> None:
    collector = OutputCollector(1_000, max_bundle_bytes=200)
    display(collector, {"image/png": "a" * 200}, "plot")
    assert update(collector, {"image/png": "b" * 201}, "plot") == ()
    assert collector.result() == (DisplayData({"image/png": "a" * 200}, {}, "plot"),)
    assert len(collector.dropped) == 1


def test_plain_text_of_a_result_loses_its_middle_and_its_colours() -> None:
    collector = OutputCollector(2_000)
    result(collector, "\x1b[31m" + "a" * 5_000 + "\x1b[0m")
    (output,) = collector.result()
    assert output.text == "a" * 1_000 + "\n… 3,000 characters left out …\n" + "a" * 1_000
    display(collector, "b" * 5_000)
    assert collector.result()[1].text.startswith("b" * 500 + "\n… 4,000 characters")


def test_types_without_end_name_only_a_few() -> None:
    collector = OutputCollector(1_000, max_bundle_bytes=1)
    for number in range(1_000):
        display(collector, {f"text/x{number}": "xx"})
    (sentence,) = collector.dropped
    assert len(sentence) < 250
    assert "others (992)" in sentence


# clear_output


def test_clear_removes_everything_at_once() -> None:
    collector = OutputCollector(10, max_bundles=1)
    stream(collector, "x" * 100)
    display(collector, "a")
    display(collector, "b")
    assert clear(collector) == (ClearOutput(wait=False),)
    assert collector.result() == ()
    assert collector.dropped == ()
    assert stream(collector, "after") == (Stream("stdout", "after"),)
    assert display(collector, "c") == (shown("c"),)
    assert collector.result() == (Stream("stdout", "after"), shown("c"))


def test_clear_that_waits_happens_with_the_next_output() -> None:
    collector = OutputCollector(100)
    stream(collector, "old\n")
    assert clear(collector, wait=True) == ()
    assert collector.result() == (Stream("stdout", "old\n"),)
    assert stream(collector, "new\n") == (ClearOutput(wait=True), Stream("stdout", "new\n"))
    stream(collector, "more\n")
    assert collector.result() == (Stream("stdout", "new\nmore\n"),)


@pytest.mark.parametrize(
    ("msg_type", "content"),
    [
        ("display_data", {"data": {"text/plain": "new"}}),
        ("execute_result", {"data": {"text/plain": "new"}, "execution_count": 1}),
        ("error", {"ename": "E", "evalue": "", "traceback": ["new"]}),
        (
            "update_display_data",
            {"data": {"text/plain": "new"}, "transient": {"display_id": "earlier"}},
        ),
    ],
)
def test_every_output_triggers_a_clear_that_waits(msg_type: str, content: dict[str, Any]) -> None:
    collector = OutputCollector(100)
    stream(collector, "old\n")
    clear(collector, wait=True)
    event, _ = collector.add(msg_type, content)
    assert event == ClearOutput(wait=True)
    assert [output.text for output in collector.result()] == ["new"]


def test_clear_at_once_overrules_one_that_waits() -> None:
    collector = OutputCollector(100)
    clear(collector, wait=True)
    clear(collector)
    assert stream(collector, "a") == (Stream("stdout", "a"),)


def test_animation_keeps_its_last_frame_and_drops_nothing() -> None:
    collector = OutputCollector(100, max_bundles=2)
    for number in range(100):
        clear(collector, wait=True)
        display(collector, f"frame {number}")
    assert collector.result() == (shown("frame 99"),)
    assert collector.dropped == ()


# Errors


def test_traceback_is_kept_without_colours() -> None:
    collector = OutputCollector(1_000)
    content = {
        "ename": "ValueError",
        "evalue": "\x1b[1mbad\x1b[0m",
        "traceback": ["\x1b[31m-----\x1b[39m", "Cell In[1], line 1", "ValueError: bad"],
    }
    expected = CellError("ValueError", "bad", ("-----", "Cell In[1], line 1", "ValueError: bad"))
    assert collector.add("error", content) == (expected,)
    assert collector.result() == (expected,)
    assert expected.text == "-----\nCell In[1], line 1\nValueError: bad"


def test_huge_traceback_keeps_its_first_frames_and_its_end() -> None:
    collector = OutputCollector(1_000)
    traceback = ["start", *(f"frame {number} " + "x" * 500 for number in range(10_000))]
    traceback.append("ValueError: " + "y" * 1_000_000)
    collector.add("error", {"ename": "V" * 500, "evalue": "y" * 10**6, "traceback": traceback})
    (error,) = collector.result()
    assert isinstance(error, CellError)
    assert len(error.text) < 21_000
    assert len(error.evalue) < 5_100
    assert len(error.ename) < 250
    assert error.traceback[:2] == ("start", "frame 0 " + "x" * 500)
    assert error.traceback[-1].startswith("ValueError: yyy")
    gap = next(line for line in error.traceback if line.startswith("…"))
    missing = int(gap.split()[1].replace(",", ""))
    assert missing + len(error.traceback) - 1 == len(traceback)


@pytest.mark.parametrize("count", [199, 200, 201])
def test_number_of_traceback_entries_is_limited_exactly(count: int) -> None:
    collector = OutputCollector(1_000)
    collector.add("error", {"ename": "E", "evalue": "", "traceback": ["x"] * count})
    (error,) = collector.result()
    assert isinstance(error, CellError)
    assert ("… 1 entries of the traceback left out …" in error.traceback) is (count == 201)
    assert error.traceback.count("x") == min(count, 200)


def test_error_without_a_traceback_still_reads_as_one() -> None:
    assert CellError("KeyboardInterrupt", "", ()).text == "KeyboardInterrupt"
    assert CellError("ValueError", "bad", ()).text == "ValueError: bad"


def test_errors_are_limited() -> None:
    collector = OutputCollector(1_000)
    for number in range(12):
        collector.add("error", {"ename": f"E{number}", "evalue": "", "traceback": []})
    assert len(collector.result()) == 10
    assert collector.dropped == ("2 errors were left out: a cell may report 10.",)


# Messages nobody should send


@pytest.mark.parametrize(
    ("msg_type", "content"),
    [
        ("stream", None),
        ("stream", []),
        ("stream", {}),
        ("stream", {"name": "stdout"}),
        ("stream", {"name": "stdout", "text": 3}),
        ("stream", {"name": "stdin", "text": "a"}),
        ("stream", {"name": ["stdout"], "text": "a"}),
        ("display_data", {}),
        ("display_data", {"data": "text"}),
        ("display_data", {"data": {"text/plain": None}}),
        ("display_data", {"data": {"text/plain": {"a": 1}}}),
        ("display_data", {"data": {"image/png": ["a", 1]}}),
        ("display_data", {"data": {3: "a"}}),
        ("display_data", {"data": {"no slash": "a"}}),
        ("display_data", {"data": {"text/\n": "a"}}),
        ("display_data", {"data": {"text/" + "x" * 100: "a"}}),
        ("display_data", {"data": {"application/json": {3: "a"}}}),
        ("display_data", {"data": {"application/json": object()}}),
        ("display_data", {"data": {"application/json": 10**5_000}}),
        ("update_display_data", {"data": {"text/plain": "a"}}),
        ("update_display_data", {"data": {"text/plain": "a"}, "transient": {"display_id": 3}}),
        ("update_display_data", {"data": 3, "transient": {"display_id": "a"}}),
        ("error", {}),
        ("error", {"ename": 3, "traceback": "text"}),
        ("error", {"traceback": [1, None]}),
        ("clear_output", None),
    ],
)
def test_malformed_message_is_counted_and_shows_nothing(msg_type: str, content: object) -> None:
    collector = OutputCollector(100)
    assert collector.add(msg_type, content) == ()
    assert collector.result() == ()
    assert collector.malformed == 1


@pytest.mark.parametrize("msg_type", ["status", "execute_input", "comm_open", ""])
def test_other_messages_are_ignored(msg_type: str) -> None:
    collector = OutputCollector(100)
    assert collector.add(msg_type, None) == ()
    assert collector.malformed == 0


def test_deep_nesting_is_refused() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    collector = OutputCollector(100)
    content = {"data": {"application/json": deep, "text/plain": "a"}, "metadata": {"a": deep}}
    assert collector.add("display_data", content) == (shown("a"),)
    while deep:
        deep = deep.pop()  # taken apart here: its destructor would recurse


def test_numbers_that_json_does_not_have_become_null() -> None:
    collector = OutputCollector(100)
    data = {"application/json": {"a": [math.nan, math.inf, -math.inf, 1.5]}}
    (output,) = display(collector, data)
    assert isinstance(output, DisplayData)
    assert output.data == {"application/json": {"a": [None, None, None, 1.5]}}


def test_surrogates_become_encodable_everywhere() -> None:
    bad = "\ud83d"
    collector = OutputCollector(1_000)
    stream(collector, bad)
    display(collector, {"text/plain": bad, "text/html": bad, "application/json": {bad: bad}}, bad)
    collector.add("error", {"ename": bad, "evalue": bad, "traceback": [bad]})
    repr(collector.result()).encode()
    text_of(collector.result()).encode()


def test_lists_of_lines_are_joined() -> None:
    collector = OutputCollector(100)
    (output,) = display(collector, {"text/html": ["<b>", "x</b>"]})
    assert isinstance(output, DisplayData)
    assert output.data == {"text/html": "<b>x</b>"}


@pytest.mark.parametrize("count", [-1, None, "3", True, 2**40, 1.0])
def test_result_with_a_nonsense_number_is_kept_without_it(count: object) -> None:
    collector = OutputCollector(100)
    collector.add("execute_result", {"data": {"text/plain": "a"}, "execution_count": count})
    assert collector.result() == (ExecuteResult({"text/plain": "a"}, {}, 0),)


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary(max_size=4)
    | st.sampled_from(["stdout", "stderr", "\x1b[31m", "a\rb\b", "x" * 300]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "name",
                    "text",
                    "data",
                    "metadata",
                    "transient",
                    "display_id",
                    "wait",
                    "ename",
                    "evalue",
                    "traceback",
                    "execution_count",
                    "cellmate",
                    "left_out",
                    "text/plain",
                    "text/html",
                    "image/png",
                    "application/json",
                ]
            )
            | st.integers()
            | st.text(st.characters(), max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=8,
)
message_types = st.sampled_from(
    ["stream", "display_data", "update_display_data", "execute_result", "error", "clear_output"]
)
plausible = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["stdout", "stderr"]),
        "text": st.text(st.characters(), max_size=80),
        "data": st.dictionaries(
            st.sampled_from(["text/plain", "text/html", "image/png", "application/json"]),
            st.text(max_size=60) | json_like,
            max_size=4,
        ),
        "transient": st.fixed_dictionaries({"display_id": st.sampled_from(["a", "b"])}),
        "wait": st.booleans(),
        "ename": st.just("E"),
        "traceback": st.lists(st.text(max_size=20) | st.none(), max_size=4),
    },
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # large examples, not slow code
@given(st.lists(st.tuples(message_types, plausible | json_like, st.none() | json_like), max_size=8))
def test_nothing_a_kernel_sends_raises_or_breaks_a_bound(
    messages: list[tuple[str, Any, Any]],
) -> None:
    collector = OutputCollector(100, max_bundles=3, max_bundle_bytes=300, max_total_bytes=500)
    for msg_type, content, metadata in messages:
        for event in collector.add(msg_type, content, metadata):
            pickle.dumps(event)
    outputs = collector.result()
    streams = sum(len(output.text) for output in outputs if isinstance(output, Stream))
    assert streams <= 100 + 50
    assert sum(isinstance(output, DisplayData | ExecuteResult) for output in outputs) <= 4
    assert pickle.loads(pickle.dumps(outputs)) == outputs
    repr(outputs).encode()
    assert "\x1b" not in text_of(outputs)
    for output in outputs:
        if isinstance(output, DisplayData | ExecuteResult):
            json.dumps([output.data, output.metadata], allow_nan=False).encode()
    "".join(collector.dropped).encode()
    collector.unseen()


# Reading


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"text/plain": "42", "text/html": "<b>42</b>"}, "42"),
        ({"text/plain": "<Figure size 640x480>", "image/png": PNG}, "[image/png 640x480]"),
        ({"image/png": PNG}, "[image/png 640x480]"),
        ({"image/png": "not a picture"}, "[image/png]"),
        ({"image/png": PNG[:20]}, "[image/png]"),
        ({"image/jpeg": "/9j/4AAQ", "text/plain": "<Image>"}, "[image/jpeg]"),
        ({"image/svg+xml": "<svg/>"}, "[image/svg+xml]"),
        ({"text/plain": "<IPython.core.display.Markdown object>", "text/markdown": "*a*"}, "*a*"),
        ({"text/plain": "x**2", "text/latex": "$x^2$"}, "x**2"),
        ({"text/latex": "$x^2$", "text/markdown": "*x*"}, "$x^2$"),
        ({"text/plain": "<Response [200]>"}, "<Response [200]>"),
        ({"text/plain": "<Styler at 0x7f>", "text/html": "<table>"}, "<Styler at 0x7f>"),
        ({"text/html": "<table>"}, "[text/html]"),
        ({"application/pdf": "JVBERi0="}, "[application/pdf]"),
        ({"application/vnd.plotly.v1+json": {}}, "[application/vnd.plotly.v1+json]"),
        ({"application/json": {"é": 1}, "text/plain": "<JSON object>"}, '{"é": 1}'),
        ({"text/markdown": "\x1b[1mbold\x1b[0m"}, "bold"),
        ({}, ""),
    ],
)
def test_bundle_reads_as_plain_text(data: dict[str, Any], expected: str) -> None:
    assert DisplayData(data, {}).text == expected
    assert ExecuteResult(data, {}, 1).text == expected


def test_outputs_read_one_after_the_other_on_lines_of_their_own() -> None:
    outputs = (
        Stream("stdout", "no line break"),
        Stream("stderr", "warning\n"),
        DisplayData({"image/png": PNG}, {}),
        DisplayData({}, {}),
        CellError("E", "bad", ("Traceback", "E: bad")),
    )
    assert text_of(outputs) == ("no line break\nwarning\n[image/png 640x480]\nTraceback\nE: bad")
    assert text_of(()) == ""


def test_reprs_are_readable_and_short() -> None:
    big = DisplayData({"image/png": PNG * 1_000, "text/plain": "<Figure>"}, {}, "id", True, "f1")
    assert repr(big) == (
        f"DisplayData({{[image/png 640x480] {len(PNG) * 750:,} bytes, text/plain: '<Figure>'}}, "
        "display_id='id', update=True, file_id='f1')"
    )
    assert repr(Stream("stdout", "a\n")) == "Stream('stdout', 'a\\n')"
    assert len(repr(Stream("stdout", "x" * 10_000))) < 300
    assert repr(ExecuteResult({"text/plain": "42"}, {}, 3)) == (
        "ExecuteResult({text/plain: '42'}, count=3)"
    )
    assert repr(CellError("E", "bad", ("a", "b"))) == "CellError('E', 'bad', 2 entries)"


def test_size_of_a_picture_is_read_from_its_header_only() -> None:
    assert png_size(PNG) == (640, 480)
    assert png_size("\n".join(PNG)) == (640, 480)
    assert png_size(b"bytes") is None
    assert png_size("é" * 100) is None
