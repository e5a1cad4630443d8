'''One line of comma-separated values, as the values of --mount and --device are: `a=1,"b=2,3",c=say ""hi""`.'''

import re

_PLAIN = re.compile(r'[^",]*')
_QUOTED = re.compile(r'"([^"]*(?:""[^"]*)*)"(?!")')


def read(line: str) -> list[str]:
    """The fields of `line`. Raises ValueError with the cause: empty, a quote in a plain field, one not closed."""
    line = re.sub(r"\r?\n\Z", "", line)
    if not line:
        raise ValueError("it is empty")
    fields, position = [], 0
    while True:
        quoted = line.startswith('"', position)
        match = (_QUOTED if quoted else _PLAIN).match(line, position)
        if match is None:
            raise ValueError("a double quote is not closed")
        fields.append(match[1].replace('""', '"') if quoted else match[0])
        position = match.end()
        if position == len(line):
            return fields
        if line[position] != ",":
            raise ValueError("a double quote stands where none may")
        position += 1
