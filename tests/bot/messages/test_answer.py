"""A turn's result as messages: words, what cells showed and made, notes, buttons."""

import base64
from dataclasses import replace
from pathlib import Path

import pytest

from bot.messages.answer import compose_answer
from bot.messages.lengths import length
from bot.outgoing import MAX_REQUEST_BYTES, Button, OutgoingMessage
from interpreter import CellError, ExecuteResult, Execution, SkippedArtifact, StoredFile
from tests.bot.fakes import PNG, printed, result, shown
from tests.bot.messages.turns import (
    FIGURE,
    LIMIT,
    MIB,
    TABLE_HTML,
    Artist,
    Shelf,
    attached,
    cell,
    names,
    offer,
    turn,
)

SMALL = "   a  b\n0  1  2"


def png(number: int) -> bytes:
    return PNG + str(number).encode()


def figure(number: int = 0, text: str = FIGURE) -> dict[str, object]:
    return {"image/png": base64.b64encode(png(number)).decode(), "text/plain": text}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


async def composed(
    answer: str,
    *cells: Execution,
    files: tuple[StoredFile, ...] = (),
    buttons: tuple[Button, ...] = (),
    limit: int = LIMIT,
    artist: Artist | None = None,
    note: str | None = None,
    with_offers: bool = False,
) -> tuple[OutgoingMessage, ...]:
    messages = await compose_answer(
        turn(answer, *cells, note=note),
        picture=artist or Artist(),
        attachment_bytes=limit,
        buttons=buttons,
        files=files,
        offer=offer if with_offers else None,
    )
    assert messages
    for message in messages:
        assert message.content.strip() or message.attachments
        assert length(message.content) <= 2000
        assert len(message.attachments) <= 10
        assert sum(one.size for one in message.attachments) < MAX_REQUEST_BYTES
        assert len(message.buttons) <= 25
        assert len({one.filename for one in message.attachments}) == len(message.attachments)
        assert all(one.alt is None or 0 < len(one.alt) <= 1024 for one in message.attachments)
    return messages


async def test_words_figures_files_and_buttons_make_one_message(shelf: Shelf) -> None:
    (message,) = await composed(
        "The **mean** is 3.",
        cell(outputs=(printed("3\n"), shown(figure())), artifacts=(shelf.file("out/a b.csv"),)),
        buttons=(Button("Show code", "cm:code"),),
    )
    assert message.content == "The **mean** is 3."
    assert names([message]) == ["cell-1-figure-1.png", "a_b.csv"]
    assert message.attachments[0].source == png(0)
    assert message.attachments[1].file_id == "id1"
    assert message.buttons == (Button("Show code", "cm:code"),)


async def test_buttons_and_files_are_at_the_end_of_long_words() -> None:
    messages = await composed(
        "word " * 1000, cell(outputs=(shown(figure()),)), buttons=(Button("B", "cm:b"),)
    )
    assert [len(message.attachments) for message in messages] == [0, 0, 1]
    assert [len(message.buttons) for message in messages] == [0, 0, 1]


@pytest.mark.parametrize(
    ("count", "batches"), [(9, [9]), (10, [10]), (11, [10, 1]), (21, [10, 10, 1])]
)
async def test_a_message_has_ten_attachments(count: int, batches: list[int]) -> None:
    outputs = tuple(shown(figure(number)) for number in range(count))
    messages = await composed("Done.", cell(outputs=outputs), buttons=(Button("B", "cm:b"),))
    assert [len(message.attachments) for message in messages] == batches
    assert [bool(message.buttons) for message in messages] == [False] * (len(batches) - 1) + [True]
    assert names(messages)[0] == "cell-1-figure-1.png"


async def test_a_request_is_no_larger_than_discord_takes(shelf: Shelf) -> None:
    sizes = [10 * MIB, 10 * MIB, 5 * MIB, 9 * MIB]
    files = tuple(shelf.file(f"{n}.bin", size=size) for n, size in enumerate(sizes))
    messages = await composed("Done.", cell(artifacts=files))
    assert [len(message.attachments) for message in messages] == [2, 2]


