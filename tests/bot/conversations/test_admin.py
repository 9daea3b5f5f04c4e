"""What admins see and do, and who isn't one."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from bot.people.audit import Audit
from bot.people.limit_rules import LimitRule, LimitRules
from interpreter import Interpreter, KernelInfo
from tests.bot.conversations.conftest import Lab, StartLab
from tests.bot.conversations.reading import answer_to, text_of
from tests.bot.conversations.test_commands import run
from tests.discord_double import Channel, Interaction, Person
from tests.discord_double.commands import find
from tests.discord_double.interaction import AUTOCOMPLETE


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
            lab, await boss.slash(dm, "admin kernel inspect", user=lab.anna.id)
        )
        assert ", 1 cell, " in inspected.content and "2 variables:" in inspected.content
        assert "secret_number" in inspected.content and "DataFrame" in inspected.content
        assert "4711" not in inspected.content and inspected.is_ephemeral
        shown = await text_of(
            lab, await boss.slash(dm, "admin kernel inspect", user=lab.anna.id, contents=True)
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
        text = await text_of(lab, await boss.slash(dm, "admin kernel restart", user=lab.anna.id))
        assert "clean kernel" in text
        session = lab.service.find_session(lab.anna.id)
        assert session is not None and await session.variables() == ()
        text = await text_of(lab, await boss.slash(dm, "admin kernel interrupt", user=lab.anna.id))
        assert "Nothing was running" in text
        await boss.slash(dm, "admin kernel shutdown", user=lab.anna.id)
        await lab.discord.until(lambda: lab.service.find_session(lab.anna.id) is None)
        text = await text_of(lab, await boss.slash(dm, "admin kernel inspect", user=lab.anna.id))
        assert "no live kernel" in text
        text = await text_of(lab, await boss.slash(dm, "admin kernel inspect", user="anna"))
        assert "Choose one of the users" in text


async def test_running_cell_is_seen_with_its_curve_and_stopped(start: StartLab) -> None:
    async with start() as lab:
        boss, dm = await operator_lab(lab)
        session = await lab.service.session(user_id=lab.anna.id)
        phases = asyncio.Queue[str]()
        running = asyncio.create_task(
            session.execute(
                "mine = 7\nwhile True: pass", on_phase=lambda phase: phases.put_nowait(phase.name)
            )
        )
        while await phases.get() != "running":
            pass
        for _ in range(2):
            session.sample(also_idle=True)
        use = await boss.slash(dm, "admin kernel inspect", user=lab.anna.mention)
        inspected = await answer_to(lab, use)
        assert "busy, " in inspected.content
        (curve,) = inspected.attachments
        assert curve.filename == "kernel.png" and curve.content.startswith(b"\x89PNG")
        assert curve.alt
        text = await text_of(lab, await boss.slash(dm, "admin kernels", sort="running"))
        assert f"{lab.anna.id} " in text and " busy " in text
        text = await text_of(lab, await boss.slash(dm, "admin kernel interrupt", user=lab.anna.id))
        assert "cell is stopped" in text
        result = await running
        assert result.status == "interrupted"
        assert [variable.name for variable in await session.variables()] == ["mine"]


async def test_kernels_are_sorted_and_listed_in_pages(
    start: StartLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    infos = tuple(
        KernelInfo(
            user_id=str(10**17 + number),
            kernel_id=f"k{number}",
            pid=number,
            state="idle",
            started_at=now - timedelta(minutes=number),
            last_active_at=now,
            cells=number * 5 % 13,
            memory_bytes=number * 7 % 13 << 20,
            cpu_s=1.0,
        )
        for number in range(13)
    )
    async with start() as lab:
        boss, dm = await operator_lab(lab)
        monkeypatch.setattr(Interpreter, "kernels", lambda service: infos)
        listed = await answer_to(lab, await boss.slash(dm, "admin kernels", sort="memory"))
        order = sorted(infos, key=lambda info: info.memory_bytes or 0, reverse=True)
        rows = [line for line in listed.content.splitlines() if line.startswith("1000")]
        assert [row.split()[0] for row in rows] == [info.user_id for info in order[:12]]
        assert listed.content.startswith("13 live kernels, by memory:")
        await boss.press(listed, "Next")
        await lab.discord.until(lambda: "Page 2 of 2" in listed.content, what="the next page")
        rows = [line for line in listed.content.splitlines() if line.startswith("1000")]
        assert [row.split()[0] for row in rows] == [order[12].user_id]
        listed = await answer_to(lab, await boss.slash(dm, "admin kernels", sort="cells"))
        cells = [int(r.split()[-1]) for r in listed.content.splitlines() if r.startswith("1000")]
        assert cells == list(range(12, 0, -1))


async def test_live_kernels_are_offered_to_those_who_may_touch_them(start: StartLab) -> None:
    async with start() as lab:
        boss, dm = await operator_lab(lab)
        await run(lab, "x = 1")
        command = "admin kernel inspect"
        choices = await boss.autocomplete(dm, command, user=lab.anna.id[-6:])
        assert [choice["value"] for choice in choices] == [lab.anna.id]
        assert await boss.autocomplete(dm, command, user="nobody of that name") == []
        admin = lab.guild.member("admin", permissions=["administrator"])
        assert await admin.autocomplete(lab.channel, command, user=lab.anna.id) == []
        await lab.service.records.put("activity", f"{lab.guild.id}:{lab.anna.id}", {})
        choices = await admin.autocomplete(lab.channel, command, user=lab.anna.id)
        assert [choice["value"] for choice in choices] == [lab.anna.id]
        forged = Interaction(lab.discord.world, AUTOCOMPLETE, lab.anna, lab.channel, name=command)
        option = {"name": "user", "type": 3, "value": "", "focused": True}
        forged.data = find(lab.discord.world, admin, lab.channel, command).data([option])
        await forged.send(wait=True, timeout_s=10)
        assert forged.choices == []


async def test_what_variables_hold_is_for_operators_alone(start: StartLab) -> None:
    async with start() as lab:
        admin = lab.guild.member("admin", permissions=["administrator"])
        await run(lab, "secret_number = 4711")
        await lab.service.records.put("activity", f"{lab.guild.id}:{lab.anna.id}", {})
        use = await admin.slash(lab.channel, "admin kernel inspect", user=lab.anna.id)
        text = await text_of(lab, use)
        assert "secret_number" in text and "4711" not in text
        use = await admin.slash(
            lab.channel, "admin kernel inspect", user=lab.anna.id, contents=True
        )
        text = await text_of(lab, use)
        assert "operators" in text and "4711" not in text


async def test_many_rules_and_entries_fit_into_a_message(start: StartLab) -> None:
    async with start() as lab:
        boss, dm = await operator_lab(lab)
        rules, audit = LimitRules(lab.service.records), Audit(lab.service.records)
        rule = LimitRule(
            cell_timeout_s=86_400.0, memory_bytes=1 << 39, max_files=1000, turns_per_day=1_000_000
        )
        ids = [str(10**19 + number) for number in range(40)]
        for target_id in ids:
            await rules.set("role", target_id, rule)
            await audit.write(boss.id, "limits set", f"role:{target_id}", "_*" * 200)
        shown = await text_of(lab, await boss.slash(dm, "admin limits show"))
        assert shown.splitlines()[-1].startswith("-# and ") and ids[-1] in shown
        shown = await text_of(lab, await boss.slash(dm, "admin audit", count=25))
        assert shown.splitlines()[-1].startswith("-# and ")
        for target_id in ids:
            await rules.set("role", target_id, LimitRule())


async def test_limits_set_for_a_user_hold(start: StartLab) -> None:
    async with start() as lab:
        boss, dm = await operator_lab(lab)
        text = await text_of(
            lab, await boss.slash(dm, "admin limits set", user=lab.anna, seconds=1, turns=1)
        )
        assert "1 s a cell, 1 question a day" in text
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
                lab, await admin.slash(lab.channel, f"admin kernel {command}", user=bert.id)
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
        await run(lab, "secret = 4711")
        monkeypatch.setattr(Audit, "write", refuse)
        use = await boss.slash(dm, "admin kernel inspect", user=lab.anna.id, contents=True)
        assert "secret" not in await text_of(lab, use)
        await text_of(lab, await boss.slash(dm, "admin block", user=lab.anna))
        assert await lab.service.records.get("blocks", lab.anna.id) is None
        await text_of(lab, await boss.slash(dm, "admin limits set", user=lab.anna, turns=1))
        assert await lab.service.records.get("limits", f"user:{lab.anna.id}") is None
        await text_of(lab, await boss.slash(dm, "admin kernel shutdown", user=lab.anna.id))
        session = lab.service.find_session(lab.anna.id)
        assert session is not None and session.live
