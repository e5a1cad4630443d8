"""The CDI devices of this host, and which of them a name means. By BuildKit's solver/llbsolver/cdidevices.

    vendor.com/class=NAME    that device
    vendor.com/class=*       all of the class
    vendor.com/class         the first of the class
    CLASS                    those whose annotation CLASS_KEY is CLASS, also when one of the above finds none
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..values import dataclass
from .specs import CdiDevice, SpecError, read_spec

CLASS_KEY = "org.mobyproject.buildkit.device.class"
AUTOALLOW_KEY = "org.mobyproject.buildkit.device.autoallow"
SUFFIXES = (".json", ".yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """devices: in the order of their names. problems: what was passed over, as sentences."""

    devices: tuple[CdiDevice, ...]
    problems: tuple[str, ...] = ()

    def find(self, name: str) -> tuple[CdiDevice, ...]:
        """Those that `name` means, none for none."""
        kind, _, which = name.partition("=")
        found: list[CdiDevice] = []
        vendor, slash, class_ = kind.partition("/")
        if vendor and slash and class_:
            of_class = [device for device in self.devices if device.name.startswith(f"{kind}=")]
            found = of_class if which == "*" else of_class[:1] if not which else [
                device for device in of_class if device.name == name]
        return tuple(found or (device for device in self.devices if device.annotations.get(CLASS_KEY) == name))


def read_registry(folders: Iterable[Path]) -> Registry:
    """folders: a later one's device hides an earlier one's. A device that two files of a folder have is in neither."""
    devices: dict[str, CdiDevice] = {}
    problems: list[str] = []
    for folder in folders:
        here: dict[str, CdiDevice] = {}
        twice: set[str] = set()
        for device in _devices_in(folder, problems):
            if device.name in here:
                problems.append(f"{device.name} is in {here[device.name].file} and in {device.file}")
                twice.add(device.name)
            here[device.name] = device
        devices.update(here)
        for name in twice:
            del devices[name]
    return Registry(devices=tuple(devices[name] for name in sorted(devices)), problems=tuple(problems))


def _devices_in(folder: Path, problems: list[str]) -> Iterator[CdiDevice]:
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and not path.is_dir())
    except OSError:
        return
    for path in files:
        try:
            yield from read_spec(path)
        except SpecError as error:
            problems.append(f"{path} cannot be used: {error}")
        except OSError as error:
            problems.append(f"{path} cannot be read: {error.strerror}")
