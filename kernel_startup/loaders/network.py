"""Network captures, web archives, certificates and keys."""

import re
import struct
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from kernel_startup.errors import FileLoadError
from kernel_startup.fileinfo import FileInfo
from kernel_startup.loaders.described import source_info
from kernel_startup.source import Source

# -- captures ------------------------------------------------------------------------------------

#: No network has packets as large as this; a capture that says so is damaged.
_MAX_PACKET_BYTES = 64 * 1024 * 1024
_HEAD_BYTES = 256  # of a packet, in which its addresses are
_PROTOCOLS = {
    1: "ICMP",
    2: "IGMP",
    4: "IPIP",
    6: "TCP",
    17: "UDP",
    41: "IPv6",
    47: "GRE",
    50: "ESP",
    51: "AH",
    58: "ICMPv6",
    89: "OSPF",
    112: "VRRP",
    132: "SCTP",
}
_COLUMNS = ("time", "length", "protocol", "src", "dst", "src_port", "dst_port", "info")


def load_pcap(source: Source, *, nrows: int | None = None, payload: bool = False) -> Any:
    """Read a capture: a row for each packet.

    Args:
        nrows: Read no more packets than this.
        payload: Add a column of the packets' bytes.
    """
    with source.open() as file:
        magic = file.read(4)
        file.seek(0)
        if magic == b"\x0a\x0d\x0d\x0a":
            packets = _pcapng_packets(file)
        elif magic == b"snoo":
            packets = _snoop_packets(file)
        else:
            packets = _pcap_packets(file)
        return _packet_table(source, packets, nrows, payload)


Packet = tuple[int, int, int, bytes]
"""Time in nanoseconds since 1970, length on the wire, kind of link, bytes as captured."""


def _packet_table(
    source: Source, packets: Iterator[Packet], nrows: int | None, payload: bool
) -> Any:
    import numpy as np
    import pandas as pd

    columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    times: list[int] = []
    contents: list[bytes] = []
    kept = 0
    try:
        for time, length, link, content in packets:
            if nrows is not None and len(times) >= nrows:
                break
            times.append(time)
            columns["length"].append(length)
            told = _dissect(link, content[:_HEAD_BYTES])
            for name, value in zip(_COLUMNS[2:], told, strict=True):
                columns[name].append(value)
            if payload:
                kept += len(content)
                if kept > 512 * 1024 * 1024:
                    raise _CutOff("its payload is larger than 512 MiB: nrows= reads a part")
                contents.append(content)
    except (_CutOff, struct.error) as error:
        if not times:
            raise FileLoadError(
                source.name, "a network capture that is cut off or damaged", reason=str(error)
            ) from error
        source.note(f"{source.name!r} is cut off or damaged after {len(times):,} packets: {error}.")
        if payload:
            contents += [b""] * (len(times) - len(contents))
    columns["time"] = np.array(times, dtype="int64").view("datetime64[ns]")  # type: ignore[assignment]
    table = pd.DataFrame(columns, columns=list(_COLUMNS))
    for name in ("src_port", "dst_port"):
        table[name] = table[name].astype("UInt16")
    if payload:
        table["payload"] = contents
    return table


class _CutOff(ValueError):
    pass


def _exactly(file: BinaryIO, size: int) -> bytes:
    if size > _MAX_PACKET_BYTES:
        raise _CutOff(f"a packet claims to have {size:,} bytes")
    content = file.read(size)
    if len(content) < size:
        raise _CutOff("it ends within a packet")
    return content


