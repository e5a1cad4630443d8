import errno
import ssl
import subprocess
import sys

import pytest

from rootless_builder.config import load
from rootless_builder.errors import ConfigFileError
from rootless_builder.registry.http import backoff, cause_of, proxy_for, retry_after
from rootless_builder.registry.session import endpoints
from rootless_builder.registry.tls import context_for


@pytest.mark.parametrize(("headers", "seconds"), [
    ({}, None), ({"Retry-After": "7"}, 7), ({"Retry-After": " 0 "}, 0), ({"Retry-After": "soon"}, None),
    ({"Retry-After": "-1"}, None),
    ({"Retry-After": "Tue, 24 Nov 2026 10:00:30 GMT", "Date": "Tue, 24 Nov 2026 10:00:00 GMT"}, 30),
    ({"Retry-After": "Tue, 24 Nov 2026 09:00:00 GMT", "Date": "Tue, 24 Nov 2026 10:00:00 GMT"}, 0),
    ({"Retry-After": "Tue, 24 Nov 2026 10:00:30 GMT"}, None),
])
def test_retry_after_in_seconds_or_as_a_date_by_the_servers_own_clock(headers, seconds):
    assert retry_after(headers) == seconds


def test_waits_grow_and_are_bounded():
    assert all(0.15 <= backoff(1) <= 0.3 and 0.6 <= backoff(3) <= 1.2 and 5 <= backoff(50) <= 10 for _ in range(50))
    assert len({backoff(4) for _ in range(20)}) > 1


@pytest.mark.parametrize(("url", "proxy"), [
    ("https://a.example/v2/", "http://p.example:3128"), ("http://a.example/v2/", "socks.example:1"),
    ("https://x.inside.example/v2/", None), ("https://127.0.0.1:5000/v2/", None), ("http://localhost/", None),
])
def test_proxies_as_the_environment_says_and_never_for_this_machine(url, proxy):
    proxies = {"https": "http://p.example:3128", "all": "socks.example:1", "no": ".inside.example"}
    assert proxy_for(proxies, url) == (proxy and (proxy if "://" in proxy else f"http://{proxy}"))


def test_causes_are_short():
    try:
        try:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        except OSError as error:
            raise RuntimeError("pool(host=..): something long") from error
    except RuntimeError as error:
        assert cause_of(error) == "Connection refused"
    assert "timed out" in cause_of(TimeoutError())


def test_mirrors_come_first_and_docker_hub_is_elsewhere(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[registries."docker.io"]\nmirrors = ["127.0.0.1:5000", "https://c.example/hub", "http://p.example"]\n')
    settings = load([path], {"HOME": "/"})
    assert [(point.name, point.address, point.schemes, point.prefix, point.mirror)
            for point in endpoints(settings, "docker.io")] == [
        ("127.0.0.1:5000", "127.0.0.1:5000", ("https", "http"), "", True),
        ("c.example", "c.example", ("https",), "hub/", True),
        ("p.example", "p.example", ("http",), "", True),
        ("docker.io", "registry-1.docker.io", ("https",), "", False),
    ]


def test_a_certificate_is_checked_unless_the_registry_is_insecure(tmp_path):
    settings = load([], {"HOME": str(tmp_path)})
    secure, insecure = (context_for(settings, "a.example", insecure=flag) for flag in (False, True))
    assert (secure.verify_mode, secure.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert insecure.verify_mode == ssl.CERT_NONE


def test_a_ca_file_that_is_none_is_named(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[registries."a.example"]\nca_file = "ca.pem"\n')
    settings = load([path], {"HOME": str(tmp_path)})
    with pytest.raises(ConfigFileError, match="ca.pem"):
        context_for(settings, "a.example", insecure=False)
    (tmp_path / "ca.pem").write_text("not PEM")
    with pytest.raises(ConfigFileError, match="ca.pem"):
        context_for(settings, "a.example", insecure=False)
    context_for(settings, "b.example", insecure=False)


def test_the_http_library_is_not_imported_before_it_is_needed():
    code = ("import sys, rootless_builder.registry.client, rootless_builder.registry.transfer;"
            "sys.exit(any(name in sys.modules for name in ('urllib3', 'zstandard', 'http.client')))")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
