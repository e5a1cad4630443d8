"""Makes a Debian machine ready for the tests, as root; run again, it does only what is missing.

    python3 tests/provision.py [all]        everything
    python3 tests/provision.py packages     what apt installs
    python3 tests/provision.py slurm        not part of all: the cluster for `make soak`
    python3 tests/provision.py sshfs        not part of all: the network file system for `make soak`
    python3 tests/provision.py users        iechor-sub (with a subordinate id range) and iechor-plain (without one)
    python3 tests/provision.py venv         the virtual environment with iechor and the tests' packages
    python3 tests/provision.py base         the Debian root file system that stands in for ubuntu:22.04
    python3 tests/provision.py sanitized    only when named: what tests/sanitized runs
    python3 tests/provision.py tox          only when named: what tests/pythons runs

    /var/cache/iechor-tests/
    ├── venv/           readable by the plain users, whose tests run the iechor installed here
    ├── tox/           tox, by itself
    ├── sanitized/      source/, a copy whose C is under the sanitizers, and venv/, a Python that loads theirs first
    ├── base-DAY.tar    made once a day: archives move on
    └── …               what fixtures keep (images made from the base)

Only the standard library: it runs before anything else is installed.
"""

import datetime
import hashlib
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path("/var/cache/iechor-tests")
VENV = CACHE / "venv"
SANITIZED = CACHE / "sanitized"
SUBUID_USER = "iechor-sub"
PLAIN_USER = "iechor-plain"
PYTHON = "/usr/bin/python3"  # the distribution's: any user can read it

PACKAGES = (
    "apache2-utils", "apt-utils", "bindfs", "buildah", "busybox-static", "bzip2", "ca-certificates", "clang-14",
    "crun", "curl", "docker-registry", "docker.io", "gcc", "gcc-aarch64-linux-gnu", "git", "libarchive-tools",
    "libc6-dev", "libc6-dev-arm64-cross", "libc6-i386", "libcap-dev", "libcap2-bin", "libclang-rt-14-dev", "make",
    "man-db", "mmdebstrap", "mount", "openssh-client", "podman", "procps", "proot", "python3", "python3-dbg",
    "python3-dev", "python3-pip", "python3-venv", "qemu-user", "skopeo", "slirp4netns", "uidmap", "umoci",
    "util-linux", "xz-utils", "zstd",
)
SLURM = ("slurm-client", "slurmctld", "slurmd")
SSHFS = ("openssh-server", "sshfs")


def run(*argv: str | Path, **kwargs: object) -> None:
    print("+", *argv, file=sys.stderr, flush=True)
    subprocess.run([str(word) for word in argv], check=True, stdin=subprocess.DEVNULL, **kwargs)  # type: ignore[call-overload]


def packages() -> None:
    install(PACKAGES)


def slurm() -> None:
    install(SLURM)


def sshfs() -> None:
    install(SSHFS)


def install(wanted: tuple[str, ...]) -> None:
    """What of it is missing; no daemon is started."""
    listed = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n"], capture_output=True,
                            text=True, check=True).stdout.splitlines()
    installed = {line.partition(" ")[2] for line in listed if line.startswith("installed ")}
    missing = [name for name in wanted if name not in installed]
    if missing:
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        run("apt-get", "-q", "update", env=quiet)
        run("apt-get", "-q", "install", "-y", "--no-install-recommends", *missing, env=quiet)


def users() -> None:
    for name in (SUBUID_USER, PLAIN_USER):
        try:
            pwd.getpwnam(name)
        except KeyError:
            run("useradd", "--create-home", "--shell", "/bin/bash", name)
    _range(Path("/etc/subuid"), Path("/etc/subgid"))


def _range(*files: Path) -> None:
    """useradd gives every new user a range where login.defs says so: the one keeps it, the other loses it."""
    for file in files:
        lines = file.read_text().splitlines() if file.exists() else []
        kept = [line for line in lines if not line.startswith(f"{PLAIN_USER}:")]
        if not any(line.startswith(f"{SUBUID_USER}:") for line in kept):
            ends = [int(first) + int(count) for _, first, count in (line.split(":") for line in kept if line)]
            kept.append(f"{SUBUID_USER}:{max([100000, *ends])}:65536")
        if kept != lines:
            file.write_text("".join(f"{line}\n" for line in kept))