@pytest.mark.parametrize(("over", "sent"), [(-1, True), (0, True), (1, False)])
async def test_a_file_is_sent_up_to_the_channel_s_limit(
    shelf: Shelf, over: int, sent: bool
) -> None:
    (message,) = await composed(
        "Done.",
        cell(artifacts=(shelf.file("big.csv", size=LIMIT + over),)),
        buttons=(Button("Show code", "cm:code"),),
        with_offers=True,
    )
    labels = [button.label for button in message.buttons]
    if sent:
        assert names([message]) == ["big.csv"]
        assert labels == ["Show code"]
    else:
        assert names([message]) == []
        assert "**big.csv** (id `id1`, 10.0 MiB) is larger than the 10.0 MiB" in message.content
        assert labels == ["Send big.csv compressed", "Send big.csv in parts", "Show code"]
        assert message.buttons[0].custom_id == "cm:zip:1:id1"


async def test_where_files_may_be_larger_than_a_request_the_request_s_limit_holds(
    shelf: Shelf,
) -> None:
    (message,) = await composed(
        "Done.", cell(artifacts=(shelf.file("x.bin", size=26 * MIB),)), limit=100 * MIB
    )
    assert message.attachments == ()
    assert "is larger than the 24.8 MiB" in message.content


async def test_what_is_compressed_is_only_offered_in_parts(shelf: Shelf) -> None:
    artifacts = (shelf.file("x.ZIP", size=11 * MIB),)
    (message,) = await composed("Done.", cell(artifacts=artifacts), with_offers=True)
    assert [button.label for button in message.buttons] == ["Send x.ZIP in parts"]


async def test_offers_leave_room_for_the_buttons_given(shelf: Shelf) -> None:
    artifacts = tuple(shelf.file(f"{n}" * 90 + ".csv", size=11 * MIB) for n in range(13))
    buttons = tuple(Button(f"B{n}", f"cm:{n}") for n in range(6))
    (message,) = await composed(
        "Done.", cell(artifacts=artifacts), buttons=buttons, with_offers=True
    )
    assert len(message.buttons) == 24
    assert message.buttons[-6:] == buttons
    assert all(len(button.label) <= 80 for button in message.buttons)
    assert message.content.count("Choose below") == 9
    assert message.content.count("is larger than") == 10
    assert "So are 3 more files." in message.content


async def test_a_page_too_large_is_sent_compressed() -> None:
    html = "<script>" + "x" * 2000 + "</script>"
    page = shown({"text/html": html, "text/plain": "<Map object>"})
    messages = await composed(
        "Done.", cell(outputs=(page,)), limit=1000, artist=Artist(can_draw=False)
    )
    assert names(messages) == ["cell-1-figure-1.html.zip"]


async def test_a_figure_saved_and_shown_with_the_same_bytes_comes_once(shelf: Shelf) -> None:
    saved = shelf.file("plot.png", png(0))
    display = replace(shown(figure()), file_id=saved.file_id)
    messages = await composed("Done.", cell(outputs=(display,), artifacts=(saved,)))
    assert names(messages) == ["plot.png"]


async def test_one_figure_saved_and_shown_comes_once(shelf: Shelf) -> None:
    saved = shelf.file("plot.png", png(1))
    code = "plt.plot(x)\nplt.savefig('plot.png')"
    outputs = (shown(figure(2)),)
    messages = await composed("Done.", cell(code, outputs=outputs, artifacts=(saved,)))
    assert names(messages) == ["plot.png"]
    closed = f"{code}\nplt.close()\nplt.plot(y)"
    messages = await composed("Done.", cell(closed, outputs=outputs, artifacts=(saved,)))
    assert names(messages) == ["cell-1-figure-1.png", "plot.png"]
    twice = (*outputs, shown(figure(3)))
    messages = await composed("Done.", cell(code, outputs=twice, artifacts=(saved,)))
    assert len(names(messages)) == 3


async def test_the_same_picture_in_two_cells_comes_once() -> None:
    cells = [cell(count=n, outputs=(shown(figure()),)) for n in (1, 2)]
    assert names(await composed("Done.", *cells)) == ["cell-1-figure-1.png"]


async def test_only_the_last_version_of_a_file_is_sent(shelf: Shelf) -> None:
    old, new = shelf.file("x.csv"), shelf.file("x.csv")
    messages = await composed("Done.", cell(artifacts=(old,)), cell(artifacts=(new,)))
    assert [one.file_id for one in attached(messages)] == [new.file_id]


