"""Random texts made of what means something: whatever is written, the answer is a value or an IechorfileError."""

import contextlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rootless_builder.errors import IechorError, IechorfileError
from rootless_builder.language import csvline, jsonform, words
from rootless_builder.language.checks.check import check, walk_stages
from rootless_builder.language.checks.given import BaseFacts, Given
from rootless_builder.language.checks.options import CheckOptions
from rootless_builder.language.checks.outline import outline, targets
from rootless_builder.language.ignore import IgnorePatterns
from rootless_builder.language.instructions import Run
from rootless_builder.language.parser import parse

FUZZ = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))

TOKENS = (
    "FROM ", "ARG ", "RUN ", "COPY ", "ADD ", "ENV ", "LABEL ", "CMD ", "ENTRYPOINT ", "ONBUILD ", "HEALTHCHECK ",
    "EXPOSE ", "VOLUME ", "USER ", "WORKDIR ", "SHELL ", "STOPSIGNAL ", "MAINTAINER ", "FROM a AS b\n", "from ",
    "CMD x\n", "# escape=`\n", "# syntax=x\n", "# check=", "skip=all;", "error=true", "experimental=all", "# c\n",
    "#", "--from=b ", "--mount=type=", "bind,", "cache,id=x,", "secret", "ssh,required", "from=b", "--link ",
    "--chmod=$x ", "--platform=$p ", "--network=none ", "--", "<<EOF", "<<-'E'", "EOF\n", "E\n", "\\\n", "`\n",
    "\\", "\n", "\n", "\r\n", "\t", " ", "  ", "$", "${", "}", "$x", "${x", ":-", ":+", ":?", "##", "%%", "//",
    "/", "'", '"', "[", "]", '["a", "b"]', "{", ",", ":", "=", "a", "b=c ", "*", "**", "?", "[a-z]", "!", "80/TCP",
    "1:2:3", "\ufeff", "\x00", "é", "\udcff", "0", "\u2028",
)
JSON = ("[", "]", "{", "}", ",", ":", '"', '"a"', "\\u00", "\\", "1e9", "-0", "null", " ", "\ud800")
text = st.lists(st.one_of(st.sampled_from(TOKENS), st.text(max_size=3)), max_size=30).map("".join)
noise = st.one_of(text, st.binary(max_size=200).map(lambda data: data.decode("utf-8", "surrogateescape")))
FACTS = BaseFacts(env={"x": "1"}, platform="linux/amd64")


def raw(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


@FUZZ
@given(noise)
def test_files(source: str) -> None:
    """What parses is checked and outlined too, and its mounts are resolved."""
    with contextlib.suppress(IechorfileError):
        script = parse(raw(source), file="f")
        told = Given(base=lambda _image, _platform: FACTS, is_image=bool, platform="linux/amd64", platform_args={},
                     platform_parts=lambda _text: None, ignore=IgnorePatterns(["*", "a"]),
                     options=CheckOptions.of(script, {}))
        for finding in check(script, told):
            assert 1 <= finding.span.line <= finding.span.end_line <= source.count("\n") + 1
        walked = walk_stages(script, told)
        for number, _ in enumerate(targets(script)):
            outline(script, walked, number)
        for one in script.instructions:
            for mount in one.mounts if isinstance(one, Run) else ():
                mount.resolve(lambda value: value)


@FUZZ
@given(st.lists(st.sampled_from(TOKENS), max_size=12).map("".join), st.sampled_from("\\`"))
def test_files_that_begin_well(source: str, escape: str) -> None:
    test_files.hypothesis.inner_test(f"# escape={escape}\nARG x=1\nFROM a AS b\n" + source)


@FUZZ
@given(noise, st.dictionaries(st.sampled_from(["x", "p", "a"]), noise, max_size=3), st.sampled_from("\\`"))
def test_words(source: str, env: dict[str, str], escape: str) -> None:
    for expand in (lambda: words.expand(source, env, escape=escape), lambda: words.expand_raw(source, env),
                   lambda: words.expand_words(source, env, escape=escape)):
        with contextlib.suppress(IechorfileError):
            expand()


@FUZZ
@given(noise, noise)
def test_ignore_patterns(patterns: str, path: str) -> None:
    with contextlib.suppress(IechorfileError):
        ignore = IgnorePatterns.read(patterns)
        ignore.matches(path)
        ignore.may_reinclude_below(path)


@FUZZ
@given(st.lists(st.sampled_from(JSON), max_size=20).map("".join))
def test_json_forms(source: str) -> None:
    with contextlib.suppress(jsonform.NotStrings):
        found = jsonform.read_array("[" + source)
        assert found is None or all(isinstance(one, str) for one in found)


@FUZZ
@given(noise)
def test_small_languages(source: str) -> None:
    with contextlib.suppress(IechorError):
        CheckOptions.parse(source)
    with contextlib.suppress(ValueError):
        csvline.read(source)
