"""`iechor version` and `iechor info`: what is installed here, which parts are in use, what this host allows."""

import os
import platform
import pwd
from typing import TYPE_CHECKING

from .. import __version__
from ..values import asdict
from .call import Call

if TYPE_CHECKING:
    from ..config import Settings
    from ..doctor import Host


def version(call: Call) -> int:
    found = {"Version": __version__, "Python": platform.python_version(), **_parts()}
    template = getattr(call.options, "format", "")
    if template:
        from .tables import fill

        print(fill(template, found))
        return 0
    print(f"iechor {__version__}")
    for name, value in list(found.items())[1:]:
        print(f"  {name + ':':22}{value}")
    return 0


def _parts() -> dict[str, str]:
    """Which of two implementations is in use, for each part that has two."""
    from .. import layercore

    native = "native" if layercore.NATIVE else "pure Python"
    return {"LayerCore": f"{native} ({layercore.KERNEL})",
            "Fakeroot": "built in" if _has("_fakeroot") else "not built: install with a C compiler",
            "Prctl": "python-prctl" if _has("prctl", ours=False) else "own calls"}


def _has(name: str, *, ours: bool = True) -> bool:
    """Whether a module is installed; it is not imported."""
    from importlib.util import find_spec

    return find_spec(f"rootless_builder.{name}" if ours else name) is not None


def host(settings: "Settings") -> "Host":
    from ..doctor import Host

    uid = os.getuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:  # a container may run us as a number without a name
        user = str(uid)
    return Host(user=user, uid=uid, gid=os.getgid(), scratch=settings.scratch)


def info(call: Call) -> int:
    """What is in use here, and what the host allows; every "no" comes with the command that would change it."""
    from .. import doctor

    settings = call.settings()
    findings = doctor.examine(host(settings))
    template = call.options.format
    if template:
        from .tables import fill

        told = {"Version": __version__, "Python": platform.python_version(), **_parts(), "Store": str(settings.store),
                "Scratch": str(settings.scratch), "Userns": call.mode(settings).value,
                "Path": doctor.verdict(findings, call.mode(settings)).path,
                "Config": [str(path) for path in settings.sources],
                "Host": [asdict(finding) for finding in findings]}
        print(fill(template, told))
        return 0
    version(call)
    print(f"  {'Store:':22}{settings.store}\n  {'Scratch:':22}{settings.scratch}\n"
          f"  {'Owners kept by:':22}{call.mode(settings).value}\n"
          f"  {'Path taken:':22}{doctor.verdict(findings, call.mode(settings)).path}\n"
          f"  {'Configuration:':22}{', '.join(map(str, settings.sources)) or 'none'}\n\nThis host:")
    for finding in findings:
        print(f"  {'yes' if finding.ok else 'no ':4}{finding.name}: {finding.detail}")
        if finding.remedy and not finding.ok:
            print(f"      {finding.remedy}")
    return 0
