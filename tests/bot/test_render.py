"""An execution as parts: which representation is chosen, and that nothing hostile trips it."""

import base64
from dataclasses import replace
from pathlib import Path

import pytest

from bot.render import DocumentPart, FilePart, ImagePart, TextPart, output_parts, parts
from interpreter import CellError, ExecuteResult, Execution, SkippedArtifact, Stream
from tests.bot.fakes import PNG, result, shown, stored_file

PNG64 = base64.b64encode(PNG).decode()
SVG = "<svg xmlns='http://www.w3.org/2000/svg'/>"


def texts(data: dict[str, object]) -> list[str]:
    return [part.text for part in output_parts(shown(data), stem="x") if isinstance(part, TextPart)]


def test_streams_errors_and_results_are_texts_of_their_kind() -> None:
    outputs = (
        Stream("stdout", "out\n"),
        Stream("stderr", "err\n"),
        result("3", count=7),
        CellError("ValueError", "bad", ("Traceback", "ValueError: bad")),
    )
    assert parts(Execution(status="error", code="", outputs=outputs)) == (
        TextPart("out\n", "stdout"),
        TextPart("err\n", "stderr"),
        TextPart("3", "result", 7),
        TextPart("Traceback\nValueError: bad", "error"),
    )


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"text/plain": "   a\n0  1", "text/html": "<table/>"}, "   a\n0  1"),
        ({"text/plain": "<IPython.core.display.HTML object>", "text/html": "<b>hi</b>"}, "hi"),
        ({"text/plain": "<Styler at 0x7f0a>", "text/html": "<p>a<p>b"}, "a\nb"),
        ({"text/plain": "<X object>", "text/markdown": "# Title"}, "# Title"),
        ({"text/plain": "<X object>", "text/latex": "$x^2$"}, "$x^2$"),
        ({"text/plain": "x**2", "text/latex": "$x^2$"}, "x**2"),
        ({"text/plain": "<X object>", "application/json": {"ä": 1}}, '{\n  "ä": 1\n}'),
        ({"text/plain": "<Axes: >"}, "<Axes: >"),
        ({"text/plain": ["a\n", "b"]}, "a\nb"),
        ({"application/x-own": "?"}, "[application/x-own]"),
        ({"text/plain": 5, "text/html": None}, "[text/html, text/plain]"),
    ],
)
def test_the_most_readable_text_of_a_bundle_is_chosen(data: dict[str, object], text: str) -> None:
    assert texts(data) == [text]


def test_an_empty_bundle_shows_nothing() -> None:
    assert output_parts(shown({}), stem="x") == ()


@pytest.mark.parametrize(
    ("data", "mime", "filename"),
    [
        ({"image/png": PNG64}, "image/png", "x.png"),
        ({"image/png": PNG64[:20] + "\n" + PNG64[20:]}, "image/png", "x.png"),
        (
            {"image/jpeg": base64.b64encode(b"\xff\xd8\xff\xe0").decode(), "image/svg+xml": SVG},
            "image/jpeg",
            "x.jpg",
        ),
        ({"image/png": "!!!", "image/svg+xml": SVG}, "image/svg+xml", "x.svg"),
        ({"image/gif": base64.b64encode(b"GIF89a").decode()}, "image/gif", "x.gif"),
        ({"image/webp": base64.b64encode(b"RIFF0000WEBP").decode()}, "image/webp", "x.webp"),
    ],
)
def test_pictures_come_before_texts(data: dict[str, object], mime: str, filename: str) -> None:
    data = {"text/plain": "<Figure size 640x480 with 1 Axes>", "text/html": "<b>no</b>", **data}
    (part,) = output_parts(shown(data), stem="x")
    assert isinstance(part, ImagePart)
    assert (part.mime, part.filename) == (mime, filename)
    assert part.alt == "Figure size 640x480 with 1 Axes"


@pytest.mark.parametrize("value", ["!!!", "A", "ä", "", PNG64[1:], 17, None, ["x", 1], {"a": 1}])
def test_a_picture_that_is_none_becomes_a_note(value: object) -> None:
    assert texts({"image/png": value}) == ["[a picture (image/png) that can't be decoded]"]


def test_bytes_of_another_type_are_no_picture() -> None:
    html = base64.b64encode(b"<script>").decode()
    assert texts({"image/png": html, "text/plain": "text"}) == ["text"]


@pytest.mark.parametrize(
    ("data", "filename", "text"),
    [
        ({"text/html": "<script>draw()</script>", "text/plain": "<Map object>"}, "x.html", []),
        ({"text/html": "<h1>T</h1><iframe/>", "text/plain": "<X object>"}, "x.html", ["T"]),
        (
            {"application/vnd.plotly.v1+json": {"data": []}, "text/plain": "Figure({...})"},
            "x.plotly.json",
            [],
        ),
        ({"application/vnd.vegalite.v5+json": {}}, "x.vl.json", []),
        ({"application/vnd.vegalite.v5.20.1+json": {}}, "x.vl.json", []),
        ({"application/geo+json": {}}, "x.geojson", []),
        ({"application/pdf": base64.b64encode(b"%PDF-1.7").decode()}, "x.pdf", []),
    ],
)
def test_what_needs_its_own_program_is_a_document(
    data: dict[str, object], filename: str, text: list[str]
) -> None:
    documents = [p for p in output_parts(shown(data), stem="x") if isinstance(p, DocumentPart)]
    assert [document.filename for document in documents] == [filename]
    assert [t for t in texts(data) if t not in data.values() and not t.startswith("[")] == text


