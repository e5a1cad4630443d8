from pathlib import Path

import pytest

from rootless_builder.config import RegistrySettings, config_paths, is_loopback, load
from rootless_builder.errors import ConfigFileError

ENVIRON = {"HOME": "/home/ann"}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_without_files_the_documented_defaults_hold():
    settings = load([Path("/nonexistent/config.toml")], ENVIRON)
    assert (settings.default_registry, settings.userns, settings.compression, settings.jobs) == (
        "docker.io", "auto", "gzip", 4)
    assert settings.store == Path("/home/ann/.local/share/iechor/store")
    assert str(settings.scratch).startswith("/var/tmp/iechor-")
    assert settings.auth_file == Path("/home/ann/.config/iechor/auth.json")
    assert settings.sources == ()


def test_every_setting_can_be_given(tmp_path):
    path = write(tmp_path / "config.toml", '''
        default-registry = "registry.example:5000"   # dashes are underscores
        ca_file = "site.pem"
        store = "/data/store"
        scratch = "~/scratch"
        userns = "subuid"
        compression = "zstd"
        compression_level = 3
        jobs = 8
        [registries."docker.io"]
        mirrors = ["127.0.0.1:5000", "https://cache.example/hub/"]
        insecure = false
        ca_file = "/etc/hub.pem"
        client_cert = "me.cert"
        client_key = "me.key"
    ''')
    settings = load([path], ENVIRON)
    assert settings.default_registry == "registry.example:5000"
    assert (settings.ca_file, settings.store, settings.scratch) == (
        tmp_path / "site.pem", Path("/data/store"), Path("/home/ann/scratch"))
    assert (settings.userns, settings.compression, settings.compression_level, settings.jobs) == (
        "subuid", "zstd", 3, 8)
    assert settings.registry("docker.io") == RegistrySettings(
        mirrors=("127.0.0.1:5000", "https://cache.example/hub"), insecure=False, ca_file=Path("/etc/hub.pem"),
        client_cert=tmp_path / "me.cert", client_key=tmp_path / "me.key")
    assert settings.sources == (path,)


def test_the_users_file_is_over_the_systems_key_by_key(tmp_path):
    system = write(tmp_path / "system/config.toml", '''
        default_registry = "system.example"
        jobs = 2
        [registries."docker.io"]
        mirrors = ["system-mirror.example"]
        ca_file = "hub.pem"
    ''')
    user = write(tmp_path / "user/config.toml", '''
        default_registry = "user.example"
        [registries."docker.io"]
        mirrors = ["user-mirror.example"]
    ''')
    settings = load([user, system], ENVIRON)
    assert (settings.default_registry, settings.jobs) == ("user.example", 2)
    hub = settings.registry("docker.io")
    assert (hub.mirrors, hub.ca_file) == (("user-mirror.example",), tmp_path / "system/hub.pem")
    assert settings.sources == (user, system)


def test_the_environment_is_over_the_files(tmp_path):
    path = write(tmp_path / "config.toml", 'default_registry = "file.example"\njobs = 2\n'
                 '[registries."docker.io"]\nmirrors = ["file.example"]\nca_file = "/hub.pem"\n')
    settings = load([path], ENVIRON | {
        "IECHOR_DEFAULT_REGISTRY": "env.example", "IECHOR_HOME": "/env/store", "IECHOR_SCRATCH": "/env/scratch",
        "IECHOR_USERNS": "host", "IECHOR_JOBS": "9", "IECHOR_COMPRESSION": "none", "IECHOR_COMPRESSION_LEVEL": "1",
        "IECHOR_CA_FILE": "/env/ca.pem", "IECHOR_MIRRORS": "docker.io=127.0.0.1:1,127.0.0.1:2 quay.io=m.example/quay",
        "IECHOR_INSECURE_REGISTRIES": "lab.example:5000, other.example", "IECHOR_AUTHFILE": "/env/auth.json",
        "SSL_CERT_FILE": "/env/bundle.pem"})
    assert (settings.default_registry, settings.store, settings.scratch) == (
        "env.example", Path("/env/store"), Path("/env/scratch"))
    assert (settings.userns, settings.jobs, settings.compression, settings.compression_level) == ("host", 9, "none", 1)
    assert (settings.ca_file, settings.ssl_cert_file) == (Path("/env/ca.pem"), Path("/env/bundle.pem"))
    assert settings.auth_file == Path("/env/auth.json")
    hub = settings.registry("docker.io")
    assert (hub.mirrors, hub.ca_file) == (("127.0.0.1:1", "127.0.0.1:2"), Path("/hub.pem"))
    assert settings.registry("quay.io").mirrors == ("m.example/quay",)
    assert settings.registry("lab.example:5000").insecure and settings.registry("other.example").insecure


def test_only_this_machine_is_insecure_unasked():
    settings = load([], ENVIRON)
    assert [host for host in ("docker.io", "localhost:5000", "127.0.0.1:5000", "[::1]:5000", "127.0.0.1.example",
                              "10.0.0.1:5000") if settings.registry(host).insecure] == [
        "localhost:5000", "127.0.0.1:5000", "[::1]:5000"]
    assert is_loopback("127.9.9.9") and not is_loopback("localhost.example")


