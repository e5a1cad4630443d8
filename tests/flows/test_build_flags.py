"""Flags of docker build and podman build that change what is built, or with what: each as a user would see it."""

from pathlib import Path

from tests import images
from tests.conftest import Person
from tests.flows.test_build import build, config, context, members, ran
from tests.registry_server import Registry, tiny_layout


def asked(registry: Registry, since: int, name: str) -> list[str]:
    """The manifests and blobs of `name` that were asked for after `since` requests, by method and kind."""
    return [f"{one.method} {one.path.split('/')[-2]}" for one in registry.requests()[since:] if name in one.path]


def test_each_pull_policy(user: Person, registry: Registry, tmp_path: Path) -> None:
    name = "policy/base:1"
    registry.fill(tiny_layout(tmp_path / "one", [{"a": "one"}]), name)
    text = f"FROM {registry.host}/{name}\n"
    user.write(".config/iechor/config.toml", f'[registries."{registry.host}"]\ninsecure = true\n')
    before = len(registry.requests())
    assert "--pull=never asks no registry" in build(user, text, "--pull=never", code=7)
    assert asked(registry, before, "policy/base") == []
    build(user, text)
    first = config(user)["RootFS"]
    registry.fill(tiny_layout(tmp_path / "two", [{"a": "two"}]), name)
    before = len(registry.requests())
    for policy in ("--pull=missing", "--pull=never", "--pull=false"):
        build(user, text, policy)
        assert config(user)["RootFS"] == first and asked(registry, before, "policy/base") == [], policy
    build(user, text, "--pull=newer")
    second = config(user)["RootFS"]
    assert second != first and asked(registry, before, "policy/base").count("GET blobs") == 2
    before = len(registry.requests())
    for policy in ("--pull=newer", "--pull=always", "--pull"):
        build(user, text, policy)
    found = asked(registry, before, "policy/base")
    assert config(user)["RootFS"] == second and found.count("GET blobs") <= 3  # the config each time, no layer
    assert found.count("GET manifests") == 3
    gone = text.replace(registry.host, "127.0.0.1:9")
    user.iechor("tag", f"{registry.host}/{name}", f"127.0.0.1:9/{name}")
    assert "is used, whether there is a newer one or not" in build(user, gone, "--pull=newer")
    assert "127.0.0.1:9" in build(user, gone, "--pull=always", code=8)


def test_another_base_than_the_file_names(user: Person) -> None:
    text = ("ARG A=nowhere.invalid/x\nFROM --platform=$BUILDPLATFORM $A AS one\n"
            "FROM one\nCOPY --from=one /etc/passwd /p\n")
    build(user, text, "--from", "busybox")
    assert "p" in members(user)
    checked = user.iechor("build", "--check", "--from=busybox", context(user, text))
    assert "no warnings" in checked.stdout


def test_stages_that_nothing_needs(user: Person) -> None:
    text = "FROM busybox AS unused\nRUN false\nFROM busybox AS last\nFROM nowhere.invalid/x\n"
    build(user, text, "--target=last")
    build(user, text, "--target=last", "--skip-unused-stages")
    assert "RUN false" in build(user, text, "--target=last", "--skip-unused-stages=false", code=6)


def test_what_every_run_sees(user: Person) -> None:
    user.write("data/f", "here")
    data = user.home / "data"
    text = ("FROM busybox\nRUN cat /one/f /two/f /three/f && ! touch /one/x && ! touch /two/x && "
            "touch /three/x && touch /t/x\n")
    shown = build(user, text, f"--volume={data}:/one:ro,z", f"--mount=type=bind,src={data},dst=/two,ro",
                  f"--mount=type=bind,source={data},target=/three", "--mount=type=tmpfs,dst=/t,size=1m")
    assert "herehere" in shown and (data / "x").exists()
    assert not {"one", "two", "three", "t"} & set(members(user))
    for wrong, said, code in (("type=cache,target=/x", "only type=bind", 4),
                              ("src=/none,dst=/x", "there is no /none", 5),
                              ("type=bind,src=/etc,dst=x", "no absolute path", 2), ("type=what", "no mount type", 2)):
        assert said in build(user, text, f"--mount={wrong}", code=code), wrong


