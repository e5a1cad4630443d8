"""What a terminal obeys, found in text that is to be shown on one (terminal.py)."""

import re

# ECMA-48: CSI, then OSC, DCS, SOS, PM, APC up to BEL or ST, then two-byte escapes; with ESC or its 8-bit twin.
_SEQUENCE = re.compile("(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]?"
                       "|(?:\x1b[\\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?"
                       "|\x1b[ -/]*[0-~]?")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Bidirectional overrides and isolates make a line read as another than it is.
_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    text = _SEQUENCE.sub("", text)
    text = _CONTROL.sub(lambda found: f"^{chr((ord(found[0]) ^ 0x40) & 0x7f)}", text)
    text = _DIRECTION.sub("", text)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # lone surrogates: names that are not UTF-8
