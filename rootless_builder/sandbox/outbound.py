"""A private network's way out: slirp4netns, where it is installed and may open /dev/net/tun."""

import os
import selectors
import signal
import subprocess

from ..values import dataclass
from .idmap import find_program

TUN = "/dev/net/tun"
SLIRP_NAMESERVER = "10.0.2.3"
READY_SECONDS = 10


def outbound_program() -> str | None:
    """What gives a private network a way out here, None where nothing can (it needs /dev/net/tun, often root's)."""
    return find_program("slirp4netns") if os.access(TUN, os.R_OK | os.W_OK) else None


def resolv_conf(private: bool, host_text: str) -> str:
    """The text for a container's /etc/resolv.conf: the host's, unless slirp4netns answers for it."""
    if not private or outbound_program() is None:
        return host_text
    kept = [line for line in host_text.splitlines() if line.split()[:1] != ["nameserver"]]
    return "\n".join([f"nameserver {SLIRP_NAMESERVER}", *kept]) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """A running slirp4netns. It ends when `exit_fd` is closed, so also when we are killed."""

    process: "subprocess.Popen[bytes]"
    exit_fd: int

    def close(self) -> None:
        os.close(self.exit_fd)
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_outbound(pid: int) -> Outbound | None:
    """Give the network namespace of `pid` a way out; None where that fails. Nothing inside reaches the host's lo."""
    program = outbound_program()
    if program is None:
        return None
    exit_inner, exit_fd = os.pipe()
    ready, ready_inner = os.pipe()
    try:
        process = subprocess.Popen(
            [program, "--configure", "--mtu=65520", "--disable-host-loopback", f"--exit-fd={exit_inner}",
             f"--ready-fd={ready_inner}", str(pid), "tap0"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, pass_fds=(exit_inner, ready_inner), start_new_session=True, env={})
    finally:
        os.close(exit_inner)
        os.close(ready_inner)
    with selectors.DefaultSelector() as selector:
        selector.register(ready, selectors.EVENT_READ)
        works = bool(selector.select(READY_SECONDS)) and os.read(ready, 1) == b"1"
    os.close(ready)
    outbound = Outbound(process=process, exit_fd=exit_fd)
    if works:
        return outbound
    process.send_signal(signal.SIGKILL)
    outbound.close()
    return None
