"""A real docker-registry on 127.0.0.1, started and stopped by the test: plain or TLS, open, htpasswd or token.

    with serve_registry(tmp_path) as registry:                            # http, open
        registry.fill(tiny_layout(tmp_path / "base"), "library/base:1")   # by skopeo
        registry.host                                                     # "127.0.0.1:41234"
        registry.requests()                                               # [Request("GET", "/v2/…", 200), …]

    serve_registry(tmp_path, tls=True)                  registry.ca_file: its private CA
    serve_registry(tmp_path, tls=True, mutual=True)     and who has no client.pem of that CA is not let in
    serve_registry(tmp_path, users={"ann": "secret"})   basic auth (htpasswd)
    with serve_tokens(users={"ann": "secret"}) as tokens, serve_registry(tmp_path, tokens=tokens) as registry

Everything it writes is below the folder given. Only Debian's docker-registry, skopeo, htpasswd and trustme are used.
"""

import base64
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

DOCKER_REGISTRY = "/usr/bin/docker-registry"
START_SECONDS = 20


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    status: int


@dataclass
class Registry:
    host: str
    folder: Path
    log: Path
    process: subprocess.Popen[bytes]
    ca_file: Path | None = None
    credentials: tuple[str, str] | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.ca_file else 'http'}://{self.host}"

    @property
    def port(self) -> int:
        return int(self.host.rpartition(":")[2])

    def requests(self) -> list[Request]:
        """Every request answered so far, from the access log."""
        pattern = re.compile(r'"([A-Z]+) (\S+) HTTP/[0-9.]+" (\d{3}) ')
        found = map(pattern.search, self.log.read_text(errors="replace").splitlines())
        return [Request(match[1], match[2], int(match[3])) for match in found if match]

    def fill(self, layout: Path, name: str, *flags: str) -> None:
        """Copies the one image of an OCI layout here as NAME:TAG, by skopeo."""
        skopeo("copy", "-q", f"oci:{layout}", f"docker://{self.host}/{name}", *self.skopeo_flags("--dest-"), *flags)

    def skopeo_flags(self, prefix: str = "--") -> list[str]:
        """`prefix` is "--", "--dest-" or "--src-"."""
        flags = [f"{prefix}tls-verify=false"]
        if self.credentials:
            flags.append(f"{prefix}creds={':'.join(self.credentials)}")
        return flags

    def stop(self) -> None:
        """Ends it now; it stays down (twice is once)."""
        self.process.terminate()
        self.process.wait(10)


def skopeo(command: str, *arguments: str) -> str:
    """stdout of `skopeo COMMAND ARGUMENTS`; a failure raises with what it said."""
    done = subprocess.run(["skopeo", "--insecure-policy", command, *arguments], capture_output=True, text=True,
                          check=False)
    if done.returncode:
        raise AssertionError(f"skopeo {command}: {done.stderr}")
    return done.stdout


@contextmanager
def serve_registry(folder: Path, *, tls: bool = False, mutual: bool = False, users: Mapping[str, str] | None = None,
                   tokens: "TokenServer | None" = None) -> Iterator[Registry]:
    """A registry that keeps its data below `folder`, up when the block starts and gone when it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    http: dict[str, Any] = {"addr": "127.0.0.1:0", "secret": "test"}
    ca_file = None
    if tls:
        ca_file = write_certificates(folder)
        http["tls"] = {"certificate": str(folder / "server.pem"), "key": str(folder / "server.key")}
        if mutual:
            http["tls"]["clientcas"] = [str(ca_file)]
    config: dict[str, Any] = {
        "version": 0.1, "log": {"level": "info"}, "http": http,
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
    }
    if users:
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(_write_htpasswd(folder, users))}}
    if tokens:
        config["auth"] = {"token": tokens.registry_settings(folder)}
    (folder / "config.yml").write_text(json.dumps(config))
    log = folder / "registry.log"
    environment = {"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"}
    with log.open("ab") as sink:
        process = subprocess.Popen([DOCKER_REGISTRY, "serve", str(folder / "config.yml")], stdout=sink, stderr=sink,
                                   stdin=subprocess.DEVNULL, env=environment)
    accounts = users or (tokens.users if tokens else {})
    try:
        host = _listening(process, log)
        yield Registry(host, folder, log, process, ca_file, next(iter(accounts.items()), None))
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(10)


def write_certificates(folder: Path) -> Path:
    """server.pem and .key for 127.0.0.1 and localhost, client.pem and .key; returns the file of their CA."""
    import trustme

    authority = trustme.CA()
    for name, identity in (("server", ("127.0.0.1", "localhost")), ("client", ("ann@example.org",))):
        issued = authority.issue_cert(*identity)
        issued.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        for number, blob in enumerate(issued.cert_chain_pems):
            blob.write_to_path(str(folder / f"{name}.pem"), append=number > 0)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    return folder / "ca.pem"


def _write_htpasswd(folder: Path, users: Mapping[str, str]) -> Path:
    lines = [subprocess.run(["htpasswd", "-niB", "-C", "4", name], input=password, capture_output=True, text=True,
                            check=True).stdout.strip() for name, password in users.items()]
    (folder / "htpasswd").write_text("\n".join(lines) + "\n")
    return folder / "htpasswd"


def _listening(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        match = re.findall(r"listening on (127\.0\.0\.1:\d+)", log.read_text(errors="replace"))
        if match:
            return str(match[-1])
        time.sleep(0.02)
    raise AssertionError(f"docker-registry did not start:\n{log.read_text(errors='replace')}")


# ---- images without our own code -------------------------------------------------------------------------------

def tiny_layer(files: Mapping[str, bytes | str]) -> bytes:
    """A tar with these regular files, owned by 0:0, their times 0."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files.items():
            raw = data.encode() if isinstance(data, str) else data
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(raw), 0o644
            archive.addfile(info, io.BytesIO(raw))
    return buffer.getvalue()


