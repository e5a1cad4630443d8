"""Progress for programs: one JSON object a line."""

import json
import threading
import time
from typing import TextIO

from ..events import Event
from ..values import asdict


class RawJson:
    """Bytes are base64, as in BuildKit's rawjson; times are seconds since the epoch."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        from binascii import b2a_base64

        fields = {name: b2a_base64(value, newline=False).decode() if isinstance(value, bytes) else value
                  for name, value in asdict(event).items()}
        line = json.dumps({"event": type(event).__name__, "time": round(time.time(), 3), **fields})
        with self._lock:
            self._out.write(line + "\n")
            self._out.flush()
