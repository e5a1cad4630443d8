"""--network=none is empty, a private one has published ports, through a forwarder that needs no helper."""

import hashlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rootless_builder.sandbox.mounts import Bind, FileBind, standard
from rootless_builder.sandbox.outbound import outbound_program
from rootless_builder.sandbox.spec import Network, Port
from tests.sandbox.conftest import Box, box_of

SERVE = """
sandbox = launch(read_spec(open("spec.json").read(), ids), stdout=1, stderr=2)
print("ports", *(port.host_port for port in sandbox.ports), flush=True)
print("notices", *sandbox.notices, flush=True)
sys.stdin.read()
sandbox.close()
"""


@contextmanager
def served(box: Box, *ports: Port, argv: tuple[str, ...], **fields: Any) -> Iterator[list[int]]:
    """The host's ports, while `argv` runs and has said "up"."""
    box.person.write("spec.json", box.spec(*argv, network=Network.PRIVATE, ports=ports, **fields).to_json())
    with box.person.start(*box.script_command(SERVE), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        numbers: list[int] = []
        seen = set()
        while not {"up", "ports", "notices"} <= seen:
            line = process.stdout.readline().split()
            assert line, "the container has ended"
            seen.add(line[0])
            if line[0] == "ports":
                numbers = [int(word) for word in line[1:]]
        try:
            yield numbers
        finally:
            process.stdin.close()
            process.wait(timeout=20)


def talk(port: int, data: bytes, host: str = "127.0.0.1", shut: bool = True) -> bytes:
    with socket.create_connection((host, port), timeout=20) as client:
        sender = threading.Thread(target=lambda: (client.sendall(data), shut and client.shutdown(socket.SHUT_WR)))
        sender.start()
        got = b"".join(iter(lambda: client.recv(65536), b""))
        sender.join()
        return got


SERVER = """
import socket, sys, threading
def answer(client):
    count = 0
    while data := client.recv(65536):
        count += len(data)
        if mode == "echo":
            client.sendall(data)
    if mode == "count":
        client.sendall(b"%d bytes" % count)
    client.close()
address, port, mode = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
listener = socket.create_server((address, int(port)), family=family, backlog=100)
print("up", flush=True)
while True:
    threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()
"""
LOCAL = Port(host_ip="127.0.0.1", host_port=0, container_port=8000)


def server(address: str = "0.0.0.0", port: int = 8000, mode: str = "echo") -> dict[str, Any]:
    """What `served` takes for a TCP server in the container, with the host's Python."""
    folders = {"/usr": "/usr", "/usr/lib": "/lib", "/usr/lib64": "/lib64"}
    binds = (Bind(source=source, target=target, read_only=True) for source, target in folders.items())
    return {"argv": ("/usr/bin/python3", "-Sc", SERVER, address, str(port), mode), "mounts": (*standard(), *binds)}


def test_none_is_empty(box: Box) -> None:
    assert box.sh("ip -o link | cut -d: -f2 | tr -d ' '; ip -o -4 addr | grep -c 127.0.0.1",
                  network=Network.NONE).out == "lo\n1\n"
    assert "unreachable" in box.run("nc", "10.255.255.1", "80", network=Network.NONE).err
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        assert box.run("nc", "127.0.0.1", port, network=Network.NONE).code == 1
        threading.Thread(target=lambda: listener.accept()[0].close()).start()
        assert box.run("nc", "127.0.0.1", port).code == 0


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "::1"])
def test_a_published_port_leads_in(box: Box, address: str) -> None:
    with served(box, LOCAL, **server(address)) as (port,):
        assert talk(port, b"hello\n") == b"hello\n"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_server_on_every_address_is_not_open_to_the_network(box: Box) -> None:
    inner = Port(host_ip="127.0.0.1", host_port=0, container_port=8123)
    with served(box, inner, **server(port=8123)) as (port,):
        assert port != 8123
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", 8123), timeout=5)
        others = [a[4][0] for a in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
                  if not a[4][0].startswith("127.")]
        for other in others:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((other, port), timeout=5)


