"""Why uv failed, from what it printed."""

import re
from collections.abc import Mapping

from packaging.utils import canonicalize_name

from interpreter.hosts.installing.terms import FailureKind, InstallFailed

_NAME = r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
_CONDITION = r"(?:\[[^\]]*\])?(?:[<>=!~]\S*)?"

_NETWORK = (
    r"error sending request|client error \(connect\)|tcp connect error|dns error"
    r"|connection (?:refused|reset|closed)|network is unreachable|no route to host|tunnel"
    r"|http status (?:server|client) error|request or response body error|error decoding response"
    r"|end of file before message length|unexpectedly? (?:eof|end of file)"
    r"|tls handshake|certificate|failed to fetch|content-type"
)
#: Tried in this order; a name in the pattern's first group is the package it is about.
_OUTSIDE_RESOLUTION: tuple[tuple[str, FailureKind, str], ...] = (
    (r"network connectivity is disabled", "unreachable", "it is not in the cache"),
    (r"no space left on device|disk quota exceeded", "disk", ""),
    (r"memory allocation of \d+ bytes failed|file too large", "too_large", ""),
    (rf"hash mismatch for `{_NAME}==", "hash", ""),
    (r"require-hashes|all requirements must have their versions pinned", "hash", ""),
    (
        rf"for package `{_NAME}==.{{0,200}}url dependenc",
        "unsafe",
        "it needs a package from outside the index",
    ),
    (r"operation timed out|request timed out|timed? ?out", "timeout", ""),
    (_NETWORK, "unreachable", ""),
    (rf"does not match given name `{_NAME}`", "unsafe", "it says that it is another package"),
    (rf"failed to (?:download|install|read metadata|extract|unzip).{{0,40}}?[`: ]{_NAME}[=-]\d",
     "unsafe", "it is not a sound wheel"),
    (r"metadata|wheel|archive|zip|record|file name too long", "unsafe", "it is not a sound wheel"),
    (r"couldn't parse requirement|failed to parse", "bad", ""),
)  # fmt: skip
_ABOUT = (rf"failed to \w+ `{_NAME}==", rf"/simple/{_NAME}/", rf"failed to fetch:? \S*/{_NAME}-\d")


def explain(output: str, core: Mapping[str, str]) -> InstallFailed:
    """Turn uv's output into a failure.

    Args:
        output: what uv printed.
        core: versions of the kernels' own packages, by canonical name.
    """
    text = " ".join(output.split())
    if re.search("no solution found", text, re.IGNORECASE):
        return _unsolved(text, core)
    for pattern, kind, detail in _OUTSIDE_RESOLUTION:
        if found := re.search(pattern, text, re.IGNORECASE):
            subject = found[1] if found.re.groups else _about(text)
            return InstallFailed(kind, canonicalize_name(subject), detail)
    return InstallFailed("internal", _about(text))


def _about(text: str) -> str:
    """The package that a failure is about; "" if nothing tells."""
    for pattern in _ABOUT:
        if found := re.search(pattern, text, re.IGNORECASE):
            return canonicalize_name(found[1])
    return ""


def _unsolved(text: str, core: Mapping[str, str]) -> InstallFailed:
    """Why there is no set of packages that meets all requirements."""
    because, _, hints = text.partition("hint:")
    if re.search(r"\b40[13] (?:Unauthorized|Forbidden)|authentication", hints):
        return InstallFailed("unreachable", "", "the index asks for a password")
    if found := re.search(rf"{_NAME} was not found in the cache", because):
        return InstallFailed("unreachable", canonicalize_name(found[1]), "it is not in the cache")
    if found := re.search(rf"{_NAME} was not found in the package registry", because):
        return InstallFailed("not_found", canonicalize_name(found[1]))
    if conflict := _conflict_with_core(because, core):
        return conflict
    if found := re.search(rf"{_NAME}{_CONDITION} was yanked", because):
        return InstallFailed("no_version", canonicalize_name(found[1]), "it was withdrawn")
    patterns: tuple[tuple[str, FailureKind], ...] = (
        (rf"{_NAME}{_CONDITION} (?:has|have) no (?:usable )?wheels", "no_wheel"),
        (rf"{_NAME}{_CONDITION} (?:depends? on|requires?) Python", "no_wheel"),
        (rf"(?:there is no version|there are no versions) of {_NAME}", "no_version"),
        (rf"only {_NAME}{_CONDITION}(?: [^,]*?)? (?:is|are) available", "no_version"),
        (rf"{_NAME}{_CONDITION} (?:has|have) invalid|metadata could not be parsed", "unsafe"),
    )
    for pattern, kind in patterns:
        if found := re.search(pattern, because):
            return InstallFailed(kind, canonicalize_name(found[1] or ""))
    found = re.search(r"you require (.{1,200}?)(?:, we can conclude|\.$|\. )", because)
    return InstallFailed("conflict", "", found[1] if found else "")


def _conflict_with_core(because: str, core: Mapping[str, str]) -> InstallFailed | None:
    for name, version in core.items():
        if not re.search(rf"(?<![\w.-]){re.escape(name)}=={re.escape(version)}(?![\w.])", because):
            continue
        detail = f"all kernels have {name} {version}"
        needs = re.search(
            rf"{_NAME}{_CONDITION} (?:depends?|requires?) (?:on )?{re.escape(name)}\b", because
        )
        subject = needs[1] if needs and needs[1] != "you" else name
        return InstallFailed("conflict", canonicalize_name(subject), detail)
    return None