async def test_files_of_the_same_name_are_told_apart(shelf: Shelf) -> None:
    artifacts = (shelf.file("a/x.csv"), shelf.file("b/x.csv"))
    assert names(await composed("Done.", cell(artifacts=artifacts))) == ["x.csv", "x-2.csv"]


@pytest.mark.parametrize(
    ("code", "alt"),
    [
        ("plt.plot(x)", "Picture made by cell 1"),
        ("plt.title('Ages of people')", "Ages of people"),
        ("ax.set_title(\"A\" 'x')\nfig.suptitle('Both of them')", "Both of them"),
        ("df.plot(title='By year')", "By year"),
        ("plt.title(f'{x} things')", "Picture made by cell 1"),
    ],
)
async def test_a_figure_is_described_by_its_title(code: str, alt: str) -> None:
    messages = await composed("Done.", cell(code, outputs=(shown(figure()),)))
    assert attached(messages)[0].alt == alt


@pytest.mark.parametrize(
    ("text", "alt"),
    [
        ("<IPython.core.display.SVG object>", "Picture made by cell 1"),
        ("<Image at 0x7f>", "Picture made by cell 1"),
        ("<X object at 0x7f>", "Picture made by cell 1"),
        ("A map of Oslo", "A map of Oslo"),
        ("", "Picture made by cell 1"),
    ],
)
async def test_a_picture_is_described_by_its_text_if_that_says_anything(
    text: str, alt: str
) -> None:
    messages = await composed("Done.", cell(outputs=(shown(figure(text=text)),)))
    assert attached(messages)[0].alt == alt


async def test_a_picture_is_described_in_the_answer_s_words(shelf: Shelf) -> None:
    saved = shelf.file("plot.png", png(0))
    messages = await composed("![A rising line](plot.png)", cell(artifacts=(saved,)))
    assert attached(messages)[0].alt == "A rising line"
    long = await composed(f"![{'x' * 2000}](plot.png)", cell(artifacts=(saved,)))
    assert len(attached(long)[0].alt or "") == 1024


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ("[x.csv](sandbox:/mnt/data/x.csv)", "**x.csv** (attached)"),
        ("[x.csv](x.csv)", "**x.csv** (attached)"),
        ("[here](sandbox:/mnt/data/out/x.csv)", "here (**x.csv**, attached)"),
        ("[x.csv](attachment://x.csv)", "**x.csv** (attached)"),
        ("[x.csv](file:///home/user/x.csv)", "**x.csv** (attached)"),
        ("[x.csv](/files/id1)", "**x.csv** (attached)"),
        ("[X](./x.CSV?dl=1)", "X (**x.csv**, attached)"),
        ("see sandbox:/mnt/data/x.csv.", "see **x.csv** (attached)."),
        ("![](sandbox:/x.csv)", "**x.csv** (attached)"),
        ("[no](sandbox:/no.csv)", "no (**no.csv**, there is no such file)"),
        ("[no.csv](no.csv)", "**no.csv** (there is no such file)"),
        ("[docs](somewhere/else)", "docs"),
    ],
)
async def test_links_to_files_become_the_attachment(shelf: Shelf, link: str, words: str) -> None:
    (message,) = await composed(link, cell(artifacts=(shelf.file("out/x.csv"),)))
    assert message.content == words
    assert names([message]) == ["x.csv"]


async def test_a_link_to_a_file_from_earlier_attaches_the_newest_of_that_name(
    shelf: Shelf,
) -> None:
    files = (shelf.file("old.csv"), shelf.file("old.csv"), shelf.file("other.csv"))
    (message,) = await composed("[again](old.csv) [and](old.csv)", files=files)
    assert message.content == "again (**old.csv**, attached) and (**old.csv**, attached)"
    assert [one.file_id for one in message.attachments] == ["id2"]


async def test_a_link_to_a_file_that_is_too_large_says_so(shelf: Shelf) -> None:
    big = shelf.file("big.csv", size=LIMIT + 1)
    for cells, files in ((cell(artifacts=(big,)), ()), (cell(), (big,))):
        (message,) = await composed("[big.csv](sandbox:/big.csv)", cells, files=files)
        assert message.content.startswith("**big.csv** (too large to attach, see below)\n\n**big")


