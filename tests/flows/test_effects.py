"""Our own checks: what a step did that its author may not have meant, told at the end of every build, cached or not."""

import re
from pathlib import Path

from tests.conftest import Person
from tests.flows.test_build import context, ran

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\n" + "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAAB\n" * 3
TOKEN = "ghp_" + "Ab3" * 12  # no token of anybody


def build(person: Person, text: str, *options: str, code: int = 0, **files: str) -> str:
    return person.iechor("build", "--progress=plain", "-t", "x", *options, context(person, text, **files),
                         code=code).stderr


def found(shown: str) -> dict[str, str]:
    """Rule → what was said, of our own rules."""
    told = re.findall(r"^warning: iEchorfile:\d+: (\w+): (.*)$", shown, re.MULTILINE)
    return {rule: text for rule, text in told if rule in (
        "PackageCacheInLayer", "UnreadableToOthers", "SetIdAdded", "SecretInLayer", "SecretInHistory",
        "DeletedFromLowerLayer")}


def said(shown: str) -> str:
    return shown[shown.index("warning: "):] if "warning: " in shown else ""


FIRES = {
    "apt's lists": ("RUN mkdir -p /var/lib/apt/lists && head -c 2000000 /dev/zero > /var/lib/apt/lists/main",
                    "PackageCacheInLayer", "apt's lists (2.0 MB)"),
    "pip's cache": ("RUN mkdir -p /root/.cache/pip/http && head -c 90000 /dev/zero > /root/.cache/pip/http/x",
                    "PackageCacheInLayer", "pip's cache (90.0 kB)"),
    "npm's cache": ("RUN mkdir -p /root/.npm/_cacache && head -c 90000 /dev/zero > /root/.npm/_cacache/x",
                    "PackageCacheInLayer", "npm's cache (90.0 kB)"),
    "apk's cache": ("RUN mkdir -p /var/cache/apk && head -c 90000 /dev/zero > /var/cache/apk/x",
                    "PackageCacheInLayer", "apk's cache (90.0 kB)"),
    "setuid": ("RUN cp /bin/busybox /usr/bin/mine && chmod 4755 /usr/bin/mine", "SetIdAdded",
               "/usr/bin/mine (4755, owner 0:0)"),
    "setgid": ("RUN cp /bin/busybox /usr/bin/mine && chgrp 44 /usr/bin/mine && chmod g+s /usr/bin/mine", "SetIdAdded",
               "/usr/bin/mine (2755, owner 0:44)"),
    "umask": ("RUN umask 077 && mkdir -p /opt/app && echo x > /opt/app/main.py", "UnreadableToOthers",
              "/opt/app (0700), /opt/app/main.py (0600)"),
    "a key": ("COPY --chown=0 key /etc/x/key", "SecretInLayer", "a private key in /etc/x/key"),
    "a token": (f"RUN echo 'x = \"{TOKEN}\"' > /settings", "SecretInLayer", "a GitHub token in /settings"),
    ".npmrc": ("RUN echo //npm.example/:_authToken=abcdef > /root/.npmrc", "SecretInLayer",
               "an npm token in /root/.npmrc"),
    ".pypirc": ("RUN printf '[pypi]\\nusername = me\\npassword = abc\\n' > /root/.pypirc", "SecretInLayer",
                "a password for a package index in /root/.pypirc"),
    ".netrc": ("RUN echo 'machine x login me password abc' > /root/.netrc", "SecretInLayer",
               "a password in /root/.netrc"),
    "docker's login": ('COPY login /root/.docker/config.json', "SecretInLayer",
                       "a login to a registry in /root/.docker/config.json"),
    "AWS": ("RUN mkdir /root/.aws && printf '[default]\\naws_secret_access_key = abc\\n' > /root/.aws/credentials",
            "SecretInLayer", "an AWS secret key in /root/.aws/credentials"),
    "history": (f"ENV GL=glpat-{'x1' * 10}", "SecretInHistory", "a GitLab token"),
    "deleted": ("RUN head -c 3000000 /dev/zero > /big\nRUN rm /big", "DeletedFromLowerLayer", "3.0 MB of /big were"),
    "a folder deleted": ("RUN mkdir /d && head -c 2000000 /dev/zero > /d/a && cat /d/a > /d/b\nRUN rm -r /d",
                         "DeletedFromLowerLayer", "4.0 MB of /d were"),
}


def test_each_rule_fires_and_says_so_again_when_the_step_is_cached(user: Person) -> None:
    text = "".join(f"FROM busybox AS s{number}\n{step}\n" for number, (step, _, _) in enumerate(FIRES.values()))
    last = "FROM busybox\n" + "".join(f"COPY --from=s{number} /etc/passwd /{number}\n" for number in range(len(FIRES)))
    files = {"key": KEY, "login": '{"auths": {"x": {"auth": "bWU6YWJj"}}}'}
    first = build(user, text + last, **files)
    again = build(user, text + last, **files)
    assert ran(again) == []
    for what, (_, rule, detail) in FIRES.items():
        for shown in (first, again):
            lines = [line for line in said(shown).splitlines() if f": {rule}: " in line and detail in line]
            assert len(lines) == 1, f"{what}: {said(shown)}"
    for line in said(first).splitlines():
        assert not line.startswith("warning: ") or TOKEN not in line


