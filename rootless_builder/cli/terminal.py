"""Text from a build step, an image or a registry, made harmless for the terminal that shows it.

A step may print anything: sequences that move the cursor over what we said, set the title, or make the terminal
type into the user's shell. Colours and cursor moves are dropped, other control characters are shown, never sent.
"""

import re

# ECMA-48: CSI, then OSC, DCS, SOS, PM, APC up to BEL or ST, then two-byte escapes; with ESC or its 8-bit twin.
_SEQUENCE = re.compile("(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]?"
                       "|(?:\x1b[\\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?"
                       "|\x1b[ -/]*[0-~]?")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Bidirectional overrides and isolates make a line read as another than it is.
_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """`text` without anything a terminal obeys but newline and tab."""
    if text.isascii() and text.isprintable():
        return text
    text = _SEQUENCE.sub("", text)
    text = _CONTROL.sub(lambda found: f"^{chr((ord(found[0]) ^ 0x40) & 0x7f)}", text)
    text = _DIRECTION.sub("", text)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # lone surrogates: names that are not UTF-8


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
