"""COPY and ADD → CopyStep. By BuildKit's dockerfile2llb (dispatchCopy)."""

from typing import TYPE_CHECKING

from ..errors import IechorfileError
from ..language import instructions as i
from ..language.ignore import IgnorePatterns
from ..language.words import expand_raw
from ..paths import absolute, image_path
from ..urls import redacted
from .filemode import FileMode
from .remotes import GitSource, HttpSource, git_source, http_source
from .steps import CopySource, CopyStep, InlineFile

if TYPE_CHECKING:
    from .lower import Lowering


def copy_step(low: "Lowering", this: "i.Copy | i.Add") -> CopyStep:
    """Errors: IechorfileError."""
    word = "COPY" if isinstance(this, i.Copy) else "ADD"
    texts = tuple(low.expand(source) for source in this.sources)
    dest = low.expand(this.dest)
    owner, chmod = low.expand(this.chown), low.expand(this.chmod)
    origin, parents, unpack = None, False, False
    if isinstance(this, i.Copy):
        origin = low.arguments.graph.origin(this.from_, low.stage, this) if this.from_ else None
        parents = this.parents
    else:
        unpack = this.unpack if this.unpack is not None else True
    told = [word, *(["--parents"] if parents else []), *([f"--chown={owner}"] if owner else []),
            *([f"--chmod={chmod}"] if chmod else []), *texts, *(f"<<{file.name}" for file in this.files), dest]
    return CopyStep(
        shown=low.shown(this, redacted(f"{' '.join(told)} # iechor")), image=low.image,
        sources=_sources(low, this, texts), inline=tuple(_inline(low, file) for file in this.files),
        dest=_destination(dest, low.config.working_dir), origin=origin, owner=owner, mode=_mode(chmod),
        excludes=_excludes(this), parents=parents, unpack=unpack, link=_links(this.link, owner, chmod))


def _sources(low: "Lowering", this: "i.Copy | i.Add", texts: tuple[str, ...]) -> tuple[CopySource, ...]:
    """Remote ones as values; local paths stay text."""
    found: list[CopySource] = []
    checksum = low.expand(this.checksum) if isinstance(this, i.Add) else ""
    for text in texts:
        git = git_source(text)
        url = http_source(text) if git is None else None
        remote: GitSource | HttpSource | None = git or url
        if remote is None:
            found.append(text)
        elif isinstance(this, i.Copy):
            what = "a git ref" if git is not None else "a URL"
            raise IechorfileError(f"source can't be {what} for COPY", hint=f"write ADD {text} …")
        elif git is not None:
            found.append(git.checked(checksum, this.keep_git_dir))
        elif url is not None:
            found.append(url.checked(checksum, unpack=bool(this.unpack)))
    if checksum and len(texts) != 1:
        raise IechorfileError("checksum can't be specified for multiple sources", hint="write one ADD for each")
    if checksum and isinstance(found[0], str):
        raise IechorfileError("checksum requires HTTP(S) or Git sources", hint="leave --checksum out")
    return tuple(found)


def _excludes(this: "i.Copy | i.Add") -> tuple[str, ...]:
    """As written: BuildKit expands no variable in them."""
    IgnorePatterns(this.excludes)  # an error in one is an error here, not at the first file
    return tuple(this.excludes)


def _inline(low: "Lowering", file: i.InlineFile) -> InlineFile:
    content = expand_raw(file.content, low.env) if file.expand else file.content
    return InlineFile(name=file.name, data=content.encode("utf-8", "surrogateescape"))


def _destination(dest: str, cwd: str) -> str:
    """Absolute and clean, with a "/" at its end when it names a folder by its form."""
    path = absolute(image_path(dest, cwd=image_path(cwd)))
    folder = dest in ("", ".") or dest.endswith(("/", "/."))
    return path + "/" if folder and path != "/" else path


def _mode(chmod: str) -> int | str | None:
    """Symbolic ones stay text: what they give depends on the file."""
    if not chmod:
        return None
    mode = FileMode.parse(chmod)
    return chmod if mode.fixed is None else mode.fixed


def _links(asked: bool, owner: str, chmod: str) -> bool:
    """--link with --chmod is an ordinary copy, as in BuildKit. So is one for a name, which has to be looked up below
    (BuildKit refuses it).
    """
    return asked and not chmod and all(part.isdigit() for part in owner.split(":") if part)
