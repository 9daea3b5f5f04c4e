"""Limit rules: what admins set for single users and roles, and what follows for a person."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

from bot.people.person import Person
from interpreter import RecordStore, SessionLimits

_KIND = "limits"
_LISTED_AT_ONCE = 1000

Target = Literal["user", "role"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRule:
    """What is set for one user or role; None leaves it at the settings.

    Attributes:
        cell_timeout_s: how long a cell may run, in seconds.
        memory_bytes: how much memory a kernel may use.
        max_files: how many files may be kept.
        turns_per_day: how many questions; -1 for no limit.
    """

    cell_timeout_s: float | None = None
    memory_bytes: int | None = None
    max_files: int | None = None
    turns_per_day: int | None = None

    @property
    def session(self) -> SessionLimits:
        """What of it the service holds."""
        return SessionLimits(
            cell_timeout_s=self.cell_timeout_s,
            memory_bytes=self.memory_bytes,
            max_files=self.max_files,
        )

    @classmethod
    def from_value(cls, value: Mapping[str, Any]) -> Self:
        """From what is kept, which may be of another version, or broken."""
        names = {
            "cell_timeout_s": (int, float),
            "memory_bytes": (int,),
            "max_files": (int,),
            "turns_per_day": (int,),
        }
        known = {
            name: value[name]
            for name, types in names.items()
            if isinstance(value.get(name), types) and not isinstance(value.get(name), bool)
        }
        return cls(**known)


def most_generous(rules: Iterable[LimitRule]) -> LimitRule:
    """Of several roles' rules the best of each number."""
    best = LimitRule()
    for rule in rules:
        changed: dict[str, Any] = {}
        for name, value in asdict(rule).items():
            known = getattr(best, name)
            if value is not None and (known is None or _is_more(value, known)):
                changed[name] = value
        best = replace(best, **changed)
    return best


def over(specific: LimitRule, general: LimitRule) -> LimitRule:
    """The first rule, and where it says nothing, the second."""
    stated = {name: value for name, value in asdict(specific).items() if value is not None}
    return replace(general, **stated)


def _is_more(value: float, known: float) -> bool:
    return known != -1 and (value == -1 or value > known)


class LimitRules:
    """The rules there are."""

    def __init__(self, records: RecordStore) -> None:
        """Make it; ``records`` is where it is kept."""
        self._records = records

    async def of(self, person: Person) -> LimitRule:
        """What holds for a person: their own rule over the best of their roles'.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        rules = dict(await self.list())  # one question to the database, however many roles
        roles = [rules[key] for role in person.role_ids if (key := f"role:{role}") in rules]
        return over(rules.get(f"user:{person.user_id}", LimitRule()), most_generous(roles))

    async def get(self, target: Target, target_id: str) -> LimitRule:
        """The rule of one user or role; an empty one if there is none.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        return LimitRule.from_value(await self._records.get(_KIND, f"{target}:{target_id}") or {})

    async def set(self, target: Target, target_id: str, rule: LimitRule) -> None:
        """Put a rule in place of what there was; an empty one removes it.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        key = f"{target}:{target_id}"
        if rule == LimitRule():
            await self._records.delete(_KIND, key)
        else:
            await self._records.put(_KIND, key, asdict(rule))

    async def list(self) -> tuple[tuple[str, LimitRule], ...]:
        """All rules with "user:ID" or "role:ID", the latest changed first.

        Raises:
            DatabaseUnavailable: the database can't be used.
        """
        found = part = await self._records.list(_KIND, limit=_LISTED_AT_ONCE)
        while len(part) == _LISTED_AT_ONCE:
            before = part[-1].updated_at
            part = await self._records.list(_KIND, limit=_LISTED_AT_ONCE, before=before)
            found += part
        return tuple((record.key, LimitRule.from_value(record.value)) for record in found)