def _pcap_packets(file: BinaryIO) -> Iterator[Packet]:
    """Source: the IETF's draft-ietf-opsawg-pcap."""
    header = _exactly(file, 24)
    order = (
        "<"
        if header[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1", b"\x34\xcd\xb2\xa1")
        else ">"
    )
    scale = 1 if header[:4] in (b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d") else 1000
    is_modified = header[:4] in (b"\x34\xcd\xb2\xa1", b"\xa1\xb2\xcd\x34")
    (link,) = struct.unpack_from(f"{order}I", header, 20)
    while head := file.read(16):
        if len(head) < 16:
            raise _CutOff("it ends within a packet")
        seconds, fraction, captured, length = struct.unpack(f"{order}4I", head)
        if is_modified:
            _exactly(file, 8)
        time = seconds * 1_000_000_000 + fraction * scale
        yield time, length, link & 0xFFFF, _exactly(file, captured)


def _snoop_packets(file: BinaryIO) -> Iterator[Packet]:
    """Source: RFC 1761."""
    (link,) = struct.unpack_from(">I", _exactly(file, 16), 12)
    while head := file.read(24):
        if len(head) < 24:
            raise _CutOff("it ends within a packet")
        length, captured, record, _, seconds, micros = struct.unpack(">6I", head)
        if record < 24 + captured:
            raise _CutOff("a packet's sizes contradict each other")
        content = _exactly(file, record - 24)
        time = seconds * 1_000_000_000 + micros * 1000
        yield time, length, 1 if link == 4 else -1, content[:captured]


def _pcapng_packets(file: BinaryIO) -> Iterator[Packet]:
    """Source: the IETF's draft-ietf-opsawg-pcapng."""
    order = "<"
    interfaces: list[tuple[int, int, int]] = []  # link, ticks a second, offset in seconds
    while head := file.read(8):
        if len(head) < 8:
            raise _CutOff("it ends within a block")
        if head[:4] == b"\x0a\x0d\x0d\x0a":
            mark = _exactly(file, 4)
            order = "<" if mark == b"\x4d\x3c\x2b\x1a" else ">"
            (size,) = struct.unpack(f"{order}I", head[4:])
            _exactly(file, max(size - 12, 0))
            interfaces = []
            continue
        kind, size = struct.unpack(f"{order}II", head)
        if size < 12:
            raise _CutOff("a block is smaller than it can be")
        body = _exactly(file, size - 8)[:-4]
        if kind == 1 and len(interfaces) < 10_000:
            interfaces.append(_interface(body, order))
        elif kind == 6 or kind == 2:
            number = "I" if kind == 6 else "HH"
            first, *_, high, low, captured, length = struct.unpack_from(
                f"{order}{number}IIII", body
            )
            link, ticks, offset = interfaces[first] if first < len(interfaces) else (-1, 10**6, 0)
            time = offset * 10**9 + ((high << 32 | low) * 10**9) // ticks
            yield _in_range(time), length, link, body[20 : 20 + captured]
        elif kind == 3:
            (length,) = struct.unpack_from(f"{order}I", body)
            link = interfaces[0][0] if interfaces else -1
            yield 0, length, link, body[4 : 4 + length]


def _in_range(time: int) -> int:
    return time if time < 1 << 62 else 0


def _interface(body: bytes, order: str) -> tuple[int, int, int]:
    (link,) = struct.unpack_from(f"{order}H", body)
    ticks, offset = 10**6, 0
    place = 8
    while place + 4 <= len(body):
        code, size = struct.unpack_from(f"{order}HH", body, place)
        if code == 0:
            break
        value = body[place + 4 : place + 4 + size]
        if code == 9 and value:
            exponent = min(value[0] & 0x7F, 60)
            ticks = 2**exponent if value[0] & 0x80 else 10 ** min(exponent, 18)
        elif code == 14 and len(value) == 8:
            (offset,) = struct.unpack(f"{order}q", value)
            offset = offset if abs(offset) < 1 << 33 else 0
        place += 4 + size + -size % 4
    return link, ticks, offset


Told = tuple[str, str, str, int | None, int | None, str]
"""Protocol, source, destination, their ports, and a word on what it is."""


def _dissect(link: int, packet: bytes) -> Told:
    try:
        return _link_layer(link, packet)
    except (struct.error, IndexError):
        return "", "", "", None, None, ""


def _link_layer(link: int, packet: bytes) -> Told:
    if link == 1:
        return _ether(packet[12:14], packet[14:], _mac(packet[6:12]), _mac(packet[0:6]))
    if link == 113:  # Linux, any interface
        return _ether(packet[14:16], packet[16:], "", "")
    if link == 276:
        return _ether(packet[0:2], packet[20:], "", "")
    if link in (12, 14, 101, 228, 229):
        return _network(packet)
    if link in (0, 108):  # loopback: a family, in the order of the machine
        return _network(packet[4:])
    if link == 9:
        return _network(packet[4 if packet[:2] == b"\xff\x03" else 2 :])
    names = {105: "802.11", 127: "802.11", 119: "802.11", 187: "Bluetooth", 189: "USB", 220: "USB"}
    return names.get(link, f"link {link}"), "", "", None, None, ""


def _ether(kind: bytes, rest: bytes, src: str, dst: str) -> Told:
    (number,) = struct.unpack(">H", kind)
    for _ in range(3):
        if number not in (0x8100, 0x88A8, 0x9100):
            break
        (number,) = struct.unpack_from(">H", rest, 2)
        rest = rest[4:]
    if number == 0x8864:  # PPPoE
        number, rest = (
            {0x21: 0x0800, 0x57: 0x86DD}.get(struct.unpack_from(">H", rest, 6)[0], 0x8864),
            rest[8:],
        )
    if number in (0x0800, 0x86DD):
        return _network(rest)
    if number == 0x0806 and len(rest) >= 28:
        kinds = {1: "request", 2: "reply"}
        info = kinds.get(struct.unpack_from(">H", rest, 6)[0], "")
        return "ARP", _ip4(rest[14:18]), _ip4(rest[24:28]), None, None, info
    names = {0x88CC: "LLDP", 0x888E: "EAPOL", 0x8847: "MPLS", 0x8863: "PPPoE", 0x8864: "PPPoE"}
    if number < 0x0600:
        return ("STP" if rest[:2] == b"\x42\x42" else "LLC"), src, dst, None, None, ""
    return names.get(number, f"0x{number:04x}"), src, dst, None, None, ""


def _network(packet: bytes) -> Told:
    version = packet[0] >> 4
    if version == 4:
        protocol, src, dst = packet[9], _ip4(packet[12:16]), _ip4(packet[16:20])
        (fragment,) = struct.unpack_from(">H", packet, 6)
        rest = packet[(packet[0] & 15) * 4 :]
        if fragment & 0x1FFF:
            return _PROTOCOLS.get(protocol, f"IP {protocol}"), src, dst, None, None, "fragment"
    elif version == 6:
        protocol, src, dst = packet[6], _ip6(packet[8:24]), _ip6(packet[24:40])
        rest = packet[40:]
        for _ in range(8):
            if protocol not in (0, 43, 60):
                break
            protocol, size = rest[0], (rest[1] + 1) * 8
            rest = rest[size:]
    else:
        return "", "", "", None, None, ""
    name = _PROTOCOLS.get(protocol, f"IP {protocol}")
    if protocol in (6, 17, 132) and len(rest) >= 4:
        src_port, dst_port = struct.unpack_from(">HH", rest)
        info = _flags(rest[13]) if protocol == 6 and len(rest) > 13 else ""
        return name, src, dst, src_port, dst_port, info
    return name, src, dst, None, None, ""


def _flags(byte: int) -> str:
    names = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
    return " ".join(name for bit, name in enumerate(names) if byte & 1 << bit)


def _mac(raw: bytes) -> str:
    return raw.hex(":")


def _ip4(raw: bytes) -> str:
    return ".".join(map(str, raw))


def _ip6(raw: bytes) -> str:
    import ipaddress

    return str(ipaddress.IPv6Address(raw)) if len(raw) == 16 else ""


# -- web archives --------------------------------------------------------------------------------

_MAX_KEPT_BYTES = 256 * 1024 * 1024


def load_warc(source: Source, *, nrows: int | None = None, payload: bool = True) -> Any:
    """Read a web archive (WARC): a row for each record.

    Args:
        nrows: Read no more records than this.
        payload: Have a column of what was sent, as bytes, without HTTP's headers.
    """
    return _record_table(source, _warc_records, nrows, payload)


def load_arc(source: Source, *, nrows: int | None = None, payload: bool = True) -> Any:
    """Read a web archive of the Internet Archive's old kind (ARC): a row for each record.

    Args:
        nrows: Read no more records than this.
        payload: Have a column of what was sent, as bytes, without HTTP's headers.
    """
    return _record_table(source, _arc_records, nrows, payload)


def _record_table(
    source: Source,
    read: Callable[[BinaryIO], Iterator[dict[str, Any]]],
    nrows: int | None,
    payload: bool,
) -> Any:
    import pandas as pd

    if not source.head:
        raise FileLoadError(source.name, "an empty file")
    rows: list[dict[str, Any]] = []
    kept = 0
    with source.open() as file:
        try:
            for record in read(file):
                if nrows is not None and len(rows) >= nrows:
                    break
                content = record.pop("payload")
                if payload:
                    kept += len(content)
                    record["payload"] = content if kept <= _MAX_KEPT_BYTES else None
                rows.append(record)
        except _CutOff as error:
            if not rows:
                raise FileLoadError(
                    source.name, "a web archive that is cut off or damaged", reason=str(error)
                ) from error
            source.note(
                f"{source.name!r} is cut off or damaged after {len(rows):,} records: {error}."
            )
    if payload and kept > _MAX_KEPT_BYTES:
        source.note(
            f"{source.name!r} holds more than {_MAX_KEPT_BYTES >> 20} MiB: the records after "
            "that have no payload. nrows= reads a part, payload=False leaves it out."
        )
    table = pd.DataFrame(rows)
    if "date" in table:
        table["date"] = pd.to_datetime(table["date"], utc=True, errors="coerce", format="ISO8601")
    if "status" in table:
        table["status"] = table["status"].astype("Int64")
    return table


def _warc_records(file: BinaryIO) -> Iterator[dict[str, Any]]:
    """Source: ISO 28500."""
    while True:
        line = file.readline(65_536)
        if not line:
            return
        if not line.strip():
            continue
        if not line.startswith(b"WARC/"):
            raise _CutOff("a record doesn't begin as one")
        fields = _fields(file)
        size = fields.get("content-length", "")
        if not size.isdecimal() or len(size) > 15:
            raise _CutOff("a record doesn't say how long it is")
        content = _record(file, int(size))
        kind = fields.get("warc-type", "")
        content_type, status, body = fields.get("content-type", ""), None, content
        if content_type.startswith("application/http") and kind in ("response", "revisit"):
            status, content_type, body = _http(content)
        yield {
            "type": kind,
            "url": fields.get("warc-target-uri", "").strip("<>"),
            "date": fields.get("warc-date"),
            "status": status,
            "content_type": content_type,
            "length": len(content),
            "id": fields.get("warc-record-id", "").strip("<>"),
            "payload": body,
        }


def _arc_records(file: BinaryIO) -> Iterator[dict[str, Any]]:
    """Source: the Internet Archive's description of ARC 1.0: a line of five words, then bytes."""
    while True:
        line = file.readline(65_536)
        if not line:
            return
        if not line.strip():
            continue
        words = line.decode("latin-1").split()
        if len(words) < 5 or not words[-1].isdecimal() or len(words[-1]) > 15:
            raise _CutOff("a record doesn't begin as one")
        content = _record(file, int(words[-1]))
        is_http = content.startswith(b"HTTP/")
        status, kind, body = _http(content) if is_http else (None, words[3], content)
        date = words[2]
        yield {
            "type": "filedesc" if line.startswith(b"filedesc:") else "response",
            "url": words[0],
            "date": f"{date[:4]}-{date[4:6]}-{date[6:8]}T{date[8:10]}:{date[10:12]}:{date[12:14]}Z",
            "status": status,
            "content_type": kind or words[3],
            "length": len(content),
            "ip": words[1],
            "payload": body,
        }


def _record(file: BinaryIO, size: int) -> bytes:
    if size > _MAX_KEPT_BYTES:
        raise _CutOff(f"a record claims to have {size:,} bytes")
    content = file.read(size)
    if len(content) < size:
        raise _CutOff("it ends within a record")
    return content


def _fields(file: BinaryIO) -> dict[str, str]:
    fields: dict[str, str] = {}
    for _ in range(1000):
        line = file.readline(65_536)
        if not line.strip():
            return fields
        name, _, value = line.decode("utf-8", "replace").partition(":")
        fields[name.strip().lower()] = value.strip()
    raise _CutOff("a record's header has no end")


def _http(content: bytes) -> tuple[int | None, str, bytes]:
    head, _, body = content.partition(b"\r\n\r\n")
    if not body and b"\n\n" in content:
        head, _, body = content.partition(b"\n\n")
    status = re.match(rb"HTTP/[\d.]{1,5} (\d{3})", head)
    kind = re.search(rb"(?im)^content-type:[ \t]*+([^\r\n]{0,200})", head)
    return (
        int(status.group(1)) if status else None,
        kind.group(1).decode("latin-1").strip() if kind else "",
        body,
    )


# -- certificates and keys -----------------------------------------------------------------------

_MAX_PEM_BYTES = 64 * 1024 * 1024
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 #]{1,60})-----[^-]{0,5000000}-----END \1-----")


def load_pem(source: Source, *, password: str | None = None) -> Any:
    """Load what is in a PEM file: a certificate, a request, a key; a list if there are several."""
    content = _small(source)
    found = []
    for block in _PEM.finditer(content):
        found.append(_pem_object(source, block.group(1).decode(), block.group(0), password))
        if len(found) >= 10_000:
            break
    if not found:
        raise FileLoadError(
            source.name, "a PEM file that is cut off", reason="no block in it has an end"
        )
    return found[0] if len(found) == 1 else found


def _small(source: Source) -> bytes:
    if source.size_bytes > _MAX_PEM_BYTES:
        raise FileLoadError(source.name, "keys or certificates, but far too large for them")
    return source.read()


def _pem_object(source: Source, label: str, block: bytes, password: str | None) -> Any:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.serialization import pkcs7

    if label in ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"):
        block = re.sub(rb"(X509|TRUSTED) CERTIFICATE", b"CERTIFICATE", block)
        return x509.load_pem_x509_certificate(block)
    if label in ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"):
        return x509.load_pem_x509_csr(block)
    if label == "X509 CRL":
        return x509.load_pem_x509_crl(block)
    if label in ("PKCS7", "CMS"):
        return pkcs7.load_pem_pkcs7_certificates(block)
    if label == "DH PARAMETERS":
        return serialization.load_pem_parameters(block)
    if label.endswith("PUBLIC KEY"):
        return serialization.load_pem_public_key(block)
    secret = password.encode() if password is not None else None
    try:
        if label == "OPENSSH PRIVATE KEY":
            return serialization.load_ssh_private_key(block, secret)
        if label.endswith("PRIVATE KEY"):
            return serialization.load_pem_private_key(block, secret)
    except (TypeError, ValueError) as error:
        raise _key_error(source, error, password) from error
    return block


def _key_error(source: Source, error: Exception, password: str | None) -> FileLoadError:
    said = str(error)
    if "password" in said.lower() or "decrypt" in said.lower():
        given = "the password isn't right" if password else "it is protected by a password"
        return FileLoadError(
            source.name,
            "a private key",
            reason=given,
            remedy='With password="..." it opens',
        )
    return FileLoadError(source.name, "a private key", "cryptography", said)


def load_der(source: Source, *, password: str | None = None) -> Any:
    """Load a certificate, a request, a revocation list or a key, as bytes."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    content = _small(source)
    secret = password.encode() if password is not None else None
    ways: tuple[Callable[[bytes], Any], ...] = (
        x509.load_der_x509_certificate,
        x509.load_der_x509_csr,
        x509.load_der_x509_crl,
        serialization.load_der_public_key,
        lambda raw: serialization.load_der_private_key(raw, secret),
    )
    said = ""
    for way in ways:
        try:
            return way(content)
        except Exception as error:  # each of them names its own kind of wrong
            if "password" in str(error).lower():
                raise _key_error(source, error, password) from error
            said = said or str(error)
    raise FileLoadError(source.name, "a certificate or a key", "cryptography", said)


def load_pkcs12(source: Source, *, password: str | None = None) -> Any:
    """Open a store of a key and its certificates; without its password it is only named."""
    from cryptography.hazmat.primitives.serialization import pkcs12

    content = _small(source)
    for secret in (None, b"") if password is None else (password.encode(),):
        try:
            return pkcs12.load_pkcs12(content, secret)
        except ValueError as error:
            problem = error
    if password is not None:
        raise FileLoadError(
            source.name, "a PKCS #12 key store", "cryptography", str(problem),
            "The password may not be the right one",
        )  # fmt: skip
    facts: dict[str, object] = {"encrypted": True}
    return source_info(source, facts, 'load_file(..., password="...") opens it.')


def load_pkcs7(source: Source) -> Any:
    """Give the certificates of a PKCS #7 file; of a message that is signed, what it says of itself.

    A signed message's own content is `facts["content"]`.
    """
    content = _small(source)
    if content.startswith(b"-----BEGIN"):
        import base64

        inner = re.sub(rb"-----[^-]{1,80}-----|\s", b"", content)
        content = base64.b64decode(inner + b"=" * (-len(inner) % 4))
    facts = _signed_facts(content)
    if facts.get("content_bytes") == 0 and facts["kind"] == "signedData":
        try:
            from cryptography.hazmat.primitives.serialization import pkcs7

            if certificates := pkcs7.load_der_pkcs7_certificates(content):
                return certificates
        except Exception:  # a signature on its own has none, or has some that are malformed
            pass
    return source_info(source, facts, "openssl cms -verify checks it.")


_KINDS = {
    **{1: "data", 2: "signedData", 3: "envelopedData", 5: "digestedData", 6: "encryptedData"},
    **{9: "compressedData", 31: "timestampedData"},
}


def _signed_facts(content: bytes) -> dict[str, object]:
    from kernel_startup.checks.documents import _der

    try:
        _, place, _ = _der(content)
        _, start, end = _der(content, place)
        kind = _KINDS.get(content[end - 1], "unknown") if end > start else "unknown"
        facts: dict[str, object] = {"kind": kind, "content_bytes": 0}
        if kind != "signedData":
            return facts
        _, place, _ = _der(content, end)  # [0]
        _, place, _ = _der(content, place)  # SignedData
        for _step in range(2):  # version, digest algorithms
            _, _, place = _der(content, place)
        _, start, end = _der(content, place)  # what is signed: its kind, and perhaps itself
        _, _, after = _der(content, start)
        if after < (end if end >= 0 else len(content)) and content[after : after + 1] == b"\xa0":
            _, inner, _ = _der(content, after)
            tag, start, end = _der(content, inner)
            if tag == 0x04 and end > start:
                facts["content_bytes"] = min(end, len(content)) - start
                facts["content"] = content[start:end][: 16 * 1024 * 1024]
            else:
                facts["content_bytes"] = -1
        return facts
    except (IndexError, ValueError):
        return {"kind": "unknown", "damaged": True}


def load_ssh_public(source: Source) -> Any:
    """Read a list of SSH's public keys (id_rsa.pub, authorized_keys, known_hosts)."""
    import pandas as pd

    rows = []
    for line in source.read()[:_MAX_PEM_BYTES].decode("utf-8", "replace").splitlines():
        found = re.search(
            r"(?:^|\s)((?:ssh|ecdsa|sk)-[\w@.-]{2,80})\s+([A-Za-z0-9+/]{20,20000}={0,3})(.*)", line
        )
        if found and not line.startswith("#"):
            rows.append(
                {
                    "hosts": line[: found.start()].strip(),
                    "type": found.group(1),
                    "key": found.group(2),
                    "comment": found.group(3).strip(),
                }
            )
    return pd.DataFrame(rows, columns=["hosts", "type", "key", "comment"], dtype=object)


def load_armored(source: Source) -> FileInfo:
    """Say what is in an OpenPGP file that is text."""
    text = source.head.decode("latin-1")
    facts: dict[str, object] = {}
    if found := re.search(r"-----BEGIN PGP ([A-Z ,/0-9]{1,60})-----", text):
        facts["kind"] = found.group(1).lower()
    for name in ("Version", "Comment", "Hash"):
        if found := re.search(rf"(?m)^{name}: ([^\r\n]{{1,200}})", text):
            facts[name.lower()] = found.group(1)
    return source_info(source, facts, "GnuPG reads it.")


def load_keystore(source: Source) -> FileInfo:
    """Count the entries of a Java key store."""
    version, entries = struct.unpack_from(">II", source.head, 4)
    facts: dict[str, object] = {"version": version, "entries": entries}
    return source_info(source, facts, "keytool -list names them; pyjks reads it.")
