"""Secrets that open remote sources of ADD and remote contexts, by BuildKit's names for them.

    HTTP_AUTH_TOKEN_HOST    Authorization: Bearer VALUE         for http(s) URLs of files on HOST, whatever the port;
    HTTP_AUTH_HEADER_HOST   Authorization: VALUE                a token is taken before a header, and both before
                                                                USER:PASSWORD of the URL
    GIT_AUTH_HEADER.HOST    Authorization: VALUE                for http(s) git repositories; the first of these that
    GIT_AUTH_TOKEN.HOST     basic, of x-access-token:VALUE      is given, HOST with the port that the URL has
    GIT_AUTH_HEADER, GIT_AUTH_TOKEN                             the same for any host

By BuildKit's source/http and source/git. A value is seen by the server alone: it is in no message, record or key, nor
on a command line.
"""

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from ..errors import SourceError
from ..values import dataclass, field

if TYPE_CHECKING:
    from .secrets import Secret

TOKEN, HEADER = "HTTP_AUTH_TOKEN_", "HTTP_AUTH_HEADER_"
GIT_TOKEN, GIT_HEADER = "GIT_AUTH_TOKEN", "GIT_AUTH_HEADER"
GIT_USER = "x-access-token"  # what GitHub calls whoever has a token; others take any name


@dataclass(frozen=True, slots=True)
class FetchAuth:
    """secrets: --secret by id; each is read when a URL asks for it."""

    secrets: "Mapping[str, Secret]" = field(default_factory=dict)

    def http(self, url: str) -> str | None:
        """The value of Authorization for this URL, None where no secret is meant for it. Errors: SourceError."""
        host = urlsplit(url).hostname or ""
        for prefix in (TOKEN, HEADER):
            name = self._named(prefix + host)
            if name is not None:
                return ("Bearer " if prefix == TOKEN else "") + self._value(name)
        return None

    def git(self, remote: str) -> str | None:
        """The same for a repository. Errors: SourceError."""
        if not self.secrets or not remote.lower().startswith(("http://", "https://")):
            return None
        place = _place(urlsplit(remote))
        for wanted in (f"{GIT_HEADER}.{place}", f"{GIT_TOKEN}.{place}", GIT_HEADER, GIT_TOKEN):
            name = self._named(wanted)
            if name is not None and wanted.startswith(GIT_HEADER):
                return self._value(name)
            if name is not None:
                pair = f"{GIT_USER}:{self._value(name)}".encode("latin-1")
                return "basic " + base64.b64encode(pair).decode()
        return None

    def _named(self, wanted: str) -> str | None:
        """The id as the user spelt it: a host's name has no case."""
        return next((name for name in self.secrets if name.lower() == wanted.lower()), None)

    def _value(self, name: str) -> str:
        """Without the line end that editors put behind it. Errors: SourceError for what no header can hold."""
        text = self.secrets[name].read(name).rstrip(b"\r\n").decode("latin-1")
        if not text or any(not " " <= letter <= "~" for letter in text):
            raise SourceError(f"cannot use the secret {name}: " + (
                "it is empty" if not text else "it is more than one line of plain letters"),
                hint="give the token or the header's value alone")
        return text


def _place(parts: SplitResult) -> str:
    """HOST or HOST:PORT, as the URL has it."""
    return parts.netloc.rpartition("@")[2]
