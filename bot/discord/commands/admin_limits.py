"""/admin limits ...: what holds for single users and roles."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from interactions import OptionType, SlashCommand, SlashCommandOption

from bot.discord.answering import say
from bot.discord.commands.admin_people import id_of, operator_of, user_option
from bot.discord.context import Bot
from bot.discord.pages import as_many_as_fit
from bot.errors import Refusal
from bot.people.limit_rules import LimitRule, Target
from bot.sizes import size_text

_MIB = 1 << 20


def commands(admin: SlashCommand, bot: Bot) -> Sequence[Any]:
    """The commands."""
    group = admin.group(name="limits", description="Limits of single users and roles")

    def whose() -> list[Any]:
        return [
            user_option("Of this user", required=False),
            SlashCommandOption(
                name="role", description="Or of this role", type=OptionType.ROLE, required=False
            ),
        ]

    def number(name: str, description: str, least: int, most: int) -> SlashCommandOption:
        return SlashCommandOption(
            name=name,
            description=description,
            type=OptionType.INTEGER,
            required=False,
            min_value=least,
            max_value=most,
        )

    @group.subcommand(
        sub_cmd_name="set",
        sub_cmd_description="Set limits; what is left out stays as it is",
        options=[
            *whose(),
            number("seconds", "How long a cell may run", 1, 86_400),
            number("memory_mb", "How much memory a kernel may use", 128, 1_048_576),
            number("files", "How many files may be kept", 1, 1000),
            number("turns", "How many questions a day; -1 for no limit", -1, 1_000_000),
        ],
    )
    async def set_limits(
        ctx: Any,
        user: Any = None,
        role: Any = None,
        seconds: int | None = None,
        memory_mb: int | None = None,
        files: int | None = None,
        turns: int | None = None,
    ) -> None:
        await ctx.defer(ephemeral=True)
        person = await operator_of(ctx, bot)
        target, target_id = _target(user, role)
        if turns == 0:
            raise Refusal("With 0 questions a day nothing could be asked: use /admin block.")
        changes = {
            "cell_timeout_s": None if seconds is None else float(seconds),
            "memory_bytes": None if memory_mb is None else memory_mb * _MIB,
            "max_files": files,
            "turns_per_day": turns,
        }
        stated: dict[str, Any] = {k: v for k, v in changes.items() if v is not None}
        if not stated:
            raise Refusal("Say which limit: seconds, memory_mb, files or turns.")
        detail = ", ".join(f"{name} {value:g}" for name, value in stated.items())
        await bot.audit.write(
            person.user_id, "limits set", f"{target}:{target_id}", detail, guild_id=person.guild_id
        )
        rule = replace(await bot.gate.rules.get(target, target_id), **stated)
        await bot.gate.rules.set(target, target_id, rule)
        await say(ctx, f"For {_mention(target, target_id)} from now on: {rule_text(rule)}.")

    @group.subcommand(
        sub_cmd_name="show", sub_cmd_description="The limits that were set", options=whose()
    )
    async def show(ctx: Any, user: Any = None, role: Any = None) -> None:
        await ctx.defer(ephemeral=True)
        person = await operator_of(ctx, bot)
        await bot.audit.write(person.user_id, "limits show", guild_id=person.guild_id)
        if user is None and role is None:
            rules = await bot.gate.rules.list()
            lines = [f"- {_mention_key(key)}: {rule_text(rule)}" for key, rule in rules]
            await say(ctx, as_many_as_fit(lines) or "No limits are set for anybody.")
            return
        target, target_id = _target(user, role)
        rule = await bot.gate.rules.get(target, target_id)
        await say(ctx, f"For {_mention(target, target_id)}: {rule_text(rule)}.")

    @group.subcommand(
        sub_cmd_name="clear", sub_cmd_description="Back to what holds for all", options=whose()
    )
    async def clear(ctx: Any, user: Any = None, role: Any = None) -> None:
        await ctx.defer(ephemeral=True)
        person = await operator_of(ctx, bot)
        target, target_id = _target(user, role)
        await bot.audit.write(
            person.user_id, "limits clear", f"{target}:{target_id}", guild_id=person.guild_id
        )
        await bot.gate.rules.set(target, target_id, LimitRule())
        await say(ctx, f"For {_mention(target, target_id)} holds what holds for all.")

    return [set_limits, show, clear]


def _target(user: Any, role: Any) -> tuple[Target, str]:
    if (user is None) == (role is None):
        raise Refusal("Name either a user or a role.")
    return ("user", id_of(user)) if user is not None else ("role", id_of(role))


def _mention(target: Target, target_id: str) -> str:
    return f"<@{target_id}>" if target == "user" else f"<@&{target_id}>"


def _mention_key(key: str) -> str:
    target, _, target_id = key.partition(":")
    return _mention("role" if target == "role" else "user", target_id)


def rule_text(rule: LimitRule) -> str:
    """A rule in words."""
    parts = []
    if rule.cell_timeout_s is not None:
        parts.append(f"{rule.cell_timeout_s:g} s a cell")
    if rule.memory_bytes is not None:
        parts.append(f"{size_text(rule.memory_bytes)} of memory")
    if rule.max_files is not None:
        parts.append(f"{rule.max_files} file{'s' * (rule.max_files != 1)}")
    if rule.turns_per_day is not None:
        parts.append(
            "any number of questions"
            if rule.turns_per_day == -1
            else f"{rule.turns_per_day} question{'s' * (rule.turns_per_day != 1)} a day"
        )
    return ", ".join(parts) or "what holds for all"
