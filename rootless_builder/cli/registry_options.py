"""The options about registries that build, pull, push and login share with podman's."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..values import replace
from .call import Call

if TYPE_CHECKING:
    from ..config import Settings


def add_registry(parser: "argparse._ActionsContainer") -> None:
    add_trust(parser)
    parser.add_argument("--authfile", metavar="FILE", help="take credentials from FILE and from nowhere else")
    parser.add_argument("--creds", metavar="USER[:PASSWORD]",
                        help="the credentials; a password seen here is seen by every user of this machine")
    parser.add_argument("--retry", metavar="N", type=int, default=None,
                        help="how often a failed request is made again (default: 5)")
    parser.add_argument("--retry-delay", metavar="DURATION", default=None,
                        help="how long to wait before that, as 2s (default: longer each time)")


def add_trust(parser: "argparse._ActionsContainer") -> None:
    parser.add_argument("--tls-verify", action="store_true", default=None,
                        help="insist on HTTPS and a certificate that is believed; =false insists on neither (default: "
                             "as configured for the registry)")
    parser.add_argument("--cert-dir", metavar="DIR", help="CAs (*.crt) and our own certificate (*.cert, *.key)")


def with_registry(call: Call, settings: "Settings", hosts: Iterable[str] | None = None) -> "Settings":
    """`settings` with what the options say. hosts: who may see --creds, None for whoever asks. Errors: UsageError."""
    authfile = call.options.authfile
    settings = with_access(call, settings, hosts)
    if authfile:
        if not Path(authfile).is_file():
            raise UsageError(f"cannot read --authfile {authfile}: there is no such file", hint="name an existing one")
        settings = replace(settings, auth_file=Path(authfile).absolute(), foreign_auth_files=())
    return settings


def with_access(call: Call, settings: "Settings", hosts: Iterable[str] | None = None) -> "Settings":
    """The same, but for --authfile. Errors: UsageError."""
    from ..config import RegistryAccess

    options = call.options
    creds = getattr(options, "creds", None)
    return replace(settings, access=RegistryAccess(
        credential=_credential(creds) if creds else None, hosts=None if hosts is None else frozenset(hosts),
        cert_dir=_cert_dir(options.cert_dir), tls_verify=options.tls_verify,
        retries=_retries(getattr(options, "retry", None)), retry_delay=_delay(getattr(options, "retry_delay", None))))


def _credential(text: str) -> tuple[str, str]:
    user, colon, password = text.partition(":")
    if not user:
        raise UsageError("cannot use --creds: it names nobody", hint="write --creds USER:PASSWORD")
    if not colon:
        if not sys.stdin.isatty():
            raise UsageError(f"cannot use --creds {user}: there is no terminal to ask for the password at",
                             hint="write --creds USER:PASSWORD, or use iechor login")
        import getpass

        password = getpass.getpass("Password: ")
    return user, password


def _cert_dir(text: str | None) -> Path | None:
    if text is not None and not Path(text).is_dir():
        raise UsageError(f"cannot use --cert-dir {text}: it is no folder", hint="name one of *.crt, *.cert and *.key")
    return None if text is None else Path(text).absolute()


def _retries(number: int | None) -> int | None:
    if number is not None and not 0 <= number <= 1000:
        raise UsageError(f"cannot use --retry {number}", hint="take a number from 0 on")
    return number


def _delay(text: str | None) -> float | None:
    if text is None:
        return None
    from ..caching.carried import seconds

    try:
        found = float(text) if text.isdecimal() else seconds(text)
    except ValueError as error:
        raise UsageError(f"cannot use --retry-delay: {error}", hint="write it as 2s or 1m30s") from None
    if not 0 <= found <= 3600:
        raise UsageError(f"cannot use --retry-delay {text}", hint="take a time up to an hour")
    return found
