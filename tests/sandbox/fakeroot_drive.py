"""Runs as one of the tests' users: one command in a sandbox on a root file system, as the image's root sees it.

    argument  {"lower", "work", "argv", "user", "overlay", "table" (hex), "fsync", "timeout", "init", "view",
              "binds"} as JSON
    stdout    {"code", "signal", "timed_out", "out", "err", "table" (hex, null without the supervisor), "seconds"}

fakeroot for a plain user, the kernel's own owners for root. overlay: an upper directory over `lower` at work/upper;
else `lower` itself is the root. binds: target → folder of the host.
"""

import json
import os
import sys
import time
from pathlib import Path

from rootless_builder.sandbox.idmap import IdMap
from rootless_builder.sandbox.launcher import Launcher
from rootless_builder.sandbox.mounts import Bind, KernelOverlay, standard
from rootless_builder.sandbox.spec import FakerootSpec, Network, SandboxSpec
from rootless_builder.sandbox.supervise import supervise


def main() -> None:
    request = json.loads(sys.argv[1])
    work = Path(request["work"])
    for name in ("upper", "work", "root"):
        (work / name).mkdir(parents=True, exist_ok=True)
    is_root = os.geteuid() == 0
    mounts = standard(resolv_conf=Path("/etc/resolv.conf").read_text(), hosts=Path("/etc/hosts").read_text())
    root = request["lower"]
    if request["overlay"]:
        root = str(work / "root")
        mounts = (KernelOverlay(lowers=(request["lower"],), upper=str(work / "upper"), work=str(work / "work"),
                                userxattr=not is_root, target="/"), *mounts)
    mounts += tuple(Bind(source=source, target=target) for target, source in request["binds"].items())
    table = work / "table"
    table.write_bytes(bytes.fromhex(request["table"]))
    spec = SandboxSpec(
        root=root, mounts=mounts, argv=tuple(request["argv"]), user=request["user"], hostname="box",
        network=Network.HOST, init=request["init"],
        env=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C",
             "DEBIAN_FRONTEND=noninteractive"),
        ids=None if is_root else IdMap.single(os.getuid(), os.getgid()),
        fakeroot=None if is_root else FakerootSpec(table=str(table), fsync=request["fsync"],
                                                       view=request["view"]))
    out: dict[int, bytes] = {1: b"", 2: b""}

    def collect(stream: int, data: bytes) -> None:
        out[stream] += data

    started = time.monotonic()
    with Launcher() as launcher:
        sandbox = launcher.launch(spec)
        print(json.dumps({"supervisor": sandbox.pid}), file=sys.stderr, flush=True)
        status = supervise(sandbox, on_output=collect, timeout=request["timeout"])
        final = sandbox.final_table()
        sandbox.close()
    print(json.dumps({
        "code": status.code, "signal": status.signal, "timed_out": status.timed_out,
        "out": out[1].decode(errors="surrogateescape"), "err": out[2].decode(errors="surrogateescape"),
        "table": None if final is None else final.hex(), "seconds": time.monotonic() - started}))


if __name__ == "__main__":
    main()
