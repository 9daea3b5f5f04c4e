"""Stopping, asking back, and what else happens while a turn runs."""

import asyncio

from tests.bot.conversations.conftest import Lab, StartLab
from tests.bot.conversations.reading import answer_to, answered, said, text_of

FOR_EVER = "import time\nwhile True:\n    time.sleep(0.05)"


async def test_stop_delivers_what_there_is_and_keeps_the_variables(lab: Lab) -> None:
    lab.openai.call("kept = 41\nopen('early.csv', 'w').write('x\\n1\\n');")
    lab.openai.call(f"print('begun', flush=True)\n{FOR_EVER}")
    await lab.channel.post(lab.anna, "work", mention_bot=True)
    progress = await lab.channel.wait_for(lambda m: "begun" in m.content, timeout_s=20)
    assert "Running cell 2" in progress.content
    await lab.anna.press(progress, "Stop")
    stopped = await answered(lab, "Stopped. The variables are kept.")
    assert stopped is progress and stopped.files == {"early.csv": b"x\n1\n"}
    lab.openai.call("print(kept + 1)")
    lab.openai.say("It is 42.")
    await lab.channel.post(lab.anna, "go on", mention_bot=True)
    await answered(lab, "It is 42.")
    assert "\n42\n" in lab.openai.last.last_result


async def test_stop_ends_the_model_in_midst_of_its_answer(lab: Lab) -> None:
    lab.openai.hold("Once upon a time there was")
    use = await lab.anna.slash(lab.channel, "ask", prompt="a story")
    progress = await use.wait_for_message(lambda m: "Stop" in m.buttons and "Once" in m.content)
    pressed = await lab.anna.press(progress, "Stop")
    assert pressed.ephemeral
    stopped = await said(lab, "Stopped.")
    assert stopped is progress and stopped.buttons == ()


async def test_code_of_ones_own_is_stopped_too(lab: Lab) -> None:
    use = await lab.anna.slash(lab.channel, "run", code=f"print('begun', flush=True)\n{FOR_EVER}")
    progress = await use.wait_for_message(lambda m: "begun" in m.content, timeout_s=20)
    await lab.anna.press(progress, "Stop")
    message = await answer_to(lab, use)
    assert "The cell was interrupted. The variables are kept." in message.content


async def test_question_waits_for_the_one_before_and_can_be_stopped_alone(lab: Lab) -> None:
    gate = lab.openai.hold("First.")
    await lab.channel.post(lab.anna, "one", mention_bot=True)
    await lab.channel.wait_for(lambda m: "Stop" in m.buttons)
    second = await lab.anna.slash(lab.channel, "ask", prompt="two")
    waiting = await second.wait_for_message(lambda m: "This is next" in m.content)
    third = await lab.anna.slash(lab.channel, "run", code="print(3)")
    assert "You have a question waiting already" in await text_of(lab, third)
    await lab.anna.press(waiting, "Stop")
    assert await text_of(lab, second) == "Stopped before it began."
    gate.set()
    await said(lab, "First.")
    assert len(lab.openai.requests) == 1


async def test_secret_is_given_by_its_form_alone(lab: Lab) -> None:
    lab.openai.call("from getpass import getpass\nword = getpass('Password? ')\nprint(len(word))")
    lab.openai.say("It has 4 letters.")
    await lab.anna.slash(lab.channel, "ask", prompt="ask me for it")
    question = await lab.channel.wait_for(lambda m: "Answer" in m.buttons, timeout_s=20)
    assert "don't write it into the channel" in question.content
    pressed = await lab.anna.press(question, "Answer")
    assert pressed.modal is not None
    sent = await lab.anna.submit(pressed.modal, {"Password?": "plum"})
    assert sent.ephemeral and "goes on" in await text_of(lab, sent)
    await answered(lab, "It has 4 letters.")
    assert "\n4\n" in lab.openai.last.last_result
    assert "plum" not in lab.discord.transcript() and "plum" not in lab.openai.last.text


async def test_stop_while_a_cell_asks_takes_the_question_back(lab: Lab) -> None:
    use = await lab.anna.slash(lab.channel, "run", code="name = input('Your name? ')")
    question = await lab.channel.wait_for(lambda m: "Answer" in m.buttons, timeout_s=20)
    progress = await use.wait_for_message(lambda m: "waits for your answer" in m.content)
    await lab.anna.press(progress, "Stop")
    await said(lab, "The cell was interrupted. The variables are kept.")
    await lab.discord.until(lambda: question.deleted, what="the question is gone")


async def test_restart_while_a_cell_runs_ends_it_and_is_told(lab: Lab) -> None:
    lab.openai.call("x = 1")
    lab.openai.say("Begun.")
    await lab.channel.post(lab.anna, "begin", mention_bot=True)
    first = await answered(lab, "Begun.")
    lab.openai.call(f"print('running', flush=True)\n{FOR_EVER}")
    lab.openai.say("It was restarted.")
    await lab.channel.post(lab.anna, "and on", mention_bot=True)
    await lab.channel.wait_for(lambda m: "running" in m.content, timeout_s=20)
    asked = await answer_to(lab, await lab.anna.press(first, "Restart kernel"))
    await lab.anna.press(asked, "Restart it")
    await lab.discord.until(lambda: "The kernel is new" in asked.content, timeout_s=20)
    message = await answered(lab, "It was restarted.")
    assert "The kernel was restarted while the cell ran" in lab.openai.last.last_result
    assert message.buttons == ("Show code", "Notebook", "Restart kernel")


async def test_program_that_ends_lets_turns_finish_and_takes_no_new_ones(
    start_lab: StartLab,
) -> None:
    async with start_lab(drain_s=20.0) as lab:
        gate = lab.openai.hold("In time.")
        await lab.channel.post(lab.anna, "quickly", mention_bot=True)
        await lab.channel.wait_for(lambda m: "Stop" in m.buttons and "In" in m.content)
        lab.stop.set()
        ben = lab.guild.member("ben")
        await lab.channel.post(ben, "me too", mention_bot=True)
        await said(lab, "I am being restarted; please ask again in a minute.")
        gate.set()
        await said(lab, "In time.")


async def test_program_that_ends_stops_what_takes_too_long_and_delivers_it(
    start_lab: StartLab,
) -> None:
    async with start_lab(drain_s=0.1) as lab:
        lab.openai.call(f"open('a.txt', 'w').write('a')\nprint('begun', flush=True)\n{FOR_EVER}")
        await lab.channel.post(lab.anna, "work", mention_bot=True)
        await lab.channel.wait_for(lambda m: "begun" in m.content, timeout_s=20)
        lab.stop.set()
        stopped = await answered(lab, "Stopped. The variables are kept.")
        assert stopped.files == {"a.txt": b"a"}
        await asyncio.wait({lab.task})
