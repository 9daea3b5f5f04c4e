"""Commands such as `pip install x`, wherever a cell has them, answered without running pip.

`!pip`, `%pip`, `%uv`, `%conda` and their like come here. What is to be installed or removed goes to
the service; what only looks is answered from what is on the kernel's path.
"""

import importlib.metadata
import io
import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TextIO

from kernel_startup.packages import Installer, Reply

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_REQUIREMENTS_BYTES = 64 * 1024
_MOST_REQUIREMENTS = 50
_MOST_NESTED_FILES = 3

#: Said in other ways than these, or done anyway.
_IGNORED = frozenset(
    {"-q", "--quiet", "-v", "--verbose", "-y", "--yes", "-I", "--user", "--pre", "--system"}
    | {"--no-cache-dir", "--no-cache", "--no-input", "--no-color", "--isolated", "--no-deps"}
    | {"--disable-pip-version-check", "--no-python-version-warning", "--no-warn-script-location"}
    | {"--no-warn-conflicts", "--break-system-packages", "--force-reinstall", "--reinstall"}
    | {"--ignore-installed", "--no-build-isolation", "--prefer-binary", "--use-pep517"}
    | {"--compile", "--no-compile", "--compile-bytecode", "--no-progress", "--native-tls"}
    | {"--no-user", "--strict", "--all", "--local", "-l", "--not-required", "--exclude-editable"}
)
_IGNORED_WITH_VALUE = frozenset(
    {"--progress-bar", "--retries", "--timeout", "--default-timeout", "--root-user-action"}
    | {"--upgrade-strategy", "--exists-action", "--only-binary", "--trusted-host", "--cache-dir"}
    | {"--log", "--prerelease", "--resolution", "--link-mode"}
)
_CONDA_IGNORED_WITH_VALUE = frozenset({"-c", "--channel", "-n", "--name", "-p", "--prefix"})
_INDEX = "packages come only from the index that this service is set up with"
_PLACE = "packages are always installed for this user's own kernels"
_BUILT = "only built packages (wheels) from the index can be installed"
_REFUSED = {
    **dict.fromkeys(("-i", "--index-url", "--extra-index-url", "-f", "--find-links"), _INDEX),
    **dict.fromkeys(("--no-index", "--index", "--default-index", "--proxy"), _INDEX),
    **dict.fromkeys(("-t", "--target", "--prefix", "--root", "--src", "--python"), _PLACE),
    **dict.fromkeys(("-e", "--editable", "--no-binary", "--config-settings"), _BUILT),
    **dict.fromkeys(("-c", "--constraint", "--dry-run", "--report"), "it isn't known here"),
    **dict.fromkeys(("-o", "--outdated", "-u", "--uptodate"), "it isn't known here"),
}
_ACTIONS = {
    **dict.fromkeys(("install", "add", "update", "upgrade"), "install"),
    **dict.fromkeys(("uninstall", "remove"), "uninstall"),
    **{name: name for name in ("list", "freeze", "show", "help")},
    **dict.fromkeys(("--version", "-V"), "version"),
    **dict.fromkeys(("-h", "--help"), "help"),
}
_HELP = (
    "Here pip installs, removes and shows packages of this user's kernels: pip install NAME, "
    "pip uninstall NAME, pip list, pip freeze and pip show NAME. Names may have versions and "
    'extras ("seaborn>=0.13", "pydantic[email]"); -U takes the newest version, -r FILE reads a '
    "list. "
    "An import of a package that isn't there installs it as well."
)


class Refused(Exception):
    """A command that isn't done here; the message is one sentence that says why."""


@dataclass(frozen=True, slots=True)
class Command:
    """What a command asks for.

    Attributes:
        action: ``install``, ``uninstall``, ``list``, ``freeze``, ``show``, ``version``, ``help``.
        names: requirements, or names.
        skipped: requirements for other Pythons or platforms.
        upgrade: whether newer versions are wanted of what is there.
        quiet: whether to say only what went wrong.
        form: of a list: ``columns``, ``freeze`` or ``json``.
    """

    action: str
    names: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    upgrade: bool = False
    quiet: bool = False
    form: str = "columns"


