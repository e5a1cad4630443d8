"""Images from registries into the store."""

from typing import TYPE_CHECKING

from ..config import Settings
from ..events import Emit
from ..oci.platform import Platform
from ..oci.reference import Reference
from ..store.images import Image
from ..store.store import Store

if TYPE_CHECKING:
    from ..registry.client import RegistryClient


class Puller:
    """Fetches images into the store, under their names. The registry's code is imported at the first call."""

    def __init__(self, store: Store, settings: Settings, emit: Emit) -> None:
        self._store = store
        self._settings = settings
        self._emit = emit
        self._clients: list[RegistryClient] = []

    def __call__(self, wanted: Reference, platform: Platform | None) -> Image:
        """platform None: this machine's, and where the registry has the image for another one only, that, with a
        notice."""
        from ..registry.client import RegistryClient
        from ..registry.transfer import pull as transfer

        self._store.layout.seen.elsewhere()
        with RegistryClient.of(self._settings, self._emit) as client:
            self._clients.append(client)
            return transfer(wanted, self._store, platform=platform, client=client, emit=self._emit,
                            jobs=self._settings.jobs)

    def cancel(self) -> None:
        """Ends what goes on in other threads: they meet a RegistryError."""
        for client in self._clients:
            client.cancel()
