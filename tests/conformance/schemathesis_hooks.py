# SPDX-License-Identifier: Apache-2.0
"""
What Schemathesis is told of numbers in bodies.

JSON Schema takes 2.0 for an integer. The CA does not: a number has one form. No schema can say so; a body that is made
of the schema is therefore written in that form before it is sent.
"""

from typing import Any

import schemathesis


@schemathesis.hook
def map_body(_context: schemathesis.HookContext, body: Any) -> Any:
    """Return the body with whole numbers written as integers."""
    return _whole(body)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    if isinstance(value, list):
        return list(map(_whole, value))
    return int(value) if isinstance(value, float) and value.is_integer() else value
