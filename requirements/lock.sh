#!/bin/sh
# Locks every dependency with its hashes; run it after a change of pyproject.toml. Names no registry.
set -eu
cd "$(dirname "$0")/.."
lock="uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --python-version 3.11"
$lock pyproject.toml --group build --output-file requirements/demo.txt
$lock pyproject.toml --group build --group test --all-extras --output-file requirements/test.txt
$lock pyproject.toml --group build --group test --group check --all-extras --output-file requirements/check.txt
