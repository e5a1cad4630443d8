"""RUN → RunStep. By BuildKit's dockerfile2llb (dispatchRun, dispatchRunMounts)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..language import instructions as i
from ..paths import absolute, image_path
from ..urls import redacted
from .mounts import step_mounts
from .steps import InlineFile, RunStep

if TYPE_CHECKING:
    from .lower import Lowering

PROXIES = frozenset({"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"})
PIPES = "/dev/pipes"


def run_step(low: "Lowering", this: i.Run) -> RunStep:
    """Errors: IechorfileError."""
    script = None
    text = this.script if this.heredocs else " ".join(this.argv)
    if this.shebang:
        name = this.heredocs[0].name
        script = InlineFile(name=name, data=text.encode("utf-8", "surrogateescape"))
        argv = low.in_shell(f"{PIPES}/{name}") if this.shell else (f"{PIPES}/{name}",)
    else:
        argv = low.in_shell(text) if this.shell or this.heredocs else this.argv
    network = this.network if this.network != "default" else low.arguments.default_network
    return RunStep(
        shown=low.shown(this, redacted(f"RUN {_with_args(low, argv)} # iechor")), image=low.image, argv=argv,
        env=tuple(f"{key}={value}" for key, value in low.env.items()), proxies=tuple(_proxies(low)),
        user=low.config.user, cwd=absolute(image_path(low.config.working_dir)), script=script, network=network,
        devices=this.devices,
        insecure=this.security == "insecure", mounts=step_mounts(low, this))


def _proxies(low: "Lowering") -> Iterator[str]:
    """Predefined ARGs: RUN sees them in small and capital letters, the cache and the history do not."""
    declared = {name for name, _ in low.args}
    given = {name: value for name, value in low.arguments.build.items() if name.lower() in PROXIES}
    both = {form: value for name, value in given.items() for form in (name.lower(), name.upper())}
    for name, value in sorted({**both, **given}.items()):
        if name not in declared:
            yield f"{name}={value}"


def _with_args(low: "Lowering", argv: tuple[str, ...]) -> str:
    args = {name: low.env.get(name, value or "") for name, value in low.args}
    told = [f"|{len(args)}", *(f"{name}={value}" for name, value in args.items())] if args else []
    return " ".join([*told, *argv])