class PipCommands:
    """Answers the commands of a kernel's cells."""

    def __init__(self, installer: Installer) -> None:
        """Have ``installer`` do what has to be done."""
        self._installer = installer

    @property
    def is_open(self) -> bool:
        """Whether commands are answered now; else they are left to the programs of that name."""
        return self._installer.is_open

    def run(self, words: Sequence[str], tool: str, *, out: TextIO, err: TextIO) -> bool:
        """Carry out one command.

        Args:
            words: what follows the program's name.
            tool: ``pip``, ``uv`` or ``conda``.
            out: gets the answer.
            err: gets what went wrong.

        Returns:
            Whether it succeeded.
        """
        try:
            command = parse(words, tool)
            if command.action in ("install", "uninstall"):
                return self._change(command, out, err)
            lines = list(_answer(command))
        except Refused as refusal:
            print(refusal, file=err)
            return False
        print("\n".join(lines), file=out)
        return True

    def run_line(
        self, line: str, *, out: TextIO, err: TextIO, shell: Callable[[str], None]
    ) -> bool:
        """Carry out a line for a shell that begins with such a command.

        Args:
            line: the line, which may go on with other commands, pipes and redirections.
            out, err: as for `run`.
            shell: runs what is not for here.

        Returns:
            Whether it was one.
        """
        head, rest = split_line(line)
        command = recognise(head)
        if command is None:
            return False
        words, tool = command
        then = re.match(r"(&&|;|\n)\s*", rest)
        if then or not rest:
            ok = self.run(words, tool, out=out, err=err)
            following = rest[then.end() :] if then and (ok or then[1] != "&&") else ""
            if following and not self.run_line(following, out=out, err=err, shell=shell):
                shell(following)
            return True
        answer = io.StringIO()
        ok = self.run(words, tool, out=answer, err=err)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", errors="replace") as file:
            file.write(answer.getvalue())
            file.flush()
            said = f"cat {shlex.quote(file.name)}"
            shell(f"{said if ok else f'({said}; false)'} {rest}")
        return True

    def _change(self, command: Command, out: TextIO, err: TextIO) -> bool:
        if not command.names and not command.skipped:
            raise Refused(f"pip {command.action} needs the name of a package.")
        action: Literal["install", "uninstall"]
        action = "install" if command.action == "install" else "uninstall"
        reply = Reply()
        if command.names:
            reply = self._installer.request(
                action, "command", command.names, upgrade=command.upgrade
            )
        if not command.quiet:
            for line in _done(command, reply):
                print(line, file=out)
        for line in (*dict.fromkeys(reply.failed.values()), *_restart(reply)):
            print(line, file=err)
        return not reply.failed


def split_line(line: str) -> tuple[str, str]:
    """Split a shell's line into its first command and what follows, from the operator on."""
    quote = ""
    before = " "
    for at, character in enumerate(line):
        if quote:
            quote = "" if character == quote and before != "\\" else quote
        elif character in "'\"":
            quote = character
        elif character in "|;&\n" and before != "\\":
            rest = line[at:].strip()
            # Nothing is left to be done in the background; not every shell knows `&>`.
            return line[:at], "" if rest == "&" else re.sub(r"^&>", ">", rest)
        elif character in "<>" and line[at + 1 : at + 2] != "=":  # `x >=1` is no redirection
            redirection = re.search(r"\s\d?$", line[:at])
            if redirection:
                return line[: redirection.start()], line[redirection.start() :].strip()
        before = character
    return line, ""


def recognise(command: str) -> tuple[list[str], str] | None:
    """A command's words after the program and which tool it is, or None if it isn't for here."""
    try:
        words = shlex.split(command, comments=True)
    except ValueError:  # a quotation that doesn't end
        return None
    while words and (words[0] in ("sudo", "-H") or re.fullmatch(r"\w+=.*", words[0])):
        del words[0]
    if not words:
        return None
    program, *words = words
    program = os.path.basename(program)
    if re.fullmatch(r"python[\d.]*", program) and words[:1] == ["-m"] and len(words) > 1:
        program, *words = words[1:]
    if re.fullmatch(r"pip[\d.]*", program):
        return words, "pip"
    if program == "uv" and words[:1] in (["pip"], ["add"], ["remove"]):
        return words, "uv"
    return (words, "conda") if program in ("conda", "mamba", "micromamba") else None


def parse(words: Sequence[str], tool: str = "pip") -> Command:
    """Read a command.

    Args:
        words: what follows the program's name.
        tool: ``pip``, ``uv`` or ``conda``.

    Raises:
        Refused: it isn't done here.
    """
    words = _joined(words)
    if tool == "uv" and words[:1] == ["pip"]:
        del words[0]
    while words and words[0] in _IGNORED:  # pip -q install x
        del words[0]
    name = words.pop(0) if words else "help"
    action = _ACTIONS.get(name)
    if action is None:
        raise Refused(f"{tool} {name} does not work here. {_HELP}")
    if action in ("version", "help"):
        return Command(action)
    return _Reader(tool, upgrade=name in ("update", "upgrade")).read(action, words)


