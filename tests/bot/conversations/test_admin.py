"""What admins see and do, and who isn't one."""

import pytest

from bot.people.audit import Audit
from bot.people.limit_rules import LimitRule, LimitRules
from tests.bot.conversations.conftest import Lab, StartLab
from tests.bot.conversations.reading import answer_to, text_of
from tests.bot.conversations.test_commands import run
from tests.discord_double import Channel, Interaction, Person


async def operator_lab(lab: Lab) -> tuple[Person, Channel]:
    """An operator, and their direct messages with the bot."""
    boss = lab.discord.person("operator")
    return boss, lab.discord.dm(boss)


@pytest.fixture
def start(start_lab: StartLab, discord: object) -> StartLab:
    """Starts the bot with an operator."""
    boss = discord.person("operator")  # type: ignore[attr-defined]

    def with_operator(**settings: object) -> object:
        return start_lab(admin_users=boss.id, **settings)

    return with_operator  # type: ignore[return-value]


async def test_operator_lists_inspects_and_ends_kernels(start: StartLab) -> None:
    async with start() as lab:
        boss, dm = await operator_lab(lab)
        await run(lab, "secret_number = 4711\ntable = pd.DataFrame({'a': range(5)})")
        listed = await text_of(lab, await boss.slash(dm, "admin kernels", sort="memory"))
        line = next(line for line in listed.splitlines() if line.startswith(lab.anna.id))
        assert " idle " in line
        inspected = await answer_to(
            lab, await boss.slash(dm, "admin kernel inspect", user=lab.anna)
        )
        assert "secret_number" in inspected.content and "DataFrame" in inspected.content
        assert "4711" not in inspected.content
        shown = await text_of(
            lab, await boss.slash(dm, "admin kernel inspect", user=lab.anna, contents=True)
        )
        assert "4711" in shown
        entries = await Audit(lab.service.records).list(limit=3)
        assert [entry.action for entry in entries] == [
            "kernel inspect with contents",
            "kernel inspect",
            "kernels",
        ]
        assert {entry.actor for entry in entries} == {boss.id}
        assert entries[0].target == lab.anna.id
        text = await text_of(lab, await boss.slash(dm, "admin kernel restart", user=lab.anna))
        assert "clean kernel" in text
        session = lab.service.find_session(lab.anna.id)
        assert session is not None and await session.variables() == ()
        text = await text_of(lab, await boss.slash(dm, "admin kernel interrupt", user=lab.anna))
        assert "Nothing was running" in text
        await boss.slash(dm, "admin kernel shutdown", user=lab.anna)
        await lab.discord.until(lambda: lab.service.find_session(lab.anna.id) is None)
        text = await text_of(lab, await boss.slash(dm, "admin kernel inspect", user=lab.anna))
        assert "no live kernel" in text


async def test_limits_set_for_a_user_hold(start: StartLab) -> None:
    async with start() as lab:
        boss, dm = await operator_lab(lab)
        text = await text_of(
            lab, await boss.slash(dm, "admin limits set", user=lab.anna, seconds=1, turns=1)
        )
        assert "1 s a cell, 1 questions a day" in text or "1 question a day" in text
        use = await lab.anna.slash(lab.channel, "run", code="import time; time.sleep(60)")
        await lab.discord.until(
            lambda: any("Notebook" in m.buttons for m in lab.channel.by_bot), timeout_s=20
        )
        assert "time limit" in await text_of(lab, use)
        lab.openai.say("Hello.")
        await text_of(lab, await lab.anna.slash(lab.channel, "ask", prompt="hi"))
        refused = await text_of(lab, await lab.anna.slash(lab.channel, "ask", prompt="hi"))
        assert "used up your questions for today" in refused
        assert lab.anna.id in await text_of(lab, await boss.slash(dm, "admin limits show"))
        await text_of(lab, await boss.slash(dm, "admin limits clear", user=lab.anna))
        rules = LimitRules(lab.service.records)
        assert await rules.get("user", lab.anna.id) == LimitRule()
        nothing = await text_of(lab, await boss.slash(dm, "admin limits set", user=lab.anna))
        assert "Say which limit" in nothing
        neither = await text_of(lab, await boss.slash(dm, "admin limits set", files=3))
        assert "either a user or a role" in neither


