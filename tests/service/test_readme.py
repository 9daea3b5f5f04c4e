"""The README's code does what the README says."""

import asyncio
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


async def test_library_example_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    assert "/tmp/cellmate-example" in example
    example = example.replace("/tmp/cellmate-example", str(tmp_path / "data"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", example, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    text, picture = printed.decode().splitlines()  # and no log: a library is silent
    assert text == "ok 6"
    assert picture.startswith("[image/png ")
