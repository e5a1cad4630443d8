"""Runs as one of the tests' users, in a process of its own: starts sandboxes as told on stdin, tells how they went.

    stdin   {"spec": SandboxSpec as JSON, "stdin": text or null, "timeout": seconds or null}, one a line
    stdout  {"code", "signal", "timed_out", "out", "err", "created", "notices"} or {"error": {"kind", "message", …}}

Scripts of single tests import it for `enter`, which every one of them has to begin with, and `finished`.
"""

import dataclasses
import json
import os
import pwd
import sys
import tempfile
from typing import Any

from rootless_builder.errors import IechorError
from rootless_builder.sandbox.idmap import IdMap, subuid_map
from rootless_builder.sandbox.launcher import Launcher, Sandbox, already_mapped, launch, reexec_mapped  # noqa: F401 - for scripts
from rootless_builder.sandbox.spec import SandboxSpec
from rootless_builder.sandbox.supervise import supervise


def enter() -> IdMap | None:
    """The id mode of this user's environment: in `subuid` this execs the script anew, as root of the mapped ids."""
    mode = os.environ["IECHOR_USERNS"]
    if mode == "host":
        return None
    if mode == "fakeroot":
        return IdMap.single(os.getuid(), os.getgid())
    if not already_mapped(os.environ):
        account = pwd.getpwuid(os.getuid())
        ids, helpers = subuid_map(account.pw_name, account.pw_uid, account.pw_gid)
        reexec_mapped(ids, helpers, [sys.executable, *sys.argv], os.environ)
    return IdMap.nested()


def read_spec(text: str, ids: IdMap | None) -> SandboxSpec:
    return dataclasses.replace(SandboxSpec.from_json(text), ids=ids)


def finished(sandbox: Sandbox, timeout: float | None = None) -> dict[str, Any]:
    """Supervise it to its end, and what there is to tell."""
    out: dict[int, bytes] = {1: b"", 2: b""}

    def collect(stream: int, data: bytes) -> None:
        out[stream] += data

    status = supervise(sandbox, on_output=collect, timeout=timeout)
    sandbox.close()
    return {"code": status.code, "signal": status.signal, "timed_out": status.timed_out,
            "out": out[1].decode(errors="surrogateescape"), "err": out[2].decode(errors="surrogateescape"),
            "created": sandbox.created, "notices": sandbox.notices}


def carry_out(launcher: Launcher, request: dict[str, Any], ids: IdMap | None) -> dict[str, Any]:
    with tempfile.TemporaryFile() as file:
        file.write((request["stdin"] or "").encode())
        file.seek(0)
        stdin = None if request["stdin"] is None else file.fileno()
        try:
            return finished(launcher.launch(read_spec(request["spec"], ids), stdin=stdin), request["timeout"])
        except IechorError as error:
            return {"error": {"kind": type(error).__name__, "message": error.message, "hint": error.hint,
                              "status": getattr(error, "status", None)}}


def main() -> None:
    ids = enter()
    with Launcher() as launcher:
        for line in sys.stdin:
            print(json.dumps(carry_out(launcher, json.loads(line), ids)), flush=True)


if __name__ == "__main__":
    main()
