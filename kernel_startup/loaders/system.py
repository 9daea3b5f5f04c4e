"""Programs, and files of operating systems: named with what their headers tell; some are read."""

import re
import struct
from typing import Any

from kernel_startup.errors import FileLoadError
from kernel_startup.fileinfo import FileInfo
from kernel_startup.loaders.described import source_info
from kernel_startup.source import Source

# -- programs ------------------------------------------------------------------------------------

_PE_MACHINES = {
    0x014C: "x86",
    0x8664: "x86-64",
    0x01C0: "ARM",
    0x01C4: "ARM Thumb-2",
    0xAA64: "ARM64",
    0x0200: "Itanium",
    0x5032: "RISC-V 32",
    0x5064: "RISC-V 64",
    0x0EBC: "EFI byte code",
}
_SUBSYSTEMS = {1: "native", 2: "windows", 3: "console", 9: "Windows CE", 10: "EFI", 11: "EFI"}


def load_windows_program(source: Source) -> FileInfo:
    """Say what a Windows program's header tells.

    Source: Microsoft's PE format, and what came before it.
    """
    head = source.head
    facts: dict[str, object] = {}
    (place,) = struct.unpack_from("<I", head, 60)
    mark = head[place : place + 2]
    if mark != b"PE":
        facts["format"] = {b"NE": "16-bit Windows", b"LE": "VxD", b"LX": "OS/2"}.get(mark, "DOS")
        return source_info(source, facts)
    if len(head) < place + 96:
        return source_info(source, {"damaged": True})
    machine, sections, time, _, _, _, flags = struct.unpack_from("<HHIIIHH", head, place + 4)
    (kind,) = struct.unpack_from("<H", head, place + 24)
    (subsystem,) = struct.unpack_from("<H", head, place + 24 + 68)
    facts["machine"] = _PE_MACHINES.get(machine, hex(machine))
    facts["bits"] = {0x10B: 32, 0x20B: 64}.get(kind, 0)
    facts["kind"] = "library" if flags & 0x2000 else "program"
    facts["subsystem"] = _SUBSYSTEMS.get(subsystem, str(subsystem))
    facts["sections"] = sections
    facts["timestamp"] = time
    table = place + 24 + (208 if kind == 0x10B else 224)
    if len(head) >= table + 8:
        facts["is_dotnet"] = struct.unpack_from("<I", head, table)[0] != 0
    return source_info(source, facts, "pefile takes it apart.")


_ELF_MACHINES = {
    2: "SPARC",
    3: "x86",
    4: "68000",
    8: "MIPS",
    20: "PowerPC",
    21: "PowerPC 64",
    22: "S390",
    40: "ARM",
    42: "SuperH",
    43: "SPARC V9",
    50: "Itanium",
    62: "x86-64",
    83: "AVR",
    183: "ARM64",
    243: "RISC-V",
    247: "BPF",
    258: "LoongArch",
}
_ELF_KINDS = {1: "object", 2: "program", 3: "shared object", 4: "core dump"}


def load_elf(source: Source) -> FileInfo:
    """Say what an ELF file's header tells."""
    head = source.head
    order = ">" if head[5:6] == b"\2" else "<"
    kind, machine = struct.unpack_from(f"{order}HH", head, 16)
    facts: dict[str, object] = {
        "machine": _ELF_MACHINES.get(machine, str(machine)),
        "bits": {1: 32, 2: 64}.get(head[4], 0),
        "byte order": "big" if order == ">" else "little",
        "kind": _ELF_KINDS.get(kind, str(kind)),
    }
    return source_info(source, facts, "pyelftools takes it apart.")


_MACH_CPUS = {
    7: "x86",
    0x01000007: "x86-64",
    12: "ARM",
    0x0100000C: "ARM64",
    18: "PowerPC",
    0x01000012: "PowerPC 64",
}
_MACH_KINDS = {
    1: "object",
    2: "program",
    4: "core dump",
    6: "dynamic library",
    8: "bundle",
    9: "library stub",
    10: "debug symbols",
    11: "kernel extension",
}


