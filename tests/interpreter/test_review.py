"""What the reviewer refuses, what it remarks on, and that it leaves ordinary programs alone."""

import re
import sysconfig
import time
import tokenize
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interpreter.review import MAX_CHARACTERS, Remark, replaces_libraries, review

FAR = "https://example.org/a.csv"


def only(code: str, *, can_ask: bool = True) -> Remark:
    """The single remark on a cell."""
    (remark,) = review(code, can_ask=can_ask)
    return remark


# --- refused: certain ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (1, f"df = pd.read_csv('{FAR}')"),
        (2, f"import pandas as pd\ndf = pd.read_csv('{FAR}', index_col=0).head()"),
        (2, f"import pandas\nprint(pandas.read_csv(filepath_or_buffer='{FAR}'))"),
        (1, f"tables = pd.read_html('{FAR}')[0]"),
        (4, f"import requests\n\nurl = '{FAR}'\nanswer = requests.get(url, timeout=5)"),
        (4, f"import requests\nbase = '{FAR}'\nurl = f'{{base}}/b'\nrequests.get(url)"),
        (3, "import requests\nbase = 'https://example.org'\nrequests.get(base + '/b?c=' + city)"),
        (2, "import requests\nrequests.get(f'https://example.org/{city}')"),
        (2, "import requests\nrequests.get('https://example.org/%s' % city)"),
        (2, "import requests\nrequests.get('https://example.org/{}'.format(city))"),
        (2, "import requests\nrequests.request('GET', 'http://example.org')"),
        (2, "import requests\nrequests.get('http://8.8.8.8:80/')"),
        (2, "import requests as r\nif r.get('https://example.org').ok:\n    print(1)"),
        (2, "import requests\nfor x in requests.get('https://example.org').json(): print(x)"),
        (2, "import requests\nnames = [x for x in requests.get('https://example.org').json()]"),
        (2, "import httpx\nhttpx.get('https://example.org')"),
        (2, f"import urllib.request\nwith urllib.request.urlopen('{FAR}') as f:\n    f.read()"),
        (2, f"from urllib.request import urlopen as u\nu('{FAR}')"),
        (2, f"from urllib import request\nrequest.urlretrieve('{FAR}', 'a.csv')"),
        (2, "import smtplib\nserver = smtplib.SMTP('smtp.example.org', 587)"),
        (2, "import socket\nsocket.create_connection(('example.org', 80))"),
        (2, "import tkinter as tk\nroot = tk.Tk()"),
        (2, "import turtle\nturtle.forward(100)"),
        (3, f"%matplotlib inline\n!ls\npd.read_csv('{FAR}')"),
        (2, f"%%time\npd.read_csv('{FAR}')"),
        (3, f"\n%%capture out\npd.read_csv('{FAR}')"),
        (2, f"x = await answer()\npd.read_csv('{FAR}')"),
        (2, f"import requests\ngetattr(requests, 'g' + 'et')('{FAR}')"),
        (1, f"1 if pd.read_csv('{FAR}').empty else 2"),
        (1, f"pd.read_csv('{FAR}') is None or print(1)"),
    ],
)
def test_refuses_what_can_only_fail(line: int, code: str) -> None:
    remark = only(code)
    assert (remark.line, remark.certain) == (line, True)
    assert remark.sentence.startswith(f"Line {line} ")


def test_names_the_host_and_what_to_do_instead() -> None:
    assert only(f"pd.read_csv('{FAR}')") == Remark(
        1,
        "Line 1 tries to reach example.org, but code here has no network: upload what it needs as "
        "a file and read that with load_file.",
        True,
    )


def test_a_long_host_makes_no_long_sentence() -> None:
    host = "a." * 100 + "org"
    assert len(only(f"pd.read_csv('https://{host}/x')").sentence) < 250


def test_a_question_is_refused_only_where_nobody_can_answer() -> None:
    assert only("name = input('Your name? ')", can_ask=False).certain
    assert review("name = input('Your name? ')", can_ask=True) == ()
    assert not only("while True:\n    input()", can_ask=False).certain
    assert review("def input(x): return 'x'\ninput('?')", can_ask=False) == ()


