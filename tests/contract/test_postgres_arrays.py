# SPDX-License-Identifier: Apache-2.0
"""What our arrays say to PostgreSQL, told by PostgreSQL itself."""

from collections.abc import Iterator

import psycopg
import pytest

from birthmark.stores.postgres_arrays import array_of, register
from support.postgres import postgresql


@pytest.fixture(scope="module")
def connection() -> Iterator[psycopg.Connection]:
    with postgresql() as cluster, psycopg.connect(cluster.new_database()) as connection:
        register(connection)
        yield connection


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", ["a", "", "ä€", "{,}", '"\\', "NULL", None, "x" * 70_000]),
        ("bytea", [b"", b"\x00\xff", None, b"\\x00", bytes(70_000)]),
        ("bigint", [0, -1, 2**63 - 1, -(2**63), None]),
        ("text", []),
        ("bytea", []),
        ("bigint", []),
        ("text", [None]),
    ],
)
def test_a_column_arrives_as_it_was(
    connection: psycopg.Connection, kind: str, values: list[str | bytes | int | None]
) -> None:
    row = connection.execute("SELECT %b, pg_typeof(%b)::text", [array_of(kind, values)] * 2, binary=True).fetchone()
    assert row == (values, f"{kind}[]")


def test_a_text_is_among_the_texts_of_a_column(connection: psycopg.Connection) -> None:
    texts = array_of("text", ["one", "two"])
    assert connection.execute("SELECT 'two' = ANY(%b), 'tw' = ANY(%b)", [texts, texts]).fetchone() == (True, False)
