"""Programs of another architecture: can this machine run them? The kernel says so in binfmt_misc, one file for each
interpreter that is registered: "enabled", "interpreter PATH", "flags: F", "magic HEX" (of the ELF header).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import IechorError, IechorfileError
from ..language.instructions import Run
from ..oci.platform import Platform, host_platform
from ..plan.stages import Stage, StageGraph

BINFMT = Path("/proc/sys/fs/binfmt_misc")
QEMU = {"amd64": "x86_64", "386": "i386", "arm64": "aarch64"}  # qemu's name, where it is not ours
MACHINES = {"386": 3, "amd64": 62, "arm": 40, "arm64": 183, "loong64": 258, "mips64le": 8, "ppc64le": 21,
            "riscv64": 243, "s390x": 22}  # e_machine of elf(5)
WIDE = 2  # EI_CLASS of 64 bits
NARROW = ("386", "arm")


def check_stages(built: Iterable[Stage], graph: StageGraph, platform: Platform) -> None:
    """check_runs of every stage that is built; platform: of the build. Errors: IechorfileError."""
    for stage in built:
        try:
            check_runs(stage, platform_of(stage, graph, platform))
        except IechorError as error:
            raise error.at(stage.source.span) from None


def platform_of(stage: Stage, graph: StageGraph, platform: Platform) -> Platform:
    """Of its base, which another stage may have chosen. Errors: UsageError."""
    if stage.base_stage is not None:
        return platform_of(graph.stages[stage.base_stage], graph, platform)
    return Platform.parse(stage.platform) if stage.platform else platform


def check_runs(stage: Stage, platform: Platform, registered: Path = BINFMT) -> None:
    """Before anything is pulled: can RUN of this stage run here? Errors: IechorfileError."""
    run = next((one for one in stage.instructions if isinstance(one, Run)), None)
    if run is None or platform in host_platform().runs() or is_registered(platform, registered):
        return
    name = f"qemu-{QEMU.get(platform.architecture, platform.architecture)}"
    raise IechorfileError(f"cannot run {platform} programs on this {host_platform()} machine", span=run.span,
                          hint=f"register the interpreter {name} with binfmt_misc "
                               "(package qemu-user-static), or build for this machine's platform")


def of_interpreter(platform: Platform) -> str | None:
    """The remedy when a program of `platform` was not found to be one, None where the kernel runs them itself."""
    if platform in host_platform().runs():
        return None
    return (f"{platform} programs need an interpreter that is linked statically and registered with the flag F "
            "(package qemu-user-static)")


def is_registered(platform: Platform, registered: Path = BINFMT) -> bool:
    """By any interpreter, whatever it is called."""
    wanted = MACHINES.get(platform.architecture)
    return any(machine == wanted and wide != (platform.architecture in NARROW)
               for machine, wide in _machines(registered))


def _machines(registered: Path) -> Iterator[tuple[int, bool]]:
    """(e_machine, whether 64 bits wide) of each ELF that an enabled interpreter runs."""
    try:
        entries = [entry.read_text("ascii", "replace").split("\n") for entry in registered.iterdir()
                   if entry.name not in ("register", "status")]
    except OSError:
        return
    for lines in entries:
        magic = next((line.partition(" ")[2] for line in lines if line.startswith("magic ")), "")
        header = bytes.fromhex(magic) if len(magic) % 2 == 0 and magic else b""
        if lines[0] == "enabled" and header.startswith(b"\x7fELF") and len(header) >= 20:
            yield int.from_bytes(header[18:20], "little" if header[5] == 1 else "big"), header[4] == WIDE
