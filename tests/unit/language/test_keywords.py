"""The table of spellings, and the names derived from it."""

import pytest

from rootless_builder.language import keywords
from rootless_builder.language.parser import _READERS  # the one place that must know every kind


def test_every_kind_can_be_read() -> None:
    assert set(keywords.INSTRUCTIONS.values()) == set(_READERS)
    assert set(keywords.FLAGS) <= set(_READERS)


def test_file_names() -> None:
    assert keywords.BUILD_FILES == ("iEchorfile", "Dockerfile", "Containerfile")
    assert keywords.ignore_files() == (".iechorignore", ".dockerignore")
    assert keywords.ignore_files_beside("x.iEchorfile") == ("x.iEchorfile.iechorignore", "x.iEchorfile.dockerignore")


@pytest.mark.parametrize("name", ["iechor/iechorfile:1", "iechor/iechorfile", "docker/dockerfile:1",
                                  "docker/dockerfile:1.7-labs",
                                  "docker.io/docker/dockerfile:1.4.0", "docker/dockerfile:labs",
                                  "docker/dockerfile:1@sha256:" + "0" * 64, "docker/dockerfile-upstream:master"])
def test_syntax_that_is_built_in(name: str) -> None:
    assert keywords.is_builtin_syntax(name)


@pytest.mark.parametrize("name", ["", "docker/dockerfile:2", "docker/dockerfile:1x", "example.com/docker/dockerfile:1",
                                  "tonistiigi/dockerfile:runmount", "docker/dockerfile:10"])
def test_syntax_that_is_not(name: str) -> None:
    assert not keywords.is_builtin_syntax(name)
