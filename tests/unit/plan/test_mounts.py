"""RUN --mount → values: defaults, targets and what decides the key. By BuildKit's convert_runmount.go."""

import textwrap

import pytest

from rootless_builder.errors import IechorfileError
from rootless_builder.language.parser import parse
from rootless_builder.oci.config import ImageConfig, RunConfig
from rootless_builder.plan.cachekey import cache_key
from rootless_builder.plan.lower import Arguments, Inherited, Lowering
from rootless_builder.plan.mounts import Access, BindMount, CacheMount, SecretMount, SshMount, TmpfsMount
from rootless_builder.plan.stages import StageGraph


def run_of(flags, workdir="/w"):
    text = f"FROM scratch AS made\nFROM scratch\nWORKDIR {workdir}\nARG D=deep\nRUN {flags} x\n"
    script = parse(textwrap.dedent(text), file="iEchorfile")
    graph = StageGraph.of(script, build_args={}, platform_args={})
    image = ImageConfig(architecture="amd64", os="linux", config=RunConfig())
    arguments = Arguments(build={}, graph=graph)
    return list(Lowering(graph.stages[-1], Inherited(image=image), arguments).steps())[-1]


@pytest.mark.parametrize(("flag", "expected"), [
    ("target=/a", BindMount(target="/a", origin=None, source="/", read_only=True)),
    ("from=made,dst=rel/$D,src=x/../y,rw", BindMount(target="/w/rel/deep", origin=0, source="/y", read_only=False)),
    ("from=busybox,target=/a", BindMount(target="/a", origin="busybox", source="/", read_only=True)),
    ("type=tmpfs,target=/t,size=1k", TmpfsMount(target="/t", size=1024)),
    ("type=cache,target=/c/", CacheMount(target="/c", id="/c", sharing="shared", origin=None, source="/",
                                         read_only=False, access=None)),
    ("type=cache,target=/c,id=i,sharing=locked,uid=5", CacheMount(
        target="/c", id="i", sharing="locked", origin=None, source="/", read_only=False,
        access=Access(mode=0o755, uid=5))),
    ("type=secret,id=a/k", SecretMount(id="a/k", target="/run/secrets/k", env="", required=False,
                                       access=Access(mode=0o400))),
    ("type=secret,id=k,env=V", SecretMount(id="k", target="", env="V", required=False, access=Access(mode=0o400))),
    ("type=secret,target=/s/k,env=,required", SecretMount(id="k", target="/s/k", env="k", required=True,
                                                          access=Access(mode=0o400))),
    ("type=ssh", SshMount(id="default", target="/run/buildkit/ssh_agent.0", required=False,
                          access=Access(mode=0o600))),
])
def test_mounts(flag, expected):
    assert run_of(f"--mount={flag}").mounts == (expected,)


def test_each_agent_has_its_own_socket():
    first, second = run_of("--mount=type=ssh --mount=type=ssh,id=o").mounts
    assert (first.target[-2:], second.target[-2:]) == (".0", ".1")


@pytest.mark.parametrize("flag", ["target=/", "type=cache,target=..", "type=ssh,source=x", "from=2,target=/a"])
def test_what_cannot_be_mounted(flag):
    with pytest.raises(IechorfileError):
        run_of(f"--mount={flag}")


@pytest.mark.parametrize(("one", "other"), [
    ("--mount=target=/a", "--mount=target=/b"), ("--mount=target=/a", "--mount=target=/a,rw"),
    ("--mount=type=cache,target=/a,id=x", "--mount=type=cache,target=/b,id=x"),
    ("--mount=type=secret,id=a", "--mount=type=secret,id=a,mode=0444"),
    ("--security=insecure", "--security=sandbox"), ("--network=none", "--network=host"),
])
def test_every_word_of_a_mount_is_in_the_key(one, other):
    assert cache_key("p", run_of(one)) != cache_key("p", run_of(other))


def test_which_cache_it_is_is_not():
    flags = ("target=/a", "target=/a,id=x", "target=/a,sharing=private")
    assert len({cache_key("p", run_of(f"--mount=type=cache,{flag}")) for flag in flags}) == 1
