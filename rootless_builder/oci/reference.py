"""Image names: `domain/path:tag@digest`, by the grammar of the distribution project's reference package.

    reference = name [":" tag] ["@" digest]
    name      = [domain "/"] component *("/" component)
    domain    = "localhost" | what has a "." or ":" or a capital letter before the first "/"

Normal form, as docker has it: `debian` is docker.io/library/debian, and index.docker.io is docker.io.
"""

import re

from ..errors import UsageError
from ..values import dataclass, replace
from .digest import Digest, InvalidDigest

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"
_OFFICIAL = "library/"

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_NAME_LIMIT = 255


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """A name in normal form; without tag and digest it is a bare repository."""

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str, *, default_registry: str = DEFAULT_REGISTRY) -> "Reference":
        """What a user or an iEchorfile wrote → normal form. Errors: UsageError."""
        name, at, digest_text = text.partition("@")
        digest = None
        if at:
            try:
                digest = Digest.parse(digest_text)
            except InvalidDigest as error:
                raise _refused(text, "what follows @ is not a digest") from error
        head, colon, tail = name.rpartition(":")
        tag = None
        if colon and "/" not in tail:
            name, tag = head, tail
            if not _TAG.fullmatch(tag):
                raise _refused(text, f"{tag!r} is not a tag")
        domain, path = _split(name, default_registry)
        if not _DOMAIN.fullmatch(domain):
            raise _refused(text, f"{domain!r} is not a registry")
        if not _PATH.fullmatch(path):
            cause = "names are lower case" if _PATH.fullmatch(path.lower()) else f"{path!r} is not a repository"
            raise _refused(text, cause)
        if len(path) > _NAME_LIMIT:
            raise _refused(text, f"it is longer than {_NAME_LIMIT} characters")
        if re.fullmatch(r"[0-9a-f]{64}", name):
            raise _refused(text, "a name of 64 hex digits is an image ID")
        return cls(domain, path, tag, digest)

    @property
    def name(self) -> str:
        """The repository: domain/path."""
        return f"{self.domain}/{self.path}"

    def with_default_tag(self) -> "Reference":
        """`latest`, where neither tag nor digest was given."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)

    def with_digest(self, digest: Digest) -> "Reference":
        return replace(self, digest=digest)

    def familiar(self, *, default_registry: str = DEFAULT_REGISTRY) -> str:
        """As docker shows it: the default registry and its library/ left out."""
        name = self.name
        if self.domain == default_registry:
            name = self.path
            short = name.removeprefix(_OFFICIAL)
            if default_registry == DEFAULT_REGISTRY and "/" not in short:
                name = short
            if _split(name, default_registry) != (self.domain, self.path):
                name = self.name  # docker.io/a.b/c: without its registry it would be c of the registry a.b
        return name + self._suffix()

    def __str__(self) -> str:
        return self.name + self._suffix()

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def _split(name: str, default_registry: str) -> tuple[str, str]:
    domain, slash, path = name.partition("/")
    has_domain = slash and (domain == "localhost" or any(mark in domain for mark in ".:[") or domain != domain.lower())
    if not has_domain:
        domain, path = default_registry, name
    if domain == "index.docker.io":
        domain = DEFAULT_REGISTRY
    if domain == DEFAULT_REGISTRY and "/" not in path:
        path = _OFFICIAL + path
    return domain, path


def _refused(text: str, cause: str) -> UsageError:
    return UsageError(f"cannot use {text!r} as an image name: {cause}",
                      hint="write it as [REGISTRY/]NAME[:TAG][@DIGEST], the name in lower case")
