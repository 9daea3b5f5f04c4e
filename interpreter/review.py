"""Reading a cell before it runs: what in it can't work here, and what to do instead. Pure.

The sandbox protects; nothing here does. So nothing is remarked on for being dangerous, and code
that hides what it does only goes without an early answer.

A remark is *certain* if the cell can't do without the call and the call can do nothing but fail: it
stands where every run of the cell comes by, its name comes from an import of this cell, and the
address in it is a literal one on the network. Any sign that things may be other than they look (a
mock, a proxy, `setattr`, an exit before it) ends certainty for the rest of the cell. That costs
little: what isn't certain is run, and said if the cell fails.
"""

import ast
import ipaddress
import re
import shlex
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

#: Longer cells are left unread: they are data, and reading them would hold up everybody.
MAX_CHARACTERS = 4_000

#: Gets an import's top-level module, or a requirement's name as written; gives the sentence that
#: says why it is refused and what to do instead, or None.
RefusedPackages: TypeAlias = Callable[[str], str | None]

_Problem: TypeAlias = Literal["network", "window", "root", "answer", "loop"]
_SENTENCES: Mapping[_Problem, str] = {
    "network": (
        "Line {line} tries to reach {host}, but code here has no network: upload what it needs as "
        "a file and read that with load_file."
    ),
    "window": (
        "Line {line} opens a window, but there is no screen here: draw a picture instead, for "
        "instance with matplotlib, and it will be shown."
    ),
    "root": (
        "Line {line} needs administrator rights, which code here never has: use a Python package "
        "that does the same instead."
    ),
    "answer": (
        "Line {line} asks a question, but nobody can answer one here: write the answer into the "
        "code instead."
    ),
    "loop": (
        "Line {line} calls asyncio.run, which can't be used here because an event loop runs "
        "already: write await in its place."
    ),
}

# --- what is known of calls -------------------------------------------------------------------
# An argument is given by its position and its name.