def test_volumes_of_old(user: Person) -> None:
    text = ("FROM busybox\nRUN mkdir /v && echo 1 > /v/base\nVOLUME /v /new\nRUN echo 2 > /v/base && touch /v/x /y && "
            "mkdir -p /new/below\nCOPY f /v/copied\nRUN rm -r /v/base\n")
    build(user, text, "--compat-volumes", f="1")
    found = members(user)
    assert {"v/base", "v/copied", "y"} <= set(found) and not {"v/x", "new/below", "v/.wh.base"} & set(found)
    assert ran(build(user, text, "--compat-volumes", f="1")) == []
    assert ran(build(user, text, f="1")) == ["RUN", "COPY", "RUN"]
    assert {"v/x", "new/below", "v/.wh.base"} <= set(members(user))


def test_proxies_go_along_unless_refused(user: Person) -> None:
    folder = context(user, "FROM busybox\nRUN echo [$http_proxy]\n")
    for option, told in (((), "[http://p:1]"), (("--http-proxy=false",), "[]"),
                         (("--http-proxy=false", "--build-arg=http_proxy=b"), "[b]")):
        shown = user.iechor("build", "--progress=plain", "--no-cache", *option, folder,
                            env={"http_proxy": "http://p:1"}).stderr
        assert told in shown, option


def test_args_from_files(user: Person) -> None:
    user.write("args", "# one\nA=1\nB=two words\n\nC\n")
    text = "FROM scratch\nARG A\nARG B\nARG C=default\nLABEL a=$A b=$B c=$C\n"
    folder = context(user, text)
    user.iechor("build", "-t", "x", f"--build-arg-file={user.home}/args", "--build-arg=A=over", folder,
                env={"C": "env"})
    assert config(user)["Config"]["Labels"] == {"a": "over", "b": "two words", "c": "env"}  # type: ignore[index]
    user.iechor("build", "--build-arg-file=/none", folder, code=2)


def test_what_holds_anyway_is_accepted(user: Person) -> None:
    text = "FROM busybox\nRUN id -u\nHEALTHCHECK CMD true\n"
    for option, told in (("--isolation=rootless", ""), ("--isolation=chroot", "one kind of isolation"),
                         ("--userns=auto", ""), ("--userns=host", "your own user builds"), ("--format=oci", ""),
                         ("--format=docker", "docker's fields"), ("--layers", ""), ("--force-rm", ""), ("--rm", ""),
                         ("--group-add=keep-groups", ""), ("--load", "")):
        assert told in build(user, text, option), option
    assert config(user)["Config"]["Healthcheck"]  # type: ignore[index]


def test_the_platform_in_one_word_or_in_parts(user: Person) -> None:
    text = "FROM scratch\nARG TARGETPLATFORM\nLABEL p=$TARGETPLATFORM\nCOPY f /\n"
    for options, said in ((("--platform=linux/arm64",), "linux/arm64"), (("--arch=arm64",), "linux/arm64"),
                          (("--os=linux", "--arch=arm", "--variant=v6"), "linux/arm/v6"),
                          (("--os=freebsd",), f"freebsd/{images.ARCHITECTURE}")):
        build(user, text, *options, f="1")
        found = config(user)
        assert found["Config"]["Labels"] == {"p": said}, options  # type: ignore[index]
        assert [found["Os"], found["Architecture"]] == said.split("/")[:2]
    assert "together" in build(user, text, "--platform=linux/arm64", "--arch=arm64", code=2, f="1")


def test_a_foreign_run_is_refused_before_anything_is_pulled(user: Person, registry: Registry) -> None:
    before = len(registry.requests())
    shown = build(user, "FROM busybox\nCOPY f /\nRUN true\n", "--platform=linux/s390x", code=3, f="1")
    assert "cannot run linux/s390x programs" in shown and "qemu-s390x" in shown and "iEchorfile:3" in shown
    text = "FROM busybox AS a\nFROM --platform=linux/s390x busybox AS b\nRUN true\nFROM a\nCOPY --from=b /etc /e\n"
    assert "qemu-s390x" in build(user, text, code=3)
    assert registry.requests()[before:] == []