def test_this_machine_can_be_made_secure(tmp_path):
    path = write(tmp_path / "c.toml", '[registries."localhost:5000"]\ninsecure = false\n')
    assert load([path], ENVIRON).registry("localhost:5000").insecure is False


def test_where_configuration_is_looked_for():
    assert config_paths(ENVIRON) == (Path("/home/ann/.config/iechor/config.toml"), Path("/etc/iechor/config.toml"))
    assert config_paths(ENVIRON | {"XDG_CONFIG_HOME": "/x"})[0] == Path("/x/iechor/config.toml")
    assert config_paths(ENVIRON | {"IECHOR_CONFIG": "/only.toml"}) == (Path("/only.toml"),)


def test_credential_files_of_docker_and_podman_are_known():
    settings = load([], ENVIRON | {"XDG_RUNTIME_DIR": "/run/user/7", "REGISTRY_AUTH_FILE": "/a.json",
                                   "DOCKER_CONFIG": "/dc"})
    assert [str(path) for path in settings.foreign_auth_files] == [
        "/a.json", "/run/user/7/containers/auth.json", "/home/ann/.config/containers/auth.json", "/dc/config.json"]
    assert [str(path) for path in load([], ENVIRON).foreign_auth_files] == [
        "/home/ann/.config/containers/auth.json", "/home/ann/.docker/config.json"]


def test_proxies_come_from_the_environment_but_not_http_proxy_in_capitals():
    settings = load([], {"HOME": "/", "HTTP_PROXY": "http://evil.example", "https_proxy": "http://p.example:1",
                         "HTTPS_PROXY": "http://other.example", "NO_PROXY": "localhost"})
    assert settings.proxies == {"https": "http://p.example:1", "no": "localhost"}


@pytest.mark.parametrize(("text", "line", "said", "hint"), [
    ("a = = 1\n", 1, "Invalid value", None),
    ("jobs = 1\n\n[registries\n", 3, "", None),
    ("# c\ndefault_registy = 'x'\n", 2, "no setting 'default_registy'", "default_registry"),
    ("mirror = 1\n", 1, "no setting 'mirror'", "the settings are"),
    ("[registry.'docker.io']\nmirrors = []\n", 1, "no setting 'registry'", "registries"),
    ("[registries.'docker.io']\n\nmirorrs = []\n", 3, "no setting 'mirorrs' in registries", "mirrors"),
    ("jobs = 'many'\n", 1, "whole number from 1 to 64", None),
    ("jobs = true\n", 1, "whole number", None),
    ("jobs = 65\n", 1, "whole number", None),
    ("userns = 'root'\n", 1, "auto, fakeroot, subuid, host", None),
    ("store = ''\n", 1, "string", None),
    ("default_registry = 'https://x.example'\n", 1, "not a registry host", None),
    ("[registries.'https://x.example']\n", 1, "not a registry host", None),
    ("registries = 3\n", 1, "must be written", None),
    ("insecure = true\n[registries.'a.example']\ninsecure = 1\n", 1, "no setting 'insecure'", None),
    ("jobs=1\n[registries.'a.example']\ninsecure = 1\n", 3, "true or false", None),
    ("[registries.'a.example']\nmirrors = 'b.example'\n", 2, "list", None),
    ("[registries.'a.example']\nmirrors = ['ftp://b.example']\n", 2, "list", None),
])
def test_a_wrong_file_is_named_with_its_line(tmp_path, text, line, said, hint):
    path = write(tmp_path / "config.toml", text)
    with pytest.raises(ConfigFileError) as caught:
        load([path], ENVIRON)
    assert said in caught.value.message and str(path) in caught.value.message
    assert caught.value.span is not None and (caught.value.span.file, caught.value.span.line) == (str(path), line)
    assert hint is None or hint in str(caught.value.hint)


@pytest.mark.parametrize(("variable", "value"), [
    ("IECHOR_JOBS", "0"), ("IECHOR_JOBS", "x"), ("IECHOR_USERNS", "root"), ("IECHOR_COMPRESSION", "xz"),
    ("IECHOR_DEFAULT_REGISTRY", "http://x"), ("IECHOR_MIRRORS", "docker.io"), ("IECHOR_MIRRORS", "https://a=b"),
    ("IECHOR_INSECURE_REGISTRIES", "a/b"),
])
def test_a_wrong_variable_is_named(variable, value):
    with pytest.raises(ConfigFileError) as caught:
        load([], ENVIRON | {variable: value})
    assert variable in caught.value.message


def test_a_file_that_cannot_be_read_is_an_error_and_not_silence(tmp_path):
    with pytest.raises(ConfigFileError, match="cannot read"):
        load([tmp_path], ENVIRON)
    (tmp_path / "latin.toml").write_bytes(b"store = '\xe9'\n")
    with pytest.raises(ConfigFileError, match="cannot read"):
        load([tmp_path / "latin.toml"], ENVIRON)