QUIET = {
    "lists removed in the same RUN": "RUN mkdir -p /var/lib/apt/lists && head -c 2000000 /dev/zero > "
                                     "/var/lib/apt/lists/main && rm /var/lib/apt/lists/main",
    "a cache mount": "RUN --mount=type=cache,target=/root/.cache/pip head -c 90000 /dev/zero > /root/.cache/pip/x",
    "an empty cache": "RUN mkdir -p /root/.npm/_cacache && echo > /root/.npm/_cacache/x",
    "a sticky folder, a set-gid folder": "RUN mkdir -m 1777 /s && mkdir -m 2755 /g",
    "root's own": "RUN umask 077 && echo x > /root/x && echo y > /etc/shadow-",
    "a mode that was meant": "COPY --chmod=600 f /usr/f",
    "an owner that was meant": "COPY --chown=1000 f /usr/f",
    "a public key": "RUN echo '-----BEGIN PUBLIC KEY-----' > /k && echo '-----BEGIN CERTIFICATE-----' >> /k",
    "text about keys": "RUN echo 'look for -----BEGIN RSA PRIVATE KEY----- in it' > /readme",
    "an example": "RUN echo AKIAIOSFODNN7EXAMPLE > /readme",
    ".npmrc with a variable": "RUN echo '//r/:_authToken=${NPM_TOKEN}' > /root/.npmrc",
    "a package's key to test with": "COPY key /app/node_modules/tls/test/key.pem",
    "removed where it was made": "RUN head -c 3000000 /dev/zero > /big && rm /big",
    "little removed": "RUN echo x > /x\nRUN rm /x",
    "a folder made anew": "RUN rm -r /home/app && mkdir /home/app",
}


def test_each_rule_is_quiet_where_all_is_well(user: Person) -> None:
    user.write("c/f", "f").chmod(0o600)
    text = "".join(f"FROM busybox AS s{number}\n{step}\n" for number, step in enumerate(QUIET.values()))
    last = "FROM busybox\n" + "".join(f"COPY --from=s{number} /etc/passwd /{number}\n" for number in range(len(QUIET)))
    shown = build(user, text + last, key=KEY)
    assert found(shown) == {}, said(shown)


def test_a_context_that_nobody_else_can_read(user: Person) -> None:
    for name in ("f", "d/g"):
        user.write(f"c/{name}", "x").chmod(0o600)
    (user.home / "c" / "d").chmod(0o700)
    shown = build(user, "FROM busybox\nCOPY f d /app/\nCOPY d /app/d\n")
    assert "Another USER than root cannot read /app/f (0600), /app/g (0600)" in shown
    assert "cannot read /app/d/g (0600)" in shown or "/app/d (0700), /app/d/g (0600)" in shown


def test_what_was_given_is_recognised_and_never_shown(user: Person) -> None:
    user.write("tok", "s3cret-value-of-mine\n")
    text = ("FROM busybox\nARG DB_PASSWORD\nARG VERSION\nRUN --mount=type=secret,id=tok cp /run/secrets/tok /kept\n"
            "RUN echo \"$DB_PASSWORD\" > /conf\nENV LOGIN=me:$DB_PASSWORD\nRUN echo $VERSION > /version\nCOPY f /f\n")
    options = ("--secret", f"id=tok,src={user.home}/tok", "--build-arg", "DB_PASSWORD=hunter22-hunter22",
               "--build-arg", "VERSION=1.2.3.4.5.6")
    shown = build(user, text, *options, f="prefix s3cret-value-of-mine suffix")
    assert "the value of the secret tok in /kept" in shown
    assert "the value of the secret tok in /f" in shown
    assert "the value of --build-arg DB_PASSWORD in /conf" in shown
    assert "The history of the image shows the value of --build-arg DB_PASSWORD" in shown
    assert "/version" not in said(shown).replace("RUN echo $VERSION > /version", "")
    assert "s3cret-value" not in shown and "hunter22" not in said(shown)
    for path in (user.store / "cache").glob("??/*"):
        assert b"s3cret-value" not in path.read_bytes()


def test_a_set_user_id_that_was_there_before_is_not_told_again(user: Person) -> None:
    shown = build(user, "FROM busybox AS one\nRUN cp /bin/busybox /su && chmod 4755 /su\n"
                        "FROM one\nRUN chown 1:1 /su && chmod 4755 /su\n")
    assert shown.count(": SetIdAdded: ") == 1


def test_rules_are_skipped_and_escalated_as_the_others_are(user: Person) -> None:
    step = "RUN head -c 3000000 /dev/zero > /big\n{}RUN rm /big\n"
    assert found(build(user, "# check=skip=DeletedFromLowerLayer\nFROM busybox\n" + step.format(""))) == {}
    assert found(build(user, "FROM busybox\n" + step.format("# check=skip=DeletedFromLowerLayer\n"))) == {}
    assert found(build(user, "FROM busybox\n" + step.format(""), "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all")
                 ) == {}
    shown = build(user, "# check=error=true\nFROM busybox\n" + step.format(""), "-t", "refused", code=3)
    assert "the checks found DeletedFromLowerLayer, and check=error=true makes that an error" in shown
    assert "refused" not in user.iechor("images").stdout


def test_a_finding_reaches_whoever_uses_the_cache(user: Person, tmp_path: Path) -> None:
    text = "FROM busybox\nRUN head -c 3000000 /dev/zero > /big\nRUN rm /big\n"
    build(user, text, "--cache-to", f"type=local,dest={user.home}/cache")
    done = user.iechor("build", "--progress=plain", "--cache-from", f"type=local,src={user.home}/cache",
                       context(user, text), env={"IECHOR_HOME": str(user.home / "other")})
    assert ran(done.stderr) == [] and "DeletedFromLowerLayer" in found(done.stderr)
