"""Which sources of ADD are remote, and what their text asks for: BuildKit's dfgitutil."""

import pytest

from rootless_builder.errors import IechorfileError
from rootless_builder.plan.remotes import GitSource, HttpSource, git_source, http_source


@pytest.mark.parametrize(("text", "remote", "ref", "subdir"), [
    ("https://h.org/a/b.git", "https://h.org/a/b.git", "", ""),
    ("https://h.org/b.git#main:sub/dir", "https://h.org/b.git", "main", "sub/dir"),
    ("https://h.org/b.git#:../../etc", "https://h.org/b.git", "", "etc"),
    ("git://h:9418/b#v1", "git://h:9418/b", "v1", ""),
    ("git@h.org:a/b.git#x/y:z", "git@h.org:a/b.git", "x/y", "z"),
    ("ssh://git@h.org:22/b?ref=v2&subdir=s", "ssh://git@h.org:22/b", "v2", "s"),
    ("https://h.org/b.git?tag=v1", "https://h.org/b.git", "refs/tags/v1", ""),
    ("https://h.org/b.git?branch=dev#refs/heads/dev", "https://h.org/b.git", "refs/heads/dev", ""),
])
def test_git(text: str, remote: str, ref: str, subdir: str) -> None:
    source = git_source(text)
    assert source is not None
    assert (source.remote, source.ref, source.subdir) == (remote, ref, subdir)


def test_git_switches() -> None:
    source = git_source("https://h.org/b.git?keep-git-dir&submodules=false&checksum=ABC")
    assert source == GitSource(remote="", keep_git_dir=True, submodules=False)
    assert source.checksum == "ABC" and source.checked("", None).checksum == "abc"
    with pytest.raises(IechorfileError, match="inconsistent keep-git-dir"):
        source.checked("", False)


@pytest.mark.parametrize("text", ["a/b", "./x.git", "https://h.org/b.tar.gz", "file:///x.git", "github.com/a/b"])
def test_what_is_no_repository(text: str) -> None:
    assert git_source(text) is None


@pytest.mark.parametrize(("query", "message"), [
    ("huh=1", "unexpected query"), ("ref=a&ref=b", "multiple values"), ("ref=", "has no value"),
    ("ref=a&tag=b", "ref conflicts"), ("submodules=maybe", "invalid submodules value"),
])
def test_queries_that_make_no_sense(query: str, message: str) -> None:
    with pytest.raises(IechorfileError, match=message):
        git_source(f"https://h.org/b.git?{query}")


@pytest.mark.parametrize(("text", "name"), [
    ("http://h/a/b.txt", "b.txt"), ("https://h/a/b.txt?x=y#z", "b.txt"), ("https://h/", "__unnamed__"),
    ("https://h", "__unnamed__"), ("https://h/a%20b", "a b"), ("https://h/a/", "a"),
])
def test_names_of_files(text: str, name: str) -> None:
    assert http_source(text) == HttpSource(url="", name=name)