async def test_an_invented_picture_is_no_lie_where_a_figure_was_shown() -> None:
    (message,) = await composed("![The line](sandbox:/p.png)", cell(outputs=(shown(figure()),)))
    assert message.content == "*The line*"


async def test_what_cells_printed_is_left_to_the_words() -> None:
    outputs = (printed("noise"), result("17"), CellError("E", "x", ("Traceback",)))
    failed = cell(status="error", outputs=outputs)
    (message,) = await composed("It failed.", failed)
    assert message.content == (
        "It failed.\n\n-# The last cell failed (E); **Show code** shows how."
    )


async def test_without_words_the_last_cell_speaks() -> None:
    (message,) = await composed("", cell(outputs=(printed("a"),)), cell(outputs=(result("17"),)))
    assert message.content == "```\n17\n```"


async def test_without_words_a_failure_is_one_line() -> None:
    error = CellError("ValueError", "bad_x\n@everyone", ("Traceback",))
    (message,) = await composed("", cell(status="error", outputs=(error,)))
    assert message.content == (
        "The last cell ended with an error, **ValueError**: bad\\_x @\u200beveryone"
    )
    timeout = cell(status="timeout", message="The cell was stopped after 300 s.")
    (message,) = await composed("", timeout)
    assert message.content == "The cell was stopped after 300 s."


@pytest.mark.parametrize("status", ["timeout", "died"])
async def test_limit_that_ended_the_last_cell_is_told_whatever_the_model_says(status: str) -> None:
    told = "The kernel had no memory left. The variables are gone."
    stopped = cell(status=status, message=told, state_lost=True)
    (message,) = await composed("Sorry.", stopped)
    assert message.content == f"Sorry.\n\n-# {told}"
    (message,) = await composed("Now it is fast.", stopped, cell())
    assert told not in message.content and "had to be replaced" in message.content


async def test_files_that_are_gone_are_told_once_and_not_said_to_be_there() -> None:
    gone = "The working directory is gone."
    lost = cell(message=f"It was stopped. {gone}", state_lost=True, files_gone=gone)
    (message,) = await composed("Done.", lost, cell())
    assert message.content.split("\n") == [
        "Done.",
        "",
        "-# The kernel had to be replaced: variables that were not restored are gone.",
        f"-# {gone}",
    ]
    (message,) = await composed("Done.", cell(message=gone, files_gone=gone))
    assert message.content == f"Done.\n\n-# {gone}"
    died = cell(status="died", message=f"It died. {gone}", state_lost=True, files_gone=gone)
    (message,) = await composed("Sorry.", died)
    assert message.content == f"Sorry.\n\n-# It died. {gone}"


async def test_without_anything_there_is_still_a_message() -> None:
    (message,) = await composed("", buttons=(Button("B", "cm:b"),))
    assert message == OutgoingMessage("Done. There is nothing to show.", (), message.buttons)
    assert message.buttons
    (noted,) = await composed("\u200b", note="The model gave no answer.")
    assert noted.content == "The model gave no answer."


async def test_notes_are_small_print_below(shelf: Shelf) -> None:
    noisy = cell(
        installed=("seaborn", "@everyone"),
        skipped=(SkippedArtifact("a_b.bin", "it is larger than 50 MB"),),
        state_lost=True,
    )
    (message,) = await composed("```\ncode\n```", noisy, note="Stopped after 10 rounds.")
    assert message.content.split("\n") == [
        "```",
        "code",
        "```",
        "-# Stopped after 10 rounds.",
        "-# Installed seaborn, @\u200beveryone.",
        "-# The kernel had to be replaced: variables that were not restored are gone, your files "
        "are still there.",
        "-# **a\\_b.bin** was left out: it is larger than 50 MB.",
    ]


async def test_sentences_of_ours_show_names_as_they_are() -> None:
    (message,) = await composed("", note="a*b*.csv was refused: use `pip install x_y_z`.")
    assert message.content == "a\\*b\\*.csv was refused: use `pip install x_y_z`."


