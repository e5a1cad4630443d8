from measure import check

from rootless_builder._fakeroot import probe

check(lambda: probe(), lambda: probe(1))  # type: ignore[call-arg]
