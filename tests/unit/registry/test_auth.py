import base64
import json
import stat
from pathlib import Path

import pytest

from rootless_builder.errors import ConfigFileError
from rootless_builder.events import Notice
from rootless_builder.registry.auth import Credential, Credentials


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def write(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


@pytest.fixture
def own(tmp_path):
    return tmp_path / "iechor" / "auth.json"


@pytest.fixture
def helper(tmp_path, monkeypatch):
    """docker-credential-box: a helper that keeps one file for each server, by the documented protocol."""
    program = tmp_path / "bin" / "docker-credential-box"
    program.parent.mkdir()
    program.write_text(f"""#!/usr/bin/python3
import json, pathlib, sys
box = pathlib.Path({str(tmp_path / 'box')!r}); box.mkdir(exist_ok=True)
given = sys.stdin.read()
place = box / (json.loads(given)["ServerURL"] if sys.argv[1] == "store" else given.strip()).replace("/", "_")
if sys.argv[1] == "store":
    place.write_text(given)
elif not place.exists():
    print("credentials not found in native keychain"); sys.exit(1)
elif sys.argv[1] == "get":
    print(place.read_text())
else:
    place.unlink()
""")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return "box"


@pytest.mark.parametrize(("key", "host"), [
    ("registry.example", "registry.example"), ("https://registry.example/v1/", "registry.example"),
    ("https://registry.example:5000/v2/", "registry.example:5000"), ("http://registry.example", "registry.example"),
    ("https://index.docker.io/v1/", "docker.io"), ("docker.io", "docker.io"), ("index.docker.io", "docker.io"),
])
def test_keys_of_docker_and_podman_are_understood(tmp_path, own, key, host):
    foreign = write(tmp_path / "config.json", {"auths": {key: auth("ann", "s:cret")}})
    found = Credentials(own, [foreign]).get(host)
    assert found is not None
    assert (found.username, found.password, found.source) == ("ann", "s:cret", str(foreign))
    assert found.basic() == "Basic " + base64.b64encode(b"ann:s:cret").decode()


def test_nothing_is_found_where_nothing_is(tmp_path, own):
    foreign = write(tmp_path / "config.json", {"auths": {"other.example": auth("a", "b"), "empty.example": {}}})
    credentials = Credentials(own, [foreign, tmp_path / "absent.json"])
    assert credentials.get("docker.io") is None and credentials.get("empty.example") is None


def test_the_longest_path_wins(tmp_path, own):
    foreign = write(tmp_path / "auth.json", {"auths": {
        "host.example": auth("host", "1"), "host.example/team": auth("team", "2"),
        "host.example/team/app": auth("app", "3")}})
    credentials = Credentials(own, [foreign])
    users = {repository: credentials.get("host.example", repository).username
             for repository in ("", "other", "team", "team/x", "team/app", "team/apple")}
    assert users == {"": "host", "other": "host", "team": "team", "team/x": "team", "team/app": "app",
                     "team/apple": "team"}


def test_our_own_file_comes_first(tmp_path, own):
    foreign = write(tmp_path / "a.json", {"auths": {"h.example": auth("foreign", "1")}})
    write(own, {"auths": {"h.example": auth("own", "2")}})
    assert Credentials(own, [foreign]).get("h.example").username == "own"


def test_tokens_are_told_apart(tmp_path, own):
    foreign = write(tmp_path / "config.json", {"auths": {
        "id.example": {**auth("<token>", ""), "identitytoken": "refresh"}, "reg.example": {"registrytoken": "bearer"},
        "plain.example": {"username": "u", "password": "p"}}})
    credentials = Credentials(own, [foreign])
    assert credentials.get("id.example").identity_token == "refresh"
    assert credentials.get("reg.example").registry_token == "bearer"
    assert credentials.get("plain.example").password == "p"
    assert "refresh" not in repr(credentials.get("id.example")) and "'p'" not in repr(credentials.get("plain.example"))


def test_helpers_are_asked(tmp_path, own, helper):
    box = tmp_path / "box"
    write(box / "https:__index.docker.io_v1_", {"Username": "hub", "Secret": "1"})
    write(box / "id.example", {"Username": "<token>", "Secret": "refresh"})
    foreign = write(tmp_path / "config.json", {"credsStore": "box", "auths": {"plain.example": auth("plain", "2")}})
    credentials = Credentials(own, [foreign])
    assert credentials.get("docker.io").username == "hub"
    assert credentials.get("id.example").identity_token == "refresh"
    assert credentials.get("plain.example").username == "plain"
    assert credentials.get("unknown.example") is None


def test_a_helper_for_one_host_beats_the_file(tmp_path, own, helper):
    write(tmp_path / "box" / "h.example", {"Username": "helped", "Secret": "1"})
    foreign = write(tmp_path / "config.json", {"credHelpers": {"h.example": "box"},
                                               "auths": {"h.example": auth("filed", "2")}})
    assert Credentials(own, [foreign]).get("h.example").username == "helped"


@pytest.mark.parametrize("name", ["absent", "../evil"])
def test_a_helper_that_is_not_there_is_named(tmp_path, own, name):
    foreign = write(tmp_path / "config.json", {"credHelpers": {"h.example": name}})
    with pytest.raises(ConfigFileError, match=name):
        Credentials(own, [foreign]).get("h.example")
    assert Credentials(own, [foreign]).get("other.example") is None


def test_login_and_logout_write_a_private_file_and_keep_the_rest(own):
    write(own, {"auths": {"other.example": auth("o", "p")}, "future": 1})
    credentials = Credentials(own)
    assert credentials.store("docker.io", Credential(username="ann", password="sécret")) == str(own)
    assert stat.S_IMODE(own.stat().st_mode) == 0o600
    assert credentials.get("docker.io").password == "sécret"
    assert json.loads(own.read_text())["future"] == 1
    assert credentials.erase("docker.io") and not credentials.erase("docker.io")
    assert credentials.get("docker.io") is None and credentials.get("other.example").username == "o"
    assert [path.name for path in own.parent.iterdir()] == ["auth.json"]


def test_a_login_replaces_other_spellings_of_the_same_host(own):
    write(own, {"auths": {"https://index.docker.io/v1/": auth("old", "1")}})
    Credentials(own).store("docker.io", Credential(username="new", password="2"))
    assert list(json.loads(own.read_text())["auths"]) == ["docker.io"]


def test_an_identity_token_is_kept_instead_of_the_password(own):
    Credentials(own).store("h.example", Credential(username="ann", identity_token="refresh"))
    found = Credentials(own).get("h.example")
    assert (found.username, found.password, found.identity_token) == ("ann", "", "refresh")


def test_login_through_a_helper_leaves_no_secret_in_the_file(own, helper):
    write(own, {"credsStore": helper})
    credentials = Credentials(own)
    assert credentials.store("h.example", Credential(username="ann", password="s")) == "docker-credential-box"
    assert "auths" not in json.loads(own.read_text())
    assert credentials.get("h.example").username == "ann"
    assert credentials.erase("h.example") and not credentials.erase("h.example")


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": {"h.example": {"auth": "%%%"}}}'])
def test_a_damaged_file_is_named(tmp_path, own, text):
    foreign = tmp_path / "config.json"
    foreign.write_text(text)
    with pytest.raises(ConfigFileError, match="config.json"):
        Credentials(own, [foreign]).get("h.example")


def test_a_foreign_file_that_cannot_be_read_is_told_once_and_passed_over(tmp_path, own):
    (tmp_path / "config.json").mkdir()
    told = []
    credentials = Credentials(own, [tmp_path / "config.json"], told.append)
    assert credentials.get("a.example") is None and credentials.get("b.example") is None
    assert len(told) == 1 and isinstance(told[0], Notice) and "config.json" in told[0].text


def test_a_file_that_cannot_be_written_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigFileError, match="cannot write") as caught:
        Credentials(tmp_path / "file" / "auth.json").store("h.example", Credential(username="a", password="b"))
    assert "IECHOR_AUTHFILE" in caught.value.hint