_VERBS = ("get", "post", "put", "patch", "delete", "head", "options")
#: Calls that use the network, and their argument that is an address.
_FETCHES: dict[str, tuple[int, str]] = {
    **{f"requests.{verb}": (0, "url") for verb in _VERBS},
    **{f"httpx.{verb}": (0, "url") for verb in _VERBS},
    "requests.request": (1, "url"),
    "httpx.request": (1, "url"),
    "urllib.request.urlopen": (0, "url"),
    "urllib.request.urlretrieve": (0, "url"),
    "urllib3.request": (1, "url"),
}
#: Calls that read a file, or download it if its name is an address.
_READS: dict[str, tuple[int, str]] = {
    "pandas.read_csv": (0, "filepath_or_buffer"),
    "pandas.read_excel": (0, "io"),
    "pandas.read_feather": (0, "path"),
    "pandas.read_fwf": (0, "filepath_or_buffer"),
    "pandas.read_html": (0, "io"),
    "pandas.read_json": (0, "path_or_buf"),
    "pandas.read_parquet": (0, "path"),
    "pandas.read_pickle": (0, "filepath_or_buffer"),
    "pandas.read_stata": (0, "filepath_or_buffer"),
    "pandas.read_table": (0, "filepath_or_buffer"),
    "pandas.read_xml": (0, "path_or_buffer"),
}
#: Calls that connect at once, and their argument that is a host, or a host and a port.
_CONNECTS: dict[str, tuple[int, str]] = {
    "ftplib.FTP": (0, "host"),
    "ftplib.FTP_TLS": (0, "host"),
    "imaplib.IMAP4": (0, "host"),
    "imaplib.IMAP4_SSL": (0, "host"),
    "poplib.POP3": (0, "host"),
    "poplib.POP3_SSL": (0, "host"),
    "smtplib.SMTP": (0, "host"),
    "smtplib.SMTP_SSL": (0, "host"),
    "socket.create_connection": (0, "address"),
}
#: Calls that open a window, if they are given nothing that says where.
_WINDOWS = {
    "tkinter.Tk",
    *(f"turtle.{name}" for name in ("Screen", "Turtle", "bgcolor", "color", "forward", "speed")),
}
#: Calls that fail, do nothing, or work from something kept earlier: never certain.
_DOUBTFUL: Mapping[str, _Problem] = {
    "aiohttp.ClientSession": "network",
    "aiohttp.request": "network",
    "asyncio.open_connection": "network",
    "asyncio.run": "loop",
    "cv2.imshow": "window",
    "datasets.load_dataset": "network",
    "http.client.HTTPConnection": "network",
    "http.client.HTTPSConnection": "network",
    "httpx.AsyncClient": "network",
    "httpx.Client": "network",
    "httpx.stream": "network",
    "nltk.download": "network",
    "pygame.display.set_mode": "window",
    "requests.Session": "network",
    "seaborn.load_dataset": "network",
    "sklearn.datasets.fetch_20newsgroups": "network",
    "sklearn.datasets.fetch_california_housing": "network",
    "sklearn.datasets.fetch_olivetti_faces": "network",
    "sklearn.datasets.fetch_openml": "network",
    "socket.gethostbyname": "network",
    "urllib3.PoolManager": "network",
    "webbrowser.open": "window",
    "wget.download": "network",
    "yfinance.Ticker": "network",
    "yfinance.download": "network",
}
_QUESTIONS = {"input", "getpass.getpass"}
#: Calls whose first argument is a command, a string or a list. They may well ignore a failure.
_COMMANDS = {
    "os.popen",
    "os.system",
    *(f"subprocess.{name}" for name in ("Popen", "call", "check_call", "check_output")),
    *(f"subprocess.{name}" for name in ("getoutput", "getstatusoutput", "run")),
}
#: First words of commands, without options.
_ROOT_COMMANDS = {
    ("sudo",),
    *((tool, verb) for tool in ("apt", "apt-get") for verb in ("install", "update", "upgrade")),
    *((tool, "install") for tool in ("dnf", "snap", "yum")),
}
_NETWORK_COMMANDS = {"curl", "git", "wget"}
_INSTALLERS = {("pip", "install"), ("pip3", "install"), ("uv", "pip", "install")}

#: Names that kernels have without an import.
_AT_HAND = {"np": "numpy", "pd": "pandas", "plt": "matplotlib.pyplot"}

# --- what ends certainty ----------------------------------------------------------------------

#: Names of things that can put something else behind a name, or behind the network.
_REPLACING = {
    *("__builtins__", "__dict__", "builtins", "delattr", "environ", "eval", "exec", "get_ipython"),
    *("globals", "install_opener", "locals", "modules", "putenv", "reload", "setattr", "vars"),
    *("MonkeyPatch", "mock", "monkeypatch", "patch", "pytest"),
    *("HTTPretty", "aioresponses", "betamax", "httpretty", "pook", "pytest_httpx", "respx"),
    *("requests_cache", "requests_mock", "responses", "vcr"),
}
#: Names of things that end the cell before its end.
_LEAVING = {
    *("KeyboardInterrupt", "SystemExit", "_exit", "abort", "exit", "kill", "quit", "raise_signal"),
    *("execl", "execv", "execve", "execvp"),
}
#: Arguments that lead a request elsewhere; None stands for `**anything`.
_LEADING_ELSEWHERE = {"proxies", "proxy", None}
#: Magics that leave Python's names and the network alone.
_HARMLESS_MAGICS = {"config", "matplotlib", "pip", "precision"}
#: Cell magics whose cell is Python that runs here, and those whose cell is for a shell.
_PYTHON_CELLS = {"capture", "time"}
_SHELL_CELLS = {"!", "bash", "sh"}

