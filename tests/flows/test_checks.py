"""The build checks as a user meets them: on a build, with --check, and the other questions of --call."""

import base64
import json
from pathlib import Path

import pytest

from tests.conftest import Person

TEXT = """\
FROM scratch AS Base
COPY a.txt /
CMD echo $nme
"""


@pytest.fixture
def user(plain_user: Person) -> Person:
    plain_user.write("c/a.txt", "a")
    return plain_user


def context(person: Person, text: str, **files: str) -> Path:
    for name, content in files.items():
        person.write(f"c/{name}", content)
    return person.write("c/iEchorfile", text).parent


def test_a_build_warns_at_its_end_and_points(user: Person) -> None:
    shown = user.iechor("build", "--progress=plain", context(user, TEXT)).stderr
    assert shown.index("COPY a.txt") < shown.index("warning: iEchorfile:1: StageNameCasing: ")
    assert shown.index("warning: iEchorfile:3: JSONArgsRecommended: ") < shown.index("built sha256:")
    assert " >    3 | CMD echo $nme\n" in shown


def test_a_build_that_fails_warns_too(user: Person) -> None:
    shown = user.iechor("build", "--progress=plain", context(user, TEXT + "COPY nothing /\n"), code=5).stderr
    assert shown.index("warning: iEchorfile:3: JSONArgsRecommended") < shown.index("iechor: iEchorfile:4: ")


def test_check_builds_nothing_and_says_what_it_found(user: Person) -> None:
    done = user.iechor("build", "--check", "-t", "x", context(user, TEXT, **{".iechorignore": "*.txt\n"}), code=3)
    assert done.stdout.startswith("Check complete, 3 warnings have been found!\n\nWARNING: iEchorfile:1: StageName")
    assert "WARNING: iEchorfile:2: CopyIgnoredFile: " in done.stdout
    assert done.stderr == ""
    assert user.iechor("images", "-q").stdout == ""


def test_check_of_a_clean_file(user: Person) -> None:
    folder = context(user, 'FROM scratch\nCOPY a.txt /\nCMD ["/a"]\n')
    assert user.iechor("build", "--check", folder).stdout == "Check complete, no warnings found.\n"
    assert user.iechor("build", "--call=check,format=json", folder).stdout.startswith('{\n  "warnings": [],')


def test_check_as_json_has_dockers_keys(user: Person) -> None:
    folder = context(user, TEXT)
    told = json.loads(user.iechor("build", "--call=lint,format=json", folder, code=3).stdout)
    casing, form = told["warnings"]
    assert casing["ruleName"] == "StageNameCasing" and casing["location"]["ranges"][0]["start"] == {"line": 1}
    assert form["ruleName"] == "JSONArgsRecommended" and form["detail"] and form["description"]
    [source] = told["sources"]
    assert source["filename"] == "iEchorfile" and base64.b64decode(source["data"]).decode() == TEXT
    assert user.iechor("build", "--call=check,format=json,ignorestatus=true", folder).stdout


@pytest.mark.parametrize(("text", "message", "line"), [
    ("FROM scratch\nCPOY a b\n", "CPOY", 2),
    ("FROM scratch\nCOPY --chwon=1 a b\n", "--chwon", 2),
    ("FROM scratch AS x\nCOPY --from=y a b\nCOPY --from=9 a b\n", "invalid stage index 9", 3),
    ("FROM scratch\nSTOPSIGNAL nonsense\n", "nonsense", 2),
    ("FROM scratch\nCOPY --chmod=abc a.txt /\n", "abc", 2),
])
def test_check_says_what_would_end_a_build(user: Person, text: str, message: str, line: int) -> None:
    folder = context(user, text)
    done = user.iechor("build", "--check", folder, code=3)
    assert f"ERROR: iEchorfile:{line}: " in done.stdout and message in done.stdout
    assert f" >    {line} | {text.splitlines()[line - 1]}\n" in done.stdout
    told = json.loads(user.iechor("build", "--call=check,format=json", folder, code=3).stdout)
    assert told["buildError"]["location"]["ranges"][0]["start"]["line"] == line