def load_macho(source: Source) -> FileInfo:
    """Say what a Mach-O file's header tells."""
    head = source.head
    magic = head[:4]
    if magic in (b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf"):
        (count,) = struct.unpack_from(">I", head, 4)
        size = 32 if magic[3] == 0xBF else 20
        cpus = [
            struct.unpack_from(">I", head, 8 + size * index)[0] for index in range(min(count, 20))
        ]
        machines = ", ".join(_MACH_CPUS.get(cpu, hex(cpu)) for cpu in cpus)
        return source_info(source, {"machines": machines}, "macholib takes it apart.")
    order = ">" if magic[:2] == b"\xfe\xed" else "<"
    cpu, _, kind = struct.unpack_from(f"{order}III", head, 4)
    facts: dict[str, object] = {
        "machine": _MACH_CPUS.get(cpu, hex(cpu)),
        "bits": 64 if cpu & 0x01000000 else 32,
        "kind": _MACH_KINDS.get(kind, str(kind)),
    }
    return source_info(source, facts, "macholib takes it apart.")


def load_java_class(source: Source) -> FileInfo:
    """Say which Java a class is for."""
    minor, major = struct.unpack_from(">HH", source.head, 4)
    java = f"1.{major - 44}" if major < 49 else str(major - 44)
    return source_info(source, {"java": java, "version": f"{major}.{minor}"}, "javap shows it.")


def load_dex(source: Source) -> FileInfo:
    """Count the classes of Android byte code."""
    facts: dict[str, object] = {"version": source.head[4:7].decode("latin-1")}
    if len(source.head) >= 112:
        (facts["strings"],) = struct.unpack_from("<I", source.head, 56)
        (facts["methods"],) = struct.unpack_from("<I", source.head, 88)
        (facts["classes"],) = struct.unpack_from("<I", source.head, 96)
    return source_info(source, facts, "androguard or jadx shows it.")


_PYTHONS = (
    (3000, "3.0"),
    (3140, "3.1"),
    (3160, "3.2"),
    (3190, "3.3"),
    (3250, "3.4"),
    (3320, "3.5"),
    (3360, "3.6"),
    (3390, "3.7"),
    (3400, "3.8"),
    (3420, "3.9"),
    (3430, "3.10"),
    (3450, "3.11"),
    (3500, "3.12"),
    (3550, "3.13"),
    (3600, "3.14"),
    (3650, "3.15"),
    (3700, "after 3.15"),
)


def load_pyc(source: Source) -> FileInfo:
    """Say which Python compiled it. It isn't unmarshalled: that is for trusted files only."""
    number = int.from_bytes(source.head[:2], "little")
    version = [name for first, name in _PYTHONS if number >= first][-1]
    facts: dict[str, object] = {"python": version, "magic": number}
    return source_info(source, facts, "marshal and dis show it, if you trust it.")


_WASM_SECTIONS = (
    *("custom", "type", "import", "function", "table", "memory", "global", "export"),
    *("start", "element", "code", "data", "data count"),
)


def load_wasm(source: Source) -> FileInfo:
    """Say what sections a WebAssembly module has."""
    head = source.head
    facts: dict[str, object] = {"version": int.from_bytes(head[4:8], "little")}
    names: list[str] = []
    place = 8
    while place < len(head) and len(names) < 50:
        kind = head[place]
        size, place = _varint(head, place + 1)
        names.append(_WASM_SECTIONS[kind] if kind < len(_WASM_SECTIONS) else str(kind))
        place += size
    facts["sections"] = names
    return source_info(source, facts, "wasmtime runs it, wasm2wat shows it.")


def _varint(content: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(content) and shift < 35:
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
    return value, place


# -- Windows -------------------------------------------------------------------------------------


def load_shortcut(source: Source) -> FileInfo:
    """Say where a Windows shortcut leads. Source: [MS-SHLLINK] 2.1 to 2.4."""
    content = source.read()[: 1 << 20]
    facts: dict[str, object] = {}
    try:
        (flags,) = struct.unpack_from("<I", content, 20)
        (facts["target_bytes"],) = struct.unpack_from("<I", content, 52)
        place = 76
        if flags & 1:
            place += 2 + struct.unpack_from("<H", content, place)[0]
        if flags & 2:
            size = struct.unpack_from("<I", content, place)[0]
            if target := _link_target(content[place : place + size]):
                facts["target"] = target
            place += size
        names = ("description", "relative path", "working directory", "arguments", "icon")
        for bit, name in enumerate(names, start=2):
            if flags & 1 << bit:
                (count,) = struct.unpack_from("<H", content, place)
                size = count * 2 if flags & 0x80 else count
                text = content[place + 2 : place + 2 + size]
                facts[name] = text.decode("utf-16-le" if flags & 0x80 else "cp1252", "replace")
                place += 2 + size
    except struct.error:
        facts["damaged"] = True
    return source_info(source, facts)


def _link_target(info: bytes) -> str:
    _, header, flags, _, local, _, suffix = struct.unpack_from("<7I", info, 0)
    if header >= 36:
        wide_local, wide_suffix = struct.unpack_from("<II", info, 28)
        start = _wide(info, wide_local) if flags & 1 else ""
        return start + _wide(info, wide_suffix)
    start = _narrow(info, local) if flags & 1 else ""
    return start + _narrow(info, suffix)


def _narrow(info: bytes, place: int) -> str:
    return info[place : place + 1000].split(b"\0")[0].decode("cp1252", "replace")


def _wide(info: bytes, place: int) -> str:
    return info[place : place + 2000].decode("utf-16-le", "replace").split("\0")[0]


def load_url_shortcut(source: Source) -> Any:
    """Read where an Internet shortcut leads: a dict of what is in it."""
    text = source.read()[: 1 << 20].decode("utf-8", "replace")
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            found.setdefault(name.strip(), value.strip())
    return found


def load_event_log(source: Source) -> FileInfo:
    """Say what a Windows event log's header tells."""
    facts: dict[str, object] = {}
    if len(source.head) >= 48:
        (facts["chunks"],) = struct.unpack_from("<H", source.head, 42)
        (facts["next record"],) = struct.unpack_from("<Q", source.head, 24)
    return source_info(source, facts, "evtx_dump (of the Rust crate evtx) turns it into JSON.")


def load_hive(source: Source) -> FileInfo:
    """Say what a Windows registry hive's header tells."""
    head = source.head
    facts: dict[str, object] = {}
    if len(head) >= 112:
        major, minor = struct.unpack_from("<II", head, 20)
        facts["version"] = f"{major}.{minor}"
        facts["file name"] = head[48:112].decode("utf-16-le", "replace").split("\0")[0]
    return source_info(source, facts, "regipy or python-registry reads it.")


def load_prefetch(source: Source) -> FileInfo:
    """Say which program a Windows prefetch file is about."""
    head = source.head
    facts: dict[str, object] = {}
    if head.startswith(b"MAM"):
        facts["compressed"] = True
    elif len(head) >= 80:
        (facts["version"],) = struct.unpack_from("<I", head, 0)
        facts["program"] = head[16:76].decode("utf-16-le", "replace").split("\0")[0]
    return source_info(source, facts)


def load_minidump(source: Source) -> FileInfo:
    """Say what a Windows crash dump's header tells."""
    facts: dict[str, object] = {}
    if source.head.startswith(b"MDMP") and len(source.head) >= 32:
        _, streams, _, _, time = struct.unpack_from("<5I", source.head, 4)
        facts = {"streams": streams, "timestamp": time}
    return source_info(source, facts, "WinDbg or the minidump package reads it.")


def load_installer(source: Source) -> FileInfo:
    """Say what a Windows installer says of itself."""
    from kernel_startup.loaders.ole import open_ole, read_properties

    ole = open_ole(source.open(), source.name, "a Windows installer")
    return source_info(source, read_properties(ole), "msitools or 7-Zip unpacks it.")


# -- others --------------------------------------------------------------------------------------


def load_provisioning(source: Source) -> Any:
    """Read what an Apple provisioning profile allows: a dict; its signature isn't checked."""
    import plistlib

    content = source.read()
    start, end = content.find(b"<?xml"), content.rfind(b"</plist>")
    if start < 0 or end < 0:
        raise FileLoadError(source.name, "an Apple provisioning profile without its list")
    return plistlib.loads(content[start : end + 8], fmt=plistlib.FMT_XML)


def load_git_index(source: Source) -> Any:
    """List the files of a git index: a DataFrame of path, mode, size and hash.

    Source: git's documentation of index-format.
    """
    import pandas as pd

    content = source.read()
    version, count = struct.unpack_from(">II", content, 4)
    rows = []
    place = 12
    path = b""
    for _ in range(min(count, len(content) // 62)):
        if place + 62 > len(content):
            break
        mode, _, _, size = struct.unpack_from(">4I", content, place + 24)
        (flags,) = struct.unpack_from(">H", content, place + 60)
        start = place + 62 + (2 if version >= 3 and flags & 0x4000 else 0)
        if version == 4:
            strip, start = _offset(content, start)
            end = content.find(b"\0", start)
            path = path[: max(len(path) - strip, 0)] + content[start : max(end, start)]
            following = end + 1
        else:
            end = content.find(b"\0", start)
            path = content[start : max(end, start)]
            following = place + (end - place) // 8 * 8 + 8
        if end < 0 or len(path) > 10_000:
            break
        digest = content[place + 40 : place + 60].hex()
        rows.append((path.decode("utf-8", "replace"), oct(mode), size, digest))
        place = following
    if len(rows) < count:
        source.note(f"{source.name!r} is cut off: {len(rows):,} of {count:,} files could be read.")
    return pd.DataFrame(rows, columns=["path", "mode", "size", "hash"])


def _offset(content: bytes, place: int) -> tuple[int, int]:
    value = content[place] & 0x7F
    while content[place] & 0x80 and value < 1 << 20:
        place += 1
        value = (value + 1) << 7 | content[place] & 0x7F
    return value, place + 1


def load_git_pack(source: Source) -> FileInfo:
    """Count the objects of a git pack or of its index."""
    head = source.head
    facts: dict[str, object] = {}
    if head.startswith(b"PACK"):
        facts["version"], facts["objects"] = struct.unpack_from(">II", head, 4)
    elif len(head) >= 1032:
        (facts["objects"],) = struct.unpack_from(">I", head, 1028)
    return source_info(source, facts, "git index-pack and git show-index read it.")


def load_git_bundle(source: Source) -> FileInfo:
    """Name the branches in a git bundle."""
    lines = source.head.split(b"\n\n")[0].decode("utf-8", "replace").splitlines()[1:]
    found = [m.group(1) for line in lines if (m := re.match(r"[0-9a-f]{40,64} (.{1,300})", line))]
    return source_info(source, {"references": found}, "git clone reads it.")
