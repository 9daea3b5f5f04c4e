"""Attacks over the network: there is none but the kernel's own loopback."""

# ruff: noqa: E501 - lines of hostile code are left whole

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from interpreter import Session
from tests.attacks.conftest import Arena
from tests.attacks.hostile import ATTEMPT


def _listening_ports(name: str) -> set[int]:
    rows = [line.split() for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    states = {"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"}
    return {int(row[1].split(":")[1], 16) for row in rows if row[3] == states[name]}


@pytest.fixture
def host_sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP and a UDP socket of the host, on all of its addresses."""
    stream, packets = socket.create_server(("0.0.0.0", 0)), socket.socket(type=socket.SOCK_DGRAM)
    packets.bind(("0.0.0.0", 0))
    for opened in (stream, packets):
        opened.setblocking(False)
    yield stream, packets
    stream.close()
    packets.close()


def _host_addresses() -> list[str]:
    found = {"127.0.0.1", "127.0.0.53", "0.0.0.0"}
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
            found.add(probe.getsockname()[0])
        except OSError:
            pass
    return sorted(found)


async def test_nothing_that_listens_on_the_host_can_be_reached(
    arena: Arena, attacker: Session, host_sockets: tuple[socket.socket, socket.socket]
) -> None:
    stream, packets = host_sockets
    tcp = sorted(_listening_ports("tcp") | _listening_ports("tcp6"))
    udp = sorted(_listening_ports("udp") | {packets.getsockname()[1]})
    assert stream.getsockname()[1] in tcp
    result = await arena.attack(
        attacker,
        ATTEMPT + "import socket\n"
        f"addresses, tcp, udp = {_host_addresses()}, {tcp}, {udp}\n"
        "try:\n    own = {int(l.split()[1].split(':')[1], 16) for l in open('/proc/net/tcp').readlines()[1:]}\n"
        "except OSError:\n    own = set()\n"
        "reached, tried = [], 0\n"
        "def connect(address, port, family=socket.AF_INET):\n"
        "    with socket.socket(family) as s:\n        s.settimeout(2); s.connect((address, port))\n"
        "def fast_open(address, port):\n"
        "    with socket.socket() as s:\n        s.settimeout(2); s.sendto(b'x', 0x20000000, (address, port))\n"
        "def send(address, port):\n"
        "    with socket.socket(type=socket.SOCK_DGRAM) as s:\n        s.sendto(b'planted', (address, port))\n"
        "for address in addresses:\n"
        "    for port in tcp:\n"
        "        if port in own: continue\n"
        "        for way in (connect, fast_open):\n"
        "            tried += 1\n"
        "            if attempt(way, address, port) == 'done': reached.append((way.__name__, address, port))\n"
        "    for port in udp: attempt(send, address, port)\n"
        "for port in tcp:\n"
        "    for address in ('::1', '::ffff:127.0.0.1'):\n"
        "        if port not in own and attempt(connect, address, port, socket.AF_INET6) == 'done':\n"
        "            reached.append((address, port))\n"
        "print(tried > 0, reached)",
    )
    assert result.text == "True []\n"
    with pytest.raises(BlockingIOError):
        packets.recv(9)
    with pytest.raises(BlockingIOError):
        stream.accept()


async def test_outside_world_cannot_be_reached(arena: Arena, attacker: Session) -> None:
    result = await arena.attack(
        attacker,
        ATTEMPT + "import socket, subprocess, urllib.request\n"
        "def connect(family, address):\n"
        "    with socket.socket(family) as s:\n        s.settimeout(3); s.connect(address)\n"
        "def send(family, address):\n"
        "    with socket.socket(family, socket.SOCK_DGRAM) as s:\n        s.sendto(b'x', address)\n"
        "def multicast():\n"
        "    with socket.socket(type=socket.SOCK_DGRAM) as s:\n"
        "        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 2); s.sendto(b'x', ('224.0.0.251', 5353))\n"
        "def broadcast():\n"
        "    with socket.socket(type=socket.SOCK_DGRAM) as s:\n"
        "        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1); s.sendto(b'x', ('255.255.255.255', 9))\n"
        "v4, v6 = socket.AF_INET, socket.AF_INET6\n"
        "print('tcp', attempt(connect, v4, ('192.0.2.1', 80)), attempt(connect, v4, ('1.1.1.1', 443)))\n"
        "print('metadata', attempt(connect, v4, ('169.254.169.254', 80)))\n"
        "print('tcp6', attempt(connect, v6, ('2001:db8::1', 80)), attempt(connect, v6, ('fe80::1%lo', 80)))\n"
        "print('udp', attempt(send, v4, ('192.0.2.1', 53)), attempt(send, v6, ('2001:db8::1', 53)))\n"
        "print('multicast', attempt(multicast), attempt(broadcast))\n"
        "print('ping', attempt(socket.socket, v4, socket.SOCK_DGRAM, 1), attempt(socket.socket, v4, socket.SOCK_RAW, 1))\n"
        "print('names', attempt(socket.getaddrinfo, 'example.com', 80), attempt(socket.gethostbyname, 'example.com'))\n"
        "print('url', attempt(urllib.request.urlopen, 'http://example.com', timeout=3))",
        timeout_s=40,
    )
    assert result.status == "ok", result.text
    lines = result.text.splitlines()
    assert len(lines) == 8
    assert [line for line in lines if "done" in line.split()] == []


async def test_network_cannot_be_set_up(arena: Arena, attacker: Session) -> None:
    result = (
        await arena.attack(
            attacker,
            ATTEMPT + "import fcntl, socket, struct, subprocess\n"
            "names = socket.if_nameindex()\n"
            "print([n for _, n in names])\n"
            "s = socket.socket(type=socket.SOCK_DGRAM)\n"
            "request = struct.pack('16sH14s', b'lo', 0, b'')\n"
            "print(attempt(fcntl.ioctl, s, 0x8914, request), attempt(fcntl.ioctl, s, 0x8916, request),\n"
            "      attempt(fcntl.ioctl, s, 0x890B, bytes(120)))\n"
            "print(attempt(s.setsockopt, socket.SOL_SOCKET, 25, b'lo'), attempt(s.setsockopt, socket.SOL_SOCKET, 36, 1),\n"
            "      attempt(s.setsockopt, socket.SOL_SOCKET, 33, 1 << 24))\n"
            "route = socket.socket(16, socket.SOCK_RAW, 0)\n"
            "message = struct.pack('=IHHIIBBHiII', 32, 16, 0x605, 1, 0, 0, 0, 0, 0, 0, 0)  # a new link\n"
            "route.send(message); answer = route.recv(4096)\n"
            "print(struct.unpack_from('=i', answer, 16)[0] < 0)",
        )
        if arena.backend == "namespaces"
        else await arena.attack(
            attacker,
            ATTEMPT
            + "import socket\nprint(attempt(socket.socket), attempt(socket.socket, 10), attempt(socket.socket, 16, 3))",
        )
    )
    lines = result.text.splitlines()
    if arena.backend != "namespaces":
        assert lines == ["EAFNOSUPPORT EAFNOSUPPORT ENOTSUP"]
        return
    assert lines[0] == "['lo']"
    assert set(lines[1].split()) <= {"EPERM", "EINVAL", "ENODEV"}
    assert "EPERM" in lines[1]
    assert set(lines[2].split()) <= {"EPERM", "done"}
    assert lines[2].split()[1:] == ["EPERM", "EPERM"]
    assert lines[3] == "True"


async def test_loopback_of_two_kernels_is_apart(arena: Arena, attacker: Session) -> None:
    if arena.backend != "namespaces":
        pytest.skip("only namespaces promise this: loopback inside the kernel")
    listening = await arena.bystander.execute(
        "import socket; listening = socket.create_server(('127.0.0.1', 45454)); listening.settimeout(0)"
    )
    assert listening.status == "ok"
    result = await arena.attack(
        attacker,
        ATTEMPT + "import socket\n"
        "print(attempt(socket.create_connection, ('127.0.0.1', 45454), timeout=2))\n"
        "own = socket.create_server(('127.0.0.1', 45454))\n"
        "print(attempt(socket.create_connection, ('127.0.0.1', 45454), timeout=2)); own.close()",
    )
    assert result.text == "ECONNREFUSED\ndone\n"
    nobody = await arena.bystander.execute(
        "try:\n    listening.accept(); print('somebody came')\nexcept BlockingIOError:\n    print('nobody')\n"
        "listening.close()"
    )
    assert nobody.text == "nobody\n"


async def test_names_of_the_host_are_not_shown(arena: Arena, attacker: Session) -> None:
    result = await arena.attack(
        attacker,
        "import os, platform, socket\nprint(socket.gethostname(), platform.node(), os.uname().nodename)\n"
        "for p in ('/etc/hostname', '/etc/hosts', '/etc/resolv.conf', '/proc/sys/kernel/hostname', '/proc/sys/kernel/domainname'):\n"
        "    try:\n        print(open(p).read().strip())\n"
        "    except OSError:\n        pass",
    )
    if arena.backend == "namespaces":
        assert result.text.splitlines()[0] == "cellmate cellmate cellmate"
        lines = result.text.splitlines()[1:]
    else:
        lines = result.text.splitlines()[1:]  # uname() can't be refused, nor answered otherwise
    host = socket.gethostname()
    own = {"127.0.0.1 localhost cellmate", "cellmate", "(none)"}
    assert [line for line in lines if line not in own] == []
    assert host == "cellmate" or host not in "".join(lines)
