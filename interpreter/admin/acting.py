"""Acting as the account that a directory belongs to, for a while."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def acting_as_owner(directory: Path) -> Iterator[None]:
    """Have root be the owner of a directory while the context lasts; anybody else stays as it is.

    What a service has left under an account of its own is ended by that account: root might follow
    what its owner has put in the way.

    Raises:
        OSError: the directory isn't there.
    """
    uid = directory.stat().st_uid
    if os.geteuid() != 0 or uid == 0:
        yield
        return
    groups, gid = os.getgroups(), os.getegid()
    try:
        account = pwd.getpwuid(uid)
        os.initgroups(account.pw_name, account.pw_gid)
        own_gid = account.pw_gid
    except KeyError:  # an account without a name, as containers have
        own_gid = directory.stat().st_gid
        os.setgroups([own_gid])
    try:
        # Saved ids stay root's, for the way back; also against that account's other processes.
        os.setresgid(own_gid, own_gid, gid)
        os.setresuid(uid, uid, 0)
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(gid, gid, gid)
        os.setgroups(groups)
