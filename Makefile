.PHONY: demo test campaign check bench
V = .venv/bin

demo: .venv/demo.ok
	$V/birthmark demo

test: .venv/test.ok
	./requirements/debian.sh
	$V/python -m pytest --numprocesses 2 --dist loadfile

# The tests that kill workers, databases and HSMs, in their long series.
campaign: .venv/test.ok
	./requirements/debian.sh
	BIRTHMARK_CAMPAIGN=1 $V/python -m pytest tests/acceptance -k "killed or two_workers"

check: .venv/check.ok
	$V/ruff check src tests bench tools
	$V/ruff format --check src tests bench tools
	$V/mypy
	$V/lint-imports

bench: .venv/test.ok
	./requirements/debian.sh
	$V/python bench/run.py

# One environment; each stamp says which locked set it holds. The larger sets contain the smaller ones.
.venv/%.ok: requirements/%.txt pyproject.toml
	test -x $V/python || python3 -m venv .venv
	if [ $* != demo ]; then ./requirements/debian.sh; fi
	$V/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/$*.txt
	$V/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $@
