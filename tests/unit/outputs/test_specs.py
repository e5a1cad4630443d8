"""--output as BuildKit's client and buildx read it: types, keys, quotes, what is refused and what is meant instead."""

from pathlib import Path

import pytest

from rootless_builder.config import load
from rootless_builder.errors import UnsupportedError, UsageError
from rootless_builder.oci.platform import Platform
from rootless_builder.oci.reference import Reference
from rootless_builder.outputs.annotating import annotations_of
from rootless_builder.outputs.archive import ArchiveOutput
from rootless_builder.outputs.exporting import Destinations
from rootless_builder.outputs.layout import LayoutOutput
from rootless_builder.outputs.local import LocalOutput
from rootless_builder.outputs.output import CacheOnly
from rootless_builder.outputs.registry import ImageOutput
from rootless_builder.outputs.specs import OutputDefaults, parse_outputs
from rootless_builder.outputs.tarball import TarOutput


def parse(*texts, tags=(), push=False, load_=False, **more):
    defaults = OutputDefaults(names=tuple(map(Reference.parse, tags)), settings=load([], {"HOME": "/h", **more}),
                              platform=Platform.parse("linux/amd64"))
    return parse_outputs(texts, defaults, push=push, load=load_)


def one(text, **more):
    output, = parse(text, **more)
    return output


def test_short_forms():
    assert one("out") == LocalOutput(dest="out")
    assert one("-") == TarOutput(dest="-") == one("type=tar") == one("type=tar,dest=-")
    assert one("a dir/with=sign") == LocalOutput(dest="a dir/with=sign")


def test_types_and_their_places():
    assert one("type=local,dest=x,mode=delete").delete
    assert isinstance(one("type=oci,dest=x.tar"), ArchiveOutput) and one("type=oci").to_stdout
    assert isinstance(one("type=oci,dest=x,tar=false"), LayoutOutput)
    assert one("type=docker,dest=x.tar").docker and one("type=docker,dest=-").to_stdout
    assert isinstance(one("type=docker"), ImageOutput)  # without dest it is the store
    assert isinstance(one("type=cacheonly"), CacheOnly)
    assert one("type=registry,name=r.example/a").push and not one("type=image,name=r.example/a").push


def test_names_are_those_of_name_or_of_tag():
    assert list(map(str, one('type=image,"name=a,b:2"').names)) == ["docker.io/library/a:latest",
                                                                  "docker.io/library/b:2"]
    assert list(map(str, one("type=oci,dest=x", tags=["t"]).names)) == ["docker.io/library/t:latest"]
    by_digest = one("type=image,name=r.example/a,push-by-digest=true,name-canonical=true,push=true")
    assert by_digest.by_digest and by_digest.canonical and str(by_digest.names[0]) == "r.example/a"


def test_compression_is_that_of_the_output_else_of_the_build_else_of_the_settings():
    assert one("type=oci,dest=x").packing.compression == "gzip"
    assert one("type=oci,dest=x", IECHOR_COMPRESSION="zstd", IECHOR_COMPRESSION_LEVEL="7").packing.level == 7
    assert one("type=oci,dest=x,compression=gzip", IECHOR_COMPRESSION="zstd",
               IECHOR_COMPRESSION_LEVEL="7").packing.level is None
    packing = one("type=oci,dest=x,compression=zstd,compression-level=12,force-compression=true").packing
    assert (packing.compression, packing.level, packing.force) == ("zstd", 12, True)
    assert one("type=oci,dest=x,compression=uncompressed").packing.compression == "none"


def test_media_types():
    assert one("type=oci,dest=x").packing.media == "oci"
    assert one("type=docker,dest=x").packing.media == "docker"
    assert one("type=docker,dest=x,oci-mediatypes=true").packing.media == "oci"
    assert one("type=image,name=a,oci-mediatypes=0").packing.media == "docker"


def test_annotations_for_this_platform():
    packing = one("type=oci,dest=x,annotation.org.a=1,annotation[linux/amd64].org.b=2,annotation-manifest.Org.D=4,"
                  "annotation-manifest-descriptor[linux/amd64].org.e=5").packing
    assert dict(packing.annotations) == {"org.a": "1", "org.b": "2", "Org.D": "4"}
    assert dict(packing.described) == {"org.e": "5"}
    assert packing.index is None
    packing = one("type=oci,dest=x,annotation-index.org.a=1,annotation-index-descriptor.org.b=2").packing
    assert (packing.index, packing.index_described) == ({"org.a": "1"}, {"org.b": "2"})
    with pytest.raises(UsageError, match="of every platform"):
        one("type=oci,dest=x,annotation-index[linux/amd64].org.a=1")
    with pytest.raises(UsageError, match="manifest lists have no annotations"):
        one("type=oci,dest=x,annotation-index.org.a=1,oci-mediatypes=false")
    with pytest.raises(UsageError, match="an archive for docker load has no index"):
        one("type=docker,dest=x,annotation-index.org.a=1,oci-mediatypes=true")
    with pytest.raises(UsageError, match="of linux/arm64 with org.a: linux/amd64 is built"):
        one("type=oci,dest=x,annotation[linux/arm64].org.a=1")
    with pytest.raises(UsageError, match="no such place") as error:
        one("type=oci,dest=x,annotation-manifst.org.a=1")
    assert error.value.hint == "did you mean manifest?"