class _Reader:
    """Reads the options and names of one command."""

    def __init__(self, tool: str, *, upgrade: bool) -> None:
        self._tool = tool
        self._upgrade = upgrade
        self._quiet = False
        self._form = "columns"
        self._names: list[str] = []
        self._skipped: list[str] = []

    def read(self, action: str, words: list[str]) -> Command:
        words = words[::-1]
        while words:
            word = words.pop()
            if word.startswith("-") and word != "-":
                self._take_option(word, words)
            elif action == "list":
                raise Refused(f"{self._tool} list takes no names: {self._tool} show {word} does.")
            else:
                self._add(word, action)
        if len(self._names) > _MOST_REQUIREMENTS:
            raise Refused(f"At most {_MOST_REQUIREMENTS} packages can be named at once.")
        return Command(
            action,
            tuple(self._names),
            tuple(self._skipped),
            upgrade=self._upgrade,
            quiet=self._quiet,
            form=self._form,
        )

    def _take_option(self, option: str, words: list[str]) -> None:
        """Take one option, and its value from the end of ``words``."""
        if re.fullmatch(r"-[qvUyI]{2,}", option):  # several in one
            words += [f"-{letter}" for letter in option[:0:-1]]
            return
        option, has_value, value = option.partition("=")
        if not has_value and re.match(r"-[rc].", option):  # -rFILE
            option, value = option[:2], option[2:]
            has_value = "="

        def take() -> str:
            if not has_value and not words:
                raise Refused(f"{option} needs a value.")
            return value if has_value else words.pop()

        conda = self._tool == "conda"
        if option in ("-U", "--upgrade"):
            self._upgrade = True
        elif option in ("-P", "--upgrade-package"):
            self._upgrade = True
            self._add(take())
        elif option in ("-r", "--requirement", "--requirements", "--file"):
            for line in _requirements(take()):
                self._add(line)
        elif option == "--format":
            self._form = take()
        elif option in _IGNORED_WITH_VALUE or (conda and option in _CONDA_IGNORED_WITH_VALUE):
            take()
        elif option in _REFUSED:
            raise Refused(f"{option} can't be used: {_REFUSED[option]}. Leave it out.")
        elif option not in _IGNORED:
            raise Refused(f"{option} can't be used: it isn't known here. Leave it out.")
        self._quiet |= option in ("-q", "--quiet")

    def _add(self, word: str, action: str = "install") -> None:
        if action != "install":
            self._names.append(word)
            return
        requirement = _requirement(_from_conda(word) if self._tool == "conda" else word)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            self._skipped.append(word)
            return
        requirement.marker = None
        self._names.append(str(requirement))


def _joined(words: Sequence[str]) -> list[str]:
    """Put `x >= 1`, written with spaces, together again."""
    joined: list[str] = []
    for word in words:
        if joined and (
            re.match(r"(?:[<>=!~]=|[<>])", word) or re.search(r"(?:[<>=!~]=|[<>])$", joined[-1])
        ):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _from_conda(word: str) -> str:
    """Turn `channel::name=1.2=build` into `name==1.2.*`."""
    word = word.rpartition("::")[2]
    pinned = re.fullmatch(r"([\w.-]+)=([^=*]+)(?:\.\*)?(?:=.*)?", word)
    return f"{pinned[1]}=={pinned[2]}.*" if pinned else word


