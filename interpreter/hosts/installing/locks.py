"""Requirements and locks as text: read strictly, written in one form."""

import re
from collections.abc import Container, Sequence

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from interpreter.hosts.installing.terms import InstallFailed, Locked

_LONGEST_REQUIREMENT = 1000
_MOST_REQUIREMENTS = 500
_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)((?: --hash=sha256:[0-9a-f]{64})*)")


def read_requirements(requirements: Sequence[str]) -> tuple[str, ...]:
    """Requirements in one form, sorted.

    Raises:
        InstallFailed: one is none, or names a place that it is to be taken from.
    """
    if len(requirements) > _MOST_REQUIREMENTS:
        raise InstallFailed("bad", "", f"more than {_MOST_REQUIREMENTS} requirements")
    return tuple(sorted({_read_requirement(requirement) for requirement in requirements}))


def _read_requirement(text: str) -> str:
    shown = text[:80] if text.isprintable() else ascii(text[:80])
    if len(text) > _LONGEST_REQUIREMENT or not text.isprintable() or not text.isascii():
        raise InstallFailed("bad", shown)
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise InstallFailed("bad", shown) from error
    if requirement.url is not None:
        raise InstallFailed("bad", shown, "packages are taken from the index only")
    requirement.name = canonicalize_name(requirement.name)
    return str(requirement)


def name_of(requirement: str) -> str:
    """The canonical name in a requirement of `read_requirements`."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return canonicalize_name(found[0]) if found else ""


def read_lock(text: str, *, without: Container[str] = ()) -> Locked:
    """Read pinned requirements with hashes, and write them in the one form.

    Args:
        text: as uv writes it, or as it was written here.
        without: canonical names to leave out.

    Raises:
        InstallFailed: there is anything else in it, or a hash is missing.
    """
    found: dict[str, tuple[str, list[str]]] = {}
    joined = re.sub(r"\s*\\\r?\n\s*", " ", text)
    for line in filter(None, (each.strip() for each in joined.splitlines())):
        match = _PINNED.fullmatch(line)
        if match is None:
            raise InstallFailed("bad", "", "this is no lock")
        name, version = canonicalize_name(match[1]), _version(match[2])
        if name in without:
            continue
        if not match[3]:
            raise InstallFailed("hash", name, "it has no hash")
        found[name] = version, sorted(set(match[3].split()))
    lines = [
        f"{name}=={version} \\\n" + " \\\n".join(f"    {each}" for each in hashes) + "\n"
        for name, (version, hashes) in sorted(found.items())
    ]
    packages = tuple((name, version) for name, (version, _) in sorted(found.items()))
    return Locked("".join(lines), packages)


def _version(text: str) -> str:
    try:
        return str(Version(text))
    except InvalidVersion as error:
        raise InstallFailed("bad", "", "this is no lock") from error
