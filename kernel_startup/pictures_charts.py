"""Charts as pictures: Vega and Vega-Lite by vl-convert, Plotly by kaleido.

Both are JavaScript engines. They run in a process of their own: one that was forked has no threads,
and the kernel itself may have loaded one of them for its user.
"""

import base64
import ctypes
import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from kernel_startup.picture_types import MOST_SIDE, RENDERERS
from kernel_startup.pictures import CannotDraw, RendererMissing, require
from kernel_startup.pictures_fonts import gather_fonts, write_font_config

#: Memory for the data of an engine: it maps 600 MB before it does anything.
_ENGINE_BYTES = 1536 << 20
_PR_SET_PDEATHSIG = 1
_MOST_DEPTH = 100
_MOST_ANSWER_BYTES = 48 << 20

_SHARPNESS, _SHARP_SIDE = 2.0, 1600
_PLOTLY_SIZE = (700, 500)
_LEAST_SIDE = 50


def draw_vega(text: str, mime: str, *, time_s: float) -> bytes:
    """Draw a Vega or Vega-Lite chart from its JSON.

    Data that it refers to by an address is not fetched.

    Args:
        text: the JSON.
        mime: which of the two, and which version.
        time_s: seconds it may take.

    Raises:
        CannotDraw: it can't be drawn.
        RendererMissing: it takes vl-convert.
    """
    require("vega")
    major = re.search(r"\.v(\d+)", mime)
    asked = {
        "chart": _object(text),
        "lite": "vegalite" in mime,
        "major": major[1] if major else "",
        "side": MOST_SIDE,
        "sharp": [_SHARPNESS, _SHARP_SIDE],
    }
    program = [sys.executable, "-c", _VEGA, os.pathsep.join(filter(None, sys.path))]
    with tempfile.TemporaryDirectory() as scratch:
        asked["fonts"] = str(gather_fonts(Path(scratch)))
        done = subprocess.run(
            program,
            input=json.dumps(asked).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=time_s,
            preexec_fn=_make_room,
        )
    if done.returncode != 0 or not done.stdout:
        raise CannotDraw("vl-convert couldn't draw it")
    return done.stdout


#: What the process does that loads vl-convert.
_VEGA = """
import json, re, sys
sys.path[:] = sys.argv[1].split(":")
import vl_convert
asked = json.load(sys.stdin)
chart = asked["chart"]
vl_convert.register_font_directory(asked["fonts"])
options = {"allowed_base_urls": []}
if asked["lite"]:
    known = [one for one in vl_convert.get_vegalite_versions()
             if one.lstrip("v").split(".")[0] == asked["major"]]
    if known:
        options["vl_version"] = known[-1]
    svg = vl_convert.vegalite_to_svg(chart, **options)
else:
    svg = vl_convert.vega_to_svg(chart, **options)
size = [float(re.search(side + r'="([\\\\d.]+)"', svg[:2000])[1]) for side in ("width", "height")]
longest = max(*size, 1.0)
sharpness, sharp_side = asked["sharp"]
scale = min(max(1.0, min(sharpness, sharp_side / longest)), asked["side"] / longest)
sys.stdout.buffer.write(vl_convert.svg_to_png(svg, scale=scale))
""".replace("\\\\", "\\")


def draw_plotly(text: str, *, time_s: float) -> bytes:
    """Draw a Plotly figure from its JSON, with the user's own plotly.js.

    Maps that take tiles or outlines from the network have none.

    Raises:
        CannotDraw: it can't be drawn.
        RendererMissing: it takes kaleido or plotly.
    """
    figure = _object(text)
    layout = figure.get("layout")
    layout = dict(layout) if isinstance(layout, Mapping) else {}
    program, library = _kaleido_files()
    width, height = (
        side_of(layout.get(name), default)
        for name, default in zip(("width", "height"), _PLOTLY_SIZE, strict=True)
    )
    scale = max(1.0, min(_SHARPNESS, _SHARP_SIDE / max(width, height)))
    shown = {
        "data": figure.get("data"),
        "layout": {**layout, "width": width, "height": height},
    }
    asked = {"format": "png", "width": width, "height": height, "scale": scale, "data": shown}
    with _kaleido(program, library) as process:
        answer = _ask(process, json.dumps(asked).encode() + b"\n", time_s)
    result = answer.get("result")
    if not isinstance(result, str) or answer.get("code") != 0:
        raise CannotDraw(str(answer.get("message") or "kaleido couldn't draw it")[:500])
    return base64.b64decode(result)


