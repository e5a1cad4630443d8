"""The instructions of an iEchorfile as values: what was written, nothing expanded, each with its place.

    Script
    ├── directives      # escape=, # syntax=, # check=
    ├── warnings        what the parser says and goes on
    └── instructions    From Run Copy Add Env Arg Label User Workdir Expose Volume Cmd Entrypoint
                        Shell StopSignal OnBuild HealthCheck Maintainer

Names of classes and fields are those of BuildKit's Dockerfile instructions; only keywords.py knows how the
user spells them. Values keep their quotes and variables: `words.expand` takes them away, with the escape
token of `Script.directives.escape`.
"""

from ..span import Span
from ..values import dataclass
from .mounts import MountFlag


@dataclass(frozen=True, slots=True, kw_only=True)
class Heredoc:
    """A here-document of RUN, COPY or ADD; `content` is raw (tabs and line ends as written).

    `expand` is false when any part of the delimiter is quoted, `chomp` is true for `<<-`.
    """

    name: str
    fd: int = 0
    expand: bool = True
    chomp: bool = False
    content: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InlineFile:
    """A heredoc as a source of COPY or ADD: leading tabs already gone for `<<-`; `expand`: variables count."""

    name: str
    content: str
    expand: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """`RUN --device=name[,required]`: a CDI device name (vendor/class=device)."""

    name: str
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What all have in common.

    `keyword` is the instruction as the user spelt it, `text` the whole logical line (continuations joined,
    heredocs left out), `comments` the comment lines right above it, without "#".
    """

    span: Span
    text: str
    keyword: str
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class From(Instruction):
    """`FROM [--platform=P] [--after=STAGE] image [AS name]`; `name` is lower case, "" without AS; `as_written` =
    ("As", "Name"); `after`: a stage that is built before, buildah's.
    """

    image: str
    name: str = ""
    platform: str = ""
    after: str = ""
    as_written: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Instruction):
    """`RUN`: shell form (`shell`, `argv` holds at most one string) or exec form.

    With heredocs, `script` is the text the shell gets: the body alone when the heredoc is the whole command,
    else the command with its heredocs put back. A body that begins with "#!" and is the whole command is to be
    run as a file instead (`shebang`). `mounts` hold variables: `MountFlag.resolve` makes them `RunMount`s.
    """

    argv: tuple[str, ...]
    shell: bool
    heredocs: tuple[Heredoc, ...] = ()
    script: str = ""
    shebang: bool = False
    mounts: tuple[MountFlag, ...] = ()
    network: str = "default"  # default | none | host
    security: str = "sandbox"  # sandbox | insecure
    devices: tuple[Device, ...] = ()
    flags: tuple[str, ...] = ()  # names of the flags that were given


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Instruction):
    """`COPY`: `sources` are paths and wildcards, `files` the heredocs among the sources."""

    sources: tuple[str, ...]
    dest: str
    files: tuple[InlineFile, ...] = ()
    from_: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Instruction):
    """`ADD`; `keep_git_dir` and `unpack` are None unless given: their defaults depend on the kind of source."""

    sources: tuple[str, ...]
    dest: str
    files: tuple[InlineFile, ...] = ()
    chown: str = ""
    chmod: str = ""
    link: bool = False
    excludes: tuple[str, ...] = ()
    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Env(Instruction):
    """`ENV k=v …`, or `ENV k v` (`legacy`)."""

    pairs: tuple[tuple[str, str], ...]
    legacy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg(Instruction):
    """`ARG name[=default] …`."""

    args: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Instruction):
    pairs: tuple[tuple[str, str], ...]
    legacy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Instruction):
    """`user` is "name-or-uid[:group-or-gid]"."""

    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir(Instruction):
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose(Instruction):
    """`ports` are "port[-port][/proto]", sorted."""

    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Instruction):
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmd(Instruction):
    argv: tuple[str, ...]
    shell: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint(Instruction):
    argv: tuple[str, ...]
    shell: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell(Instruction):
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSignal(Instruction):
    signal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OnBuild(Instruction):
    """`trigger` is the text kept in the image; `instruction` is what it means, None when it means nothing yet.

    BuildKit checks a trigger only when it fires, so a wrong one is no error here.
    """

    trigger: str
    instruction: Instruction | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck(Instruction):
    """`test` is ("NONE",), ("CMD", arg…) or ("CMD-SHELL", text), as image configs have it; times in ns, 0: unset."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer(Instruction):
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """A parser directive at the top of the file: `# name=value`."""

    value: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Directives:
    """`escape` is the escape token in force: a backslash unless the file says a backtick."""

    escape: str = "\\"
    syntax: Directive | None = None
    check: Directive | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseWarning:
    text: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A parsed file. `source` is its text, for excerpts; undecodable bytes are lone surrogates there."""

    file: str
    directives: Directives
    instructions: tuple[Instruction, ...]
    warnings: tuple[ParseWarning, ...] = ()
    source: str = ""
