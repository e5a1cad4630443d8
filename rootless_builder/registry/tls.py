"""Whom we believe: one TLS context for each host.

    system store, SSL_CERT_FILE, SSL_CERT_DIR     always
    ca_file                                       of the settings, then of the registry
    --cert-dir, then
    certs.d/HOST[:PORT]/*.crt                     CAs        (containers-certs.d(5), docker's certs.d)
    certs.d/HOST[:PORT]/*.cert + *.key            what we show the registry about ourselves
"""

import ssl
from collections.abc import Iterator
from pathlib import Path

from ..config import Settings
from ..errors import ConfigFileError


def context_for(settings: Settings, host: str, *, insecure: bool) -> ssl.SSLContext:
    """A client context for `host` (as in names, with its port). insecure: whoever answers is believed.

    Errors: ConfigFileError when a CA or key that was asked for cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        _believe(context, settings, host)
    chosen = settings.registry(host)
    pairs = [(chosen.client_cert, chosen.client_key)] if chosen.client_cert else []
    pairs += [(path, path.with_suffix(".key")) for path in _certs(settings, host, ".cert")]
    for certificate, key in pairs[:1]:
        try:
            context.load_cert_chain(str(certificate), str(key) if key else None)
        except (OSError, ssl.SSLError) as error:
            raise ConfigFileError(f"cannot use the client certificate {certificate} for {host}: {_cause(error)}",
                                  hint="client_cert and client_key must be PEM files that belong together") from error
    return context


def _believe(context: ssl.SSLContext, settings: Settings, host: str) -> None:
    context.load_default_certs()
    for file, folder in ((settings.ssl_cert_file, None), (None, settings.ssl_cert_dir)):
        found = file or folder
        if found is not None and found.exists():
            context.load_verify_locations(file and str(file), folder and str(folder))
    asked = [path for path in (settings.ca_file, settings.registry(host).ca_file) if path is not None]
    for path in (*asked, *_certs(settings, host, ".crt")):
        try:
            context.load_verify_locations(str(path))
        except (OSError, ssl.SSLError) as error:
            raise ConfigFileError(f"cannot use the CA file {path} for {host}: {_cause(error)}",
                                  hint="it must be a readable file of PEM certificates") from error


def _certs(settings: Settings, host: str, suffix: str) -> Iterator[Path]:
    asked = settings.access.cert_dir
    if asked is not None:
        try:
            yield from sorted(path for path in asked.iterdir() if path.suffix == suffix)
        except OSError as error:
            raise ConfigFileError(f"cannot read the certificates in {asked}: {error.strerror}",
                                  hint="name a folder with --cert-dir") from error
    for folder in settings.certs_dirs:
        try:
            yield from sorted(path for path in (folder / host).iterdir() if path.suffix == suffix)
        except OSError:
            continue


def _cause(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__
