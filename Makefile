.PHONY: demo test campaign check bench
V = .venv/bin

demo: .venv/demo.ok
	$V/birthmark demo

test: .venv/test.ok
	./requirements/debian.sh
	$V/python -m pytest --numprocesses 3 --dist loadfile

# The long series of tests, and their report in docs/reports. SEED=7 takes another course of chance.
campaign: .venv/test.ok
	./requirements/debian.sh
	$V/python tools/campaign.py $(if $(SEED),--seed $(SEED))

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