async def test_a_file_whose_name_is_lost_is_named(shelf: Shelf) -> None:
    (message,) = await composed("Done.", cell(artifacts=(shelf.file("отчёт.csv"),)))
    assert names([message]) == ["file.csv"]
    assert message.content == "Done.\n\n-# **отчёт.csv** is attached as file.csv."


async def test_a_small_table_is_shown_as_text() -> None:
    artist = Artist()
    table = shown({"text/plain": SMALL, "text/html": TABLE_HTML})
    (message,) = await composed("Look:", cell(outputs=(table,)), artist=artist)
    assert message.content == f"Look:\n```\n{SMALL}\n```"
    assert not artist.asked


@pytest.mark.parametrize(
    ("plain", "is_text"),
    [
        ("w" * 61, True),
        ("w" * 62, True),
        ("w" * 63, False),
        ("表" * 31, True),
        ("表" * 32, False),
        ("\n".join(["r"] * 21), True),
        ("\n".join(["r"] * 22), True),
        ("\n".join(["r"] * 23), False),
        ("a \\\n0\n\nb\n0", False),
    ],
)
async def test_a_larger_table_is_drawn_and_sent_as_csv(plain: str, is_text: bool) -> None:
    artist = Artist()
    table = shown({"text/plain": plain, "text/html": TABLE_HTML, "text/csv": "a\n1\n"})
    (message,) = await composed("Look:", cell(outputs=(table,)), artist=artist)
    assert (plain in message.content) is is_text
    assert names([message])[-1] == "cell-1-table.csv"
    assert artist.asked == ([] if is_text else [(TABLE_HTML.encode(), "text/html")])
    if not is_text:
        assert names([message])[0] == "cell-1-table.png"
        assert (message.attachments[0].alt or "").startswith("Table made by cell 1:\n")


async def test_a_table_with_colours_is_drawn_however_small() -> None:
    html = f"<style>#T_1 td {{ color: red; }}</style>{TABLE_HTML}"
    table = shown({"text/plain": "<Styler>", "text/html": html})
    assert names(await composed("Look:", cell(outputs=(table,)))) == ["cell-1-table.png"]


async def test_a_table_that_can_t_be_drawn_is_shown_in_part_and_sent_whole() -> None:
    plain = "\n".join(f"{n} " + "w" * 70 for n in range(99))
    table = shown({"text/plain": plain, "text/html": TABLE_HTML})
    (message,) = await composed("Look:", cell(outputs=(table,)), artist=Artist(can_draw=False))
    assert "characters left out" in message.content
    assert names([message]) == ["cell-1-table.txt"]
    assert message.attachments[0].source == plain.encode()


async def test_a_table_is_shown_where_the_last_cell_ended_with_it_and_the_words_have_none() -> None:
    table = ExecuteResult({"text/plain": SMALL, "text/html": TABLE_HTML}, {}, 1)
    (message,) = await composed("Look:", cell(outputs=(table,)))
    assert SMALL in message.content
    (message,) = await composed("Look:", cell(outputs=(table,)), cell())
    assert message.content == "Look:"
    (message,) = await composed("| a |\n|--|\n| 1 |", cell(outputs=(table,)))
    assert SMALL not in message.content


@pytest.mark.parametrize(
    ("data", "mime", "files"),
    [
        ({"image/svg+xml": "<svg/>"}, "image/svg+xml", ["figure-1.png", "figure-1.svg"]),
        ({"text/html": "<canvas>"}, "text/html", ["figure-1.png", "figure-1.html"]),
        (
            {"application/vnd.plotly.v1+json": {}},
            "application/vnd.plotly.v1+json",
            ["figure-1.png", "figure-1.plotly.json"],
        ),
        (
            {"application/vnd.plotly.v1+json": {}, "text/html": "<script>"},
            "application/vnd.plotly.v1+json",
            ["figure-1.png", "figure-1.html"],
        ),
        (
            {"application/vnd.vegalite.v5+json": {}},
            "application/vnd.vegalite.v5+json",
            ["figure-1.png", "figure-1.vl.json"],
        ),
        ({"text/latex": "$x^2$"}, "text/latex", ["formula.png"]),
    ],
)
async def test_what_discord_can_t_show_comes_as_a_picture_and_as_the_file(
    data: dict[str, object], mime: str, files: list[str]
) -> None:
    artist = Artist()
    bundle = {"text/plain": "<X object>", **data}
    messages = await composed("Look:", cell(outputs=(shown(bundle),)), artist=artist)
    assert [asked for _, asked in artist.asked] == [mime]
    assert names(messages) == [f"cell-1-{name}" for name in files]
    assert attached(messages)[0].alt
    # What can't be drawn is still sent.
    undrawn = await composed("Look:", cell(outputs=(shown(bundle),)), artist=Artist(can_draw=False))
    assert names(undrawn) == [f"cell-1-{name}" for name in files if not name.endswith(".png")]