# --- remarked on: uncertain ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code"),
    [
        # not reached in every run
        (3, f"import requests\ntry:\n    requests.get('{FAR}')\nexcept OSError: pass"),
        (3, f"import requests\nif online:\n    requests.get('{FAR}')"),
        (3, f"import requests\ndef f():\n    return requests.get('{FAR}')"),
        (3, f"import requests\nclass C:\n    x = requests.get('{FAR}')"),
        (2, f"import requests\nf = lambda: requests.get('{FAR}')"),
        (2, f"import requests\nx = cached or requests.get('{FAR}')"),
        (2, f"import requests\nx = requests.get('{FAR}') if online else None"),
        (2, f"import requests\nx = 1 < y < requests.get('{FAR}')"),
        (2, f"import requests\n[requests.get('{FAR}') for x in y]"),
        (2, f"import requests\nassert ok, requests.get('{FAR}')"),
        (3, f"import requests\nfor x in y:\n    requests.get('{FAR}')"),
        (3, f"import requests\nwhile x:\n    requests.get('{FAR}')"),
        (4, f"import requests\nfrom contextlib import suppress\nwith suppress(OSError):\n"
            f"    requests.get('{FAR}')"),
        (3, f"import requests\nmatch x:\n    case 1: requests.get('{FAR}')"),
        (2, f"import requests\nwith suppress(OSError), requests.get('{FAR}'): pass"),
        (3, f"import requests, sys\nsys.exit()\nrequests.get('{FAR}')"),
        (3, f"import requests\nif x: raise SystemExit\nrequests.get('{FAR}')"),
        # mocked
        (4, f"import requests\nfrom unittest import mock\nrequests.get = mock.Mock()\n"
            f"requests.get('{FAR}')"),
        (3, f"import requests\nrequests.get = fake\nrequests.get('{FAR}')"),
        (4, f"import requests, responses\nresponses.start()\nresponses.get('{FAR}')\n"
            f"requests.get('{FAR}')"),
        (3, f"import requests, vcr\nwith vcr.use_cassette('x'):\n    requests.get('{FAR}')"),
        (3, f"import requests, sys\nsys.modules['socket'] = fake\nrequests.get('{FAR}')"),
        (3, f"import requests\nsetattr(requests, 'get', fake)\nrequests.get('{FAR}')"),
        (3, f"import requests\nexec(patches)\nrequests.get('{FAR}')"),
        (3, f"import requests\nfrom fakes import *\nrequests.get('{FAR}')"),
        (3, f"import requests\n%run fakes.py\nrequests.get('{FAR}')"),
        (2, f"import requests\nrequests.get('{FAR}', proxies={{'https': proxy}})"),
        (2, f"import requests\nrequests.get('{FAR}', **options)"),
        (3, f"import os, requests\nos.environ['HTTPS_PROXY'] = proxy\nrequests.get('{FAR}')"),
        # not known to be the library, or to be far away
        (1, f"requests.get('{FAR}')"),
        (1, f"requests.get('{FAR}')\nimport requests"),
        (2, "import requests\nrequests.get(url)"),
        (2, "import requests\nrequests.get('https://' + host)"),
        (2, "import requests\nrequests.get(f'https://{host}/a')"),
        (2, "import requests\nrequests.get('http://example.org' + rest)"),
        (3, f"import requests\nurl = '{FAR}'\nrequests.get(url)\nurl = 'http://localhost'"),
        (2, "import requests\nurl = url + '/a'; requests.get(url)"),
        # may work, or doesn't raise
        (2, "import seaborn as sns\nsns.load_dataset('tips')"),
        (2, "from sklearn.datasets import fetch_openml\nfetch_openml('mnist_784')"),
        (2, "from tkinter import *\nroot = Tk()"),
        (2, "import tkinter\ntkinter.Tk(screenName=':1')"),
        (2, "import asyncio\nasyncio.run(main())"),
        (2, "import webbrowser\nwebbrowser.open(page)"),
        (1, "!sudo apt-get install -y graphviz"),
        (1, "!apt-get -qq install graphviz"),
        (2, "x = 1\nout = !curl -s https://example.org/a"),
        (2, "%%bash\nwget https://example.org/a"),
        (2, "import os\nos.system('sudo ls')"),
        (2, "import os\ngetattr(os, 'sys' + 'tem')('sudo ls')"),
        (2, "import subprocess\nsubprocess.run(['apt-get', 'install', '-y', 'graphviz'])"),
    ],
)  # fmt: skip
def test_remarks_without_refusing(line: int, code: str) -> None:
    remark = only(code)
    assert (remark.line, remark.certain) == (line, False)