def test_a_base_that_cannot_be_had_is_an_error_and_the_rest_is_checked(user: Person) -> None:
    folder = context(user, "FROM nowhere\nCMD x\nMAINTAINER me\n")
    done = user.iechor("build", "--check", "--pull=never", folder, code=3)
    assert "MaintainerDeprecated" in done.stdout
    assert "ERROR: iEchorfile:1: nowhere" in done.stdout


def test_error_true_ends_a_build_before_anything_is_done(user: Person) -> None:
    folder = context(user, "# check=error=true\n" + TEXT)
    done = user.iechor("build", "--progress=plain", "-t", "x", folder, code=3)
    assert "cannot build: the checks found JSONArgsRecommended, StageNameCasing" in done.stderr
    assert "#1 " not in done.stderr
    user.iechor("build", "--check", folder, code=3)


def test_rules_are_skipped_by_the_file_by_a_line_and_by_a_build_argument(user: Person) -> None:
    for head in ("# check=skip=all\n", "# check=skip=StageNameCasing,JSONArgsRecommended;error=true\n"):
        assert "warning" not in user.iechor("build", "--progress=plain", context(user, head + TEXT)).stderr
    folder = context(user, TEXT.replace("CMD", "# check=skip=JSONArgsRecommended\nCMD"))
    assert "JSONArgsRecommended:" not in user.iechor("build", "--check", folder, code=3).stdout
    argument = "--build-arg=BUILDKIT_DOCKERFILE_CHECK=skip=all"
    shown = user.iechor("build", "--progress=plain", argument, context(user, "# check=error=true\n" + TEXT)).stderr
    assert "warning" not in shown
    shown = user.iechor("build", "--build-arg=BUILDKIT_DOCKERFILE_CHECK=nonsense", folder, code=3).stderr
    assert "cannot read the check options 'nonsense'" in shown


def test_targets_and_outline(user: Person) -> None:
    folder = context(user, "# V is what is taken\nARG V=1\n# build makes it\nFROM scratch AS build\nARG V\n"
                           "RUN --mount=type=secret,id=s,required=true --mount=type=ssh x\nFROM build\nARG W=2\n")
    assert user.iechor("build", "--call=targets", folder).stdout == \
        "TARGET    DESCRIPTION\nbuild     makes it\n(default)\n"
    assert user.iechor("build", "--call=outline", "--target=build", folder).stdout == (
        "TARGET:      build\nDESCRIPTION: makes it\n\n"
        "BUILD ARG   VALUE   DESCRIPTION\nV           1       is what is taken\n\n"
        "SECRET   REQUIRED\ns        true\n\nSSH       REQUIRED\ndefault\n\n")
    told = json.loads(user.iechor("build", "--call=outline,format=json", "--build-arg=V=7", folder).stdout)
    assert [(one["name"], one["value"]) for one in told["args"]] == [("V", "7"), ("W", "2")]
    assert told["secrets"][0]["required"] is True
    told = json.loads(user.iechor("build", "--call=targets,format=json", folder).stdout)
    assert [(one.get("name"), one.get("default", False), one["base"]) for one in told["targets"]] == \
        [("build", False, "scratch"), (None, True, "build")]


def test_the_unknown_question(user: Person) -> None:
    assert "build, check, lint, outline, targets" in user.iechor("build", "--call=ceck", user.home, code=2).stderr


def test_a_file_on_standard_input_is_pointed_into(user: Person) -> None:
    done = user.iechor("build", "-f", "-", context(user, ""), input="FROM scratch\nCPOY a b\n", code=3)
    assert " >    2 | CPOY a b\n" in done.stderr and "Did you mean COPY?" in done.stderr
