"""`iechor build`: options → BuildRequest and RunSettings → the flow → what is printed and written."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SourceError, UnsupportedError, UsageError
from ..language.numbers import is_true
from ..values import replace
from .build_cache import CacheOptions, carried, ttl
from .build_compat import platform, translated
from .call import Call, env_lines, environment, host, pair
from .output_options import annotations, destinations, wanted_warnings, write_ids
from .registry_options import with_registry
from .times import epoch_of

if TYPE_CHECKING:
    from ..building.request import BuildRequest
    from ..config import Settings
    from ..events import Emit
    from ..outputs.exporting import Destinations
    from ..sandbox.launcher import Launcher
    from ..sandbox.mounts import Mount
    from ..scratch.scratch import Scratch
    from ..steps.runsettings import RunSettings

LEAST_JOBS = 4
PULL = {"true": "always", "false": "missing"}  # docker's switch, podman's policy
# Known without ARG, outside history and cache key; passed on as podman's --http-proxy does.
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


def build(call: Call) -> int:
    for compatible, name in ((call.options.rm, "--rm=false"), (call.options.layers, "--layers=false")):
        if not compatible:
            raise UnsupportedError(f"cannot carry out {name}", hint=f"leave {name} out")
    call, notes = translated(call)
    settings = with_registry(call, call.settings())
    if call.options.check or call.options.call != "build":
        from .do_check import ask, method

        chosen = method("check" if call.options.check else call.options.call)
        if chosen.name != "build":
            return ask(call, chosen, request(call, settings))
    caching = CacheOptions.of(call, settings)
    own = build_args(call)
    found = destinations(call, settings, indexed=is_true(own.get("BUILDKIT_MULTI_PLATFORM", "")))
    if found.pushed_to and call.options.creds:  # the registries of base images need not see them
        settings = replace(settings, access=replace(settings.access, hosts=found.pushed_to))
    scratch = call.scratch(settings)  # before anything is imported: in subuid mode all begins anew here
    from .. import build as flow
    from ..bases.pulling import Puller
    from ..contexts.remotes import Remotes
    from ..events import Notice
    from ..outputs.exporting import Warnings, export, metadata
    from .build_inputs import fetch_auth
    from .noting import Noting

    auth = fetch_auth(call.options.secret, call.environ)
    with contextlib.ExitStack() as stack, call.store(settings) as store, call.showing() as shown, \
            Remotes(settings, store, tmp=call.tmp(), environ=call.environ, auth=auth,
                    emit=(emit := Warnings(noting := Noting(call, settings, shown)))) as remotes:
        for text in notes:
            emit(Notice(text=text))
        run = run_settings(call, settings, announced(scratch, emit, stack), launching(stack))
        asked = request(call, settings, found)
        inline = caching.inline or is_true(own.get("BUILDKIT_INLINE_CACHE", ""))
        asked = replace(asked, inline_cache=inline)
        with carried(caching, settings, store, asked.platform, now=asked.now / 1e9, emit=emit) as carrying:
            image = carrying.built(lambda: flow.build(
                asked, store, run, Puller(store, settings, emit), remotes=remotes, tmp=call.tmp(),
                clock=time.monotonic, emit=emit), once="-" in (call.options.context, call.options.file))
        write_ids(call, image)
        written = export(image, found, store, settings, emit=emit, forced=asked.rewrite == "force",
                         clamp=None if asked.rewrite == "keep" else asked.source_date_epoch)
    call.sweep(settings, scratch)
    told = metadata(image, written, found)
    write_ids(call, image, told | wanted_warnings(call, emit))
    noting.keep(store, str(image.id))
    if call.is_quiet and not found.to_stdout:
        print(image.id)
    return 0


def request(call: Call, settings: "Settings", to: "Destinations | None" = None) -> "BuildRequest":
    """Errors: UsageError."""
    from ..building.request import BuildRequest
    from ..contexts.preprocessing import Preprocessor

    options = call.options
    args = build_args(call)
    epoch, rewrite = epoch_of(call, args)
    return BuildRequest(
        context=options.context, file=options.file, target=options.target,
        memory=settings.scratch / "contexts", tags=to.names_here if to else (), keep=to is None or to.keeps,
        whole=to is None or to.reads,
        build_args=args, labels=dict(pair(text, "--label") for text in options.label),
        annotations=annotations(call).manifest,
        squash="all" if options.squash_all else "new" if options.squash else "",
        build_contexts=dict(pair(text, "--build-context") for text in options.build_context),
        no_cache=options.no_cache or ttl(options.cache_ttl) == 0,
        no_cache_filter=tuple(name for text in options.no_cache_filter for name in text.split(",") if name),
         pull=PULL.get(options.pull, options.pull),
        platform=platform(options), base=options.base, all_stages=not options.skip_unused_stages,
        ignorefile=options.ignorefile,
        preprocessor=Preprocessor(flags=tuple(options.cpp_flag), environ=call.environ),
        source_date_epoch=epoch, rewrite=rewrite,
        jobs=jobs(options.jobs), default_registry=settings.default_registry, now=time.time_ns())


def jobs(asked: int | None) -> int:
    """--jobs. Steps wait for networks and disks as much as they compute: four at least. Errors: UsageError."""
    if asked is not None and asked < 0:
        raise UsageError(f"cannot use --jobs {asked}: it is negative", hint="give a number, or 0 for no limit")
    return asked if asked is not None else max(LEAST_JOBS, len(os.sched_getaffinity(0)))


def build_args(call: Call) -> dict[str, str]:
    """Files first, options over them; a name without a value takes the environment's, and is dropped without one."""
    entries = [entry for path in call.options.build_arg_file
               for entry in env_lines(path, call.environ, "--build-arg-file")]
    entries += environment(call.options.build_arg, call.environ, "--build-arg")
    given = dict(entry.split("=", 1) for entry in entries)
    if not call.options.http_proxy or any(name.upper() in PROXIES for name in given):
        return given
    names = [name for upper in PROXIES for name in (upper, upper.lower())]
    return {**{name: call.environ[name] for name in names if call.environ.get(name)}, **given}


