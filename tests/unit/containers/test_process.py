"""The merge of an image's config with the command line, by docker's rules."""

import pytest

from rootless_builder.containers.process import merge
from rootless_builder.errors import UsageError
from rootless_builder.oci.config import RunConfig

BOTH = RunConfig(entrypoint=("/entry", "-x"), cmd=("serve",))


@pytest.mark.parametrize(("config", "entrypoint", "command", "argv"), [
    (BOTH, None, (), ("/entry", "-x", "serve")),
    (BOTH, None, ("test",), ("/entry", "-x", "test")),
    (BOTH, "/other", (), ("/other",)),
    (BOTH, "/other", ("test",), ("/other", "test")),
    (BOTH, '["/other","-y"]', ("test",), ("/other", "-y", "test")),
    (BOTH, "", ("test", "it"), ("test", "it")),
    (RunConfig(cmd=("sh",)), None, (), ("sh",)),
    (RunConfig(cmd=("sh",)), None, ("ls", "-l"), ("ls", "-l")),
    (RunConfig(entrypoint=("/entry",)), None, (), ("/entry",)),
    (RunConfig(), "[not json", (), ("[not json",)),
])
def test_argv(config: RunConfig, entrypoint: str | None, command: tuple[str, ...], argv: tuple[str, ...]) -> None:
    assert merge(config, entrypoint=entrypoint, command=command, hostname="h").argv == argv


@pytest.mark.parametrize("entrypoint", [None, ""])
def test_nothing_to_run_is_refused(entrypoint: str | None) -> None:
    config = RunConfig() if entrypoint is None else BOTH
    with pytest.raises(UsageError, match="no command"):
        merge(config, entrypoint=entrypoint, hostname="h")


def test_the_command_line_wins_over_the_image_and_the_image_over_us() -> None:
    process = merge(RunConfig(cmd=("sh",), env=("PATH=/bin", "A=image", "B=image")), env=("B=run", "C=a=b"),
                    hostname="h", tty=True)
    assert dict(entry.split("=", 1) for entry in process.env) == {
        "PATH": "/bin", "TERM": "xterm", "HOSTNAME": "h", "container": "iechor", "A": "image", "B": "run", "C": "a=b"}


def test_user_and_working_folder() -> None:
    config = RunConfig(cmd=("sh",), user="app:app", working_dir="/srv")
    assert (merge(config, hostname="h").user, merge(config, hostname="h").cwd) == ("app:app", "/srv")
    process = merge(config, user="0", workdir="/tmp", hostname="h")
    assert (process.user, process.cwd) == ("0", "/tmp")
    assert merge(RunConfig(cmd=("sh",)), hostname="h").cwd == "/"
    with pytest.raises(UsageError, match="not an absolute path"):
        merge(config, workdir="srv", hostname="h")


@pytest.mark.parametrize("entry", ["=x", "", "A=\0"])
def test_an_environment_that_execve_would_refuse(entry: str) -> None:
    with pytest.raises(UsageError, match="environment variable"):
        merge(BOTH, env=(entry,), hostname="h")
