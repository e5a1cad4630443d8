"""`RUN --mount`: what is known at once, and what once variables are expanded."""

import pytest

from rootless_builder.errors import IechorfileError
from rootless_builder.language.mounts import MountFlag, RunMount, parse_mount
from rootless_builder.language.words import expand
from rootless_builder.span import Span


def resolved(text: str, **env: str) -> RunMount:
    return parse_mount(text).resolve(lambda value: expand(value, env)[0])


def test_variables_count_in_every_value_but_from() -> None:
    mount = resolved("type=$kind,target=/$name,id=${name}-x", kind="cache", name="a")
    assert mount == RunMount(type="cache", target="/a", id="a-x", readonly=False)
    assert parse_mount("from=base,target=/x").from_ == "base"
    with pytest.raises(IechorfileError, match="takes no variables"):
        parse_mount("from=$x")


@pytest.mark.parametrize(("text", "mount"), [
    ("target=/a", RunMount(type="bind", target="/a", readonly=True)),
    ("type=bind,dst=/a,src=b,from=c,rw", RunMount(type="bind", target="/a", source="b", from_="c", readonly=False)),
    ("type=cache,target=/a,sharing=Locked,mode=0755,uid=1,gid=2",
     RunMount(type="cache", target="/a", readonly=False, sharing="locked", mode=0o755, uid=1, gid=2)),
    ("type=tmpfs,target=/t,size=64m", RunMount(type="tmpfs", target="/t", readonly=False, size=64 << 20)),
    ("type=secret,id=s,env=,required", RunMount(type="secret", id="s", env="", required=True)),
    ("type=ssh,required=0,mode=0600", RunMount(type="ssh", mode=0o600)),
    ('"target=/a,b",ro=false', RunMount(type="bind", target="/a,b", readonly=False)),
])
def test_every_type(text: str, mount: RunMount) -> None:
    assert resolved(text) == mount


@pytest.mark.parametrize(("text", "words"), [
    ("type=foo", "no mount type"), ("type=bind,size=1", "takes no size"), ("type=bind,uid=1", "takes no uid"),
    ("type=secret", "no name"), ("type=secret,id=a,src=b", "the same thing"), ("type=secret,id=a,from=b", "no from"),
    ("sharing=shared", "takes no sharing"), ("type=cache,sharing=x", "kind of sharing"), ("target", "no value"),
    ("type=cache,mode=9", "value of mode"), ("required", "takes no required"), ("ro=maybe", "value of ro"),
    ("type=secret,id=a,sharing=shared", "takes no sharing"),
])
def test_what_no_mount_can_be(text: str, words: str) -> None:
    with pytest.raises(IechorfileError, match=words) as caught:
        resolved(text)
    assert caught.value.hint


def test_a_wrong_key_is_suggested_a_better_one_and_knows_its_place() -> None:
    flag = parse_mount("type=cache,tagret=/x")
    with pytest.raises(IechorfileError) as caught:
        flag.resolve(str, span=Span("f", 3, 3))
    assert caught.value.notes == ("Did you mean target?",)
    assert caught.value.span == Span("f", 3, 3)


@pytest.mark.parametrize("text", ["", 'a"b', '"a', '"a"b'])
def test_what_is_no_line_of_csv(text: str) -> None:
    with pytest.raises(IechorfileError, match="cannot read --mount"):
        parse_mount(text)


def test_the_flag_keeps_its_text() -> None:
    assert parse_mount("Target=/a,ro") == MountFlag(text="Target=/a,ro", fields=(("target", "/a"), ("ro", None)))