def test_annotations_of_the_command_line():
    found = annotations_of(["a=1", "manifest:b=2=3", "manifest,manifest-descriptor[linux/amd64]:c=4 5",
                            "org.example:d=e"], Platform.parse("linux/amd64"))
    assert found.manifest == {"a": "1", "b": "2=3", "c": "4 5", "org.example:d": "e"}
    assert found.descriptor == {"c": "4 5"}
    for text in ("a", "=b"):
        with pytest.raises(UsageError, match="not of the form"):
            annotations_of([text], Platform.parse("linux/amd64"))


def test_a_folder_for_the_platform():
    assert one("type=local,dest=x,platform-split=true").part == "linux_amd64"
    assert one("type=local,dest=x,platform-split=false").part == ""
    assert one("type=tar,dest=x,platform-split=true") == TarOutput(dest="x")


def test_quotes_are_those_of_csv():
    assert one('type=local,"dest=a,b"').dest == "a,b"
    assert one('type=local,"dest=say ""hi"""').dest == 'say "hi"'
    for text in ('type=local,dest=a"b', 'type=local,"dest=a', ""):
        with pytest.raises(UsageError):
            one(text)


def test_keys_in_any_case_and_switches_without_a_value():
    assert one("type=image,NAME=r.example/a,Push=").push


def test_push_and_load():
    assert [output.push for output in parse("type=image", tags=["r.example/a"], push=True)] == [True]
    local, image = parse("out", tags=["r.example/a"], push=True)
    assert isinstance(local, LocalOutput) and image.push
    local, kept = parse("out", load_=True)
    assert isinstance(kept, ImageOutput) and not kept.push
    assert len(parse("type=docker", load_=True)) == 1


@pytest.mark.parametrize("text,cause,hint", [
    ("type=lokal,dest=x", 'there is no type "lokal"', "did you mean type=local?"),
    ("dest=x,type=", "has no type", "the types are"),
    ("type=oci,dset=x", 'has no "dset"', "did you mean dest?"),
    ("type=image,pussh=true", 'has no "pussh"', "did you mean push?"),
    ("type=local,dest=x,name=a", 'has no "name"', "mode"),
    ("type=oci,output=x", "there is no output", "write dest=PATH"),
    ("type=oci,dest=x,compression=gzib", "no compression", "did you mean gzip?"),
    ("type=oci,dest=x,compression-level=high", "is no number", "gzip has levels"),
    ("type=image,dest=x", "has no dest", "type=oci"),
    ("type=local", "needs dest", "dest=FOLDER"),
    ("type=oci,tar=false", "needs dest", "dest=FOLDER"),
    ("type=oci,tar=maybe", "neither true nor false", "tar=true"),
    ("type=oci,dest", "not of the form", "type=TYPE"),
    ("type=local,dest=x,mode=move", "no mode move", "copy and delete"),
])
def test_what_is_wrong_is_said_with_its_remedy(text, cause, hint):
    with pytest.raises(UsageError) as caught:
        one(text)
    assert cause in caught.value.message and hint in caught.value.hint


@pytest.mark.parametrize("text", ["type=docker,context=x", "type=oci,dest=x,compression=estargz",
                                  "type=image,unpack=true"])
def test_what_is_known_and_not_done(text):
    with pytest.raises(UnsupportedError):
        one(text)


def test_levels_are_checked_before_the_build():
    for text in ("type=oci,dest=x,compression-level=10", "type=oci,dest=x,compression=zstd,compression-level=23"):
        with pytest.raises(UsageError, match="at level"):
            one(text).check()


def test_places_are_checked_before_the_build(tmp_path):
    (tmp_path / "file").touch()
    for text in (f"type=oci,dest={tmp_path}", f"type=tar,dest={tmp_path}/none/x", f"type=local,dest={tmp_path}/file",
                 "type=local,dest=-", f"type=oci,tar=false,dest={tmp_path}", "type=local,dest=/,mode=delete",
                 "type=registry"):
        with pytest.raises(UsageError):
            one(text).check()


def test_a_folder_that_must_live_is_not_emptied(tmp_path):
    inner = tmp_path / "a" / "store"
    inner.mkdir(parents=True)
    output = LocalOutput(dest=str(tmp_path / "a"), delete=True, keep=(inner,))
    with pytest.raises(UsageError, match="would delete"):
        output.check()
    LocalOutput(dest=str(tmp_path / "a"), keep=(inner,)).check()


def test_standard_output_is_for_one_and_no_terminal():
    with pytest.raises(UsageError, match="two outputs"):
        parse("-", "type=oci")
    with pytest.raises(UsageError, match="terminal"):
        Destinations(outputs=parse("-")).check(terminal=True)


@pytest.mark.parametrize("texts,tags,names,keeps", [
    ((), ("a",), ["docker.io/library/a:latest"], True),
    ((), (), [], True),
    (("out",), (), [], False),
    (("out",), ("a",), ["docker.io/library/a:latest"], True),
    (("type=cacheonly",), ("a",), [], False),
    (("type=image,name=b",), (), ["docker.io/library/b:latest"], True),
    (("type=image,name=r.example/b,store=false,push=true",), ("a",), [], False),
    (("type=docker",), (), [], True),
])
def test_what_stays_in_the_store(texts, tags, names, keeps):
    outputs = parse(*texts, tags=tags)
    found = Destinations(outputs=outputs, tags=tuple(map(Reference.parse, tags)))
    assert (list(map(str, found.names_here)), found.keeps) == (names, keeps)


def test_paths_are_not_touched_by_reading(tmp_path):
    assert one(f"type=tar,dest={tmp_path}/x.tar") and not Path(tmp_path, "x.tar").exists()
