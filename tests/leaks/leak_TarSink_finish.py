import os

from measure import check

from rootless_builder._layercore import TarSink

full = os.open("/dev/full", os.O_WRONLY)


def twice() -> None:
    sink = TarSink(-1)
    sink.finish()
    sink.finish()


check(lambda: TarSink(-1).finish(), lambda: TarSink(full).finish(), twice)
