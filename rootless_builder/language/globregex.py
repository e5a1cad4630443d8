"""Patterns of nothing but `*`, `?`, `**/` and letters, as regular expressions that never try twice what cannot help.

    *X*      (?>[^/]*?X)[^/]*           the first X is as good as any later one in this part of the path: what lies
                                        between the two, the second star takes
    **/X**/  (?>(?:.*?/)??X)(?:.*/)?    likewise, where X is whole parts of a path

Written naively, `*a*a*a*a*b` takes time that grows with the length of the path to the power of its stars.
"""

import re

_PLAIN = re.compile(r"(?:/\*\*/|\A\*\*/|\*(?!\*)|[^*\\\[\]|{}^])+")
_TOKEN = re.compile(r"\*\*/|\*|[^*]+")


def translate(pattern: str) -> str | None:
    """The expression for a path without line ends, the caller anchors it; None when `pattern` has other signs."""
    if _PLAIN.fullmatch(pattern) is None or "\ufeff" in pattern:  # moby reads that as the sign of a file's beginning
        return None
    tokens = _TOKEN.findall(pattern)
    out: list[str] = []
    chunk: list[str] = []  # since the last "**/"
    for index, token in enumerate(tokens):
        if token == "**/":
            out.append("".join(chunk))
            chunk = []
        elif token != "*":
            starred = index and tokens[index - 1] == "*"
            more = index + 1 < len(tokens) and tokens[index + 1] == "*"
            letters = "".join("[^/]" if char == "?" else re.escape(char) for char in token)
            chunk.append(f"(?>[^/]*?{letters})" if starred and more else f"[^/]*{letters}" if starred else letters)
        elif index + 1 == len(tokens) or tokens[index + 1] == "**/":
            chunk.append("[^/]*")
    out.append("".join(chunk))
    inner = [f"(?>(?:.*?/)??{part})" for part in out[1:-1]]
    return "".join([out[0], *inner, *([f"(?:.*/)?{out[-1]}"] if len(out) > 1 else [])])