_ESCAPED_LINE = re.compile(
    r"(?P<before>[ \t]*(?:[\w.]+[ \t]*=[ \t]*(?=[%!]))?)(?P<escape>[%!?]{1,2})(?!=)(?P<rest>.*)"
)
_HELP_LINE = re.compile(r"(?P<indent>[ \t]*)%{0,2}[\w.*]+\?{1,2}[ \t]*")
_ADDRESS = re.compile(r"(?:https?|ftps?)://[^/?#\\\s]*(?P<after>[/?#]?)", re.IGNORECASE)
_PUBLIC_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)+(?P<last>[a-z]{2,24}|xn--[a-z0-9-]{1,59})")
_LOCAL_DOMAINS = {"home", "internal", "invalid", "lan", "local", "localdomain", "localhost", "test"}
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Remark:
    """What a cell does that can't work here.

    Attributes:
        line: Where, from 1.
        sentence: For a person and for a model: what can't work, and what to do instead.
        certain: True if the cell can't but fail at it, so that running it is of no use.
    """

    line: int
    sentence: str
    certain: bool


def review(
    code: str,
    *,
    can_ask: bool = True,
    refused_packages: RefusedPackages | None = None,
    libraries_replaced: bool = False,
    max_characters: int = MAX_CHARACTERS,
) -> tuple[Remark, ...]:
    """Say what in a cell can't work here; nothing about what isn't Python or doesn't parse.

    Args:
        code: The cell, with magics and shell lines as IPython has them. May be hostile.
        can_ask: Whether somebody can answer `input()`.
        refused_packages: Which packages are refused, and why.
        libraries_replaced: Whether `replaces_libraries` held for an earlier cell of the same
            kernel: nothing is certain then.
        max_characters: Longer cells are left unread.

    Returns:
        The remarks by line, of each kind the one that helps most.
    """
    cell = _read(code, max_characters)
    if cell is None:
        return ()
    reviewer = _Reviewer(
        names=_Names.of(cell.tree),
        can_ask=can_ask,
        refused_packages=refused_packages or _refuses_none,
        certain=not libraries_replaced,
    )
    found = [*reviewer.findings(cell.tree), *_in_commands(cell, reviewer.refused_packages)]
    return _most_helpful(found)


def replaces_libraries(code: str) -> bool:
    """Whether a cell may leave something else behind a library's name for the cells after it.

    A mock, a proxy in the environment, `requests.get = ...`, a `pd` of the user's own.
    """
    cell = _read(code, MAX_CHARACTERS)
    if cell is None:
        return len(code) > MAX_CHARACTERS
    names = _Names.of(cell.tree)
    own = names.bound - names.imports.keys()
    if own & {*_AT_HAND, "input"} or any(
        names.imports.get(name, library) != library for name, library in _AT_HAND.items()
    ):
        return True
    return any(
        _mentions(node, _REPLACING) or _replaces_attribute(node, names)
        for node in ast.walk(cell.tree)
    )


# --- reading ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Cell:
    """A cell's Python, and its shell lines with their numbers."""

    tree: ast.Module
    commands: tuple[tuple[int, str], ...] = ()


@lru_cache(maxsize=2)  # a cell is asked about twice
def _read(code: str, max_characters: int) -> _Cell | None:
    if len(code) > max_characters:
        return None
    if code.lstrip().startswith("%%"):
        return _read_magic_cell(code)
    tree = _parse(code)
    return _read_escaped(code) if tree is None else _Cell(tree)


def _read_magic_cell(code: str) -> _Cell | None:
    blank, _, rest = code.partition("%%")
    magic, _, body = rest.partition("\n")
    name = magic.split(" ")[0].strip()
    before = blank.count("\n") + 1
    if name in _SHELL_CELLS:
        lines = enumerate(body.split("\n"), start=before + 1)
        return _Cell(ast.Module(body=[], type_ignores=[]), tuple(lines))
    if name in _PYTHON_CELLS:
        # A cell magic within the cell is not one.
        return _read_escaped("\n" * before + body)
    return None


