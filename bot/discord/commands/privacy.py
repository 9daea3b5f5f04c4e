"""/privacy: what is kept of a person, and deleting it."""

from typing import Any

from interactions import slash_command

from bot.discord.answering import replace_origin, say
from bot.discord.commands.common import EVERYWHERE
from bot.discord.context import Bot
from bot.discord.custom_ids import CustomId
from bot.outgoing import Button
from bot.people.person import Person
from bot.sizes import span_text

_TEXT = """\
**What is kept of you here**
- Your files: {files}.
- Our conversations: {conversations} after your last question.
- Your kernel with its variables: while you use it, and {idle} after; {saved}the notebook \
of what you ran for 2 days more.
- Packages you installed, and which model you chose: until you delete all of it below.
- The code of your last answers, and in which servers you asked: 7 days.

This stays also if you have everything deleted: how much you asked, for the daily limits, 3 days; \
limits or a block that an admin set for you; what admins did, by ids and times, a year.

Other people can't reach your files, variables or conversations here. An operator of this bot can \
look at what your variables hold, and each look is written down first. What you ask, and what code \
prints, is sent to the language model that the operator chose. The log has ids and times, and \
nothing that you wrote."""


def register(client: Any, bot: Bot) -> None:
    """Register the command and its buttons."""

    @slash_command(
        name="privacy", description="What is kept of you, and how to delete it", **EVERYWHERE
    )
    async def privacy(ctx: Any) -> None:
        # Also for the blocked: their data is theirs.
        button = Button(
            "Delete everything of mine", str(CustomId("forget", str(ctx.author_id))), "danger"
        )
        await say(ctx, privacy_text(bot), buttons=(button,))

    async def forget(ctx: Any, pressed: CustomId, person: Person) -> None:
        buttons = (
            Button("Delete it all", str(CustomId("forgetyes", person.user_id)), "danger"),
            Button("Never mind", str(CustomId("never", person.user_id))),
        )
        await say(
            ctx,
            "Delete your files, kernel, variables, packages, conversations and choices? They can't "
            "be had back.",
            buttons=buttons,
        )

    async def forget_for_certain(ctx: Any, pressed: CustomId, person: Person) -> None:
        await ctx.defer(edit_origin=True)
        bot.reruns.forget(person.user_id)  # first: one may be waiting for the turn it replaces
        turns = bot.turns.of_user(person.user_id)
        for turn in turns:
            bot.turns.stop(turn)
        for turn in turns:
            await bot.turns.wait(turn)
        await bot.delivery.forget(person.user_id)
        await bot.service.delete_user(person.user_id)
        await bot.conversations.clear_user(person.user_id)
        for remembers in (bot.activity, bot.turns, bot.reruns):
            remembers.forget(person.user_id)
        await replace_origin(ctx, "Everything of yours is deleted.")

    client.add_interaction(privacy)
    bot.buttons.on("forget", forget, also_blocked=True)
    bot.buttons.on("forgetyes", forget_for_certain, also_blocked=True)


def privacy_text(bot: Bot) -> str:
    """The text, with this service's times."""
    settings = bot.service.settings
    hours, idle_s = settings.file_retention_hours, settings.kernel_idle_s
    return _TEXT.format(
        files="until you delete them" if hours == -1 else f"for {span_text(hours * 3600)}",
        conversations=span_text(bot.settings.conversation_hours * 3600),
        idle="as long as the bot runs" if idle_s == -1 else f"for {span_text(idle_s)}",
        saved="a saved copy of the variables and " if settings.snapshot_bytes else "",
    )
