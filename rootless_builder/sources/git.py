"""A git repository at one commit: which commit a ref is now, and its files, checked out by git itself.

What decides the files is the repository alone: no hooks, no line end conversion, no attributes of the user. Who may
fetch (credential helpers, ssh keys, insteadOf) is the user's git configuration.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import SourceError
from ..urls import apart, redacted
from ..values import dataclass

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ALWAYS = ("-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false", "-c", "core.attributesFile=/dev/null",
           "-c", "core.symlinks=true", "-c", "advice.detachedHead=false", "-c", "gc.auto=0",
           "-c", "protocol.file.allow=never", "-c", "protocol.ext.allow=never")
_LOGIN = ("!login() { test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' \"$IECHOR_USER\" "
          "\"$IECHOR_PASSWORD\"; }; login")  # a credential helper: git asks it where a server wants to know who asks
_ONE_SCOPE = ("https://github.com/", "https://www.github.com/")  # one token for submodules too, as BuildKit has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """commit: full and hexadecimal; tag: the annotated tag's own id, "" without one; ref: what to fetch for it."""

    commit: str
    tag: str = ""
    ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """environ: of the user, with PATH and HOME. authorization: of a remote, the header that opens it."""

    environ: Mapping[str, str]
    authorization: Callable[[str], str | None] = lambda remote: None

    def resolve(self, remote: str, ref: str) -> Commit:
        """What `ref` is on the remote now; "" is its HEAD. A full commit is itself. Errors: SourceError."""
        if _COMMIT.fullmatch(ref):
            return Commit(commit=ref, ref=ref)
        wanted = ref or "HEAD"
        listed = self._run(["ls-remote", "--", shown(remote), wanted, f"{wanted}^{{}}"], what=f"ask {shown(remote)}",
                           remote=remote)
        found = {name: commit for commit, _, name in (line.partition("\t") for line in listed.splitlines())
                 if _COMMIT.fullmatch(commit)}
        # A branch comes before a tag of the same name, as in BuildKit.
        for name in (wanted, f"refs/{wanted}", f"refs/heads/{wanted}", f"refs/tags/{wanted}"):
            if name in found:
                peeled = found.get(f"{name}^{{}}")
                return Commit(commit=peeled or found[name], tag=found[name] if peeled else "", ref=name)
        raise SourceError(f"cannot find {wanted} in {shown(remote)}: there is no such branch, tag or commit",
                          hint="name a branch, a tag, or a commit in full")

    def check_out(self, remote: str, commit: Commit, folder: Path, *, submodules: bool, keep: bool,
                  dated: bool = False) -> None:
        """The commit's files in `folder`, made here; keep: with .git; dated: every file has the time of the commit.
        Errors: SourceError.
        """
        folder.mkdir(mode=0o755)
        inside = ["-C", str(folder)]
        self._run([*inside, "init", "-q"], what="make a repository")
        self._run([*inside, "remote", "add", "origin", shown(remote)], what="make a repository")
        self._fetch(inside, remote, commit)
        self._run([*inside, "checkout", "-q", commit.commit], what=f"check out {commit.commit} of {shown(remote)}")
        if submodules and (folder / ".gitmodules").is_file():
            self._run([*inside, "submodule", "update", "-q", "--init", "--recursive"],
                      what=f"fetch the submodules of {shown(remote)}", remote=remote)
        told = self._run([*inside, "show", "-s", "--format=%ct", commit.commit], what=f"read {commit.commit}")
        if keep:
            self._run([*inside, "reflog", "expire", "--all", "--expire=now"], what="clear the reflog")
            (folder / ".git" / "FETCH_HEAD").unlink(missing_ok=True)
        else:
            _remove_git(folder)
        if dated:
            _date(folder, int(told.split()[0]))

    def _fetch(self, inside: list[str], remote: str, commit: Commit) -> None:
        """One commit where the server gives it out by itself, else all there is."""
        last: SourceError | None = None
        for asked in (["--depth=1", "origin", commit.ref], ["--depth=1", "origin", commit.commit],
                      ["--tags", "origin", "+refs/heads/*:refs/remotes/origin/*"]):
            try:
                self._run([*inside, "fetch", "-q", "--no-tags", *asked], what=f"fetch {shown(remote)}",
                          remote=remote)
                self._run([*inside, "cat-file", "-e", f"{commit.commit}^{{commit}}"], what=f"find {commit.commit}")
                return
            except SourceError as error:
                last = error
        assert last is not None
        raise SourceError(f"cannot fetch {commit.commit} of {shown(remote)}", hint="is it pushed?",
                          notes=(last.message,))

    def _granted(self, remote: str) -> dict[str, str]:
        """What opens this remote, in the environment: others see a command line, and a step may read .git/config."""
        if not remote:
            return {}
        login = _login(remote)
        settings = [*self._header(remote), *login]
        named = {"GIT_CONFIG_COUNT": str(len(settings))}
        for number, (key, value) in enumerate(settings):
            named |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        if login:
            _, user, password = apart(remote)
            named |= {"IECHOR_USER": user or "", "IECHOR_PASSWORD": password or ""}
        return named

    def _header(self, remote: str) -> list[tuple[str, str]]:
        """For this remote and what lies below it. Where it redirects is not followed, for git would take it along."""
        header = self.authorization(remote)
        if header is None:
            return []
        plain = shown(remote)
        scope = next((host for host in _ONE_SCOPE if plain.startswith(host)), plain)
        return [(f"http.{scope}.extraHeader", f"Authorization: {header}"), (f"http.{scope}.followRedirects", "false")]

    def _run(self, arguments: list[str], *, what: str, remote: str = "") -> str:
        """remote: whom git will talk to, "" for nobody."""
        import subprocess  # late, as other imports of what only some builds need

        env = {key: value for key, value in self.environ.items() if not key.startswith("GIT_") or "SSH" in key}
        env |= {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
        env |= self._granted(remote)
        try:
            done = subprocess.run(["git", *_ALWAYS, *arguments], env=env, stdin=subprocess.DEVNULL, umask=0o022,
                                  capture_output=True, text=True, errors="surrogateescape", check=False)
        except FileNotFoundError:
            raise SourceError(f"cannot {what}: git is not installed", hint="install git") from None
        if done.returncode:
            said = [redacted(line) for line in done.stderr.splitlines() if line.strip()]
            raise SourceError(f"cannot {what}: {said[0] if said else 'git failed'}",
                              notes=tuple(f"git: {line}" for line in said[1:10]))
        return done.stdout


def is_commit(text: str) -> bool:
    """A whole commit, not the beginning of one."""
    return _COMMIT.fullmatch(text) is not None


def shown(remote: str) -> str:
    """The URL without a password, and without its user where it has one."""
    return apart(remote)[0] if "://" in remote and urlsplit(remote).password is not None else remote


def _login(remote: str) -> list[tuple[str, str]]:
    """The settings by which git learns USER:PASSWORD of the remote, and keeps it nowhere. The user's own credential
    helpers have no say in it. Errors: SourceError.
    """
    plain, user, password = apart(remote) if remote.lower().startswith(("http://", "https://")) else (remote, "", None)
    if password is None:
        return []
    if any(letter < " " for letter in f"{user}{password}"):
        raise SourceError(f"cannot use the password of {plain}: it is more than one line",
                          hint="what comes after a % in a URL is the number of a letter; a % itself is %25")
    parts = urlsplit(plain)
    key = f"credential.{parts.scheme}://{parts.netloc}.helper"
    return [(key, ""), (key, _LOGIN)]


def _date(folder: Path, seconds: int) -> None:
    """Folders after what is in them."""
    for place, folders, files in os.walk(folder, topdown=False):
        for name in (*files, *folders):
            os.utime(os.path.join(place, name), (seconds, seconds), follow_symlinks=False)
    os.utime(folder, (seconds, seconds))


def _remove_git(folder: Path) -> None:
    """.git, and the .git files of submodules."""
    import shutil

    for place, folders, files in os.walk(folder):
        if ".git" in folders:
            folders.remove(".git")
            shutil.rmtree(Path(place) / ".git")
        if ".git" in files:
            (Path(place) / ".git").unlink()
