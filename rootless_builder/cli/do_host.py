"""`iechor unshare`, `iechor bootstrap`, `iechor doctor`: options → request → flow → what is printed."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..values import asdict
from .call import Call
from .do_info import host

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..doctor import Finding


def unshare(call: Call) -> int:
    mode = call.become(call.settings())  # before anything is imported: in subuid mode all begins anew here
    from .. import unshare as flow

    table = call.options.table
    words = call.options.arguments
    return flow.unshare(flow.UnshareRequest(
        argv=tuple(words[words[:1] == ["--"]:]) or (call.environ.get("SHELL") or "sh",), cwd=os.getcwd(),
        environ=call.environ, mode=mode, table=Path(table).absolute() if table else None),
        tty=os.isatty(0) and os.isatty(1))


def bootstrap(call: Call) -> int:
    settings = call.settings()
    mode = call.become(settings)
    from .. import bootstrap as flow

    options = call.options
    request = flow.BootstrapRequest(
        base=options.base, tags=tuple(options.tag), variant=options.variant,
        include=tuple(name for text in options.include for name in text.split(",") if name), mode=mode,
        environ=call.environ, tmp=call.tmp(), now=time.time_ns())
    with call.store(settings) as store, call.showing() as emit:
        image = flow.bootstrap(request, store, settings, emit=emit, clock=time.monotonic)
    if options.quiet:
        print(image.id)
    return 0


def doctor(call: Call) -> int:
    """0: a plain build with RUN keeps everything; 1: something it needs is missing."""
    from .. import doctor as flow

    settings = call.settings()
    findings = flow.examine(host(settings))
    verdict = flow.verdict(findings, call.mode(settings))
    if call.options.format:
        from .tables import fill

        print(fill(call.options.format, {"OK": verdict.ok, "Path": verdict.path,
                                         "Host": [asdict(finding) for finding in findings]}))
        return 0 if verdict.ok else 1
    show(findings)
    print(f"\n{verdict.path}")
    if not verdict.ok:
        print(f"error: {verdict.problem}", file=sys.stderr)
    return 0 if verdict.ok else 1


def show(findings: "Sequence[Finding]") -> None:
    """One paragraph each: what was tried, what came of it, what it means, the command that changes it."""
    for finding in findings:
        print(f"{'yes' if finding.ok else 'no '} {finding.name}: {finding.detail}")
        if finding.probed:
            print(f"      tried: {finding.probed}")
        if finding.remedy and not finding.ok:
            print(f"      mend:  {finding.remedy}")