_SOUND = base64.b64encode(b"RIFF....WAVE").decode()


@pytest.mark.parametrize(
    ("html", "filename"),
    [
        # As IPython's Audio, its Video, and matplotlib's animations write it.
        (
            '<audio  controls="controls" >\n'
            f'<source src="data:audio/wav;base64,{_SOUND}" type="audio/wav" />\n'
            "Your browser does not support the audio element.\n</audio>",
            "cell-2-audio-1.wav",
        ),
        (
            f'<video controls  >\n <source src="data:video/mp4;base64,{_SOUND}" type="video/mp4">\n'
            " Your browser does not support the video tag.\n </video>",
            "cell-2-video-1.mp4",
        ),
        (
            '<video width="640" height="480" controls autoplay loop>\n'
            '  <source type="video/mp4" '
            f'src="data:video/mp4;base64,{_SOUND[:8]}\n{_SOUND[8:]}\n">\n'
            "</video>",
            "cell-2-video-1.mp4",
        ),
        (f"<audio src='data:audio/ogg; codecs=opus;base64,{_SOUND}'>", "cell-2-audio-1.ogg"),
        (
            f'<audio><source src="data:audio/mpeg;base64,{_SOUND}">{"no audio" * 50_000}</audio>',
            "cell-2-audio-1.mp3",
        ),
    ],
)
def test_sound_and_video_come_as_files_that_play(html: str, filename: str) -> None:
    data = {"text/html": html, "text/plain": "<IPython.lib.display.Audio object>"}
    (played,) = output_parts(shown(data), stem="cell-2-figure-1")
    assert isinstance(played, DocumentPart)
    assert (played.filename, played.content) == (filename, b"RIFF....WAVE")


@pytest.mark.parametrize(
    "html",
    [
        f'<audio src="data:audio/../../x;base64,{_SOUND}">',
        f'<audio src="data:audio/unheard-of;base64,{_SOUND}">',
        '<audio src="data:audio/wav;base64,====">',
        '<audio src="data:audio/wav;base64,">',
        '<video src="x.mp4">',
        f'<audio src="data:audio/wav;base64,{_SOUND}"><img src="x.png">',
        f'<audio src="data:audio/wav;base64,{_SOUND}"></audio><audio src="y.wav">',
        f'<script src="data:audio/wav;base64,{_SOUND}">',
    ],
)
def test_page_with_more_than_one_sound_stays_a_page(html: str) -> None:
    data = {"text/html": html, "text/plain": "<X object>"}
    (page,) = output_parts(shown(data), stem="cell-2-figure-1")
    assert isinstance(page, DocumentPart)
    assert (page.filename, page.mime) == ("cell-2-figure-1.html", "text/html")


def test_words_beside_a_sound_are_not_lost() -> None:
    html = f'<p>Heard: a dog</p><audio src="data:audio/wav;base64,{_SOUND}"></audio>'
    data = {"text/html": html, "text/plain": "<IPython.core.display.HTML object>"}
    page, text = output_parts(shown(data), stem="cell-2-figure-1")
    assert isinstance(page, DocumentPart) and isinstance(text, TextPart)
    assert (page.filename, page.content) == ("cell-2-figure-1.html", html.encode())
    assert text.text == "Heard: a dog"


def test_a_picture_shown_and_saved_comes_once_under_the_file_s_name() -> None:
    plot = stored_file("id1", "plot.png")
    other = stored_file("id2", "table.csv")
    display = replace(shown({"image/png": PNG64}), file_id="id1")
    execution = Execution(status="ok", code="", outputs=(display,), artifacts=(plot, other))
    image, file = parts(execution)
    assert isinstance(image, ImagePart)
    assert (image.filename, image.file) == ("plot.png", plot)
    assert file == FilePart(other)


def test_pictures_are_numbered_by_cell_whatever_else_is_shown() -> None:
    outputs = (
        Stream("stdout", "a"),
        shown({"image/png": PNG64}),
        result("1"),
        *(ExecuteResult({"image/png": PNG64}, {}, 4),),
    )
    images = [
        p
        for p in parts(Execution(status="ok", code="", count=4, outputs=outputs))
        if isinstance(p, ImagePart)
    ]
    assert [image.filename for image in images] == ["cell-4-figure-1.png", "cell-4-figure-2.png"]


def test_the_message_comes_last_and_a_lost_state_is_never_silent() -> None:
    plot = stored_file("id1", "plot.png", path=Path("/nowhere"))
    told = Execution(status="timeout", code="", artifacts=(plot,), message="Stopped.")
    assert parts(told) == (FilePart(plot), TextPart("Stopped.", "note"))
    (untold,) = parts(Execution(status="died", code="", state_lost=True))
    assert (
        isinstance(untold, TextPart) and "variables that were not restored are gone" in untold.text
    )


def test_skipped_files_are_named_where_the_message_doesn_t() -> None:
    skipped = (SkippedArtifact("big.bin", "it is too large"),)
    (note,) = parts(Execution(status="ok", code="", skipped=skipped))
    assert note == TextPart("big.bin was not kept: it is too large", "note")