def test_of_each_kind_the_certain_one_is_kept_in_the_order_of_lines() -> None:
    code = (
        "import requests, tkinter\nrequests.get(url)\ntkinter.Tk()\n"
        f"requests.get('{FAR}')\nrequests.get('{FAR}')\n"
    )
    assert [(remark.line, remark.certain) for remark in review(code)] == [(3, True), (4, True)]


# --- silent -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "",
        "1 + 1",
        "df = df.rename(columns={'a': 'b'})",
        "import re\nre.compile('a')",
        "import os\nos.system('ls')",
        "import os\ngetattr(os, 'sys' + 'tem')('ls')",
        "import os, shutil\nos.remove('x'); shutil.rmtree('y'); eval('1'); exec('2')",
        "__import__('os').environ",
        "plt.plot(x); plt.show()",
        "df = pd.read_csv('a.csv')",
        "df = pd.read_csv(load_file('abc'))",
        "df = pd.read_csv(url)",
        "pd.read_csv('http://localhost:8000/a.csv')",
        "pd.read_csv('http://127.0.0.1/a.csv')",
        "pd.read_csv('http://127.1/a.csv')",
        "pd.read_csv('http://[::1]:8000/a.csv')",
        "pd.read_csv('http://kernel:8000/a.csv')",
        "pd.read_csv('http://example.org@localhost/a.csv')",
        "pd.read_csv('http://[')",
        r"pd.read_csv('http://localhost\\@example.org/')",
        "import requests\nrequests.get('http://api.localhost/')",
        "from urllib.request import urlopen\nurlopen('data:text/plain,x')",
        f"pd = Tables()\npd.read_csv('{FAR}')",
        f"def f(requests):\n    requests.get('{FAR}')",
        f"try:\n    import requests\nexcept ImportError:\n    requests = 0\nrequests.get('{FAR}')",
        f"from .mine import requests\nrequests.get('{FAR}')",
        f"print('requests.get({FAR})')",
        f"# pd.read_csv('{FAR}')",
        f"'''\n!curl {FAR}\n'''",
        "import smtplib\nsmtplib.SMTP()",
        "import requests\nrequests.get()",
        "import urllib.parse\nurllib.parse.urlparse('https://example.org/')",
        "tk.Tk()",
        # IPython's own
        "df?",
        "?df",
        "%timeit f()",
        "files = !ls",
        "!pip install requests",
        "!curl http://localhost:8000",
        "!git status",
        "!echo 'unfinished",
        f"%%html\n<a href='{FAR}'>",
        f"%%writefile a.py\npd.read_csv('{FAR}')",
        # what doesn't parse
        f"pd.read_csv('{FAR}'",
        f"this is quite wrong\npd.read_csv('{FAR}')",
    ],
)
def test_says_nothing(code: str) -> None:
    assert review(code) == ()


def test_lines_are_those_of_the_cell() -> None:
    code = f'x = """\n!ls\n"""\n\n!echo \\\n  more\n  \nx?\n\npd.read_csv(\n  "{FAR}"\n)'
    assert only(code).line == 10
    assert only(code.replace("\n", "\r\n")).line == 10


# --- packages that are refused ------------------------------------------------------------------


def refuses_malware(name: str) -> str | None:
    return "malware is not installed here." if name == "malware" else None


@pytest.mark.parametrize(
    ("code", "certain"),
    [
        ("import malware", True),
        ("import numpy, malware.part as m", True),
        ("from malware.part import x", True),
        ("try:\n    import malware\nexcept ImportError: pass", False),
        ("def f():\n    import malware", False),
        ("!pip install -q numpy malware>=2", False),
        ("%pip install malware", False),
    ],
)
def test_refuses_imports_and_remarks_on_requirements(code: str, certain: bool) -> None:
    (remark,) = review(code, refused_packages=refuses_malware)
    assert (remark.sentence, remark.certain) == ("malware is not installed here.", certain)


