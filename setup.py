"""The C extensions, the library that RUN lends to programs, and the man pages; everything else is in setup.cfg."""

import os
from pathlib import Path

from setuptools import Extension, setup

try:  # only `make man` needs it: an install ships the pages as they are committed
    from build_manpages import build_manpages
except ImportError:
    build_manpages = None

ABI3 = "0x030B0000"  # CPython 3.11: one wheel serves it and all that follow
REQUIRED = os.environ.get("IECHOR_REQUIRE_NATIVE") == "1"


def extension(name: str) -> Extension:
    """The module of native/NAME.sources, one C file a line; without a compiler it is left out, unless REQUIRED."""
    sources = Path("native", f"{name}.sources").read_text().split()
    return Extension(f"rootless_builder._{name}", sources=[f"native/{source}" for source in sources],
                     include_dirs=["native"], py_limited_api=True, optional=not REQUIRED,
                     define_macros=[("Py_LIMITED_API", ABI3)],
                     extra_compile_args=["-O2", "-Wall", "-Wextra", "-pthread"], extra_link_args=["-pthread", "-ldl"])


def view() -> Extension:
    """native/shim*.c: no Python module, and nothing of libc. The build id's note is replaced when it is lent."""
    return Extension("rootless_builder._view", include_dirs=["native"], py_limited_api=True,
                     sources=[f"native/shim{part}.c" for part in ("", "_acts", "_names")], optional=not REQUIRED,
                     extra_compile_args=["-O2", "-g0", "-Wall", "-Wextra", "-ffreestanding", "-fno-builtin", "-fno-lto",
                                         "-fno-stack-protector", "-fvisibility=hidden", "-fno-sanitize=all"],
                     extra_link_args=["-nostdlib", "-fno-lto", "-fno-sanitize=all", "-Wl,--build-id", "-Wl,-z,now",
                                      "-Wl,-s"])


setup(
    ext_modules=[*(extension(name) for name in ("layercore", "fakeroot") if Path("native", f"{name}.sources").exists()),
                 view()],
    cmdclass={"build_manpages": build_manpages} if build_manpages else {},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