def test_every_address_when_none_is_named(box: Box) -> None:
    ports = (Port(host_port=0, container_port=8000), Port(host_ip="::1", host_port=0, container_port=8000))
    with served(box, *ports, **server()) as (first, second):
        assert talk(first, b"four") == b"four"
        assert talk(first, b"six", host="::1") == b"six"
        assert talk(second, b"six", host="::1") == b"six"


def test_large_transfers_both_ways_at_once_and_in_parallel(box: Box) -> None:
    data = os.urandom(1 << 20) * 4
    with served(box, LOCAL, **server()) as (port,):
        results = {}
        threads = [threading.Thread(target=lambda n=n: results.update({n: talk(port, data)})) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {hashlib.sha256(got).digest() for got in results.values()} == {hashlib.sha256(data).digest()}
    assert len(results) == 8


def test_half_closed_connections_stay_half_closed(box: Box) -> None:
    """The server answers only once it has seen the end of the request."""
    with served(box, LOCAL, **server(mode="count")) as (port,):
        assert talk(port, b"x" * 300000) == b"300000 bytes"


def test_nobody_listening_inside_closes_the_connection(box: Box) -> None:
    with served(box, LOCAL, argv=("sh", "-c", "echo up; sleep 1000")) as (port,):
        for _ in range(3):
            try:
                assert talk(port, b"", shut=False) == b""
            except ConnectionResetError:
                pass


def test_a_client_that_leaves_does_no_harm(box: Box) -> None:
    with served(box, LOCAL, **server()) as (port,):
        for number in range(50):
            client = socket.create_connection(("127.0.0.1", port))
            client.sendall(b"x" * 1000)
            if number % 2:  # an RST rather than a FIN
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        assert talk(port, b"still there") == b"still there"


def test_a_port_in_use_is_said_before_anything_starts(box: Box) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        result = box.run("touch", "/tmp/started", network=Network.PRIVATE,
                         ports=(Port(host_ip="127.0.0.1", host_port=port, container_port=80),))
    assert result.error is not None
    assert result.error["message"] == f"cannot publish 127.0.0.1:{port}: Address already in use"
    assert result.error["hint"] == "publish another port of the host, or stop what listens there"
    assert not (box.root / "tmp/started").exists()


def test_a_port_that_needs_privilege_or_an_address_that_is_not_ours(plain: Box) -> None:
    for address, number, words in (("127.0.0.1", 80, "Permission denied"),
                                   ("192.0.2.1", 0, "Cannot assign requested address")):
        ports = (Port(host_ip=address, host_port=number, container_port=80),)
        error = plain.run("true", network=Network.PRIVATE, ports=ports).error
        assert error is not None and error["message"] == f"cannot publish {address}:{number}: {words}"


def test_a_private_network_without_a_way_out_says_so(plain: Box) -> None:
    (notice,) = plain.run("true", network=Network.PRIVATE).notices
    assert notice.startswith("the container reaches nothing outside: a private network needs slirp4netns")


def test_generated_files_go_with_a_private_network(box: Box) -> None:
    mounts = (*standard(), FileBind(content="nameserver 10.0.2.3\n", target="/etc/resolv.conf"))
    assert box.sh("cat /etc/resolv.conf", mounts=mounts, network=Network.PRIVATE).out == "nameserver 10.0.2.3\n"


def test_a_private_network_of_root_has_a_way_out_or_says_so() -> None:
    """slirp4netns is optional; where it is installed, and only root may open /dev/net/tun, it is used."""
    with box_of("root") as box:
        result = box.sh("ip -o link | cut -d: -f2; ip route | head -1", network=Network.PRIVATE)
    if outbound_program() is None:
        assert result.notices and result.out.split() == ["lo"]
    else:
        assert result.out.split()[:6] == ["lo", "tap0", "default", "via", "10.0.2.2", "dev"]
        assert result.notices == []