def run_settings(call: Call, settings: "Settings", scratch: "Callable[[], Scratch]",
                 launcher: "Callable[[], Launcher]") -> "RunSettings":
    """The scratch space is opened, and the sandbox server started, by the first RUN alone."""
    from ..steps.runsettings import RunSettings
    from .build_inputs import agents, devices, limits, secrets, shm_size

    options, own = call.options, build_args(call)
    if options.network == "private":
        raise UnsupportedError("cannot carry out --network=private for a build", hint="take host or none")
    owners, proot = False, ""
    if options.allow_lost_owners:
        from ..steps.ownerloss import find_loss

        loss = find_loss(call.mode(settings))
        owners, proot = loss.owners, loss.proot
    return RunSettings(
        scratch=scratch, launcher=launcher, logs=settings.scratch / "logs",
        network=options.network, compat_volumes=options.compat_volumes,
        hostname=own.get("BUILDKIT_SANDBOX_HOSTNAME", ""), cache_namespace=own.get("BUILDKIT_CACHE_MOUNT_NS", ""),
        binds=(*(bind(text) for text in options.volume if "U" not in options_of(text)), *every_run(options.mount)),
        owned=tuple(bind(text) for text in options.volume if "U" in options_of(text)),
        add_hosts=tuple(host(text) for text in options.add_host), resolv_conf=host_file("/etc/resolv.conf"),
        hosts=known_hosts(host_file("/etc/hosts")),
        secrets=secrets(options.secret, call.environ), agents=agents(options.ssh, call.environ),
        environ=call.environ, shm_size=shm_size(options.shm_size), limits=limits(options.ulimit),
        devices=devices(options.allow, settings.cdi_spec_dirs),
        lose_owners=owners, proot=proot)


def every_run(texts: "list[str]") -> "tuple[Mount, ...]":
    """--mount. Errors: UsageError, UnsupportedError, SourceError."""
    if not texts:
        return ()
    from ..steps.everyrun import mounts

    return mounts(texts)


def launching(stack: contextlib.ExitStack) -> "Callable[[], Launcher]":
    """The sandbox server of this command: begun by the first RUN that is not cached, in whichever thread."""
    from ..once import Once

    def begun() -> "Launcher":
        from ..sandbox.launcher import Launcher

        return stack.enter_context(Launcher())

    once: Once[str, Launcher] = Once()
    return lambda: once.get("launcher", begun)


def announced(scratch: "Callable[[], Scratch]", emit: "Emit",
              stack: contextlib.ExitStack) -> "Callable[[], Scratch]":
    """Opened once for all RUNs; then it is said, once, when trees are checked out there."""
    from ..events import Notice
    from ..once import Once

    def opened() -> "Scratch":
        found = scratch()
        if found.fallback is not None:
            emit(Notice(text=found.fallback))
        return stack.enter_context(found.lasting())

    once: Once[str, Scratch] = Once()
    return lambda: once.get("scratch", opened)


def bind(volume: str) -> "Mount":
    """SOURCE:TARGET[:OPTIONS]; a relative source begins at the current folder. Errors: UsageError, SourceError."""
    from ..containers.options import Volume
    from ..sandbox.discarded import DiscardedBind
    from ..sandbox.mounts import Bind

    words = options_of(volume)
    discarded = "O" in words
    if (discarded and not words <= {"O", "z", "Z"}) or ("U" in words and not words <= {"U", "z", "Z", "ro", "rw"}):
        raise UnsupportedError(f'cannot mount volume "{volume}": O goes by itself, and U with ro alone',
                               hint="leave the other options out")
    plain = f"{volume.rpartition(':')[0]}:{','.join(words - {'O', 'U'})}".rstrip(":") if words & {"O", "U"} else volume
    parsed = Volume.parse(plain)
    if parsed.source is None:
        raise UsageError(f'cannot mount volume "{volume}": it names no source', hint="write SOURCE:TARGET[:ro]")
    source = os.path.abspath(os.path.expanduser(parsed.source))
    if not os.path.exists(source):
        raise SourceError(f'cannot mount volume "{volume}": there is no {source}', hint="make it, or name another")
    if discarded and not os.path.isdir(source):
        raise SourceError(f'cannot mount volume "{volume}:O": {source} is no folder', hint="leave O out")
    if discarded:
        return DiscardedBind(source=source, target=parsed.target)
    return Bind(source=source, target=parsed.target, read_only=parsed.read_only, nosuid="nosuid" in parsed.options,
                noexec="noexec" in parsed.options, recursive="bind" not in parsed.options)


def options_of(volume: str) -> set[str]:
    return set(volume.rpartition(":")[2].split(",")) if volume.count(":") == 2 else set()


def host_file(path: str) -> str:
    """What the host says there, nothing where it says nothing."""
    try:
        return Path(path).read_text(errors="surrogateescape")
    except OSError:
        return ""


def known_hosts(text: str) -> str:
    """The lines of /etc/hosts that name others than this machine: a container is another one."""
    lines = (line.partition("#")[0].split() for line in text.splitlines())
    return "".join("\t".join([fields[0], " ".join(fields[1:])]) + "\n" for fields in lines
                   if len(fields) > 1 and not fields[0].startswith("127.") and fields[0] not in ("::1", "fe00::0")
                   and not fields[0].startswith("ff0"))
