"""The networks of a container: the host's, none, and its own with published ports."""

import contextlib
import socket
import subprocess
import threading

import pytest

from tests.flows.running import Box, box, layout, plain, until

__all__ = ["box", "layout", "plain"]



def server(port: int) -> str:
    return f"mkdir /w; echo 'Hello World!' > /w/index.html; exec httpd -f -p 0.0.0.0:{port} -h /w"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetch(address: str, port: int) -> str:
    """The body of GET /, "" when nobody answers."""
    try:
        with socket.create_connection((address, port), 5) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")[2].decode()
    except OSError:
        return ""


def own_address() -> str | None:
    """An address of this machine that others could reach."""
    found = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False).stdout.split()
    return next((address for address in found if "." in address), None)


def test_a_published_port_answers_where_it_was_published_and_nowhere_else(box: Box) -> None:
    port, inner = free_port(), free_port()
    box.detached("web", server(inner), f"-p 127.0.0.1:{port}:{inner}")
    assert until(lambda: fetch("127.0.0.1", port)) == "Hello World!\n"
    assert box.iechor("ps", "--format", "{{.Ports}}").stdout == f"127.0.0.1:{port}->{inner}/tcp\n"
    for address in filter(None, (own_address(), "127.0.0.2")):
        assert fetch(address, port) == "" and fetch(address, inner) == ""
    assert fetch("127.0.0.1", inner) == ""
    box.iechor("rm", "-f", "-t", "0", "web")
    assert fetch("127.0.0.1", port) == ""


def test_a_port_of_the_hosts_choice_and_all_addresses(plain: Box) -> None:
    plain.detached("any", server(8000), "-p 8000")
    shown = plain.iechor("ps", "--format", "{{.Names}} {{.Ports}}").stdout
    line = next(line for line in shown.splitlines() if line.startswith("any "))
    address, _, rest = line.removeprefix("any ").partition(":")
    port = int(rest.partition("->")[0])
    assert address == "0.0.0.0" and port
    assert until(lambda: fetch("127.0.0.1", port)) == "Hello World!\n"
    for other in filter(None, (own_address(), "127.0.0.2")):
        assert fetch(other, port) == "Hello World!\n"
    plain.iechor("rm", "-f", "-t", "0", "any")


@pytest.mark.parametrize("options", ["", "-d"])
def test_a_port_in_use_is_said_and_leaves_nothing(plain: Box, options: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        before = plain.containers()
        ports = f"-p 127.0.0.1:{free_port()}:1 -p 127.0.0.1:{port}:8000"
        done = plain.run(f"{options} {ports} --name clash", "true", code=125)
        assert f"127.0.0.1:{port}" in done.stderr and "hint" in done.stderr and done.stdout == ""
        assert plain.containers() == before
        plain.run("--rm --name clash", "true")


def test_the_hosts_network_is_the_default(plain: Box) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        plain.detached("client", f"echo through | nc 127.0.0.1 {port}", "--rm")
        server.settimeout(10)
        connection, _ = server.accept()
        with connection:
            assert connection.recv(100) == b"through\n"


def test_none_has_lo_alone_and_private_does_not_see_the_hosts_lo(plain: Box) -> None:
    assert plain.out("--network=none", "ls", "/sys/class/net") == "lo\n"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for network in ("none", "private"):
            script = f"nc -w 1 127.0.0.1 {port} </dev/null && echo reached; grep -c $(hostname) /etc/hosts"
            assert plain.out(f"--network={network}", "sh", "-c", script) == "1\n"


def test_the_forwarder_carries_much_both_ways_and_half_closed(plain: Box) -> None:
    port = free_port()
    plain.detached("echo", "while :; do nc -l -p 9 -e cat; done", f"-p 127.0.0.1:{port}:9")
    payload = b"x" * 3_000_000

    def send(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # nobody listens inside yet
            connection.sendall(payload)
            connection.shutdown(socket.SHUT_WR)

    def echoed() -> bytes:
        received = b""
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            sender = threading.Thread(target=send, args=(connection,))
            sender.start()
            with contextlib.suppress(OSError):
                while part := connection.recv(1 << 16):
                    received += part
            sender.join()
        return received

    assert until(echoed) == payload
    plain.iechor("rm", "-f", "-t", "0", "echo")
