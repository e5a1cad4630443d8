import json

import pytest

from rootless_builder.errors import UnsafeArchive
from rootless_builder.oci.config import Healthcheck, History, ImageConfig, RunConfig
from rootless_builder.oci.digest import Digest

FULL = ImageConfig(
    architecture="arm64", os="linux", variant="v8", created="2024-01-02T03:04:05Z", author="ann",
    config=RunConfig(
        user="1000:1000", env=("PATH=/bin", "EMPTY=", "é=ü"), entrypoint=("/entry",), cmd=("a", "b"), working_dir="/w",
        exposed_ports=("53/udp", "8000/tcp"), volumes=("/data",), labels={"z": "1", "a": "2"}, stop_signal="SIGINT",
        shell=("/bin/bash", "-c"), onbuild=("RUN true",), args_escaped=True, extra={"Hostname": "h"},
        healthcheck=Healthcheck(test=("CMD-SHELL", "true"), interval=30_000_000_000, timeout=1, start_period=2,
                                start_interval=3, retries=4)),
    rootfs_diff_ids=(Digest.of(b"1"), Digest.of(b"2")),
    history=(History(created="2024-01-02T03:04:05Z", created_by="RUN x", comment="c", author="a"),
             History(created_by="ENV a=b", empty_layer=True)),
    extra={"os.features": ["x"], "moby.buildkit.buildinfo.v1": {"n": 1}},
)


def test_a_config_survives_the_way_out_and_in():
    assert ImageConfig.from_json(FULL.to_json()) == FULL
    assert ImageConfig.from_json(FULL.to_json()).to_json() == FULL.to_json()


def test_docker_finds_its_keys():
    config = json.loads(FULL.to_json())["config"]
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "true"], "Interval": 30_000_000_000, "Timeout": 1,
                                     "StartPeriod": 2, "StartInterval": 3, "Retries": 4}
    assert (config["OnBuild"], config["Shell"]) == (["RUN true"], ["/bin/bash", "-c"])
    assert config["ExposedPorts"] == {"53/udp": {}, "8000/tcp": {}} and config["Volumes"] == {"/data": {}}


def test_no_command_and_an_empty_command_are_two_things():
    def command(config: RunConfig) -> object:
        return ImageConfig.from_json(ImageConfig(architecture="amd64", os="linux", config=config).to_json()).config.cmd

    assert command(RunConfig()) is None
    assert command(RunConfig(cmd=())) == ()


def test_the_smallest_config_is_frozen():
    assert ImageConfig(architecture="amd64", os="linux").to_json() == (
        b'{"architecture":"amd64","config":{},"os":"linux","rootfs":{"diff_ids":[],"type":"layers"}}')


def test_nulls_count_as_absent_as_in_go():
    config = ImageConfig.from_json(b'''{"architecture": "amd64", "os": "linux", "created": null, "history": null,
        "config": {"Env": null, "Cmd": null, "Labels": null, "Volumes": null, "Healthcheck": null},
        "rootfs": {"type": "layers", "diff_ids": null}}''')
    assert config == ImageConfig(architecture="amd64", os="linux")


def test_text_that_is_no_unicode_still_gives_json():
    broken = ImageConfig(architecture="amd64", os="linux", config=RunConfig(env=("A=\udcff",)))
    assert json.loads(broken.to_json())["config"]["Env"] == ["A=\ufffd"]


def test_the_platform_of_a_config_is_normal():
    assert str(FULL.platform) == "linux/arm64"


@pytest.mark.parametrize(("data", "said"), [
    (b"", "not JSON"), (b"null", "object"), (b'{"config":[]}', "object"), (b'{"config":{"Env":"A=B"}}', "strings"),
    (b'{"config":{"Cmd":[1]}}', "strings"), (b'{"rootfs":{"type":"zip"}}', "rootfs.type"),
    (b'{"rootfs":{"diff_ids":["sha256:1"]}}', "digest"), (b'{"history":[1]}', "objects"),
    (b'{"config":{"Healthcheck":{"Interval":1.5}}}', "whole number"), (b'{"config":{"Labels":{"a":1}}}', "strings"),
    (b'{"history":[{"empty_layer":"yes"}]}', "true or false"), (b'{"config":{"Volumes":["/x"]}}', "object"),
    (b'{"created":12}', "string"), (b" " * (4 << 20) + b"{}", "at most"),
])
def test_a_config_that_lies_is_refused(data, said):
    with pytest.raises(UnsafeArchive, match=said):
        ImageConfig.from_json(data)
