"""Paths and patterns as Go's path/filepath has them on Unix: `clean`, and the syntax check behind `Match`."""


class BadPattern(ValueError):
    """A pattern that cannot be read; the text says why."""


def clean(path: str) -> str:
    """The shortest equal path, by its letters alone: "a//b/../c/." → "a/c"; "" → "."."""
    rooted = path.startswith("/")
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part == ".." and rooted or part in ("", "."):
            continue
        else:
            parts.append(part)
    return ("/" if rooted else "") + "/".join(parts) or ("/" if rooted else ".")


def match(pattern: str, name: str) -> bool:
    r"""Whether `name` matches all of `pattern`: `*`, `?`, `[a-z]`, `[^a]`, `\x`. None but `/` itself matches "/".

    Raises BadPattern, but only when the faulty part is reached: a mismatch before it hides the fault, as in Go.
    """
    while pattern:
        star, chunk, pattern = _next_chunk(pattern)
        if star and not chunk:
            return "/" not in name
        places = [0]
        if star:
            places += range(1, len(name.partition("/")[0]) + 1)
        for place in places:
            rest = _match_chunk(chunk, name[place:])
            if rest is not None and (not rest or pattern):
                name = rest
                break
        else:
            return False
    return not name


def _next_chunk(pattern: str) -> tuple[bool, str, str]:
    """Leading stars, then everything up to the next star outside brackets, then the rest."""
    bare = pattern.lstrip("*")
    position, bracket = 0, False
    while position < len(bare):
        char = bare[position]
        if char == "*" and not bracket:
            break
        if char == "\\":
            position += 1
        elif char in "[]":
            bracket = char == "["
        position += 1
    position = min(position, len(bare))
    return bare != pattern, bare[:position], bare[position:]


def _match_chunk(chunk: str, name: str) -> str | None:
    """What is left of `name` behind `chunk`, None when it does not match; the whole chunk is checked in any case."""
    matched = True
    while chunk:
        char, name = name[:1], name[1:]
        if chunk[0] == "[":
            inside, chunk = _match_bracket(chunk[1:], char)
            matched = matched and bool(char) and inside
            continue
        if chunk[0] == "?":
            matched = matched and char not in ("", "/")
        else:
            if chunk[0] == "\\":
                chunk = chunk[1:]
                if not chunk:
                    raise BadPattern("it ends in a backslash")
            matched = matched and char == chunk[0]
        chunk = chunk[1:]
    return name if matched else None


def _match_bracket(text: str, char: str) -> tuple[bool, str]:
    """Whether `char` is in the class that `text` (without its "[") begins with, and what is behind the class."""
    negated = text.startswith("^")
    text = text[negated:]
    found = False
    first = True
    while first or not text.startswith("]"):
        low, text = _bracket_char(text)
        high = low
        if text[0] == "-":
            high, text = _bracket_char(text[1:])
        found = found or low <= char <= high
        first = False
    return found != negated, text[1:]


def _bracket_char(text: str) -> tuple[str, str]:
    escaped = text.startswith("\\")
    if not escaped and text[:1] in ("", "-", "]"):
        raise BadPattern("there is a character missing between its brackets")
    char, rest = text[escaped: escaped + 1], text[escaped + 1:]
    if not rest or "\ud800" <= char <= "\udfff":
        raise BadPattern("its bracket is not closed")
    return char, rest