def venv() -> None:
    """The dependencies once, and again when setup.cfg changes; iechor itself every time."""
    stamp = VENV / "setup.cfg.sha256"
    wanted = hashlib.sha256((ROOT / "setup.cfg").read_bytes()).hexdigest()
    python = VENV / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(VENV, ignore_errors=True)
        run(PYTHON, "-m", "venv", VENV)
        run(python, "-m", "pip", "install", "-q", "--upgrade", "pip", "setuptools", "wheel")
        run(python, "-m", "pip", "install", "-q", *_requirements())
        stamp.write_text(wanted)
    native = {**os.environ, "IECHOR_REQUIRE_NATIVE": "1"}
    # From a copy, as pip builds in the source folder, and in place for the tests that run in this process.
    copy = _copy(CACHE / "source")
    install = ("install", "-q", "--no-deps", "--no-build-isolation", "--force-reinstall")
    run(python, "-m", "pip", *install, copy, env=native)
    run(python, "setup.py", "-q", "build_ext", "--inplace", cwd=ROOT, env=native)
    shutil.rmtree(copy)


def _copy(to: Path) -> Path:
    """The source, and nothing that was built."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(ROOT, to, ignore=shutil.ignore_patterns(".git", "build", "*.egg-info", "__pycache__", "*.so",
                                                            ".*_cache", ".hypothesis", ".tox"))
    return to


PYTHON_UNDER = """\
#!/bin/bash
# The library must be the first of a process; what this Python starts does not inherit it (see the .pth file).
export LD_PRELOAD={library} PYTHONMALLOC=malloc UBSAN_OPTIONS=print_stacktrace=1
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=16:log_path={reports}/report
exec -a "$0" {python} "$@"
"""
NAMES = ("LD_PRELOAD", "PYTHONMALLOC", "UBSAN_OPTIONS", "ASAN_OPTIONS")
FORGET = f"import os; [os.environ.pop(name, None) for name in {NAMES}]\n"


def sanitized() -> None:
    """Leaks are not looked for: CPython never frees all it has (tests/leaks does that)."""
    source = _copy(SANITIZED / "source")
    flags = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
    run(VENV / "bin" / "python", "setup.py", "-q", "build_ext", "--inplace", cwd=source,
        env={**os.environ, "IECHOR_REQUIRE_NATIVE": "1", "CFLAGS": flags, "LDFLAGS": flags})
    library = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout
    reports = SANITIZED / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir()
    reports.chmod(0o1777)
    # A virtual environment by hand, for venv would put a link in the place of our own Python.
    packages = next((VENV / "lib").glob("python3*"))
    site = SANITIZED / "venv" / "lib" / packages.name / "site-packages"
    site.mkdir(parents=True, exist_ok=True)
    (site / "under.pth").write_text(f"{packages}/site-packages\n{FORGET}")
    (SANITIZED / "venv" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    python = SANITIZED / "venv" / "bin" / "python"
    python.parent.mkdir(exist_ok=True)
    python.write_text(PYTHON_UNDER.format(library=os.path.realpath(library.strip()), reports=reports, python=PYTHON))
    python.chmod(0o755)


def tox() -> None:
    if not (CACHE / "tox" / "bin" / "tox").exists():
        run(PYTHON, "-m", "venv", CACHE / "tox")
        run(CACHE / "tox" / "bin" / "pip", "install", "-q", "tox>=4")


def _requirements() -> list[str]:
    """install_requires and the extra "test" of setup.cfg."""
    import configparser

    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options"]["install_requires"] + config["options.extras_require"]["test"]
    return [line for line in lines.splitlines() if line and not line.startswith("#")]


def base() -> Path:
    """Today's base; older ones are removed."""
    today = CACHE / f"base-{datetime.datetime.now(datetime.UTC):%Y-%m-%d}.tar"
    if not today.exists():
        for old in CACHE.glob("base-*"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        half = today.with_name(f"half-{os.getpid()}.tar")
        run(ROOT / "examples" / "debian-base.sh", half)
        half.chmod(0o644)
        half.rename(today)
    return today


def main(wanted: list[str]) -> None:
    if os.geteuid() != 0:
        sys.exit("tests/provision.py: it installs packages and makes users, so it has to run as root")
    os.umask(0o022)
    CACHE.mkdir(parents=True, exist_ok=True)
    steps = {"packages": packages, "users": users, "venv": venv, "base": base}
    for name in steps if wanted in ([], ["all"]) else wanted:
        (steps | {"sanitized": sanitized, "slurm": slurm, "sshfs": sshfs, "tox": tox})[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
