"""Logins, tokens, certificates against a real docker-registry; what must never be told to whom."""

import base64
import json
import stat
from http.server import BaseHTTPRequestHandler

import pytest

from rootless_builder.config import load
from rootless_builder.errors import AuthError, ConfigFileError, RegistryError
from rootless_builder.events import Notice
from rootless_builder.oci.reference import Reference
from rootless_builder.registry.auth import Credentials
from rootless_builder.registry.client import RegistryClient
from rootless_builder.registry.transfer import pull, push
from rootless_builder.store.store import Store
from tests.registry_server import serve_http, serve_registry, serve_tokens, skopeo, tiny_layout

USERS = {"ann": "s:cret é"}


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    return tiny_layout(tmp_path_factory.mktemp("layout") / "oci")


@pytest.fixture(scope="module")
def locked(tmp_path_factory, layout):
    """htpasswd over TLS with a private CA."""
    with serve_registry(tmp_path_factory.mktemp("locked"), tls=True, users=USERS) as server:
        server.fill(layout, "team/tiny:1")
        yield server


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "store") as opened:
        yield opened


class Home:
    """A user's home folder; each command is a new client, as it is in life."""

    def __init__(self, folder):
        self.folder = folder
        self.config = ""
        self.environ = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder / "run")}
        self.events = []

    def write(self, path, text):
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    def client(self):
        self.write("config.toml", self.config)
        settings = load([self.folder / "config.toml"], self.environ)
        credentials = Credentials(settings.auth_file, settings.foreign_auth_files, self.events.append)
        return RegistryClient(settings, credentials, self.events.append, pause=lambda seconds: None)

    def pull(self, name, store):
        return pull(Reference.parse(name), store, client=self.client(), emit=self.events.append)

    def push(self, image, name, store):
        return push(image, Reference.parse(name), store, client=self.client(), emit=self.events.append)

    def auths(self):
        return json.loads((self.folder / ".config/iechor/auth.json").read_text())["auths"]


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


def trusting(home, registry, **more):
    lines = [f'[registries."{registry.host}"]', "insecure = false", f'ca_file = "{registry.ca_file}"',
             *(f"{key} = {json.dumps(value)}" for key, value in more.items())]
    home.config = "\n".join(lines) + "\n"
    return home


def test_login_pull_push_logout(locked, home, store):
    trusting(home, locked)
    said = f"cannot pull {locked.host}/team/tiny:1: {locked.host} wants a login, or the image does not exist"
    with pytest.raises(AuthError, match=said) as caught:
        home.pull(f"{locked.host}/team/tiny:1", store)
    assert caught.value.hint == f"run `iechor login {locked.host}`"
    kept = home.client().login(locked.host, "ann", USERS["ann"])
    assert kept == str(home.folder / ".config/iechor/auth.json")
    assert stat.S_IMODE((home.folder / ".config/iechor/auth.json").stat().st_mode) == 0o600
    image = home.pull(f"{locked.host}/team/tiny:1", store)
    home.push(image, f"{locked.host}/ann/copy:1", store)
    assert home.client().logout(locked.host) and not home.client().logout(locked.host)
    with pytest.raises(AuthError, match="cannot push .* wants a login"):
        home.push(image, f"{locked.host}/ann/copy:2", store)


def test_a_wrong_password_is_not_kept(locked, home, store):
    trusting(home, locked)
    with pytest.raises(AuthError, match=f"cannot log in to {locked.host}: {locked.host} refuses the password of ann"):
        home.client().login(locked.host, "ann", "wrong")
    assert not (home.folder / ".config/iechor/auth.json").exists()


def test_a_password_that_went_stale_is_named_with_its_place(locked, home, store):
    trusting(home, locked)
    stale = {"auths": {locked.host: {"auth": base64.b64encode(b"ann:old").decode()}}}
    home.write(".docker/config.json", json.dumps(stale))
    with pytest.raises(AuthError, match="refuses the password of ann .*docker/config.json") as caught:
        home.pull(f"{locked.host}/team/tiny:1", store)
    assert "old" not in caught.value.message and "iechor login" in caught.value.hint


