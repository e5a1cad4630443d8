"""What is asked of a build, and what follows from that alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from ..bases.bases import PullPolicy
from ..contexts.contexts import Contexts
from ..contexts.memory import ContextMemory
from ..contexts.preprocessing import Preprocessor
from ..contexts.remotes import Remotes
from ..events import Emit
from ..language.numbers import is_true
from ..oci.platform import Platform, host_platform
from ..oci.reference import Reference
from ..steps.world import Rewrite
from ..values import dataclass, field

EPOCH = "SOURCE_DATE_EPOCH"
KEEP_GIT_DIR = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What the user asked. build_args: name → value; build_contexts: name → source, as typed.

    base: instead of what the first FROM names; all_stages: also those before the target that it does not need.
    keep: the image is listed in the store, else only its steps stay; whole: it is read once it is built. annotations:
    of the manifest. squash: make one layer of the new ones, or of all. no_cache_filter: names or numbers of stages.
    platform: None for the host's. source_date_epoch: seconds; rewrite: see World. jobs: how many steps work at once,
    0: no limit. now: nanoseconds since the epoch.
    """

    context: str
    file: str | None = None
    tags: tuple[Reference, ...] = ()
    keep: bool = True
    whole: bool = True
    target: str | None = None
    base: str | None = None
    all_stages: bool = False
    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    squash: Literal["", "new", "all"] = ""
    build_contexts: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    pull: PullPolicy = "missing"
    platform: Platform | None = None
    memory: Path | None = None
    ignorefile: str | None = None
    preprocessor: Preprocessor = field(default_factory=Preprocessor)
    source_date_epoch: int | None = None
    rewrite: Rewrite = "clamp"
    jobs: int = 1
    default_registry: str = "docker.io"
    inline_cache: bool = False
    now: int


def open_contexts(request: BuildRequest, remotes: Remotes, tmp: Path, emit: Emit) -> Contexts:
    return Contexts(request.context, request.build_contexts, remotes=remotes, tmp=tmp,
                    default_registry=request.default_registry, emit=emit,
                    keep_git_dir=is_true(request.build_args.get(KEEP_GIT_DIR, "")),
                    commit_times=request.source_date_epoch is not None or EPOCH in request.build_args,
                    memory=ContextMemory(request.memory, request.now) if request.memory else None)


def platform_args(platform: Platform, target: str) -> dict[str, str]:
    """The ARGs every file has without declaring them globally (reference, "Automatic platform ARGs"). target: the name
    of the stage that is built.
    """
    host = host_platform()
    return {"BUILDPLATFORM": str(host), "BUILDOS": host.os, "BUILDARCH": host.architecture,
            "BUILDVARIANT": host.variant, "TARGETPLATFORM": str(platform), "TARGETOS": platform.os,
            "TARGETARCH": platform.architecture, "TARGETVARIANT": platform.variant,
            "TARGETSTAGE": target or "default", "BUILDOSVERSION": "", "TARGETOSVERSION": ""}
