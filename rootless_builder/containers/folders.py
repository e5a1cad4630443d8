"""All containers of one scratch folder: made, named, found, removed. The drawing is in state.py."""

import contextlib
import errno
import json
import os
from pathlib import Path

from ..errors import ContainerError
from ..removing import remove_tree
from ..values import asdict, dataclass
from .marks import ProcessMark
from .names import SHOWN, is_id, is_name
from .state import Container, ContainerConfig, ContainerState, Status, missing, write_json


@dataclass(frozen=True, slots=True)
class Containers:
    root: Path

    def reserve(self, container_id: str, name: str) -> Path:
        """The folder in which a new container is put together; `publish` shows it, `discard` removes it.

        Errors: ContainerError when the name is taken.
        """
        self._sweep()
        folder = self.root / container_id
        folder.mkdir(mode=0o700)
        try:
            write_json(folder / "maker.json", asdict(ProcessMark.of(os.getpid())))
            self._claim(name, container_id)
        except BaseException:
            remove_tree(folder)
            raise
        return folder

    def publish(self, config: ContainerConfig) -> Container:
        """From here on `ps` shows it, as created by this process."""
        folder = self.root / config.id
        maker = ProcessMark.of(os.getpid())
        write_json(folder / "state.json", ContainerState(status=Status.CREATED, monitor=maker).to_json())
        write_json(folder / "config.json", config.to_json())
        return Container(folder, config)

    def discard(self, container_id: str, name: str) -> None:
        """Removes every trace, in whatever stage of its life."""
        folder = self.root / container_id
        doomed = self.root / f".gone-{container_id}"
        with contextlib.suppress(FileNotFoundError):
            folder.rename(doomed)  # out of sight at once: a large tree takes its time
        link = self.root / "names" / name
        with contextlib.suppress(OSError):
            if os.readlink(link) == container_id:
                link.unlink()
        try:
            remove_tree(doomed)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # FUSE and NFS keep an open file under another name: swept later
                raise

    def get(self, name: str) -> Container:
        """By name, id, or the unique beginning of an id. Errors: ContainerError."""
        if is_name(name):
            with contextlib.suppress(OSError):
                return self._load(os.readlink(self.root / "names" / name))
        found = [entry for entry in self._ids() if is_id(name) and entry.startswith(name)]
        if len(found) > 1:
            raise ContainerError(f'cannot tell which container "{name}" is: {len(found)} ids begin so',
                                 hint="give more digits of the id, or the name")
        for entry in found:
            with contextlib.suppress(OSError):
                return self._load(entry)
        raise missing(name)

    def newest_first(self) -> list[Container]:
        """Newest first."""
        found = []
        for entry in self._ids():
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # removed, or damaged, meanwhile
                found.append(self._load(entry))
        return sorted(found, key=lambda container: container.config.created, reverse=True)

    def _ids(self) -> list[str]:
        return sorted(filter(_is_whole_id, os.listdir(self.root))) if self.root.is_dir() else []

    def _load(self, container_id: str) -> Container:
        folder = self.root / container_id
        return Container(folder, ContainerConfig.from_json(json.loads((folder / "config.json").read_bytes())))

    def _claim(self, name: str, container_id: str) -> None:
        link = self.root / "names" / name
        for _ in range(3):
            try:
                link.symlink_to(container_id)
                return
            except FileExistsError:
                owner = _target(link)
                if owner and (self.root / owner).is_dir():
                    raise ContainerError(
                        f'cannot name the container "{name}": the name is in use by {owner[:SHOWN]}',
                        hint=f"give another --name, or remove that container: iechor rm {name}") from None
                link.unlink(missing_ok=True)
        raise ContainerError(f'cannot name the container "{name}": others take the same name', hint="try again")

    def _sweep(self) -> None:
        """Removes what a `run` or `rm` that was killed half-way left behind."""
        for folder in (self.root, self.root / "names"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for entry in os.listdir(self.root):
            folder = self.root / entry
            if entry.startswith(".gone-") or (_is_whole_id(entry) and _abandoned(folder)):
                remove_tree(folder)


def _is_whole_id(text: str) -> bool:
    return len(text) == 64 and is_id(text)


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _abandoned(folder: Path) -> bool:
    """Never published, and its maker is gone."""
    try:
        maker = ProcessMark(**json.loads((folder / "maker.json").read_bytes()))
        return not (folder / "config.json").exists() and not maker.alive
    except (OSError, ValueError, TypeError):
        return False  # younger than its maker.json, or being removed by another