@pytest.mark.parametrize("path", [".docker/config.json", ".config/containers/auth.json", "run/containers/auth.json"])
def test_a_login_of_docker_or_podman_counts(locked, home, store, path):
    trusting(home, locked)
    auth = base64.b64encode(f"ann:{USERS['ann']}".encode()).decode()
    home.write(path, json.dumps({"auths": {locked.host: {"auth": auth}}}))
    assert home.pull(f"{locked.host}/team/tiny:1", store)
    assert not home.client().logout(locked.host)
    assert any(path in event.text for event in home.events if isinstance(event, Notice))


def test_skopeo_reads_our_login(locked, home):
    trusting(home, locked)
    home.client().login(locked.host, "ann", USERS["ann"])
    said = skopeo("inspect", f"--authfile={home.folder}/.config/iechor/auth.json", "--tls-verify=false",
                  f"docker://{locked.host}/team/tiny:1")
    assert json.loads(said)["Architecture"] == "amd64"


def test_a_private_ca_is_believed_from_every_place(locked, home, store):
    auth = base64.b64encode(f"ann:{USERS['ann']}".encode()).decode()
    home.write(".docker/config.json", json.dumps({"auths": {locked.host: {"auth": auth}}}))
    name, secure = f"{locked.host}/team/tiny:1", f'[registries."{locked.host}"]\ninsecure = false\n'
    home.config = secure
    with pytest.raises(RegistryError, match=f"no safe connection to {locked.host}: .*certificate") as caught:
        home.pull(name, store)
    assert "ca_file" in caught.value.hint
    home.environ["SSL_CERT_FILE"] = str(locked.ca_file)
    assert home.pull(name, store)
    del home.environ["SSL_CERT_FILE"]
    home.config = f'ca_file = "{locked.ca_file}"\n' + secure
    assert home.pull(name, store)
    home.config = secure
    for folder in (".config/containers/certs.d", ".config/docker/certs.d", ".config/iechor/certs.d"):
        home.write(f"{folder}/{locked.host}/ca.crt", locked.ca_file.read_text())
        assert home.pull(name, store)
        (home.folder / folder / locked.host / "ca.crt").unlink()
    with pytest.raises(RegistryError, match="no safe connection"):
        home.pull(name, store)


def test_an_insecure_registry_is_whoever_answers(locked, home, store, tmp_path, layout):
    home.config = f'[registries."{locked.host}"]\ninsecure = true\n'
    home.client().login(locked.host, "ann", USERS["ann"])
    assert home.pull(f"{locked.host}/team/tiny:1", store)
    with serve_registry(tmp_path / "plain") as plain:
        plain.fill(layout, "a:1")
        assert home.pull(f"{plain.host}/a:1", store)
        home.config = f'[registries."{plain.host}"]\ninsecure = false\n'
        with pytest.raises(RegistryError, match="does not speak TLS") as caught:
            home.pull(f"{plain.host}/a:1", store)
        assert "insecure = true" in caught.value.hint


def test_a_ca_file_that_is_not_there_is_a_configuration_error(locked, home, store):
    home.config = f'[registries."{locked.host}"]\ninsecure = false\nca_file = "/nonexistent/ca.pem"\n'
    with pytest.raises(ConfigFileError, match="/nonexistent/ca.pem"):
        home.pull(f"{locked.host}/team/tiny:1", store)


def test_who_must_show_a_certificate_shows_it(tmp_path, home, store, layout):
    with serve_registry(tmp_path / "mutual", tls=True, mutual=True) as server:
        own = server.folder / "certs"
        own.mkdir()
        (own / "client.cert").write_bytes((server.folder / "client.pem").read_bytes())
        (own / "client.key").write_bytes((server.folder / "client.key").read_bytes())
        server.fill(layout, "a:1", f"--dest-cert-dir={own}")
        name = f"{server.host}/a:1"
        with pytest.raises(RegistryError, match=f"connection to {server.host}"):
            trusting(home, server).pull(name, store)
        trusting(home, server, client_cert=str(own / "client.cert"), client_key=str(own / "client.key"))
        assert home.pull(name, store)
        trusting(home, server)
        for suffix in ("cert", "key"):
            home.write(f".config/containers/certs.d/{server.host}/me.{suffix}", (own / f"client.{suffix}").read_text())
        assert home.pull(name, store)
        trusting(home, server, client_cert=str(own / "client.key"))
        with pytest.raises(ConfigFileError, match="client certificate"):
            home.pull(name, store)