def side_of(value: object, default: int) -> int:
    """A figure's width or height in pixels, as its layout says it, within limits."""
    if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        return default
    return int(min(max(value, _LEAST_SIDE), MOST_SIDE))


def _kaleido_files() -> tuple[Path, Path]:
    """kaleido's program and plotly.js.

    Raises:
        RendererMissing: one of them isn't there: kaleido from 1.0 on has no browser of its own.
    """
    require("plotly")
    program = _path_in("kaleido", "kaleido/executable/bin/kaleido")
    library = _path_in("plotly", "plotly/package_data/plotly.min.js")
    if not program.exists() or not library.exists():
        raise RendererMissing(RENDERERS["plotly"])
    return program, library


def _path_in(distribution: str, path: str) -> Path:
    return Path(str(metadata.distribution(distribution).locate_file(path)))


@contextmanager
def _kaleido(program: Path, library: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """kaleido's program at work, without the shell script before it."""
    directory = program.parents[1]
    with tempfile.TemporaryDirectory() as scratch:
        process = subprocess.Popen(
            [
                str(program),
                "plotly",
                f"--plotlyjs={library}",
                "--disable-gpu",
                "--allow-file-access-from-files",
                "--disable-breakpad",
                "--disable-dev-shm-usage",
                # The browser's own sandbox and its helpers need what our sandbox forbids.
                "--no-sandbox",
                "--single-process",
            ],
            cwd=directory,
            env={
                **os.environ,
                "LD_LIBRARY_PATH": str(directory / "lib"),
                "FONTCONFIG_FILE": str(write_font_config(Path(scratch))),
                "HOME": scratch,
                "TMPDIR": scratch,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            preexec_fn=_make_room,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def _ask(process: "subprocess.Popen[bytes]", request: bytes, time_s: float) -> Mapping[str, Any]:
    """kaleido's answer to a request: the last of its lines, the first of which is a greeting."""
    assert process.stdin is not None and process.stdout is not None
    deadline = time.monotonic() + time_s
    process.stdin.write(request)
    process.stdin.flush()
    answers: list[bytes] = []
    while len(answers) < 2 and time.monotonic() < deadline:  # the child itself has a time limit
        line = process.stdout.readline(_MOST_ANSWER_BYTES)
        if not line:
            raise CannotDraw("kaleido ended")
        answers.append(line)
    answer = json.loads(answers[-1])
    if not isinstance(answer, dict):
        raise CannotDraw("kaleido said nothing")
    return answer


def _object(text: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        CannotDraw: it isn't one, or is nested too deeply for what reads it next.
    """
    try:
        value = json.loads(text, parse_constant=lambda _: None)  # JSON has no NaN
    except (ValueError, RecursionError) as error:
        raise CannotDraw(str(error)) from None
    if not isinstance(value, dict) or _depth(value) > _MOST_DEPTH:
        raise CannotDraw("not a chart")
    return value


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level and depth <= _MOST_DEPTH:
        depth += 1
        level = [inner for outer in level for inner in _inside(outer)]
    return depth


def _inside(value: object) -> Sequence[object]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [one for one in inner if isinstance(one, dict | list)]


def _make_room() -> None:
    """What the engine's process begins with: limits that it can start with, and its parent's end.

    Engines map far more addresses than they use, so only their data is bounded.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = _ENGINE_BYTES if hard == resource.RLIM_INFINITY else min(_ENGINE_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
