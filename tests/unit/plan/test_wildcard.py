"""Answers of Go's filepath.Match (path/filepath match_test.go names the odd ones; the cases are ours)."""

import pytest

from rootless_builder.plan.ports import exposed_ports
from rootless_builder.plan.wildcard import has_wildcards, matches


@pytest.mark.parametrize(("pattern", "name", "expected"), [
    ("abc", "abc", True), ("*", "abc", True), ("*c", "abc", True), ("a*", "ab/c", False), ("a?c", "abc", True),
    ("a?c", "a/c", False), ("[a-c]", "b", True), ("[^a-c]", "d", True), ("[^a-c]", "/", False), ("\\*", "*", True),
    ("\\*", "a", False), ("[\\]a]", "]", True), ("[\\-x]", "-", True), ("[x\\-]", "z", False), ("a*b*c", "aXbYc", True),
    ("[!a]", "!", True), ("[!a]", "b", False), ("a.b", "axb", False), ("", "", True), ("*.py", ".py", True),
])
def test_matches(pattern, name, expected):
    assert matches(pattern, name) is expected


@pytest.mark.parametrize("pattern", ["[", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "a[", "\\", "[^", "[\\"])
def test_malformed(pattern):
    with pytest.raises(ValueError, match="bad pattern"):
        matches(pattern, "a")


def test_an_escaped_wildcard_is_none():
    assert has_wildcards("a*") and has_wildcards("[a") and not has_wildcards("a\\*b") and has_wildcards("\\\\*")


@pytest.mark.parametrize(("words", "expected"), [
    (["80"], ("80/tcp",)), (["80/udp", "81/TCP"], ("80/udp", "81/tcp")),
    (["8000-8002"], ("8000/tcp", "8001/tcp", "8002/tcp")),
    (["127.0.0.1:80:90"], ("90/tcp",)), (["80:90"], ("90/tcp",)), (["[::1]:80:90/sctp"], ("90/sctp",)),
])
def test_ports(words, expected):
    assert exposed_ports(words) == expected


@pytest.mark.parametrize("word", ["", "x", "80/xyz", "70000", "90-80", "1.2.3:80:90", "80-", ":"])
def test_no_ports(word):
    with pytest.raises(ValueError):
        exposed_ports([word])
