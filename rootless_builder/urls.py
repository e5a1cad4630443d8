"""URLs that have a user and password in them: what of them may be told, and how the two come apart."""

import re
from urllib.parse import unquote, urlsplit

_MASK = "xxxxx"  # BuildKit's word for what is left out
_LOGINS = re.compile(r"""(?ix) (?: (?<=http://) | (?<=https://) ) [^/?\#\s"']+ (?=@)  # a user alone may be a token
                             | (?<=://) [^/?\#\s"'@:]* : [^/?\#\s"']* (?=@)""")


def redacted(text: str) -> str:
    """The text, whatever it is, with a mask in the place of each user and password of a URL."""
    return _LOGINS.sub(_MASK, text) if "://" in text else text


def apart(url: str) -> tuple[str, str | None, str | None]:
    """The URL without a user and password, the user, the password; each None where it has none."""
    parts = urlsplit(url)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return plain, _decoded(parts.username), _decoded(parts.password)


def _decoded(text: str | None) -> str | None:
    return None if text is None else unquote(text)
