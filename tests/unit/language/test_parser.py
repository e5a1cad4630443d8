"""Instructions as values: every field the planner reads, and every refusal with its place and remedy."""

from typing import Any

import pytest

from rootless_builder.errors import IechorfileError
from rootless_builder.language import instructions as i
from rootless_builder.language.parser import parse, parse_trigger
from rootless_builder.span import Span

FROM = "FROM alpine\n"


def one(text: str) -> Any:
    _, instruction = parse(FROM + text + "\n", file="iEchorfile").instructions
    return instruction


def refused(text: str) -> IechorfileError:
    with pytest.raises(IechorfileError) as caught:
        parse(text, file="iEchorfile")
    assert caught.value.message.startswith("cannot ") and caught.value.hint and caught.value.span
    return caught.value


def test_from() -> None:
    plain, named = parse("FROM a:1\nFROM --platform=$P b As Name_1\n", file="f").instructions
    assert isinstance(plain, i.From) and isinstance(named, i.From)
    assert (plain.image, plain.name, plain.platform, plain.as_written) == ("a:1", "", "", None)
    assert (named.image, named.name, named.platform, named.as_written) == ("b", "name_1", "$P", ("As", "Name_1"))


def test_an_instruction_knows_its_text_place_keyword_and_comments() -> None:
    run = parse("FROM a\n# why\nrUn a \\\n  && b\n", file="f").instructions[1]
    assert run.span == Span("f", 3, 4)
    assert (run.text, run.keyword, run.comments) == ("rUn a   && b", "rUn", ("why",))


def test_run() -> None:
    run = one("RUN --network=none --security=insecure --device=v.com/c=d,required --mount=type=cache,target=/x a 'b'")
    assert (run.argv, run.shell, run.script) == (("a 'b'",), True, "a 'b'")
    assert (run.network, run.security) == ("none", "insecure")
    assert run.devices == (i.Device(name="v.com/c=d", required=True),)
    assert [mount.text for mount in run.mounts] == ["type=cache,target=/x"]
    assert run.flags == ("device", "mount", "network", "security")
    exec_form = one('RUN ["a", "b c"]')
    assert (exec_form.argv, exec_form.shell) == (("a", "b c"), False)


def test_the_script_of_a_run_with_heredocs() -> None:
    whole = one("RUN <<EOF\na\n  b\nEOF")
    assert (whole.script, whole.shebang) == ("a\n  b\n", False)
    assert one("RUN <<-EOF\n\ta\n\tEOF").script == "a\n"
    assert one("RUN <<EOF\n#!/bin/cat\nEOF").shebang
    other = one("RUN <<A cat >x && cat <<-'B'\n1\nA\n\t2\nB")
    assert other.script == "<<A cat >x && cat <<-'B'\n1\nA\n\t2\nB"
    assert other.heredocs[1] == i.Heredoc(name="B", expand=False, chomp=True, content="\t2\n")
    assert other.span.end_line == 6


def test_copy_and_add() -> None:
    copy = one("COPY --from=a --chown=u:g --chmod=755 --link --parents --exclude=*.md --exclude=x a 'b' /c/")
    assert (copy.sources, copy.dest) == (("a", "'b'"), "/c/")
    assert (copy.from_, copy.chown, copy.chmod, copy.link, copy.parents) == ("a", "u:g", "755", True, True)
    assert copy.excludes == ("*.md", "x")
    assert one('COPY ["a b", "/c"]').sources == ("a b",)
    add = one("ADD --checksum=sha256:0 --unpack=false --keep-git-dir a b /")
    assert (add.checksum, add.unpack, add.keep_git_dir, add.link) == ("sha256:0", False, True, False)
    plain = one("ADD a /")
    assert plain.unpack is None and plain.keep_git_dir is None


def test_heredocs_as_files() -> None:
    copy = one("COPY <<a <<-'b' c /d/\n$x\na\n\ty\n\tb")
    assert copy.sources == ("c",)
    assert copy.files == (i.InlineFile(name="a", content="$x\n", expand=True),
                          i.InlineFile(name="b", content="y\n", expand=False))


def test_pairs() -> None:
    env = one('ENV a=1 b="x y"')
    assert (env.pairs, env.legacy) == ((("a", "1"), ("b", '"x y"')), False)
    old = one("ENV a b c")
    assert (old.pairs, old.legacy) == ((("a", "b c"),), True)
    assert one("LABEL a.b=c").pairs == (("a.b", "c"),)
    assert one("ARG a b=c d=").args == (("a", None), ("b", "c"), ("d", ""))


