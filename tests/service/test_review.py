"""What is said of a cell before it runs."""

from interpreter import Session


async def test_cell_that_can_only_fail_is_answered_and_not_run(session: Session) -> None:
    result = await session.execute(
        "import requests\nopen('made.txt', 'w').close()\nrequests.get('https://example.com/a.csv')"
    )
    assert (result.status, result.count, result.state_lost) == ("refused", None, False)
    assert result.message is not None
    assert result.message.startswith("Line 3 ")
    assert "load_file" in result.message and "Nothing of the cell was run." in result.message
    assert result.text == result.message
    assert (await session.execute("import os; os.listdir()")).text == "[]"


async def test_what_may_work_is_run_and_explained_only_if_it_fails(session: Session) -> None:
    code = (
        "import urllib.request\ndef fetch():\n"
        "    return urllib.request.urlopen('https://example.com/a.csv')\n"
    )
    fine = await session.execute(code)
    assert (fine.status, fine.message) == ("ok", None)
    failed = await session.execute(code + "fetch()")
    assert failed.status == "error"
    assert failed.message is not None and "no network" in failed.message


async def test_mocks_of_an_earlier_cell_are_believed_until_the_kernel_ends(
    session: Session,
) -> None:
    await session.execute(
        "import sys, types\nrequests = types.ModuleType('requests')\n"
        "requests.get = lambda url: 'mocked ' + url\nsys.modules['requests'] = requests"
    )
    code = "import requests\nrequests.get('https://example.com')"
    assert (await session.execute(code)).text == "'mocked https://example.com'"
    await session.restart()
    assert (await session.execute(code)).status == "refused"


async def test_ordinary_names_that_look_bad_are_run(session: Session) -> None:
    result = await session.execute(
        "import re, os\ndf = pd.DataFrame({'a': [1]}).rename(columns={'a': 'system'})\n"
        "re.compile('exec'); getattr(os, 'sys' + 'tem')('echo hi')\ndf.columns[0]"
    )
    assert (result.status, result.message) == ("ok", None)
    assert "hi" in result.text
