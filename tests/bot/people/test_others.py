"""What was chosen, what admins did, and who was where."""

import pytest

from bot.people.activity import Activity
from bot.people.audit import Audit
from bot.people.guilds import Guilds
from interpreter import RecordStore


async def test_guild_answers_in_threads_once_it_is_chosen(records: RecordStore) -> None:
    guilds = Guilds(records)
    assert not await guilds.threads("7")
    await guilds.set_threads("7", True)
    assert await guilds.threads("7")
    assert not await guilds.threads("8")
    await guilds.set_threads("7", False)
    assert not await guilds.threads("7")


async def test_audit_lists_the_newest_first_and_a_guild_its_own(records: RecordStore) -> None:
    audit = Audit(records)
    await audit.write("1", "block", "2", "rude " * 200, guild_id="7")
    await audit.write("1", "unblock", "2", guild_id="8")
    entries = await audit.list()
    assert [entry.action for entry in entries] == ["unblock", "block"]
    assert len(entries[1].detail) == 500
    assert [entry.action for entry in await audit.list(guild_id="7")] == ["block"]
    assert len(await audit.list(limit=1)) == 1


async def test_what_an_admin_did_stays_when_their_data_goes(records: RecordStore) -> None:
    audit = Audit(records)
    await audit.write("1", "block", "2")
    await records.delete_owner("1")
    assert len(await audit.list()) == 1


@pytest.mark.parametrize("guild_id", ["7", None])
async def test_who_was_where(records: RecordStore, guild_id: str | None) -> None:
    activity = Activity(records)
    await activity.note(guild_id, "1")
    assert await activity.was_in("7", "1") is (guild_id == "7")
    assert not await activity.was_in("7", "2")
    await records.delete_owner("1")
    activity.forget("1")
    assert not await activity.was_in("7", "1")
    await activity.note(guild_id, "1")
    assert await activity.was_in("7", "1") is (guild_id == "7")