def _read_escaped(code: str) -> _Cell | None:
    """Read a cell whose magics, shell lines and questions are put aside, line by line."""
    lines: list[str] = []
    commands: list[tuple[int, str]] = []
    continued = False
    for number, line in enumerate(code.split("\n"), start=1):
        line = line.removesuffix("\r")
        if continued:
            lines.append("")
            continued = line.endswith("\\")
        elif escaped := _ESCAPED_LINE.fullmatch(line):
            rest = escaped["rest"].strip()
            harmless = "%" not in escaped["escape"] or rest.split(" ")[0] in _HARMLESS_MAGICS
            lines.append(escaped["before"] + ("None" if harmless else "get_ipython()"))
            if "?" not in escaped["escape"]:
                commands.append((number, rest))
            continued = line.endswith("\\")
        elif question := _HELP_LINE.fullmatch(line):
            lines.append(question["indent"] + "None")
        else:
            lines.append(line)
    tree = _parse("\n".join(lines))
    return None if tree is None else _Cell(tree, tuple(commands))


#: CPython 3.11 counts the depth of all parsers of a process together, and then finds it wrong.
_ONE_PARSER = threading.Lock()


def _parse(code: str) -> ast.Module | None:
    try:
        with _ONE_PARSER, warnings.catch_warnings():
            # The kernel will give them.
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError, SystemError):
        return None


# --- names ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Names:
    """What a cell binds, in any of its scopes.

    Attributes:
        bound: All of it.
        once: What it binds in one place only.
        imports: What only its imports bind, all to the same: name -> dotted name.
        starred: The modules of which it imports everything.
    """

    bound: frozenset[str]
    once: frozenset[str]
    imports: Mapping[str, str]
    starred: frozenset[str]

    @classmethod
    def of(cls, tree: ast.Module) -> "_Names":
        counts: Counter[str] = Counter()
        meanings: dict[str, set[str]] = {}
        for node in ast.walk(tree):
            for name, meaning in _bindings(node):
                counts[name] += 1
                meanings.setdefault(name, set()).add(meaning)
        return cls(
            bound=frozenset(counts),
            once=frozenset(name for name, count in counts.items() if count == 1),
            imports={
                name: meaning
                for name, (meaning, *others) in meanings.items()
                if meaning and not others
            },
            starred=frozenset(meaning.removesuffix(".*") for meaning in meanings.get("*", ())),
        )

    def meaning(self, name: str) -> str | None:
        """The dotted name it stands for; a name of an earlier cell is taken at its word."""
        if name in self.bound:
            return self.imports.get(name)
        windows = (f"{module}.{name}" for module in self.starred)
        return next((window for window in windows if window in _WINDOWS), _AT_HAND.get(name, name))


