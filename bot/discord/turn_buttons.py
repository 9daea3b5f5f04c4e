"""What the buttons of a turn do: stop it, show its code, the notebook, the kernel, its files."""

import asyncio
from dataclasses import replace
from typing import Any

import nbformat

from bot.discord.answering import deliver, replace_origin, say
from bot.discord.context import Bot
from bot.discord.custom_ids import CustomId
from bot.discord.inputs import FIELD
from bot.errors import Refusal
from bot.messages import (
    TooManyParts,
    how_to_join,
    most_file_bytes,
    parts_of,
    plain_sentence,
    zipped,
)
from bot.outgoing import MAX_ATTACHMENTS, MAX_REQUEST_BYTES, Attachment, Button, OutgoingMessage
from bot.people.person import Person
from bot.sizes import size_text
from interpreter import StoredFile

#: Room for what is around the files in a request, in bytes.
_FORM_BYTES = 256 << 10


def register(bot: Bot) -> None:
    """Say what the buttons do."""
    buttons = _TurnButtons(bot)
    bot.buttons.on("stop", buttons.stop, may_press="moderators")
    bot.buttons.on("code", buttons.code)
    bot.buttons.on("notebook", buttons.notebook)
    bot.buttons.on("restart", buttons.restart)
    bot.buttons.on("restartyes", buttons.restart_for_certain)
    bot.buttons.on("never", buttons.never_mind, also_blocked=True)
    bot.buttons.on("answer", buttons.answer)
    bot.buttons.on("answer", buttons.answered, form=True)
    bot.buttons.on("zip", buttons.compressed)
    bot.buttons.on("parts", buttons.in_parts)


class _TurnButtons:
    def __init__(self, bot: Bot) -> None:
        self._bot = bot

    async def stop(self, ctx: Any, pressed: CustomId, person: Person) -> None:
        """Stop the turn; what it has so far is delivered."""
        turn = self._bot.turns.find(pressed.ref)
        if turn is None or turn.asked.person.user_id != pressed.asker:
            raise Refusal("That has ended already.")
        if person.user_id != pressed.asker and person.guild_id != turn.asked.person.guild_id:
            raise Refusal("That button is for the person who asked, and for moderators there.")
        self._bot.turns.stop(turn)
        await say(ctx, "Stopping… the variables stay.")

    async def code(self, ctx: Any, pressed: CustomId, person: Person) -> None:
        """Show what a turn ran, to its asker alone."""
        await ctx.defer(ephemeral=True)
        messages = await self._bot.past.code(pressed.ref, person.user_id)
        if messages is None:
            raise Refusal("That code isn't kept any more; **Notebook** has what the kernel ran.")
        await deliver(ctx, self._bot.delivery, messages)

    async def notebook(self, ctx: Any, pressed: CustomId, person: Person) -> None:
        """Send the session as a notebook."""
        await ctx.defer(ephemeral=True)
        message = await notebook_message(self._bot, person.user_id, ctx.attachment_bytes)
        await deliver(ctx, self._bot.delivery, [message])

    async def restart(self, ctx: Any, pressed: CustomId, person: Person) -> None:
        """Ask whether it is meant."""
        await ask_for_restart(ctx, person.user_id)

    async def restart_for_certain(self, ctx: Any, pressed: CustomId, person: Person) -> None:
        """Begin anew."""
        await ctx.defer(edit_origin=True)
        session = await self._bot.service.session(user_id=person.user_id)
        await session.restart()
        await replace_origin(ctx, "The kernel is new: no variables. Your files are still there.")

    async def never_mind(self, ctx: Any, pressed: CustomId, person: Person) -> None:
        """Take a question of ours back."""
        await replace_origin(ctx, "All right, nothing is changed.")

    async def answer(self, ctx: Any, pressed: CustomId, person: Person) -> None:
        """Open the form for what a cell asks."""
        await ctx.send_modal(self._bot.inputs.form(pressed.ref, person.user_id))

    async def answered(self, ctx: Any, pressed: CustomId, person: Person) -> None:
        """Give a cell what it asked for."""
        self._bot.inputs.by_form(pressed.ref, person.user_id, ctx.responses.get(FIELD, ""))
        await say(ctx, "Thanks, the code goes on.")

    async def compressed(self, ctx: Any, pressed: CustomId, person: Person) -> None:
        """Send a file compressed."""
        await ctx.defer(ephemeral=True)
        file = await self._file(person, pressed.ref)
        most = most_file_bytes(ctx.attachment_bytes)
        async with zipped(file.file_path, filename=file.filename, max_bytes=most) as attachment:
            if attachment is None:
                raise Refusal(
                    f"Compressed, {plain_sentence(file.filename)} is still larger than "
                    f"{size_text(most)}; please take it in parts."
                )
            await deliver(ctx, self._bot.delivery, [OutgoingMessage("", (attachment,))])

    async def in_parts(self, ctx: Any, pressed: CustomId, person: Person) -> None:
        """Send a file in parts."""
        await ctx.defer(ephemeral=True)
        file = await self._file(person, pressed.ref)
        most = most_file_bytes(ctx.attachment_bytes)
        try:
            async with parts_of(file.file_path, most, filename=file.filename) as parts:
                messages = _packed(parts, how_to_join(file.filename))
                await deliver(ctx, self._bot.delivery, messages)
        except TooManyParts as error:
            raise Refusal(str(error)) from error

    async def _file(self, person: Person, file_id: str) -> StoredFile:
        return await self._bot.service.files.get(user_id=person.user_id, file_id=file_id)


def _packed(parts: tuple[Attachment, ...], sentence: str) -> list[OutgoingMessage]:
    """As few messages as Discord's limits allow; the sentence comes with the first one."""
    messages: list[OutgoingMessage] = [OutgoingMessage(sentence)]
    for part in parts:
        last = messages[-1]
        size = sum(attachment.size for attachment in last.attachments) + part.size
        if len(last.attachments) == MAX_ATTACHMENTS or (
            last.attachments and size > MAX_REQUEST_BYTES - _FORM_BYTES
        ):
            messages.append(OutgoingMessage("", (part,)))
        else:
            messages[-1] = replace(last, attachments=(*last.attachments, part))
    return messages


async def ask_for_restart(ctx: Any, user_id: str) -> None:
    """Ask whether a kernel is to begin anew: the variables go."""
    await say(
        ctx,
        "Restart your kernel? All variables go; your files stay.",
        buttons=(
            Button("Restart it", str(CustomId("restartyes", user_id)), "danger"),
            Button("Never mind", str(CustomId("never", user_id))),
        ),
    )


async def notebook_message(bot: Bot, user_id: str, attachment_bytes: int) -> OutgoingMessage:
    """The session so far as a notebook, in a message.

    Raises:
        Refusal: there is nothing in it, or it is too large.
    """
    session = bot.service.find_session(user_id)
    notebook = None if session is None else await session.export_notebook()
    if notebook is None or not any(cell.cell_type == "code" for cell in notebook.cells):
        raise Refusal("Nothing has run in your kernel yet, so there is no notebook.")
    content = (await asyncio.to_thread(nbformat.writes, notebook)).encode(errors="replace")
    if len(content) > most_file_bytes(attachment_bytes):
        raise Refusal(
            f"The notebook has {size_text(len(content))}, more than a file can have here. "
            "**Show code** below an answer has what was run."
        )
    return OutgoingMessage(
        "Your session as a Jupyter notebook:",
        (Attachment("cellmate.ipynb", content, len(content)),),
    )