# ---- tokens ----------------------------------------------------------------------------------------------------

@pytest.fixture
def tokens(tmp_path, layout):
    with serve_tokens(USERS) as server, serve_registry(tmp_path / "registry", tokens=server) as registry:
        registry.fill(layout, "team/tiny:1")
        server.asked.clear()
        yield server, registry


def scopes(server):
    return [fields.get("scope") for _, fields in server.asked]


def test_anybody_may_pull_with_one_token_for_the_whole_pull(tokens, home, store):
    server, registry = tokens
    image = home.pull(f"{registry.host}/team/tiny:1", store)
    assert scopes(server) == [["repository:team/tiny:pull"]]
    with pytest.raises(AuthError, match="cannot push"):
        home.push(image, f"{registry.host}/team/other:1", store)


def test_a_login_becomes_an_identity_token_and_the_password_is_not_kept(tokens, home, store):
    server, registry = tokens
    home.client().login(registry.host, "ann", USERS["ann"])
    entry = home.auths()[registry.host]
    assert server.refresh_tokens == {entry["identitytoken"]: "ann"}
    assert base64.b64decode(entry["auth"]) == b"ann:"
    server.asked.clear()
    image = home.pull(f"{registry.host}/team/tiny:1", store)
    home.push(image, f"{registry.host}/team/other:1", store)
    assert {method for method, _ in server.asked} == {"POST"}
    assert ["repository:team/other:pull,push"] in scopes(server)
    server.refresh_tokens.clear()
    with pytest.raises(AuthError, match="refuses the token we have"):
        home.pull(f"{registry.host}/team/tiny:1", store)


def test_a_password_from_docker_is_shown_to_the_token_server(tokens, home, store):
    server, registry = tokens
    auth = base64.b64encode(f"ann:{USERS['ann']}".encode()).decode()
    home.write(".docker/config.json", json.dumps({"auths": {registry.host: {"auth": auth}}}))
    image = home.pull(f"{registry.host}/team/tiny:1", store)
    home.push(image, f"{registry.host}/team/mine:1", store)
    assert all(method == "GET" and fields["account"] == ["ann"] for method, fields in server.asked)
    mounts = [text for found in scopes(server) for text in found if text == "repository:team/tiny:pull"]
    assert mounts  # asked for the source too, so that a blob could be mounted


def test_a_wrong_password_is_refused_by_the_token_server(tokens, home):
    _, registry = tokens
    with pytest.raises(AuthError, match="refuses the password of ann"):
        home.client().login(registry.host, "ann", "wrong")


def test_a_token_that_expired_is_replaced(tmp_path, layout, home, store):
    with serve_tokens(USERS, lifetime=-100) as server, serve_registry(tmp_path / "r", tokens=server) as registry:
        server.lifetime = 300
        registry.fill(layout, "team/tiny:1")
        server.asked.clear()
        lifetimes = iter([-100])
        fresh = server.token

        def first_is_stale(user, wanted):
            server.lifetime = next(lifetimes, 300)
            return fresh(user, wanted)

        server.token = first_is_stale
        assert home.pull(f"{registry.host}/team/tiny:1", store)
        assert len(server.asked) == 2


# ---- what is told to whom --------------------------------------------------------------------------------------

class Stub:
    """A registry of canned answers: path → (status, headers, body); remembers Authorization headers."""

    def __init__(self):
        self.answers = {}
        self.seen = []

    def handler(stub):
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments):
                pass

            def do_GET(self):
                stub.seen.append((self.path.partition("?")[0], self.headers.get("Authorization")))
                status, headers, body = stub.answers.get(self.path.partition("?")[0], (404, {}, b""))
                if status == 200 and headers.get("locked") and not self.headers.get("Authorization"):
                    status, headers, body = 401, {"WWW-Authenticate": headers["locked"]}, b""
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
        return Handler