def test_what_changes_the_configuration() -> None:
    assert one("USER u:g").user == "u:g"
    assert one("WORKDIR /a b").path == "/a b"
    assert one("EXPOSE 80 22/tcp").ports == ("22/tcp", "80")
    assert one('VOLUME ["/a", " /b "]').paths == ("/a", "/b")
    assert (one("CMD a  b").argv, one("CMD a  b").shell) == (("a  b",), True)
    assert (one('ENTRYPOINT ["a"]').argv, one("ENTRYPOINT []").argv) == (("a",), ())
    assert one('SHELL ["a", "-c"]').argv == ("a", "-c")
    assert one("STOPSIGNAL SIGINT").signal == "SIGINT"
    assert one("MAINTAINER A <a@b>").name == "A <a@b>"


def test_healthcheck() -> None:
    check = one("HEALTHCHECK --interval=1m30s --timeout=3s --start-period=0 --start-interval=1.5s --retries=3 CMD a b")
    assert check.test == ("CMD-SHELL", "a b")
    assert (check.interval, check.timeout, check.start_period) == (90_000_000_000, 3_000_000_000, 0)
    assert (check.start_interval, check.retries) == (1_500_000_000, 3)
    assert one('HEALTHCHECK CMD ["a", "b"]').test == ("CMD", "a", "b")
    assert one("HEALTHCHECK none").test == ("NONE",)


def test_onbuild() -> None:
    onbuild = one("ONBUILD  COPY <<EOF /x\nhello\nEOF")
    assert onbuild.trigger == "COPY <<EOF /x\nhello\nEOF"
    assert onbuild.instruction.files[0].content == "hello\n"
    assert onbuild.instruction.span == onbuild.span
    assert one("ONBUILD COPY a").instruction is None


def test_a_trigger_stands_where_the_from_is_that_fires_it() -> None:
    place = Span("f", 7, 7)
    run = parse_trigger("RUN <<EOF\nx\nEOF", place)
    assert isinstance(run, i.Run) and (run.script, run.span) == ("x\n", place)
    for text in ("FROM a", "COPY a", "RUN a\nRUN b", "", "FOO", "ENV a"):
        with pytest.raises(IechorfileError, match="trigger") as caught:
            parse_trigger(text, place)
        assert caught.value.span == place


def test_script() -> None:
    text = "# escape=`\nFROM a\nRUN x `\n\n  y\n"
    script = parse(text, file="f")
    assert (script.file, script.source, script.directives.escape) == ("f", text, "`")
    assert [str(warning.span) for warning in script.warnings] == ["f:5"]


@pytest.mark.parametrize(("text", "line", "words"), [
    ("", 1, "no instructions"), ("RUN x\n", 1, "no stage"), ("ARG a\nENV a=b\n", 2, "no stage"),
    (FROM + "\nENV a\n", 3, "no value"), (FROM + "ENV a=b c\n", 2, "no ="), (FROM + "ENV =b\n", 2, "name is empty"),
    (FROM + "COPY a\n", 2, "a source and a destination"), (FROM + "COPY a <<E\nE\n", 2, "no destination"),
    (FROM + "RUN <<E\nx\n", 2, "before it does"), (FROM + "RUN [1]\n", 2, "not strings"),
    (FROM + "SHELL x\n", 2, "JSON"), (FROM + "USER\n", 2, "exactly one"),
    (FROM + "VOLUME ['']\nVOLUME [\"\"]\n", 3, "empty"),
    (FROM + "ONBUILD FROM a\n", 2, "no trigger"), (FROM + "ONBUILD " * 200 + "\n", 2, "in one another"),
    (FROM + "HEALTHCHECK --interval=1us CMD x\n", 2, "less than 1ms"), (FROM + "HEALTHCHECK x\n", 2, "no type"),
    (FROM + "HEALTHCHECK --retries=-1 CMD x\n", 2, "negative"), (FROM + "RUN --network=x y\n", 2, "network mode"),
    (FROM + "RUN --device=a,b c\n", 2, "no key"),
    ("FROM a b\n", 1, "one argument, or three"), ("FROM a AS 1\n", 1, "no name"),
    (FROM + "COPY --link=maybe a b\n", 2, "neither true nor false"), (FROM + "COPY --from a b\n", 2, "no value"),
    (FROM + "COPY --from=a --from=b c d\n", 2, "twice"), (FROM + "ENV --x a=b\n", 2, "no such flag"),
])
def test_refusals_say_where_and_what_to_do(text: str, line: int, words: str) -> None:
    error = refused(text)
    assert words in error.message
    assert error.span and error.span.line == line


@pytest.mark.parametrize(("text", "note"), [
    (FROM + "COPPY a b\n", "Did you mean COPY?"), (FROM + "entry-point x\n", "Did you mean ENTRYPOINT?"),
    (FROM + "COPY --chmown=a b c\n", "Did you mean --chown?"), (FROM + "RUN --mounts=x y\n", "Did you mean --mount?"),
])
def test_did_you_mean(text: str, note: str) -> None:
    assert refused(text).notes == (note,)


def test_nothing_is_suggested_for_what_is_far_off() -> None:
    assert refused(FROM + "BLAHBLAH x\n").notes == ()