async def test_a_formula_keeps_its_source() -> None:
    formula = shown({"text/plain": "x**2", "text/latex": "$\\displaystyle x^{2}$"})
    (message,) = await composed("Look:", cell(outputs=(formula,)))
    assert message.attachments[0].alt == "$\\displaystyle x^{2}$"
    undrawn = Artist(can_draw=False)
    (message,) = await composed("Look:", cell(outputs=(formula,)), artist=undrawn)
    assert message.content == "Look:\n```\nx²\n```"


async def test_drawings_that_were_saved_are_shown_too(shelf: Shelf) -> None:
    artist = Artist()
    saved = (shelf.file("a.svg", b"<svg/>"), shelf.file("page.html", b"<p>x"))
    messages = await composed("Done.", cell(artifacts=saved), artist=artist)
    assert names(messages) == ["a.png", "a.svg", "page.png", "page.html"]
    assert artist.asked == [(b"<svg/>", "image/svg+xml"), (b"<p>x", "text/html")]


async def test_no_more_is_drawn_than_anybody_waits_for() -> None:
    artist = Artist()
    outputs = tuple(shown({"image/svg+xml": f"<svg n='{n}'/>"}) for n in range(12))
    await composed("Done.", cell(outputs=outputs), artist=artist)
    assert len(artist.asked) == 10


async def test_displayed_markdown_is_markdown() -> None:
    shown_markdown = shown({"text/plain": "<M object>", "text/markdown": "#### T\n@here"})
    (message,) = await composed("Look:", cell(outputs=(shown_markdown,)))
    assert message.content == "Look:\n**T**\n@\u200bhere"


async def test_an_endless_answer_goes_on_in_a_file() -> None:
    fits = await composed("word " * 2400)
    assert len(fits) > 5 and not attached(fits)
    (message,) = await composed("word " * 2401)
    assert names([message]) == ["answer.md"]
    assert message.content.endswith("-# This goes on in answer.md.")


PAGE = "<h2>Report</h2><p>All <b>good</b></p>"


async def test_a_page_is_drawn_and_sent_as_the_file() -> None:
    page = shown({"text/plain": "<IPython.core.display.HTML object>", "text/html": PAGE})
    (message,) = await composed("Look:", cell(outputs=(page,)))
    assert names([message]) == ["cell-1-page.png", "cell-1-page.html"]
    assert message.attachments[1].source == PAGE.encode()
    assert "Report" in (message.attachments[0].alt or "")


async def test_a_page_that_can_t_be_drawn_is_words_and_the_file() -> None:
    page = shown({"text/plain": "<IPython.core.display.HTML object>", "text/html": PAGE})
    artist = Artist(can_draw=False)
    (message,) = await composed("Look:", cell(outputs=(page,)), artist=artist)
    assert "Report\nAll good" in message.content
    assert names([message]) == ["cell-1-page.html"]


async def test_an_object_that_says_in_words_what_it_is_is_no_page() -> None:
    model = shown({"text/plain": "LinearRegression()", "text/html": f"<style>b</style>{PAGE}"})
    (message,) = await composed("Look:", cell(outputs=(model,)))
    assert "LinearRegression()" in message.content and not message.attachments


@pytest.mark.parametrize("status", ["ok", "error"])
async def test_only_a_last_cell_that_failed_is_told(status: str) -> None:
    failed = cell(status="error", outputs=(CellError("ValueError", "no", ()),))
    last = cell(count=2, status=status, outputs=())
    (message,) = await composed("Here is the plot.", failed, last)
    assert ("The last cell failed; " in message.content) is (status == "error")
    assert "ValueError" not in message.content
