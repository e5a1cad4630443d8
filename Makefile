# What one types here. Each target is one command of the tools; HACKING.md says which to use when.

PYTHON ?= python3
# The man pages carry the date of the release they belong to, never that of the day they were made.
RELEASED = $(shell sed -n 's/^\#\# [^ ]* (\([0-9-]*\))$$/\1/p' CHANGELOG.md | head -n 1)

.PHONY: test soak bench bench-quick lint man wheel

test:  ## every test; as root on a Debian machine, since it makes the plain users the tests run as
	tests/run

soak:  ## what takes hours, and its figures at the end; PART=kill (fill, crowd, fuzz, fakeroot, sanitized, …) for one part
	$(PYTHON) tests/soak.py $(PART)

# BENCH='--buildkit FOLDER --base TAR': a BuildKit that is not docker's; a Debian that need not be made anew.
bench:  ## iechor, the other builders and the machine itself, side by side; as root; takes more than an hour
	$(PYTHON) -m bench $(BENCH)

bench-quick:  ## the same in 25 minutes: iechor and the floors at full size, peers at a tenth (W3: all at full size)
	$(PYTHON) -m bench $(BENCH) --contenders iechor --only cached,true,small,commit,stages,save,pull,touch
	$(PYTHON) -m bench $(BENCH) --append --only big --patience 5
	$(PYTHON) -m bench $(BENCH) --append --scale 0.1 --patience 6 \
		--only cached,true,small,commit,packages,stages,save,pull,touch

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

man:
	COLUMNS=80 SOURCE_DATE_EPOCH=$$(date -u -d "$(RELEASED)" +%s) $(PYTHON) setup.py -q build_manpages

wheel:  ## one abi3 wheel for CPython 3.11 and later; HACKING.md has the manylinux one
	IECHOR_REQUIRE_NATIVE=1 $(PYTHON) -m build --wheel
