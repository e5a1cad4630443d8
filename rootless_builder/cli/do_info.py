"""`iechor version` and `iechor info`: what is installed here, which parts are in use, what this host allows."""

import os
import platform

from .. import __version__
from .call import Call


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


def info(call: Call) -> int:
    from .. import catalog

    settings = call.settings()
    found = {"Version": __version__, **_parts(), "User": os.geteuid(), "Store": str(settings.store),
             "Scratch": str(settings.scratch), **catalog.info(settings=settings, mode=call.mode(settings))}
    if call.options.format:
        from .tables import fill

        print(fill(call.options.format, found))
        return 0
    for name, value in found.items():
        print(f"{name + ':':20}{value}")
    return 0
