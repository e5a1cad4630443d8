"""The options about registries of build, pull and push, against real registries that insist on something."""

import base64
import json
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Person
from tests.registry_proxy import Fault, serve_faults
from tests.registry_server import Registry, serve_registry, skopeo, tiny_layout

USERS = {"ann": "s:cret"}


@pytest.fixture(scope="module")
def locked(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """TLS with a CA of its own, and a password."""
    with serve_registry(shared / "options", tls=True, users=USERS) as server:
        server.fill(tiny_layout(tmp_path_factory.mktemp("layout") / "oci"), "team/tiny:1")
        yield server


@pytest.fixture
def certificates(plain_user: Person, locked: Registry) -> Path:
    assert locked.ca_file is not None
    return plain_user.write("certs/ca.crt", locked.ca_file.read_text()).parent


def context(user: Person, base: str = "scratch") -> str:
    user.write("ctx/iEchorfile", f"FROM {base}\nCOPY a /\n")
    user.write("ctx/a", "a")
    return "ctx"


def test_a_build_from_and_to_a_registry_with_a_password(plain_user: Person, locked: Registry,
                                                        certificates: Path) -> None:
    there = context(plain_user, f"{locked.host}/team/tiny:1")
    name = f"{locked.host}/team/built:1"
    said = plain_user.iechor("build", "-t", name, "--tls-verify", there, code=8).stderr
    assert "certificate" in said
    said = plain_user.iechor("build", "-t", name, "--tls-verify", "--cert-dir", certificates, there, code=9).stderr
    assert f"iechor login {locked.host}" in said
    said = plain_user.iechor("build", "--cert-dir", certificates, "--creds", "ann:wrong", there, code=9).stderr
    assert "ann" in said and "wrong" not in said.replace("wrong password", "")
    plain_user.iechor("build", "-t", name, "--push", "--tls-verify", "--cert-dir", certificates,
                      "--creds", "ann:s:cret", there)
    skopeo("inspect", "--raw", f"docker://{name}", *locked.skopeo_flags(), "--creds=ann:s:cret")
    plain_user.iechor("rmi", name)
    plain_user.iechor("pull", "--tls-verify=false", "--creds=ann:s:cret", name)
    plain_user.iechor("push", "--cert-dir", certificates, "--creds=ann:s:cret", name, f"{locked.host}/team/again:1")
    assert "s:cret" not in "".join(path.read_text(errors="replace") for path in plain_user.store.rglob("*")
                                   if path.is_file()), "a password given once is kept nowhere"


def test_the_password_for_a_push_is_not_shown_to_the_registry_of_the_base(
        plain_user: Person, registry: Registry, locked: Registry, certificates: Path, busybox: str) -> None:
    with serve_faults(registry) as proxy:
        proxy.faults.append(Fault("GET", "/manifests/", status=401, headers={
            "WWW-Authenticate": 'Basic realm="who are you"'}))
        said = plain_user.iechor("build", "--push", "-t", f"{locked.host}/team/x:1", "--cert-dir", certificates,
                                 "--creds=ann:s:cret", context(plain_user, f"{proxy.host}/library/busybox"), code=9)
        assert f"{proxy.host} wants a login" in said.stderr
        assert not any("Authorization" in seen.headers for seen in proxy.requests)


def test_authfile_is_the_only_place_for_credentials(plain_user: Person, locked: Registry) -> None:
    auth = {"auths": {locked.host: {"auth": base64.b64encode(b"ann:s:cret").decode()}}}
    plain_user.write(".docker/config.json", json.dumps(auth))
    name = f"{locked.host}/team/tiny:1"
    plain_user.iechor("pull", "--tls-verify=false", name)
    plain_user.write("empty.json", "{}")
    plain_user.iechor("pull", "--tls-verify=false", "--authfile=empty.json", name, code=9)
    shutil.move(plain_user.home / ".docker/config.json", plain_user.home / "mine.json")
    plain_user.iechor("build", "--tls-verify=false", "--authfile", "mine.json", "--pull",
                      context(plain_user, name))
    said = plain_user.iechor("build", "--authfile", "none.json", "ctx", code=2).stderr
    assert "there is no such file" in said


def test_tls_verify_insists_even_where_a_registry_is_believed_by_default(plain_user: Person, registry: Registry,
                                                                       busybox: str) -> None:
    name = f"{registry.host}/library/busybox"
    assert "does not speak TLS" in plain_user.iechor("pull", "--tls-verify", "--retry=0", name, code=8).stderr
    plain_user.iechor("pull", name)


@pytest.mark.parametrize("options,tries,code", [
    (("--retry=0",), 1, 8), (("--retry=2", "--retry-delay=10ms"), 3, 8), (("--retry=7", "--retry-delay", "0"), 7, 0)])
def test_a_failed_request_is_made_again_as_often_as_asked(
        plain_user: Person, registry: Registry, busybox: str, options: tuple[str, ...], tries: int, code: int) -> None:
    with serve_faults(registry) as proxy:
        proxy.faults.append(Fault("GET", "/manifests/", status=503, times=6))
        plain_user.iechor("build", *options, context(plain_user, f"{proxy.host}/library/busybox"), code=code)
        assert len([seen for seen in proxy.requests if "/manifests/" in seen.path]) == tries


def test_a_logfile_has_what_would_be_shown(plain_user: Person) -> None:
    there = context(plain_user)
    done = plain_user.iechor("build", "--logfile", "log", there)
    assert done.stderr == "" and done.stdout == ""
    log = plain_user.home / "log"
    assert "COPY a /" in log.read_text() and stat.S_IMODE(log.stat().st_mode) == 0o600
    plain_user.iechor("build", "--logfile", "log", "--progress=rawjson", there)
    assert json.loads(log.read_text().splitlines()[-1])["event"] == "ImageBuilt", "it is added to"
    assert "cannot write --logfile" in plain_user.iechor("build", "--logfile", "/proc/log", there, code=2).stderr


@pytest.mark.parametrize("words", [
    ("--creds", ":x"), ("--creds", "ann"), ("--cert-dir", "none"), ("--retry", "-1"), ("--retry-delay", "soon")])
def test_values_that_cannot_be(plain_user: Person, words: tuple[str, ...]) -> None:
    said = plain_user.iechor("build", *words, context(plain_user), code=2).stderr
    assert f"cannot use {words[0]}" in said and "hint:" in said
