"""What goes wrong with Discord, the model or the database while a turn runs: nothing is lost, and
nothing comes twice."""

from collections.abc import Callable

import pytest

from tests.bot.conversations.conftest import Database, Lab
from tests.bot.conversations.reading import answer_to, answered, said, text_of
from tests.discord_double import Message
from tests.service.waiting import until

MADE = "open('made.csv', 'w').write('x\\n1\\n'); print('made')"


async def begun(lab: Lab, words: str = "Here it is.") -> "Callable[[], None]":
    """A turn that has run a cell and waits for the model's last words; gives what lets it go on."""
    lab.openai.call(MADE)
    gate = lab.openai.hold(words)
    await lab.channel.post(lab.anna, "make it", mention_bot=True)
    await until(lambda: lab.openai.left == 0)
    return gate.set


async def delivered(lab: Lab, words: str = "Here it is.") -> Message:
    """The answer, which is there once and whole."""
    answer = await answered(lab, words)
    await lab.discord.until(lambda: not lab.discord.rest.is_busy, what="all is answered")
    [only] = lab.channel.by_bot
    assert only is answer and answer.files == {"made.csv": b"x\n1\n"}
    return answer


async def still_answers(lab: Lab) -> None:
    lab.openai.say("Still here.")
    await lab.channel.post(lab.anna, "are you there?", mention_bot=True)
    await said(lab, "Still here.")


# -- the gateway ---------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "drop", "op9"])
async def test_turn_outlasts_the_gateways_connection(lab: Lab, how: str) -> None:
    go_on = await begun(lab)
    identified = len(lab.discord.identifies)
    await getattr(lab.discord.faults.gateway, how)()
    go_on()
    await delivered(lab)
    await lab.discord.until(lambda: lab.discord.gateway.connected, what="a new connection")
    await still_answers(lab)
    assert len(lab.discord.identifies) == identified + (how == "op9"), "resumed, if that can be"


async def test_what_is_asked_while_the_connection_is_away_is_answered(lab: Lab) -> None:
    lab.discord.faults.refuse_connections(2)
    await lab.discord.faults.gateway.drop()
    await still_answers(lab)


# -- REST ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "headers": True},
        {"status": 429, "headers": False},
        {"status": 500, "times": 1},  # the library waits a second after each
        {"status": 503},
        {"status": 503, "after": True},
    ],
    ids=str,
)
async def test_answer_outlasts_refusals(lab: Lab, fault: dict[str, object]) -> None:
    go_on = await begun(lab)
    struck = lab.discord.faults.rest(method="PATCH", path="/messages/", **{"times": 3, **fault})
    go_on()
    await lab.discord.until(lambda: struck.left == 0, what="all refusals")
    await delivered(lab)
    await still_answers(lab)


async def test_answer_whose_acknowledgement_is_lost_comes_once(lab: Lab) -> None:
    go_on = await begun(lab)
    lab.discord.faults.drop_answer(times=2, method="PATCH")
    go_on()
    await delivered(lab)


async def test_upload_that_breaks_off_is_sent_anew_and_whole(lab: Lab) -> None:
    lab.openai.call("open('big.bin', 'wb').write(bytes(range(256)) * 2000);")
    gate = lab.openai.hold("It is big.")
    await lab.channel.post(lab.anna, "make it big", mention_bot=True)
    await until(lambda: lab.openai.left == 0)
    struck = lab.discord.faults.drop_upload(times=2)
    gate.set()
    answer = await answered(lab, "It is big.")
    assert struck.left == 0
    assert answer.files == {"big.bin": bytes(range(256)) * 2000}
    assert lab.channel.by_bot == [answer]