def test_what_buildkit_takes_as_build_args(user: Person) -> None:
    text = "FROM busybox\nRUN --mount=type=cache,target=/c hostname; echo [$(ls /c)]; touch /c/here\n"
    shown = build(user, text, "--build-arg=BUILDKIT_SANDBOX_HOSTNAME=other", "--build-arg=BUILDKIT_INLINE_CACHE=1",
                  "--build-arg=BUILDKIT_BUILD_NAME=n")
    assert " other" in shown and "not consumed" not in shown
    shown = build(user, "# syntax=docker/dockerfile:1\nFROM busybox\n", "--build-arg=BUILDKIT_SYNTAX=example/it:2 more")
    assert "--build-arg BUILDKIT_SYNTAX=example/it:2 is not built in" in shown
    shown = build(user, "# syntax=example/it:2\nFROM busybox\n", "--build-arg=BUILDKIT_SYNTAX=docker/dockerfile:1.7")
    assert "not built in" not in shown
    assert " iechor" in (shown := build(user, text)) and "[here]" in shown
    assert "[]" in build(user, text, "--no-cache", "--build-arg=BUILDKIT_CACHE_MOUNT_NS=apart")


def test_bases_by_their_place_on_this_machine(user: Person, shared: Path) -> None:
    """podman's transports: a layout, and what `save` writes."""
    user.iechor("pull", "busybox")
    for kind in ("docker-archive", "oci-archive"):
        user.iechor("save", "--format", kind, "-o", user.home / kind, "busybox")
    text = "FROM {0}\nCOPY --from={0} /etc/passwd /p\nRUN echo ran\n"
    for base in (f"oci:{shared}/busybox", f"docker-archive:{user.home}/docker-archive",
                 f"oci-archive:{user.home}/oci-archive", f"docker-archive:{user.home}/docker-archive:busybox:latest",
                 "docker://busybox"):
        shown = build(user, text.format(base), "--no-cache")
        assert " ran" in shown and "InvalidDefaultArgInFrom" not in shown, base
    assert "cannot read the image" in build(user, text.format("oci-archive:/none"), code=5)
    assert "no such folder" in build(user, text.format("oci:/none"), code=7)


HEADER = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00"  # of a program for arm64
REGISTER = f"""\
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc || exit 77
printf '%s' ':fake:M::{"".join(f"{chr(92)}x{byte:02x}" for byte in HEADER)}::/bin/busybox:F' \\
    > /proc/sys/fs/binfmt_misc/register || exit 77
exec "$@"
"""


def test_a_foreign_run_where_an_interpreter_is_registered(user: Person) -> None:
    """busybox plays the interpreter: it takes the name of the "arm64 program" for that of an applet. A kernel before
    6.7 has no binfmt_misc for a user namespace, and there is nothing to be seen.
    """
    user.write("arm/bin/echo", HEADER + bytes(200), mode=0o755)
    folder = context(user, 'FROM arm\nRUN ["/bin/echo", "as an", "applet"]\n')
    words = user.command("build", "--progress=plain", "--platform=linux/arm64",
                         f"--build-context=arm={user.home}/arm", folder)
    assert "cannot run linux/arm64 programs" in user.run(*words).stderr
    done = user.run("unshare", "-Urm", "sh", "-c", REGISTER, "sh", *words)
    assert done.returncode == 77 or " as an applet" in done.stderr, done.stderr


def test_hosts_count_and_names_of_files_in_lower_case(user: Person) -> None:
    text = "FROM busybox\nRUN grep h1 /etc/hosts\n"
    assert "10.0.0.1" in build(user, text, "--add-host=h1:10.0.0.1")
    assert ran(build(user, text, "--add-host=h1:10.0.0.1")) == []
    assert "10.0.0.2" in build(user, text, "--add-host=h1=10.0.0.2", "-D")  # as in BuildKit, part of the key
    assert "127.0.0.1" in build(user, text, "--add-host=h1:host-gateway")
    folder = user.write("lower/dockerfile", text).parent
    user.iechor("build", "--add-host=h1:10.0.0.1", folder)
