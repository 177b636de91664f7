# The commands of the project. Each one makes .venv first; after that this takes no time.
.PHONY: setup demo run check test proof bench docs

setup:  ## make .venv with everything that VLCP and its tests need
	@scripts/setup

demo: setup  ## two machines on a private Open vSwitch, plugged, addressed and pinged
	@.venv/bin/vlcp demo

run: setup  ## the controller for this machine's own Open vSwitch
	@.venv/bin/vlcp start

check: setup  ## lint, types and the quick tests: under a minute
	@scripts/check

test: setup  ## everything, real Open vSwitch included: what continuous integration runs
	@scripts/test

proof: setup  ## long random histories, many loops, then the benchmarks
	@PROOF=1 scripts/test
	@bench/run

bench: setup  ## the benchmarks
	@bench/run

docs: setup  ## the manual, in build/docs
	@scripts/docs