def stub_image(stub, layout, blobs_at=None, challenge="Basic"):
    """The image of `layout` as repository `a`; blobs answered by a redirect to `blobs_at`, if given."""
    index = json.loads((layout / "index.json").read_text())
    manifest = (layout / "blobs/sha256" / index["manifests"][0]["digest"][7:]).read_bytes()
    stub.answers["/v2/"] = (200, {"locked": challenge}, b"{}")
    stub.answers["/v2/a/manifests/1"] = (200, {"locked": challenge, "Content-Type": json.loads(manifest)["mediaType"]},
                                         manifest)
    parsed = json.loads(manifest)
    blobs = {}
    for blob in (parsed["config"], *parsed["layers"]):
        data = (layout / "blobs/sha256" / blob["digest"][7:]).read_bytes()
        path = f"/v2/a/blobs/{blob['digest']}"
        blobs[path] = (200, {}, data)
        stub.answers[path] = (307, {"Location": f"{blobs_at}{path}"}, b"") if blobs_at else blobs[path]
    return blobs


def logged_in(home, host):
    auth = base64.b64encode(b"ann:secret").decode()
    home.write(".docker/config.json", json.dumps({"auths": {host: {"auth": auth}}}))
    return home


def test_credentials_do_not_follow_a_redirect_to_another_host(layout, home, store):
    origin, elsewhere = Stub(), Stub()
    with serve_http(origin.handler()) as url, serve_http(elsewhere.handler()) as other:
        elsewhere.answers |= stub_image(origin, layout, blobs_at=other)
        host = url.removeprefix("http://")
        assert logged_in(home, host).pull(f"{host}/a:1", store)
    assert any(header for _, header in origin.seen)
    assert elsewhere.seen and all(header is None for _, header in elsewhere.seen)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x"])
def test_only_http_is_followed(layout, home, store, target):
    origin = Stub()
    with serve_http(origin.handler()) as url:
        stub_image(origin, layout)
        origin.answers["/v2/a/manifests/1"] = (302, {"Location": target}, b"")
        host = url.removeprefix("http://")
        with pytest.raises(RegistryError, match="redirects to"):
            logged_in(home, host).pull(f"{host}/a:1", store)


def test_redirects_end(layout, home, store):
    origin = Stub()
    with serve_http(origin.handler()) as url:
        origin.answers["/v2/"] = (200, {}, b"")
        origin.answers["/v2/a/manifests/1"] = (302, {"Location": "/v2/a/manifests/1"}, b"")
        with pytest.raises(RegistryError, match="without end"):
            home.pull(f"{url.removeprefix('http://')}/a:1", store)


def test_a_mirror_never_sees_the_credentials_of_the_origin(layout, home, store):
    mirror = Stub()
    with serve_http(mirror.handler()) as url:
        stub_image(mirror, layout)
        mirror.answers["/v2/library/a/manifests/1"] = mirror.answers.pop("/v2/a/manifests/1")
        logged_in(home, "https://index.docker.io/v1/")
        home.config = f'[registries."docker.io"]\nmirrors = ["{url.removeprefix("http://")}"]\n' \
                      '[registries."registry-1.docker.io"]\n'
        home.environ["https_proxy"] = "http://127.0.0.1:1"  # the origin must not be reached from a test
        with pytest.raises((AuthError, RegistryError)):
            home.pull("a:1", store)
    assert mirror.seen and all(header is None for _, header in mirror.seen)


@pytest.mark.parametrize("realm", ["http://192.0.2.1/token", "ftp://127.0.0.1/token", "token"])
def test_a_secure_registry_cannot_ask_for_the_password_in_the_clear(locked, home, realm):
    from rootless_builder.registry.auth import Credential
    from rootless_builder.registry.http import Transport
    from rootless_builder.registry.tokens import Challenge, Tokens

    settings = load([], home.environ)
    tokens = Tokens("registry.example", Transport(settings))
    with pytest.raises(RegistryError, match="not safe"):
        tokens.get(Challenge("bearer", {"realm": realm}), (), Credential(username="ann", password="x"), trusted=True)


def test_nonsense_from_a_token_server_is_said_to_be_nonsense(layout, home, store):
    origin = Stub()
    with serve_http(origin.handler()) as url:
        host = url.removeprefix("http://")
        stub_image(origin, layout, challenge=f'Bearer realm="{url}/token"')
        for body in (b"", b"[]", b"{}", b'{"token": 5}', b'{"token": "a\\r\\nX-Evil: 1"}'):
            origin.answers["/token"] = (200, {}, body)
            with pytest.raises(RegistryError, match="token"):
                home.pull(f"{host}/a:1", store)
