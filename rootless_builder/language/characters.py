"""Spaces, letter case and bad bytes as BuildKit sees them.

BuildKit reads bytes and calls Go's unicode tables. Python's str.isspace, lower and strip differ from these in
a handful of characters (U+001C to U+001F, U+0130), so the language never calls those on its input.

Undecodable bytes are lone surrogates here (surrogateescape), one for each byte, as Go sees one U+FFFD each.
"""

import re

# unicode.IsSpace; SPACES_LATIN1 are those a loop over single bytes finds.
SPACES_LATIN1 = "\t\n\v\f\r \x85\xa0"
SPACES = SPACES_LATIN1 + "\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"

_ASCII_SPACES = b"\t\n\v\f\r "
_SURROGATE = re.compile("[\ud800-\udfff]")
_LINE_SPACE = re.compile("[\t\v\f\r ]+")


def decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def strip(text: str) -> str:
    return text.strip(SPACES)


def strip_left(line: bytes) -> bytes:
    """`line` without leading spaces, those beyond ASCII included."""
    line = line.lstrip(_ASCII_SPACES)
    if line and line[0] >= 0x80:
        return encode(decode(line).lstrip(SPACES))
    return line


def split_spaces(text: str, maxsplit: int = 0) -> list[str]:
    """Split at runs of blanks of one line; unlike str.split, empty ends stay and U+0085, U+00A0 do not count."""
    return _LINE_SPACE.split(text, maxsplit)


def lower(text: str) -> str:
    """Character by character: one comes in, one goes out."""
    return text.lower() if text.isascii() else "".join("i" if c == "\u0130" else c.lower() for c in text)


def printable(text: str) -> str:
    """`text` as text: every byte that was not UTF-8 becomes U+FFFD."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
