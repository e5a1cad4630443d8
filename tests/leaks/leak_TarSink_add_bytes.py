from measure import check

from rootless_builder._layercore import TarSink

header, data = bytearray(512), bytearray(100_000)
sink, dead = TarSink(-1), TarSink(-1)
dead.finish()
check(lambda: sink.add_bytes(header, data), lambda: sink.add_bytes(header), lambda: sink.add_bytes(header, "text"),
      lambda: dead.add_bytes(header, data))
header.append(0)  # no buffer of them is held any more
data.append(0)