def _bindings(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Name the names a node binds, each with the dotted name that an import gives it, or ""."""
    match node:
        case ast.Name(ctx=ast.Load()) | ast.Constant() | ast.Attribute() | ast.Call():
            return  # most nodes are one of these
        case ast.Import(names=aliases):
            for alias in aliases:
                top = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (top, top)
        case ast.ImportFrom(module=module, names=aliases, level=level):
            for alias in aliases:
                yield alias.asname or alias.name, "" if level else f"{module}.{alias.name}"
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
            yield name, ""
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name, ""
        case (
            ast.ExceptHandler(name=str(name))
            | ast.MatchAs(name=str(name))
            | ast.MatchStar(name=str(name))
            | ast.MatchMapping(rest=str(name))
        ):
            yield name, ""


def _mentions(node: ast.AST, names: set[str]) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in names
        case ast.alias(name=name) | ast.ImportFrom(module=str(name)):
            return not names.isdisjoint(name.split("."))
    return False


def _replaces_attribute(node: ast.AST, names: _Names) -> bool:
    """Whether it assigns to an attribute of what was imported."""
    if not _assigns_attribute(node):
        return False
    root, _ = _spelled(node, {})
    return root in names.imports or root in _AT_HAND


def _assigns_attribute(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)


def _ends_certainty(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Raise)
        or _assigns_attribute(node)
        or (isinstance(node, ast.alias) and node.name == "*")
        or _mentions(node, _REPLACING)
        or _mentions(node, _LEAVING)
    )


def _spelled(node: ast.AST, texts: "_Texts") -> tuple[str | None, list[str]]:
    """The name a dotted expression starts with, and the attributes after it.

    `getattr(x, "y")` is another way to write `x.y`.
    """
    attributes: list[str] = []
    while True:
        match node:
            case ast.Attribute(value=inner, attr=attribute):
                attributes.append(attribute)
                node = inner
            case ast.Call(func=ast.Name(id="getattr"), args=[inner, name, *_]):
                attribute, whole = _beginning(name, texts)
                attributes.append(attribute if whole else "?")
                node = inner
            case ast.Name(id=root):
                return root, attributes[::-1]
            case _:
                return None, []


# --- strings ----------------------------------------------------------------------------------

#: What is known of a string: the text it begins with, and whether that is all of it.
_Text: TypeAlias = tuple[str, bool]
_Texts: TypeAlias = Mapping[str, _Text]


def _beginning(node: ast.expr, texts: _Texts) -> _Text:
    """What is known of the string that an expression gives.

    Args:
        node: The expression.
        texts: What is known of variables.
    """
    text = ""
    for part in _parts(node):
        match part:
            case ast.Constant(value=str(more)):
                text += more
            case ast.Name(id=name):
                more, whole = texts.get(name, ("", False))
                text += more
                if not whole:
                    return text, False
            case _:
                return text, False
    return text, True


def _parts(node: ast.expr) -> list[ast.expr]:
    """The expressions whose strings, one after the other, are the string of this one."""
    if isinstance(node, ast.JoinedStr):
        return [_plain_value(part) for part in node.values]
    parts = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts.append(node.right)
        node = node.left
    return [*_filled(node), *parts[::-1]]


def _plain_value(part: ast.expr) -> ast.expr:
    match part:
        case ast.FormattedValue(value=ast.Name() as name, conversion=-1, format_spec=None):
            return name
    return part


def _filled(node: ast.expr) -> list[ast.expr]:
    """Split "..." % x and "...".format(x) where the first thing is filled in."""
    match node:
        case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod()):
            return [ast.Constant(text.partition("%")[0]), node]
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format")):
            return [ast.Constant(text.partition("{")[0]), node]
    return [node]


# --- looking ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Finding:
    """A remark in the making; of each kind one is kept."""

    kind: str
    line: int
    sentence: str
    certain: bool


@dataclass(slots=True)
class _Reviewer:
    """Goes through a cell from top to bottom, and knows what the lines so far have done."""

    names: _Names
    can_ask: bool
    refused_packages: RefusedPackages
    certain: bool  # whether anything still is
    imported: set[str] = field(default_factory=set)
    texts: dict[str, _Text] = field(default_factory=dict)

    def findings(self, tree: ast.Module) -> Iterator[_Finding]:
        for statement in tree.body:
            nodes = list(_evaluated(statement))
            self.certain = self.certain and not any(_ends_certainty(node) for node, _ in nodes)
            for node, always in nodes:
                if isinstance(node, ast.Call):
                    yield from self._call(node, always and self.certain)
                elif isinstance(node, ast.Import | ast.ImportFrom):
                    yield from self._import(node, always and self.certain)
            self._learn(statement)

    def _learn(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Import() | ast.ImportFrom():
                self.imported |= {name for name, _ in _bindings(statement)}
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in self.names.once:
                self.texts[name] = _beginning(value, self.texts)

    def _import(self, node: ast.Import | ast.ImportFrom, certain: bool) -> Iterator[_Finding]:
        if isinstance(node, ast.ImportFrom):
            modules = [node.module] if node.module and not node.level else []
        else:
            modules = [alias.name for alias in node.names]
        for module in modules:
            name = module.partition(".")[0]
            if sentence := self.refused_packages(name):
                yield _Finding(f"package {name}", node.lineno, sentence, certain)

    def _call(self, node: ast.Call, certain: bool) -> Iterator[_Finding]:
        root, attributes = _spelled(node.func, self.texts)
        meaning = self.names.meaning(root) if root else None
        if root is None or meaning is None:
            return
        known = root in self.imported or (root in _AT_HAND and root not in self.names.bound)
        certain = certain and (known or meaning == "input")
        name = ".".join([meaning, *attributes])
        if name in _FETCHES or name in _READS or name in _CONNECTS:
            yield from self._reach(node, name, certain)
        elif name in _WINDOWS:
            bare = not node.args and not node.keywords
            yield _finding("window", node.lineno, certain and (bare or name.startswith("turtle.")))
        elif name in _QUESTIONS and not self.can_ask:
            yield _finding("answer", node.lineno, certain)
        elif name in _DOUBTFUL:
            yield _finding(_DOUBTFUL[name], node.lineno, False)
        elif name in _COMMANDS and node.args and (command := _command(node.args[0], self.texts)):
            yield from _in_command(node.lineno, command, self.refused_packages)

    def _reach(self, node: ast.Call, name: str, certain: bool) -> Iterator[_Finding]:
        argument = _argument(node, *(_FETCHES | _READS | _CONNECTS)[name])
        if argument is None:
            return
        if name in _CONNECTS and isinstance(argument, ast.Tuple) and argument.elts:
            argument = argument.elts[0]
        text, whole = _beginning(argument, self.texts)
        if name in _CONNECTS:
            text, whole = f"ftp://{text}", whole and bool(text)
        host = _host(text, whole)
        if host is None and name not in _READS:
            yield _finding("network", node.lineno, False)
        elif host is not None and _is_far(host):
            elsewhere = any(given.arg in _LEADING_ELSEWHERE for given in node.keywords)
            yield _finding("network", node.lineno, certain and not elsewhere, host.lower())


def _evaluated(statement: ast.stmt) -> Iterator[tuple[ast.AST, bool]]:
    """Go through a statement's nodes, each with whether it is evaluated whenever that runs."""
    waiting: list[tuple[ast.AST, bool]] = [(statement, True)]
    while waiting:
        node, always = waiting.pop()
        yield node, always
        first = _evaluated_first(node)
        waiting += (
            (child, always and (first is None or child in first))
            for child in ast.iter_child_nodes(node)
            if not isinstance(child, ast.expr_context)
        )


def _evaluated_first(node: ast.AST) -> tuple[ast.AST, ...] | None:
    """The children of a node that are evaluated in any case; None for all of them."""
    match node:
        case ast.Name() | ast.Constant() | ast.Attribute() | ast.Call():
            return None  # most nodes are one of these
        case ast.If(test=first) | ast.While(test=first) | ast.IfExp(test=first):
            return (first,)
        case ast.For(iter=first) | ast.AsyncFor(iter=first) | ast.comprehension(iter=first):
            return (first,)
        case ast.Assert(test=first) | ast.Match(subject=first) | ast.BoolOp(values=[first, *_]):
            return (first,)
        case ast.With(items=[item, *_]) | ast.AsyncWith(items=[item, *_]):
            # Whatever is entered first may swallow errors, or put something else in place.
            return (item,)
        case (
            ast.ListComp(generators=[loop, *_])
            | ast.SetComp(generators=[loop, *_])
            | ast.DictComp(generators=[loop, *_])
            | ast.GeneratorExp(generators=[loop, *_])
        ):
            return (loop,)
        case ast.Compare(left=left, comparators=[right, *_]):
            return (left, right)
        case ast.AnnAssign(value=value):
            return () if value is None else (value,)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Lambda():
            return ()
        case ast.Try() | ast.TryStar():
            return ()
    return None


def _argument(call: ast.Call, position: int, keyword: str) -> ast.expr | None:
    if position < len(call.args):
        before = call.args[: position + 1]
        return None if any(isinstance(given, ast.Starred) for given in before) else before[-1]
    return next((given.value for given in call.keywords if given.arg == keyword), None)


# --- addresses --------------------------------------------------------------------------------


def _host(text: str, whole: bool) -> str | None:
    """The host of an address that begins so: "" if it has none, None if that can't be told yet."""
    match = _ADDRESS.match(text)
    if match is None:
        return "" if text else None
    if not whole and not match["after"]:
        return None
    try:
        return urlsplit(match[0]).hostname or ""
    except ValueError:
        return ""


def _is_far(host: str) -> bool:
    """Whether a host can be none but one on the public network."""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        name = _PUBLIC_NAME.fullmatch(host.lower().removesuffix("."))
        return name is not None and len(host) <= 253 and name["last"] not in _LOCAL_DOMAINS


# --- commands ---------------------------------------------------------------------------------
# Never certain: IPython and most callers go on when one fails.


def _command(node: ast.expr, texts: _Texts) -> str:
    """What is known of a command that is given as a string, or as a list of them."""
    if isinstance(node, ast.List | ast.Tuple):
        known = (_beginning(word, texts) for word in node.elts)
        return shlex.join(word if whole else "?" for word, whole in known)
    return _beginning(node, texts)[0]


def _in_commands(cell: _Cell, refused_packages: RefusedPackages) -> Iterator[_Finding]:
    for line, command in cell.commands:
        yield from _in_command(line, command, refused_packages)


def _in_command(line: int, command: str, refused_packages: RefusedPackages) -> Iterator[_Finding]:
    try:
        written = shlex.split(command, comments=True)
    except ValueError:
        return
    words = [word for word in written if not word.startswith("-")]
    if words[:1] == ["sudo"] or tuple(words[:2]) in _ROOT_COMMANDS:
        yield _finding("root", line, False)
    elif words and words[0] in _NETWORK_COMMANDS:
        hosts = [host for word in words[1:] if (host := _host(word, True)) and _is_far(host)]
        if hosts:
            yield _finding("network", line, False, hosts[0])
    for installer in _INSTALLERS:
        if tuple(words[: len(installer)]) == installer:
            yield from _requirements(line, words[len(installer) :], refused_packages)


def _requirements(
    line: int, words: Iterable[str], refused_packages: RefusedPackages
) -> Iterator[_Finding]:
    for word in words:
        name = _REQUIREMENT.match(word)
        if name and (sentence := refused_packages(name[0])):
            yield _Finding(f"package {name[0]}", line, sentence, False)


# --- saying it --------------------------------------------------------------------------------


def _finding(problem: _Problem, line: int, certain: bool, host: str = "the network") -> _Finding:
    # A name may be as long as a screen; what it begins with tells enough.
    host = host if len(host) <= 60 else host[:60] + "..."
    return _Finding(problem, line, _SENTENCES[problem].format(line=line, host=host), certain)


def _most_helpful(found: Iterable[_Finding]) -> tuple[Remark, ...]:
    """Of each kind the first, if there is none that is certain."""
    kept: dict[str, _Finding] = {}
    for finding in sorted(found, key=lambda finding: (not finding.certain, finding.line)):
        kept.setdefault(finding.kind, finding)
    remarks = (Remark(finding.line, finding.sentence, finding.certain) for finding in kept.values())
    return tuple(sorted(remarks, key=lambda remark: remark.line))


def _refuses_none(name: str) -> None:
    return None
