from measure import check

from rootless_builder._layercore import TarSink

check(lambda: TarSink(-1), lambda: TarSink("x"), lambda: TarSink(), lambda: TarSink(out_fd=1))