async def test_user_is_blocked_and_let_in_again(start: StartLab) -> None:
    async with start() as lab:
        boss, dm = await operator_lab(lab)
        await text_of(lab, await boss.slash(dm, "admin block", user=lab.anna, reason="rude"))
        refused = await text_of(lab, await lab.anna.slash(lab.channel, "ask", prompt="hi"))
        assert "can't use this bot" in refused
        assert lab.anna.id in await text_of(lab, await boss.slash(dm, "admin blocked"))
        await text_of(lab, await boss.slash(dm, "admin unblock", user=lab.anna))
        lab.openai.say("Hello.")
        assert await text_of(lab, await lab.anna.slash(lab.channel, "ask", prompt="hi")) == "Hello."
        log = await text_of(lab, await boss.slash(dm, "admin audit", count=5))
        assert "block" in log and "rude" in log
        assert "live kernel" in await text_of(lab, await boss.slash(dm, "admin stats"))
        assert "That would be you" in await text_of(
            lab, await boss.slash(dm, "admin block", user=boss)
        )


async def test_guilds_administrator_sees_only_that_guilds_people(start: StartLab) -> None:
    async with start() as lab:
        admin = lab.guild.member("admin", permissions=["administrator"])
        other_guild = lab.discord.guild("elsewhere")
        elsewhere = other_guild.text_channel("c")
        bert = other_guild.member("bert")
        for person, channel in ((lab.anna, lab.channel), (bert, elsewhere)):
            await person.slash(channel, "run", code="x = 1")
            await lab.discord.until(
                lambda channel=channel: any("Notebook" in m.buttons for m in channel.by_bot),
                timeout_s=20,
            )
        listed = await text_of(lab, await admin.slash(lab.channel, "admin kernels"))
        assert lab.anna.id in listed and bert.id not in listed
        lab.guild.member("bert")  # being a member is not having used it there
        for command in ("inspect", "interrupt", "restart", "shutdown"):
            text = await text_of(
                lab, await admin.slash(lab.channel, f"admin kernel {command}", user=bert)
            )
            assert "no live kernel" in text
        session = lab.service.find_session(bert.id)
        assert session is not None and session.live
        for command, options in (
            ("stats", {}),
            ("blocked", {}),
            ("block", {"user": lab.anna}),
            ("limits show", {}),
            ("limits set", {"user": lab.anna, "turns": 1}),
        ):
            text = await text_of(lab, await admin.slash(lab.channel, f"admin {command}", **options))
            assert "operators" in text, text


async def test_others_are_refused_even_if_discord_let_them(start: StartLab) -> None:
    async with start() as lab:
        await run(lab, "x = 1")
        admin = lab.guild.member("admin", permissions=["administrator"])
        use = await admin.slash(lab.channel, "admin kernels")
        await text_of(lab, use)
        # The same interaction, sent by somebody without the permission.
        forged = Interaction(
            lab.discord.world, use.kind, lab.anna, lab.channel, name=use.name, data=use.data
        )
        await forged.send(wait=True, timeout_s=10)
        assert "for admins" in await text_of(lab, forged)


async def test_what_cannot_be_written_down_is_not_done(
    start: StartLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    from interpreter import DatabaseUnavailable

    async def refuse(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("127.0.0.1", "it is away")

    async with start() as lab:
        boss, dm = await operator_lab(lab)
        await run(lab, "x = 1")
        monkeypatch.setattr(Audit, "write", refuse)
        await text_of(lab, await boss.slash(dm, "admin kernel shutdown", user=lab.anna))
        session = lab.service.find_session(lab.anna.id)
        assert session is not None and session.live
