"""Text from a build step, an image or a registry, made harmless for the terminal that shows it.

A step may print anything: sequences that move the cursor over what we said, set the title, or make the terminal
type into the user's shell. Colours and cursor moves are dropped, other control characters are shown, never sent.
"""

def clean(text: str) -> str:
    """`text` without anything a terminal obeys but newline and tab."""
    if text.isascii() and text.isprintable():
        return text
    from .sequences import harmless  # most text needs none of the patterns

    return harmless(text)


class Lines:
    """Bytes of a step, in any portions → clean lines. What a "\\r" overwrites is not shown, as on a terminal."""

    LONGEST = 64 * 1024  # bytes held back while waiting for a newline

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> list[str]:
        *whole, self._held = (self._held + data).split(b"\n")
        if len(self._held) > self.LONGEST:
            whole.append(self._held)
            self._held = b""
        return [self._line(line) for line in whole]

    def rest(self) -> list[str]:
        """What came without a newline at the end."""
        held, self._held = self._held, b""
        return [self._line(held)] if held else []

    @staticmethod
    def _line(line: bytes) -> str:
        return clean(line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace"))
