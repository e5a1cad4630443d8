import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless_builder.errors import UsageError
from rootless_builder.oci.digest import Digest
from rootless_builder.oci.reference import Reference

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(("text", "canonical", "familiar"), [
    ("test", "docker.io/library/test", "test"),
    ("ubuntu:22.04", "docker.io/library/ubuntu:22.04", "ubuntu:22.04"),
    ("docker.io/ubuntu", "docker.io/library/ubuntu", "ubuntu"),
    ("index.docker.io/library/ubuntu:1", "docker.io/library/ubuntu:1", "ubuntu:1"),
    ("library/ubuntu", "docker.io/library/ubuntu", "ubuntu"),
    ("team/app:v1", "docker.io/team/app:v1", "team/app:v1"),
    ("quay.io/a/b/c", "quay.io/a/b/c", "quay.io/a/b/c"),
    ("localhost/a", "localhost/a", "localhost/a"),
    ("localhost:5000/a:b", "localhost:5000/a:b", "localhost:5000/a:b"),
    ("[::1]:5000/a", "[::1]:5000/a", "[::1]:5000/a"),
    ("HOST/a", "HOST/a", "HOST/a"),
    (f"debian@{DIGEST}", f"docker.io/library/debian@{DIGEST}", f"debian@{DIGEST}"),
    (f"debian:12@{DIGEST}", f"docker.io/library/debian:12@{DIGEST}", f"debian:12@{DIGEST}"),
    ("a/b__c.d-e--f", "docker.io/a/b__c.d-e--f", "a/b__c.d-e--f"),
])
def test_docker_style_normal_form(text, canonical, familiar):
    reference = Reference.parse(text)
    assert (str(reference), reference.familiar()) == (canonical, familiar)
    assert Reference.parse(str(reference)) == reference == Reference.parse(familiar)


def test_a_default_registry_takes_short_names_and_has_no_library():
    reference = Reference.parse("debian:12", default_registry="registry.example:5000")
    assert str(reference) == "registry.example:5000/debian:12"
    assert reference.familiar(default_registry="registry.example:5000") == "debian:12"
    assert str(Reference.parse("docker.io/debian", default_registry="registry.example")) == "docker.io/library/debian"


def test_latest_is_meant_where_nothing_is_said():
    assert str(Reference.parse("a").with_default_tag()) == "docker.io/library/a:latest"
    assert Reference.parse("a:1").with_default_tag().tag == "1"
    pinned = Reference.parse(f"a@{DIGEST}").with_default_tag()
    assert pinned.tag is None and pinned.digest == Digest.parse(DIGEST)


@pytest.mark.parametrize(("text", "said"), [
    ("", "repository"), ("Test", "lower case"), ("team/App:1", "lower case"), ("a//b", "repository"), ("-a", "repo"),
    ("a:", "not a tag"), ("a:-x", "not a tag"), ("a:" + "t" * 129, "not a tag"), ("a@sha256:12", "not a digest"),
    ("a@", "not a digest"), ("a b", "repository"), ("a\n", "repository"), ("a/../b", "repository"),
    ("..:5000/a", "not a registry"), ("a:b:c", "repository"), ("ab" * 32, "image ID"), ("a/" * 130 + "a", "longer"),
    ("host:port/a", "not a registry"), ("/a", "repository"), ("a/", "repository"), ("café", "repository"),
])
def test_what_is_no_name_says_why(text, said):
    with pytest.raises(UsageError, match=said) as caught:
        Reference.parse(text)
    assert "NAME" in (caught.value.hint or "")


@given(st.text(alphabet="aB1._-/:@[]%~ \n", max_size=40))
def test_whatever_parses_is_a_fixed_point(text):
    try:
        reference = Reference.parse(text)
    except UsageError:
        return
    assert Reference.parse(str(reference)) == reference
    assert ".." not in reference.path.split("/") and not reference.path.startswith("/")
