"""Secrets in what a step leaves behind: tokens and keys by their own form, and the exact bytes of what was given.

    names first (.npmrc, id_rsa, .docker/config.json …), then small files before large ones, until the budget is spent

Only files that look like text and are small are read, and of others' packages only those with a name that tells, unless
secrets were given, which may be anywhere. What is found is named by its kind, never shown.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..paths import ImagePath
from ..tree.node import File
from ..values import dataclass

LARGEST = 1 << 20  # bytes of a file that is read
BUDGET, FILES = 16 << 20, 5_000  # bytes, and files, that are read of one step
BUDGET_GIVEN, FILES_GIVEN = 64 << 20, 20_000  # where secrets were given
SHORTEST = 8  # bytes of a value that is looked for: a shorter one stands in files by chance
_HEAD = 1024
_ONCE = 16 << 10  # bytes that are read at first
# Others' packages come with keys to test with, and with examples of tokens.
_PACKAGES = (r"(^|/)(node_modules|site-packages|dist-packages|gems|vendor|testdata|lib/(python|ruby)[0-9.]+"
             r"|usr/(local/)?(share|lib|include))/")
_KEY = rb"(?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----\s+(?:[A-Za-z-]{1,40}: [^\n]{0,200}\s+){0,5}"
# Patterns are compiled when they are first used: a cached build uses none.
# (what it is, a fixed part to look for first, the whole form)
_FORMS: tuple[tuple[str, bytes, bytes], ...] = (
    ("a private key", b"PRIVATE KEY", rb"-----BEGIN " + _KEY + rb"[A-Za-z0-9+/=]{24}"),
    ("an AWS access key", b"AKIA", rb"\bAKIA(?![0-9A-Z]{9}EXAMPLE)[0-9A-Z]{16}\b"),
    ("an AWS access key", b"ASIA", rb"\bASIA(?![0-9A-Z]{9}EXAMPLE)[0-9A-Z]{16}\b"),
    ("an AWS secret key", b"aws_secret_access_key",
     rb"aws_secret_access_key[\"']?\s{0,8}[=:]\s{0,8}[\"']?(?![A-Za-z0-9/+]{30,33}EXAMPLEKEY)[A-Za-z0-9/+=]{40}"),
    ("a GitHub token", b"github_pat_", rb"\bgithub_pat_[A-Za-z0-9_]{60}"),
    *((f"a {site} token", prefix, rb"\b" + prefix + rb"[A-Za-z0-9_-]{%d}" % length) for site, prefix, length in (
        ("GitHub", b"ghp_", 36), ("GitHub", b"gho_", 36), ("GitHub", b"ghs_", 36), ("GitLab", b"glpat-", 20),
        ("npm", b"npm_", 36), ("Slack", b"xoxb-", 24), ("Slack", b"xoxp-", 24), ("Stripe", b"sk_live_", 24),
        ("PyPI", b"pypi-AgE", 40))),
)
# (what it is, which file, what in it)
_NAMED: tuple[tuple[str, str, bytes], ...] = (
    ("an npm token", r"\.(npm|yarn)rc", rb"(_authToken|_auth|_password)\s*=\s*(?!\$\{)\S"),
    ("a password for a package index", r"\.pypirc", rb"(?m)^\s*password\s*[=:]\s*\S"),
    ("a password", r"[._]netrc", rb"\bpassword\s+\S"),
    ("a password for a git server", r"\.git-credentials", rb"://[^/\s:@]{1,200}:[^/\s@]{1,400}@"),
    ("a login to a registry", r"(\.docker/config\.json|\.dockerconfigjson|\.dockercfg|containers/auth\.json)",
     rb"\"(auth|identitytoken|password)\"\s*:\s*\"[^\"]"),
    ("an AWS secret key", r"\.aws/credentials", rb"(?m)^\s*aws_secret_access_key\s*=\s*\S"),
    ("a login to a cluster", r"(\.kube/config|kubeconfig)", rb"(?m)^\s*(client-key-data|token|password):\s*\S"),
)
_IN_URL = rb"[a-z]://[^/\s:@$'\"]{1,200}:[^/\s@${'\"]{3,400}@"
_ANY_NAMED = f"(^|/)({'|'.join(named for _, named, _ in _NAMED)})$"
# What each of those names has in it, and what each form has: where none is, nothing need be looked at more closely.
NAMES = (b".npmrc", b".yarnrc", b".pypirc", b"netrc", b".git-credentials", b"config.json", b".docker",
         b"auth.json", b".aws/", b".kube/", b"kubeconfig")
HINTS = tuple(dict.fromkeys(hint for _, hint, _ in _FORMS))
_SUSPICIOUS = (r"(?i)(^|/)([._]\w*rc$|[._]netrc$|\.env|\.git-credentials$|\.docker|\.aws/|\.kube/|\.ssh/|id_\w+$"
               r"|[^/]*(secret|credential|token|passw|auth)[^/]*$|[^/]*\.(pem|key|p8)$)")


@dataclass(frozen=True, slots=True)
class Known:
    """A secret that was given to this build. told: what it is for a message, which never shows `value`."""

    told: str
    value: bytes


def in_files(files: Mapping[ImagePath, File], given: Sequence[Known]) -> Iterator[tuple[ImagePath, str]]:
    """(path, what it holds), in the order of paths; each file is told once."""
    suspicious = re.compile(_SUSPICIOUS)
    wanted = sorted((not suspicious.search(path), file.size, path) for path, file in files.items()
                    if 0 < file.size < LARGEST and (given or _is_read(path)))
    found, left = {}, BUDGET_GIVEN if given else BUDGET
    for _, size, path in wanted[:FILES_GIVEN if given else FILES]:
        left -= size
        if left < 0:
            break
        what = _in_file(path, files[path], given)
        if what is not None:
            found[path] = what
    yield from sorted(found.items())


def in_text(text: str, given: Iterable[Known]) -> str | None:
    """What a line of the history holds."""
    data = text.encode("utf-8", "surrogateescape")
    return _given_in(data, given) or _form_in(data) or ("a password in a URL" if re.search(_IN_URL, data) else None)


def _is_read(path: ImagePath) -> bool:
    """Whether anything but a given secret is looked for in it."""
    return re.search(_PACKAGES, path) is None or re.search(_ANY_NAMED, path) is not None


def _in_file(path: ImagePath, file: File, given: Sequence[Known]) -> str | None:
    data = _text_of(file)
    if data is None:
        return None
    for what, named, form in _NAMED if re.search(_ANY_NAMED, path) else ():
        if re.search(rf"(^|/){named}$", path) and re.search(form, data):
            return what
    return _given_in(data, given) or (None if re.search(_PACKAGES, path) else _form_in(data))


def _given_in(data: bytes, given: Iterable[Known]) -> str | None:
    return next((one.told for one in given if one.value in data), None)


def _form_in(data: bytes) -> str | None:
    return next((what for what, hint, form in _FORMS if hint in data and re.search(form, data)), None)


def _text_of(file: File) -> bytes | None:
    """The bytes of what looks like text; None for others, and for what cannot be read."""
    try:
        fd, offset = file.content.open()
        try:
            data = os.pread(fd, min(_ONCE, file.size), offset)
            if data.find(b"\0", 0, _HEAD) >= 0:
                return None
            return data + os.pread(fd, file.size - len(data), offset + len(data)) if file.size > len(data) else data
        finally:
            os.close(fd)
    except OSError:
        return None
