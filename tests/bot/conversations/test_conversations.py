"""Whole conversations, from a person's message to what they see."""

import pickle

import pandas as pd

from bot.people.limit_rules import LimitRule, LimitRules
from tests.bot.conversations.conftest import Lab, StartLab
from tests.bot.conversations.reading import answer_to, answered, text_of

SALES = b"city,amount\n" + b"".join(
    f"{city},{40 + n % 17}\n".encode() for n in range(60) for city in ("Oslo", "Lima")
)


async def test_csv_is_described_and_drawn(lab: Lab) -> None:
    lab.openai.call("df = load_file('sales.csv')\nprint(df.describe())\ndf.hist();")
    lab.openai.say("The amounts lie between **40** and **56**.")
    await lab.channel.post(lab.anna, "analyse this", files={"sales.csv": SALES}, mention_bot=True)
    answer = await answered(lab)
    assert "between **40** and **56**" in answer.content
    [picture] = answer.attachments
    assert picture.content.startswith(b"\x89PNG") and picture.alt
    first, second = lab.openai.requests
    assert "sales.csv" in first.question and "120" in first.question, "it is described"
    assert "56.0" in second.last_result, "the model sees what the cell printed"
    assert len(second.pictures) == 1, "and what it drew"
    assert "base64" not in second.last_result and "iVBOR" not in second.text


async def test_parquet_becomes_a_heat_map(lab: Lab) -> None:
    table = pd.DataFrame({"a": range(30), "b": [n * n for n in range(30)], "c": [5, 1] * 15})
    lab.openai.call(
        "df = load_file('m.parquet')\nplt.imshow(df.corr()); plt.title('Correlations')\n"
        "plt.show()\nprint(df.corr().round(2))"
    )
    lab.openai.say("`a` and `b` go together.")
    files = {"m.parquet": table.to_parquet()}
    await lab.channel.post(lab.anna, "show correlations", files=files, mention_bot=True)
    answer = await answered(lab)
    assert answer.content.startswith("`a` and `b` go together.")
    [picture] = answer.attachments
    assert picture.filename.endswith(".png") and picture.content.startswith(b"\x89PNG")
    assert "0.97" in lab.openai.last.last_result


async def test_three_files_in_one_message_are_all_loaded(lab: Lab) -> None:
    files = {
        "x.csv": b"x\n1\n2\n3\n",
        "config.yaml": b"factor: 10\n",
        "model.pkl": pickle.dumps({"offset": 5}),
    }
    lab.openai.call(
        "x = load_file('x.csv'); config = load_file('config.yaml')\n"
        "model = load_file('model.pkl')\n"
        "x['predicted'] = x.x * config['factor'] + model['offset']\n"
        "x.to_csv('predictions.csv', index=False)"
    )
    lab.openai.say("Here are the [predictions](sandbox:/mnt/data/predictions.csv).")
    await lab.channel.post(lab.anna, "predict with the model", files=files, mention_bot=True)
    answer = await answered(lab)
    assert answer.files == {"predictions.csv": b"x,predicted\n1,15\n2,25\n3,35\n"}
    assert "sandbox:" not in answer.content and "predictions.csv" in answer.content
    assert all(name in lab.openai.requests[0].text for name in files)


async def test_cell_past_its_limit_is_told_and_the_next_message_works(lab: Lab) -> None:
    await LimitRules(lab.service.records).set("user", lab.anna.id, LimitRule(cell_timeout_s=1.0))
    lab.openai.call("kept = 41\nimport time\ntime.sleep(60)")
    lab.openai.say("That took too long.")
    await lab.channel.post(lab.anna, "sleep", mention_bot=True)
    answer = await answered(lab, "That took too long.")
    assert "stopped after 1 s, the time limit. The variables are kept." in answer.content
    assert "STOPPED at the time limit" in lab.openai.last.last_result, "the model knows, too"
    lab.openai.call("print(kept + 1)")
    lab.openai.say("It is 42.")
    await lab.channel.post(lab.anna, "and now?", mention_bot=True)
    await answered(lab, "It is 42.")
    assert "\n42\n" in lab.openai.last.last_result


async def test_variables_and_words_outlast_a_restart_of_the_front_end(start_lab: StartLab) -> None:
    async with start_lab() as lab:
        lab.openai.call("x = 41")
        lab.openai.say("Noted.")
        await lab.channel.post(lab.anna, "remember 41", mention_bot=True)
        before = await answered(lab, "Noted.")
    async with start_lab() as lab:
        lab.openai.call("print(x + 1)")
        lab.openai.say("It is 42.")
        await lab.channel.post(lab.anna, "add one", reply_to=before)
        await answered(lab, "It is 42.")
        assert "\n42\n" in lab.openai.last.last_result
        assert "remember 41" in lab.openai.last.text
        # What was pressed before the restart works after it.
        assert "x = 41" in await text_of(lab, await lab.anna.press(before, "Show code"))
        notebook = await answer_to(lab, await lab.anna.press(before, "Notebook"))
        assert b"x = 41" in notebook.attachments[0].content


async def test_people_have_files_variables_and_buttons_of_their_own(lab: Lab) -> None:
    ben = lab.guild.member("ben")
    lab.openai.call("x = load_file('a.csv')\nprint('rows', len(x))", to="anna")
    lab.openai.say("Anna's table.", to="anna")
    files = {"a.csv": b"x\n1\n2\n"}
    await lab.channel.post(lab.anna, "anna asks", files=files, mention_bot=True)
    answer = await answered(lab, "Anna's table.")
    [file] = await lab.service.files.list(user_id=lab.anna.id)
    look = (
        "print('x' in globals(), FILES)\nimport os; print(os.listdir())\n"
        f"load_file('{file.file_id}')"
    )
    lab.openai.call(look, to="ben")
    lab.openai.say("Nothing.", to="ben")
    await lab.channel.post(ben, "ben asks for a.csv", mention_bot=True)
    await answered(lab, "Nothing.")
    assert "False" in lab.openai.last.last_result and "FAILED" in lab.openai.last.last_result
    assert "a.csv" not in lab.openai.last.last_result and "a.csv" not in lab.openai.last.system
    for label in ("Show code", "Notebook", "Restart kernel"):
        refused = await ben.press(answer, label)
        assert await text_of(lab, refused) == "That button is for the person who asked."
        assert refused.ephemeral
