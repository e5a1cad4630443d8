"""iEchorfile → steps: what each instruction becomes, with every variable gone. By BuildKit's dockerfile2llb."""

import textwrap

import pytest

from rootless_builder.errors import IechorfileError, UsageError
from rootless_builder.language.parser import parse
from rootless_builder.oci.config import ImageConfig, RunConfig
from rootless_builder.plan.cachekey import cache_key
from rootless_builder.plan.lower import Arguments, Inherited, Lowering
from rootless_builder.plan.stages import StageGraph
from rootless_builder.plan.steps import ConfigStep, CopyStep, InlineFile, RunStep, WorkdirStep

PLATFORM = {"TARGETPLATFORM": "linux/amd64", "TARGETARCH": "amd64"}


def graph_of(text, build_args=None):
    script = parse(textwrap.dedent(text), file="iEchorfile")
    return script, StageGraph.of(script, build_args=build_args or {}, platform_args=PLATFORM)


def lowered(text, build_args=None, base=None, stage=-1):
    """(steps, what is inherited from the stage)."""
    script, graph = graph_of(text, build_args)
    config = base or RunConfig(env=("PATH=/bin",))
    image = ImageConfig(architecture="amd64", os="linux", config=config)
    lowering = Lowering(graph.stages[stage], Inherited(image=image), Arguments(
                        build=build_args or {}, graph=graph, escape=script.directives.escape))
    return list(lowering.steps()), lowering.inherited()


def config_of(text, **more):
    return lowered(text, **more)[1].image.config


def test_one_value_per_variable_through_an_instruction():
    config = config_of("FROM scratch\nENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc\n")
    assert config.env == ("PATH=/bin", "abc=bye", "def=hello", "ghi=bye")


def test_args_are_in_run_and_not_in_the_image():
    steps, after = lowered("FROM scratch\nARG A=1\nARG B\nRUN x $A\n", build_args={"B": "2"})
    run = steps[-1]
    assert isinstance(run, RunStep)
    assert run.argv == ("/bin/sh", "-c", "x $A")
    assert run.env == ("PATH=/bin", "A=1", "B=2")
    assert run.shown.created_by == "RUN |2 A=1 B=2 /bin/sh -c x $A # iechor"
    assert after.image.config.env == ("PATH=/bin",)


def test_a_global_arg_comes_into_a_stage_only_when_it_is_declared_there():
    text = "ARG V=1\nFROM scratch\nENV seen=$V\nARG V\nENV now=$V\nARG TARGETARCH\nENV arch=$TARGETARCH\n"
    assert config_of(text).env[1:] == ("seen=", "now=1", "arch=amd64")


def test_predefined_proxies_reach_run_and_neither_key_nor_history():
    step = lowered("FROM scratch\nRUN x\n", build_args={"HTTP_PROXY": "http://u:p@h"})[0][-1]
    plain = lowered("FROM scratch\nRUN x\n")[0][-1]
    assert step.proxies == ("HTTP_PROXY=http://u:p@h", "http_proxy=http://u:p@h")
    assert "HTTP_PROXY" not in step.shown.created_by
    assert cache_key("p", step) == cache_key("p", plain)


def test_workdir_is_relative_to_the_one_before():
    steps, after = lowered("FROM scratch\nWORKDIR /a\nWORKDIR b/../c\nWORKDIR $X/d\n", base=RunConfig(env=("X=/x",)))
    assert [step.path for step in steps if isinstance(step, WorkdirStep)] == ["/a", "/a/c", "/x/d"]
    assert after.image.config.working_dir == "/x/d"


def test_entrypoint_resets_an_inherited_cmd_and_not_one_of_this_stage():
    base = RunConfig(cmd=("old",))
    assert config_of('FROM scratch\nENTRYPOINT ["e"]\n', base=base).cmd is None
    assert config_of('FROM scratch\nCMD ["c"]\nENTRYPOINT ["e"]\n', base=base).cmd == ("c",)


def test_shell_is_used_by_the_shell_forms_after_it():
    config = config_of('FROM scratch\nCMD a\nSHELL ["/bin/bash", "-ec"]\nENTRYPOINT b c\n')
    assert config.cmd is None or config.cmd == ("/bin/sh", "-c", "a")
    assert config.entrypoint == ("/bin/bash", "-ec", "b c")


@pytest.mark.parametrize(("dest", "cwd", "expected"), [
    ("/a", "/w", "/a"), ("/a/", "/w", "/a/"), (".", "/w", "/w/"), ("./", "/w", "/w/"), ("b", "/w", "/w/b"),
    ("/", "/w", "/"),
    ("../x/", "/w/v", "/w/x/"), ("/a/.", "/w", "/a/"),
])
def test_destinations(dest, cwd, expected):
    step = lowered(f"FROM scratch\nCOPY f {dest}\n", base=RunConfig(working_dir=cwd))[0][-1]
    assert isinstance(step, CopyStep) and step.dest == expected