@pytest.mark.parametrize("code", ["import numpy", "from . import malware", "malware = 1"])
def test_other_imports_are_left_alone(code: str) -> None:
    assert review(code, refused_packages=refuses_malware) == ()


# --- what earlier cells have done ---------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "import requests\nrequests.get = fake",
        "import responses",
        "from unittest.mock import patch",
        "import sys\nsys.modules['requests'] = fake",
        "import os\nos.environ['HTTPS_PROXY'] = 'http://127.0.0.1:8080'",
        "pd.read_csv = fake",
        "import polars as pd",
        "def input(prompt): return 'x'",
        "%run fakes.py",
        "#" * (MAX_CHARACTERS + 1),
    ],
)
def test_knows_a_cell_that_replaces_libraries(code: str) -> None:
    assert replaces_libraries(code)
    assert not only(f"pd.read_csv('{FAR}')").certain or not any(
        remark.certain for remark in review(f"pd.read_csv('{FAR}')", libraries_replaced=True)
    )


@pytest.mark.parametrize(
    "code",
    [
        "import pandas as pd, numpy as np\nimport matplotlib.pyplot as plt",
        "df.columns = ['a']\nraise ValueError",
        "%matplotlib inline",
        "x = input()",
        "((",
    ],
)
def test_knows_a_cell_that_replaces_none(code: str) -> None:
    assert not replaces_libraries(code)


# --- hostile code -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "a\0b",
        "'\ud800'",
        "\ud800",
        "(" * 5_000,
        "[" * 150 + "]" * 150,
        "-" * 40_000 + "1",
        "1" + "+1" * 20_000,
        "x = 'a'" + "+'a'" * 10_000 + "\nimport requests\nrequests.get(x)",
        "a" + ".a" * 20_000 + "()",
        "a" + ".a()" * 10_000,
        "if a: pass\n" + "elif a: pass\n" * 3_000,
        "\n".join(" " * i + "if a:" for i in range(90)) + "\n" + " " * 90 + "b",
        "1" * 49_000,
        "a," * 24_000,
        "!" * 49_000,
        "a=" * 24_000 + "1",
        "a =" + " " * 49_000 + "!",
        "%%" * 20_000,
        "x = x + 'a'\n" * 4_000 + "import requests\nrequests.get(x)",
        "!sudo ls\n" * 5_000,
        "f'{" * 100,
        "pd.read_csv('https://" + "a." * 20_000 + "')",
        "x" * 10_000_000,
        "getattr(" * 90 + "a" + ", 'b')" * 90 + "()",
    ],
)
def test_hostile_code_is_reviewed_soon_and_without_an_error(code: str) -> None:
    started = time.process_time()
    review(code, can_ask=False, refused_packages=refuses_malware)
    replaces_libraries(code)
    assert time.process_time() - started < 5


@given(st.text())
@example("%%")
@example("%%time")
@example("!")
@example("\r")
@example("=!")
def test_any_text_is_reviewed(code: str) -> None:
    assert isinstance(review(code, can_ask=False), tuple)
    replaces_libraries(code)


PIECES = st.sampled_from(
    [
        *("import requests\n", "requests.get(", "'https://example.org/'", ")", "\n", "!curl "),
        *("getattr(", ", 'a' + ", "f'{x}", "x = ", "input()", "x?", "with ", "if 1: ", "\\\n"),
        *("%%bash\n", "%time ", "  ", "\r", "\f", "\u2028"),
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_any_mixture_of_what_it_looks_for_is_reviewed(code: str) -> None:
    # As Python counts, and with it a traceback: a lone carriage return ends a line.
    lines = len(re.split("\r\n|\r|\n", code))
    assert all(1 <= remark.line <= lines for remark in review(code, can_ask=False))


def test_a_cell_is_read_up_to_the_limit() -> None:
    code = f"pd.read_csv('{FAR}')\n"
    for length, expected in ((-1, 1), (0, 1), (1, 0)):
        padded = code + "#" * (MAX_CHARACTERS - len(code) + length)
        assert len(review(padded)) == expected


# --- ordinary programs --------------------------------------------------------------------------


def test_refuses_nothing_of_the_standard_library() -> None:
    paths = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    assert len(paths) > 100
    for path in paths:
        with tokenize.open(path) as file:
            remarks = review(file.read())
        assert not [remark for remark in remarks if remark.certain], path.name