def tiny_layout(folder: Path, layers: Sequence[Mapping[str, bytes | str]] = ({"hello": "hello\n"},), *,
                config: Mapping[str, Any] | None = None, architecture: str = "amd64") -> Path:
    """An OCI layout with one image of gzip layers, unnamed; returns `folder`."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{media_type}", "digest": f"sha256:{digest}",
                "size": len(data)}

    tars = [tiny_layer(layer) for layer in layers]
    described = [put(gzip.compress(tar, 1, mtime=0), "layer.v1.tar+gzip") for tar in tars]
    config_blob = put(json.dumps({
        "architecture": architecture, "os": "linux", "config": dict(config or {"Cmd": ["/hello"]}),
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(tar).hexdigest() for tar in tars]},
        "history": [{"created_by": f"layer {number}"} for number in range(len(tars))],
    }).encode(), "config.v1+json")
    manifest = put(json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config_blob, "layers": described,
    }).encode(), "manifest.v1+json")
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    return folder


# ---- a token server, by the distribution project's token and oauth2 specifications -----------------------------

@dataclass
class TokenServer:
    """Gives tokens the registry believes: GET with basic auth (or anonymous, pull only), POST oauth2."""

    users: Mapping[str, str]
    lifetime: int = 300
    refresh_tokens: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, Mapping[str, list[str]]]] = field(default_factory=list)  # (method, query or form)
    url: str = ""

    SERVICE = "test-registry"
    ISSUER = "test-issuer"

    def __post_init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        self._key = ec.generate_private_key(ec.SECP256R1())

    def registry_settings(self, folder: Path) -> dict[str, str]:
        """The `auth.token` part of docker-registry's configuration."""
        bundle = folder / "token.pem"
        bundle.write_bytes(self._certificate())
        return {"realm": f"{self.url}/token", "service": self.SERVICE, "issuer": self.ISSUER,
                "rootcertbundle": str(bundle)}

    def token(self, user: str, scopes: Sequence[str]) -> str:
        """A signed JWT; anonymous users may pull only."""
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            wanted = [action for action in actions.split(",") if user or action == "pull"]
            access.append({"type": kind, "name": name, "actions": wanted})
        now = int(time.time())
        claims = {"iss": self.ISSUER, "aud": self.SERVICE, "sub": user, "iat": now, "nbf": now - 5,
                  "exp": now + self.lifetime, "jti": os.urandom(8).hex(), "access": access}
        header = {"typ": "JWT", "alg": "ES256", "kid": self._key_id()}
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{_base64url(self._sign(signed.encode()))}"

    def _sign(self, data: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        r, s = decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def _key_id(self) -> str:
        """As libtrust has it: 30 bytes of the public key's SHA-256 in base32, in groups of four."""
        from cryptography.hazmat.primitives import serialization

        der = self._key.public_key().public_bytes(serialization.Encoding.DER,
                                                  serialization.PublicFormat.SubjectPublicKeyInfo)
        text = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
        return ":".join(text[start:start + 4] for start in range(0, len(text), 4))

    def _certificate(self) -> bytes:
        import datetime

        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.x509.oid import NameOID

        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "token server")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name)
                       .public_key(self._key.public_key()).serial_number(x509.random_serial_number())
                       .not_valid_before(now - datetime.timedelta(days=1))
                       .not_valid_after(now + datetime.timedelta(days=1)).sign(self._key, hashes.SHA256()))
        return certificate.public_bytes(serialization.Encoding.PEM)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def serve_tokens(users: Mapping[str, str], *, lifetime: int = 300) -> Iterator[TokenServer]:
    tokens = TokenServer(users, lifetime)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            tokens.asked.append(("GET", query))
            user = ""
            header = self.headers.get("Authorization", "")
            if header.startswith("Basic "):
                user, _, password = base64.b64decode(header[6:]).decode().partition(":")
                if users.get(user) != password:
                    self._answer(401, {"details": "incorrect username or password"})
                    return
            answer = {"token": tokens.token(user, _scopes(query)), "expires_in": lifetime}
            if user and query.get("offline_token") == ["true"]:
                answer["refresh_token"] = _refresh(user)
            self._answer(200, answer)

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            tokens.asked.append(("POST", form))
            user = ""
            if form["grant_type"] == ["refresh_token"]:
                user = tokens.refresh_tokens.get(form["refresh_token"][0], "")
            elif form["grant_type"] == ["password"] and users.get(form["username"][0]) == form["password"][0]:
                user = form["username"][0]
            if not user:
                self._answer(401, {"details": "invalid grant"})
                return
            self._answer(200, {"access_token": tokens.token(user, _scopes(form)), "expires_in": lifetime})

        def _answer(self, status: int, value: Mapping[str, Any]) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def _refresh(user: str) -> str:
        token = os.urandom(16).hex()
        tokens.refresh_tokens[token] = user
        return token

    with serve_http(Handler) as url:
        tokens.url = url
        yield tokens


def _scopes(fields: Mapping[str, list[str]]) -> list[str]:
    return [scope for value in fields.get("scope", []) for scope in value.split()]


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is part of the test."""


@contextmanager
def serve_http(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """An HTTP server of this handler on a free port of 127.0.0.1, in a thread; yields its URL."""
    server = _QuietServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