def test_copy_with_everything():
    text = """\
        FROM scratch AS one
        FROM scratch
        ARG U=app
        COPY --from=one --chown=$U:42 --chmod=4755 a b* /d/
        """
    step = lowered(text)[0][-1]
    assert (step.sources, step.dest, step.origin, step.owner, step.mode) == (("a", "b*"), "/d/", 0, "app:42", 0o4755)
    assert step.shown.created_by == "COPY --chown=app:42 --chmod=4755 a b* /d/ # iechor"


def test_heredocs_of_copy_expand_unless_quoted():
    text = 'FROM scratch\nENV A=1\nCOPY <<one <<"two" /d/\n$A "q"\none\n$A\ntwo\n'
    step = lowered(text)[0][-1]
    assert step.inline == (InlineFile(name="one", data=b'1 "q"\n'), InlineFile(name="two", data=b"$A\n"))


def test_heredocs_of_run():
    steps = lowered("FROM scratch\nRUN <<EOT\na\nb\nEOT\nRUN <<X cat\nc\nX\nRUN <<S\n#!/bin/py\nd\nS\n")[0]
    assert steps[0].argv == ("/bin/sh", "-c", "a\nb\n")
    assert steps[1].argv[2].startswith("<<X cat\nc\nX")
    assert steps[2].argv == ("/bin/sh", "-c", "/dev/pipes/S")
    assert steps[2].script == InlineFile(name="S", data=b"#!/bin/py\nd\n")


def test_config_instructions():
    config = config_of("""\
        FROM scratch
        EXPOSE 80 90-91/udp
        VOLUME /a ["/b"]
        LABEL a="x y" b=2
        USER u:g
        STOPSIGNAL SIGRTMIN+3
        HEALTHCHECK --interval=5s --retries=2 CMD curl x
        ONBUILD RUN y
        """)
    assert config.exposed_ports == ("80/tcp", "90/udp", "91/udp")
    assert dict(config.labels) == {"a": "x y", "b": "2"}
    assert (config.user, config.stop_signal, config.onbuild) == ("u:g", "SIGRTMIN+3", ("RUN y",))
    assert (config.healthcheck.interval, config.healthcheck.retries) == (5 * 10**9, 2)


@pytest.mark.parametrize(("line", "error"), [
    ("COPY --chmod=u+q a /b", IechorfileError),
    ("COPY https://example.org/x /b", IechorfileError), ("COPY git@example.org:x /b", IechorfileError),
    ("ADD --checksum=sha256:12 https://e.org/x /b", IechorfileError), ("ADD --checksum=abc a /b", IechorfileError),
    ("COPY --exclude=[ a /b", IechorfileError), ("ADD https://e.org/x.git?huh=1 /b", IechorfileError),
    ("COPY --chmod=99999 a /b", IechorfileError),
    ("STOPSIGNAL SIGNO", IechorfileError), ("EXPOSE 80/foo", IechorfileError),
])
def test_what_is_not_carried_out_is_an_error_with_its_line(line, error):
    with pytest.raises(error) as raised:
        lowered(f"FROM scratch\n\n{line}\n")
    assert raised.value.span.line == 3


def test_stages():
    text = """\
        ARG BASE=debian:12
        FROM $BASE AS Build
        FROM build AS two
        COPY --from=0 /x /x
        FROM scratch
        COPY --from=two / /
        FROM unused
        """
    graph = graph_of(text)[1]
    assert [stage.base for stage in graph.stages] == ["debian:12", "build", "scratch", "unused"]
    assert graph.stages[1].base_stage == 0
    assert [stage.index for stage in graph.reachable(graph.target("2"))] == [0, 1, 2]
    assert graph.target("BUILD").index == 0
    with pytest.raises(UsageError) as raised:
        graph.target("tow")
    assert raised.value.hint == 'did you mean "two"?'


@pytest.mark.parametrize("text", [
    "FROM scratch AS a\nCOPY --from=a x y\n", "FROM scratch AS a\nCOPY --from=b x y\nFROM scratch AS b\n",
    "FROM scratch\nCOPY --from=7 x y\n", "FROM $NOTHING\n",
])
def test_stages_that_cannot_be(text):
    with pytest.raises(IechorfileError):
        graph = graph_of(text)[1]
        graph.reachable(graph.stages[0])


def test_what_decides_a_key():
    """Every field of a step that does something changes its key; what is only shown does not."""
    base = lowered("FROM scratch\nRUN a\n")[0][-1]
    for text in ("RUN b", "RUN --network=none a", "USER u\nRUN a", "WORKDIR /w\nRUN a", "ENV A=1\nRUN a",
                 "ARG A=1\nRUN a", 'SHELL ["/s"]\nRUN a', 'RUN ["a"]'):
        assert cache_key("p", lowered(f"FROM scratch\n{text}\n")[0][-1]) != cache_key("p", base), text
    assert cache_key("p", lowered("FROM scratch\nLABEL a=1\nRUN   a\n")[0][-1]) == cache_key("p", base)
    assert cache_key("q", base) != cache_key("p", base)
    assert cache_key("p", base, ["i"]) != cache_key("p", base)


def test_config_steps_make_no_layer():
    assert all(isinstance(step, ConfigStep) for step in lowered("FROM scratch\nENV a=1\nWORKDIR /\nCMD x\n")[0])