async def test_answer_waits_until_discord_is_back(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    go_on = await begun(lab)
    with lab.discord.allowing_violations():
        async with lab.discord.faults.outage():
            go_on()
            await until(lambda: "turn_id=" in caplog.text)
    await delivered(lab)
    await still_answers(lab)


async def test_file_whose_download_breaks_off_is_told_and_the_question_answered(lab: Lab) -> None:
    lab.discord.faults.cdn(status=0, times=2, path="a.csv")
    lab.openai.say("One table.")
    files = {"a.csv": b"x\n1\n" * 100, "b.csv": b"y\n2\n"}
    await lab.channel.post(lab.anna, "what is in them?", files=files, mention_bot=True)
    await said(lab, "a.csv could not be had from Discord (the line broke): please send it again.")
    await said(lab, "One table.")
    [kept] = await lab.service.files.list(user_id=lab.anna.id)
    assert kept.filename == "b.csv"


async def test_answer_goes_where_it_can_when_its_message_is_gone(lab: Lab) -> None:
    go_on = await begun(lab)
    progress = await lab.channel.wait_for()
    await progress.delete()
    go_on()
    answer = await delivered(lab)
    assert answer is not progress


async def test_progress_that_comes_after_its_answer_is_taken_back(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr("bot.discord.progress._LAST_EDIT_S", 0.01)
    lab.discord.faults.rest(status=503, times=10_000, method="POST", path="/messages")
    lab.openai.say("Quick.")
    await lab.channel.post(lab.anna, "quickly", mention_bot=True)
    await until(lambda: "turn_id=" in caplog.text)
    lab.discord.faults.clear()
    answer = await said(lab, "Quick.")
    await lab.discord.until(lambda: len(lab.channel.all_messages) == 3, what="both messages")
    await lab.discord.until(lambda: lab.channel.by_bot == [answer], what="one is left")


# -- the model -----------------------------------------------------------------------------------

KEY = "sk-test-0123456789"


@pytest.mark.parametrize(
    ("failure", "sentence", "logged"),
    [
        (
            {"status": 401, "message": f"Incorrect API key provided: {KEY}"},
            "The language model refuses our key; only the operator of this bot can mend that.",
            "ModelKeyRefused",
        ),
        (
            {"status": 404, "code": "model_not_found", "message": "The model does not exist"},
            "There is no language model 'model-a' here; choose another, or tell the operator of "
            "this bot.",
            "UnknownModel",
        ),
        (
            {"status": 503, "times": 12, "retry_after": "0", "message": "overloaded"},
            "The language model can't be reached at the moment; please try again in a few minutes.",
            "ModelUnavailable",
        ),
    ],
    ids=["key", "model", "server"],
)
async def test_models_failure_is_one_sentence_and_the_log_has_the_rest(
    lab: Lab,
    failure: dict[str, object],
    sentence: str,
    logged: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    lab.openai.fail(**failure)  # type: ignore[arg-type]  # as they are in the table
    use = await lab.anna.slash(lab.channel, "ask", prompt="what is 2+2?")
    assert await text_of(lab, use) == sentence
    [line] = [r.getMessage() for r in caplog.records if "turn failed" in r.getMessage()]
    assert logged in line and str(failure["status"]) in line
    assert KEY not in caplog.text and "2+2" not in caplog.text
    use = await lab.anna.slash(lab.channel, "run", code="6 * 7")
    assert "42" in (await answer_to(lab, use)).content


async def test_what_a_cell_made_is_delivered_when_the_model_fails_after_it(lab: Lab) -> None:
    lab.openai.call(MADE)
    lab.openai.fail(401, message="no")
    await lab.channel.post(lab.anna, "make it", mention_bot=True)
    await delivered(lab, "refuses our key")


# -- the database --------------------------------------------------------------------------------


async def test_answer_outlasts_the_database(
    lab: Lab, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    if not database.is_used:
        pytest.skip("the database isn't ours to end")
    go_on = await begun(lab)
    await database.die()
    try:
        go_on()
        await until(lambda: "counted aside" in caplog.text)
    finally:
        await database.start()
    await delivered(lab)
    lab.openai.say("I made a table.")
    await lab.channel.post(lab.anna, "what did you do?", mention_bot=True)
    await said(lab, "I made a table.")
    assert "Here it is." in lab.openai.last.text, "the conversation is remembered"
    [file] = await lab.service.files.list(user_id=lab.anna.id)
    assert file.filename == "made.csv"
