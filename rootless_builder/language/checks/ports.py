"""EXPOSE: a port or a range of them, and a protocol."""

from collections.abc import Iterable, Iterator

from ..instructions import Expose
from .rules import Finding


def of_expose(this: Expose, words: Iterable[str]) -> Iterator[Finding]:
    """ExposeProtoCasing, ExposeInvalidFormat; `words` are the ports once expanded and split."""
    for word in words:
        host, _, port = word.rpartition(":")
        protocol = port.partition("/")[2]
        if protocol != protocol.lower():
            yield Finding(rule="ExposeProtoCasing", span=this.span,
                          detail=f"The protocol of '{word}' should be lower case")
        if host.strip(":"):
            yield Finding(rule="ExposeInvalidFormat", span=this.span,
                          detail=f"'{word}' has an address or a port of the host, which EXPOSE cannot set")
