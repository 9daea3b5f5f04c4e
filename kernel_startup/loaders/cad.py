"""Drawings and CAD models: DXF is read, of the others the header is told."""

import re
import struct
import zipfile
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.fileinfo import FileInfo
from kernel_startup.loaders.described import source_info
from kernel_startup.source import Source


def load_dxf(source: Source) -> Any:
    """Read a drawing with ezdxf; what is damaged in it is mended where that can be done."""
    import ezdxf
    from ezdxf import recover

    path = source.as_path(".dxf")
    try:
        return ezdxf.readfile(path)
    except (ezdxf.DXFError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        drawing, auditor = recover.readfile(path)
    if auditor.has_errors or auditor.has_fixes:
        count = len(auditor.errors) + len(auditor.fixes)
        source.note(f"{source.name!r}: {count} damaged places of the drawing were mended or left.")
    return drawing


_STEP_HEADER = re.compile(
    r"FILE_(DESCRIPTION|NAME|SCHEMA)\s*+\(((?>(?:[^';]++|'(?>(?:[^']++|'')*)')*));"
)
_MAX_STEP_HEADER = 20_000
_STEP_TEXT = re.compile(r"'((?>(?:[^']++|'')*))'")
_STEP_NAMES = ("file name", "written", "author", "organisation", "preprocessor", "system")


def load_step(source: Source) -> FileInfo:
    """Tell what the header of a STEP or IFC file says, and how many entities there are."""
    text = source.head.decode("utf-8", errors="replace")
    header = text.partition("ENDSEC;")[0][:_MAX_STEP_HEADER]
    facts: dict[str, object] = {}
    for found in _STEP_HEADER.finditer(header):
        values = [value for value in _STEP_TEXT.findall(found[2])]
        if found[1] == "SCHEMA":
            facts["schema"] = ", ".join(values)
        elif found[1] == "DESCRIPTION" and values and values[0]:
            facts["description"] = values[0]
        elif found[1] == "NAME":
            facts |= {
                name: value for name, value in zip(_STEP_NAMES, values, strict=False) if value
            }
    facts["entities"] = _count(source, re.compile(rb"^\s*#\d+\s*=", re.MULTILINE))
    if str(facts.get("schema", "")).upper().startswith("IFC"):
        advice = "ifcopenshell reads it: import ifcopenshell, then open load_file(..., as_='path')."
    else:
        advice = "cadquery or build123d (OpenCASCADE) read it; FreeCAD converts it to a mesh."
    return source_info(source, facts, advice)


def _count(source: Source, mark: re.Pattern[bytes]) -> int:
    """Count lines that begin with a mark, a block at a time."""
    count = 0
    with source.open() as file:
        while lines := file.readlines(1 << 22):
            count += sum(mark.match(line) is not None for line in lines)
    return count


_IGES_FIELDS = {
    2: "product",
    3: "file name",
    4: "system",
    5: "preprocessor",
    17: "written",
    20: "author",
    21: "organisation",
}


def load_iges(source: Source) -> FileInfo:
    """Tell what the global section of an IGES file says, and how many entities there are."""
    start: list[str] = []
    entries: list[str] = []
    entities = 0
    with source.open() as file:
        while lines := file.readlines(1 << 22):
            for raw in lines:
                section = raw[72:73]
                if section == b"S":
                    start.append(raw[:72].decode("latin-1").strip())
                elif section == b"G" and len(entries) < 100:
                    entries.append(raw[:72].decode("latin-1"))
                elif section == b"D":
                    entities += 1
    facts: dict[str, object] = {}
    if any(start):
        facts["description"] = " ".join(start)[:300].strip()
    for number, value in enumerate(_hollerith("".join(entries))):
        if value and number in _IGES_FIELDS:
            facts[_IGES_FIELDS[number]] = value
    facts["entities"] = entities // 2
    return source_info(source, facts, "FreeCAD or cadquery (OpenCASCADE) read it.")


def _hollerith(text: str) -> list[str]:
    """Split a global section: strings are written as their length, an H, and themselves."""
    values: list[str] = []
    place = 0
    while place < len(text) and len(values) < 40:
        if text[place] in ",;":
            values.append("")
            place += 1
            continue
        found = re.compile(r"\s*(\d{1,5})H").match(text, place)
        if found:
            end = found.end() + int(found[1])
            values.append(text[found.end() : end])
        else:
            end = next((i for i in range(place, len(text)) if text[i] in ",;"), len(text))
            values.append(text[place:end].strip())
        place = end + 1
    return values


def load_zip_info(source: Source) -> FileInfo:
    """Tell what is in a format that is a zip."""
    with source.open() as file, zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    return source_info(source, {"members": len(names), "first": ", ".join(names[:5])})


# -- versions in headers --------------------------------------------------------------------------

_DWG_RELEASES = {
    "AC1002": "2.5",
    "AC1003": "2.6",
    "AC1004": "9",
    "AC1006": "10",
    "AC1009": "11 or 12",
    "AC1012": "13",
    "AC1014": "14",
    "AC1015": "2000",
    "AC1018": "2004",
    "AC1021": "2007",
    "AC1024": "2010",
    "AC1027": "2013",
    "AC1032": "2018",
}


def _dwg(head: bytes) -> dict[str, object]:
    version = head[:6].decode("latin-1")
    release = _DWG_RELEASES.get(version)
    return {"version": version, **({"AutoCAD": release} if release else {})}


def _fbx(head: bytes) -> dict[str, object]:
    (version,) = struct.unpack_from("<I", head, 23)
    return {"version": f"{version // 1000}.{version % 1000 // 100}"}


def _blend(head: bytes) -> dict[str, object]:
    found = re.match(rb"BLENDER([-_])([vV])(\d+)", head)
    if found is None:
        found = re.match(rb"BLENDER(\d\d)([-_])(\d\d)([vV])(\d+)", head)
        return {} if found is None else {"version": _blender(found[5]), "pointers": "64 bit"}
    return {
        "version": _blender(found[3]),
        "pointers": "64 bit" if found[1] == b"-" else "32 bit",
        "byte order": "little" if found[2] == b"v" else "big",
    }


def _blender(digits: bytes) -> str:
    number = int(digits)
    return f"{number // 100}.{number % 100}"


def _skp(head: bytes) -> dict[str, object]:
    # A second text, its length before it, holds the version in braces.
    length = head[35] if len(head) > 35 else 0
    return {"version": head[36 : 36 + 2 * length].decode("utf-16-le", errors="replace").strip("{}")}


def _ctm(head: bytes) -> dict[str, object]:
    version, method, vertices, triangles = struct.unpack_from("<I4sII", head, 4)
    return {
        "version": version,
        "method": method.decode("latin-1").rstrip("\0"),
        "vertices": vertices,
        "triangles": triangles,
    }


def _rhino(head: bytes) -> dict[str, object]:
    return {"version": head[24:32].decode("latin-1").strip()}


def _jt(head: bytes) -> dict[str, object]:
    found = re.match(rb"Version (\d+\.\d+)", head)
    return {} if found is None else {"version": found[1].decode()}


def _usdc(head: bytes) -> dict[str, object]:
    return {"version": ".".join(str(byte) for byte in head[8:11])}


def _cadkey(head: bytes) -> dict[str, object]:
    found = re.search(rb"(\d{12})([\x20-\x7e]{0,80})", head[:200])
    if found is None:
        return {}
    return {"written": found[1].decode(), "description": found[2].decode().strip()}


def _quake(head: bytes) -> dict[str, object]:
    if head.startswith(b"IDP2"):
        vertices, _, triangles, _, frames = struct.unpack_from("<5I", head, 24)
        return {"vertices": vertices, "triangles": triangles, "frames": frames}
    return {"version": struct.unpack_from("<I", head, 4)[0]}


_HEADERS = {
    b"AC": (_dwg, "The free ODA File Converter makes DXF of it, which load_file reads."),
    b"Kaydara FBX": (_fbx, "Blender or Autodesk's FBX converter make glTF or OBJ of it."),
    b"BLENDER": (_blend, "Blender opens it; export glTF or OBJ from there."),
    b"\xff\xfe\xff\x0e": (_skp, "SketchUp exports COLLADA or STL of it."),
    b"OCTM": (_ctm, "MeshLab converts it to PLY or STL."),
    b"3D Geometry File Format": (_rhino, "The package rhino3dm reads it."),
    b"Version ": (_jt, "Siemens' JT2Go shows it."),
    b"PXR-USDC": (_usdc, "The package usd-core reads it."),
    b"\xa5\x0f\xf0\x5a": (_cadkey, "CADKEY or KeyCreator export STEP or IGES of it."),
    b"IDP": (_quake, "Blender imports it."),
}


def load_cad_info(source: Source) -> FileInfo:
    """Tell what the header of a format says that nothing here reads."""
    for mark, (read, advice) in _HEADERS.items():
        if source.head.startswith(mark):
            try:
                return source_info(source, read(source.head), advice)
            except (struct.error, ValueError) as error:
                raise FileLoadError(
                    source.name, "cut off in its header", reason=str(error)
                ) from error
    if source.head.startswith(b"\xd0\xcf\x11\xe0"):
        advice = "The program that made it can export STEP, IGES or STL."
        return source_info(source, {"container": "OLE compound file"}, advice)
    return source_info(source)