def _requirement(word: str) -> "Requirement":
    """Read a requirement.

    Raises:
        Refused: it is not one, or not one for the index.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    if "://" in word or word.startswith("git+"):
        raise Refused(f"{word!r} is an address: {_INDEX}.")
    if word.startswith((".", "/", "~")) or word.endswith((".whl", ".zip", ".gz")) or "/" in word:
        raise Refused(f"{word!r} is a path: {_INDEX}.")
    try:
        requirement = Requirement(word)
    except InvalidRequirement:
        raise Refused(
            f"{word[:100]!r} is neither the name of a package nor a requirement."
        ) from None
    return requirement


def _requirements(name: str, depth: int = 1) -> Iterator[str]:
    """The lines of a file of requirements, and of those that it names."""
    try:
        with open(os.path.expanduser(name), encoding="utf-8-sig", errors="replace") as file:
            text = file.read(_REQUIREMENTS_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Refused(f"{name!r} could not be read ({reason}).") from None
    if len(text) > _REQUIREMENTS_BYTES:
        raise Refused(f"{name!r} is larger than {_REQUIREMENTS_BYTES >> 10} KiB.")
    for line in text.replace("\\\n", " ").splitlines():
        line = re.sub(r"(?:^|\s)#.*|\s--hash=\S+", "", line).strip()
        if nested := re.fullmatch(r"(?:-r|--requirement)[ =]*(.+)", line):
            if depth >= _MOST_NESTED_FILES:
                raise Refused(f"{name!r} names files that name files.")
            yield from _requirements(os.path.join(os.path.dirname(name), nested[1]), depth + 1)
        elif line.startswith("-"):
            option = re.split(r"[\s=]", line)[0]
            reason = _REFUSED.get(option, "it isn't known here")
            raise Refused(f"{option} in {name!r} can't be used: {reason}.")
        elif line:
            yield line


def _done(command: Command, reply: Reply) -> Iterator[str]:
    """Say what was done."""
    changed = reply.installed if command.action == "install" else reply.removed
    if changed:
        verb = "Installed" if command.action == "install" else "Removed"
        yield f"{verb} {', '.join(name.replace('==', ' ') for name in changed)}."
    names = {_canonical(name.partition("==")[0]) for name in changed}
    for requirement in command.names:
        name = _name_of(requirement)
        if requirement not in reply.failed and _canonical(name) not in names:
            version = _version_of(name)
            if command.action == "uninstall":
                yield f"{name} is not installed."
            else:
                yield f"{name} {version} is installed already." if version else f"{name} is there."
    for requirement in command.skipped:
        yield f"{requirement} is not for this Python or platform."


def _restart(reply: Reply) -> Iterator[str]:
    """Say which modules in memory are not what was installed."""
    modules = [name for changed in reply.changed for name in _modules_of(changed)]
    for name in dict.fromkeys((*reply.restart, *modules)):
        if name in sys.modules:
            yield (
                f"{name} was imported before in another version: "
                "restart the kernel to use the new one."
            )


def _modules_of(name: str) -> Iterator[str]:
    """The top-level modules of a distribution."""
    try:
        files = importlib.metadata.files(name) or ()
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return
    tops = dict.fromkeys(file.parts[0] for file in files)
    yield from (top.removesuffix(".py") for top in tops if not top.startswith("."))


def _answer(command: Command) -> Iterator[str]:
    if command.action == "help":
        yield _HELP
    elif command.action == "version":
        python = ".".join(map(str, sys.version_info[:2]))
        yield f"pip is answered by the service of this kernel (python {python}). {_HELP}"
    elif command.action == "show":
        if not command.names:
            raise Refused("pip show needs the name of a package.")
        yield "\n---\n".join(_shown(name) for name in command.names)
    else:
        yield from _listed("freeze" if command.action == "freeze" else command.form)


def _listed(form: str) -> Iterator[str]:
    """All that is on the path, by name, and whether every kernel has it or only this user's."""
    found = sorted(_distributions(), key=lambda one: one[0].lower())
    if form == "freeze":
        yield from (f"{name}=={version}" for name, version, _ in found)
    elif form == "json":
        yield json.dumps([{"name": name, "version": version} for name, version, _ in found])
    elif form == "columns":
        rows = [("Package", "Version", "Where"), *found]
        widths = [max(len(row[column]) for row in rows) for column in range(2)]
        rows.insert(1, ("-" * widths[0], "-" * widths[1], "-----"))
        yield from (f"{row[0]:<{widths[0]}} {row[1]:<{widths[1]}} {row[2]}" for row in rows)
    else:
        raise Refused(f"--format={form} isn't known here: columns, freeze and json are.")


def _distributions() -> Iterator[tuple[str, str, str]]:
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions():
        name = _fact(distribution, "Name")
        if name and _canonical(name) not in seen:
            seen.add(_canonical(name))
            yield name, distribution.version, _where(distribution)


def _where(distribution: importlib.metadata.Distribution) -> str:
    place = str(distribution.locate_file(""))
    return "core" if place.startswith((sys.prefix, sys.base_prefix)) else "own"


def _shown(name: str) -> str:
    try:
        distribution = importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        raise Refused(f"{name} is not installed.") from None
    needs = {_name_of(one) for one in distribution.requires or () if "extra ==" not in one}
    return "\n".join(
        (
            f"Name: {_fact(distribution, 'Name')}",
            f"Version: {distribution.version}",
            f"Summary: {_fact(distribution, 'Summary')}",
            f"License: {_fact(distribution, 'License-Expression', 'License')}",
            f"Where: {_where(distribution)}",
            f"Requires: {', '.join(sorted(needs))}",
        )
    )


def _fact(distribution: importlib.metadata.Distribution, *names: str) -> str:
    """The first line of the first of these that a distribution says of itself."""
    facts = distribution.metadata
    found = next((facts[name] for name in names if name in facts), "")
    return found.partition("\n")[0]


def _version_of(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None


def _name_of(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
