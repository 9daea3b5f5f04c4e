"""Whole conversations, from a person's message to what they see."""

import pickle

import pandas as pd
import pytest

from tests.bot.conversations.conftest import Lab, StartLab
from tests.discord_double import Message

SALES = b"city,amount\n" + b"".join(
    f"{city},{40 + n % 17}\n".encode() for n in range(60) for city in ("Oslo", "Lima")
)


def is_answer(message: Message) -> bool:
    """Whether a turn's answer is there: with what ran, not only how far it is."""
    return "Show code" in message.buttons


def says(words: str) -> "object":
    return lambda message: words in message.content and "Stop" not in message.buttons


async def test_csv_is_described_and_drawn(lab: Lab) -> None:
    lab.openai.call("df = load_file('sales.csv')\nprint(df.describe())\ndf.hist();")
    lab.openai.say("The amounts lie between **40** and **56**.")
    await lab.channel.post(lab.anna, "analyse this", files={"sales.csv": SALES}, mention_bot=True)
    answer = await lab.channel.wait_for(is_answer, timeout_s=30)
    assert "between **40** and **56**" in answer.content
    assert [a.content[:4] for a in answer.attachments] == [b"\x89PNG"]
    assert answer.attachments[0].alt
    first, second = lab.openai.requests
    assert "sales.csv" in first.text and "120" in first.text, "the model knows what is in the file"
    assert "56.0" in second.last_result, "the model sees what the cell printed"
    assert "base64" not in second.text


async def test_parquet_becomes_a_heat_map(lab: Lab, tmp_path: object) -> None:
    table = pd.DataFrame({"a": range(30), "b": [n * n for n in range(30)], "c": [5, 1] * 15})
    content = table.to_parquet()
    code = (
        "df = load_file('m.parquet')\nplt.imshow(df.corr()); plt.title('Correlations')\n"
        "plt.show()\nprint(df.corr().round(2))"
    )
    lab.openai.call(code)
    lab.openai.say("`a` and `b` go together.")
    await lab.channel.post(
        lab.anna, "show correlations", files={"m.parquet": content}, mention_bot=True
    )
    answer = await lab.channel.wait_for(is_answer, timeout_s=30)
    assert answer.content.startswith("`a` and `b` go together.")
    assert answer.attachments[0].filename.endswith(".png")
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
    answer = await lab.channel.wait_for(is_answer, timeout_s=30)
    assert [a.filename for a in answer.attachments] == ["predictions.csv"]
    assert answer.attachments[0].content == b"x,predicted\n1,15\n2,25\n3,35\n"
    assert "sandbox:" not in answer.content and "predictions.csv" in answer.content
    assert all(name in lab.openai.requests[0].text for name in files)


async def test_cell_past_its_limit_is_told_and_the_next_message_works(start_lab: StartLab) -> None:
    async with start_lab() as lab:
        lab.service.set_limits(lab.anna.id, _limits(1.0))
        await lab.discord.world.clock_is_real() if False else None
        lab.openai.call("kept = 1\nimport time\ntime.sleep(60)")
        lab.openai.say("That took too long.")
        await lab.channel.post(lab.anna, "sleep", mention_bot=True)
        await lab.channel.wait_for(is_answer, timeout_s=30)
        assert "ran longer than" in lab.openai.last.last_result, lab.openai.last.last_result


def _limits(seconds: float) -> "object":
    from interpreter import SessionLimits

    return SessionLimits(cell_timeout_s=seconds)


@pytest.mark.parametrize("_", [1])
async def test_variables_stay_from_turn_to_turn(lab: Lab, _: int) -> None:
    lab.openai.call("x = 41")
    lab.openai.say("Noted.")
    await lab.channel.post(lab.anna, "remember 41", mention_bot=True)
    first = await lab.channel.wait_for(is_answer, timeout_s=30)
    lab.openai.call("print(x + 1)")
    lab.openai.say("It is 42.")
    await lab.channel.post(lab.anna, "add one", reply_to=first)
    await lab.channel.wait_for(lambda m: "It is 42." in m.content and is_answer(m), timeout_s=30)
    assert lab.openai.last.last_result.startswith("42")
    assert "remember 41" in lab.openai.last.text, "the conversation goes on"
