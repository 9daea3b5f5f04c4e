"""Reading what the bot answered."""

from tests.bot.conversations.conftest import Lab
from tests.discord_double import Channel, Interaction, Message


async def answer_to(lab: Lab, use: Interaction) -> Message:
    """The answer to a command, a button or a form, once it is there: not only its progress."""

    def found() -> Message | None:
        shown = [use.response, *use.followups]
        said = (m for m in shown if m is not None and (m.content or m.attachments))
        return next((m for m in said if "Stop" not in m.buttons), None)

    await lab.discord.until(lambda: found() is not None, what="the answer")
    message = found()
    assert message is not None
    return message


async def text_of(lab: Lab, use: Interaction) -> str:
    """What it says."""
    return (await answer_to(lab, use)).content


async def said(lab: Lab, words: str, channel: Channel | None = None) -> Message:
    """The message with these words, once it is there for good: not only progress."""
    return await (channel or lab.channel).wait_for(
        lambda m: words in m.content and "Stop" not in m.buttons, timeout_s=20
    )


async def answered(lab: Lab, words: str = "", channel: Channel | None = None) -> Message:
    """The end of an answer for which something was run, once it is there."""
    return await (channel or lab.channel).wait_for(
        lambda m: words in m.content and "Show code" in m.buttons, timeout_s=20
    )
