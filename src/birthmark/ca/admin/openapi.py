# SPDX-License-Identifier: Apache-2.0
"""
The administration's OpenAPI 3.1 document, made of the table of its calls: what stands in the table is what is served.

Who may make a call stands beside it (`x-roles`); OpenAPI itself has no word for the roles of a client certificate.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

import msgspec

from birthmark.ca.admin.calls import AdminRoute
from birthmark.ca.admin.enrolment_http import ENROLMENT_PATH
from birthmark.ca.admin.ledger_types import ReadyView
from birthmark.ca.admin.rig_types import NewRig, RigCertificate
from birthmark.ca.admin.routes import ROUTES
from birthmark.ca.admin.types import Refusal

JSON: Final = "application/json"
OPENAPI_PATH: Final = "/v1/openapi.json"
HEALTH_PATH: Final = "/v1/health"
PATH_VALUE_MAX: Final = 128
_REF: Final = "#/components/schemas/{name}"
_IN_PATH: Final = re.compile(r"\{(\w+)\}")

_ANY: Final[Mapping[int, str]] = {
    400: "The query or the body is not what this call wants, or the TLS client's certificate cannot be read.",
    403: "The TLS client's certificate says no role, or one that may not do this. It is in the log.",
    404: "There is no such thing.",
    408: "The body did not arrive in time.",
    409: "It cannot be done as things stand.",
    413: "The body is larger than is read.",
    415: "The body is not JSON.",
    429: "Too many requests of this client were refused.",
    503: "The ledger or a key cannot be used now; the same request may be sent again.",
}


def document(table: Sequence[AdminRoute] = ROUTES) -> dict[str, Any]:
    """Return the document."""
    paths: dict[str, dict[str, Any]] = {}
    for row in table:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row)
    paths[HEALTH_PATH] = {"get": _open("ready", "Say whether a certificate could be issued now.", ReadyView, 503)}
    paths[ENROLMENT_PATH] = {"post": _enrolment()}
    paths[OPENAPI_PATH] = {"get": _open("openapi", "Return this document.", None)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "birthmark CA: administration",
            "version": version("birthmark"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Over mutual TLS. A method that a path does not have is answered with 405 and Allow.",
        },
        "security": [{"officer": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {
                "officer": {"type": "mutualTLS", "description": "A certificate under the operations CA, with a role."}
            },
            "schemas": _schemas(table),
        },
    }


def encoded() -> bytes:
    """Return the document as it is served and as it stands in docs/reference/openapi.json."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=2) + b"\n"


def statuses(row: AdminRoute) -> tuple[int, ...]:
    """Return every status of an answer to this call that is not 200."""
    found = {400, 403, 413, 429, 503}
    if _IN_PATH.search(row.path):
        found.add(404)
    if row.request is not None:
        found |= {404, 409, 415}
    return tuple(sorted(found))


def _operation(row: AdminRoute) -> dict[str, Any]:
    said: dict[str, Any] = {
        "operationId": f"{row.name}.{row.method.lower()}",
        "summary": row.response.__doc__ or "",
        "x-roles": sorted(role.value for role in row.roles),
        "parameters": [*_in_path(row.path), *_in_query(row.query)],
        "responses": {
            "200": _answer("Done.", row.response),
            **{str(status): _answer(_ANY[status], Refusal) for status in statuses(row)},
        },
    }
    if row.request is not None:
        content = {JSON: {"schema": {"$ref": _REF.format(name=row.request.__name__)}}}
        said["requestBody"] = {"required": True, "content": content}
    return said


def _open(name: str, summary: str, response: type[msgspec.Struct] | None, *refused: int) -> dict[str, Any]:
    """Return an operation that is for everybody, also without a certificate."""
    told = {"description": "Done.", "content": {JSON: {"schema": {"type": "object"}}}}
    return {
        "operationId": name,
        "summary": summary,
        "security": [],
        "responses": {
            "200": told if response is None else _answer("Done.", response),
            **{str(status): _answer(_ANY[status], Refusal) for status in refused},
        },
    }


def _enrolment() -> dict[str, Any]:
    """Return the operation of a rig that shows a ticket in place of a certificate."""
    refused = (400, 403, 408, 409, 413, 415, 429, 503)
    said = _open("rig.enrol.post", RigCertificate.__doc__ or "", RigCertificate, *refused)
    content = {JSON: {"schema": {"$ref": _REF.format(name=NewRig.__name__)}}}
    return {**said, "requestBody": {"required": True, "content": content}}


def _answer(description: str, kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {"description": description, "content": {JSON: {"schema": {"$ref": _REF.format(name=kind.__name__)}}}}


def _in_path(path: str) -> Iterator[dict[str, Any]]:
    for name in _IN_PATH.findall(path):
        schema = {"type": "string", "minLength": 1, "maxLength": PATH_VALUE_MAX}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _in_query(query: type[msgspec.Struct] | None) -> Iterator[dict[str, Any]]:
    if query is None:
        return
    (schema,) = _plain(msgspec.json.schema_components([query])[1].values())
    for name, described in schema["properties"].items():
        yield {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": described}


def _schemas(table: Sequence[AdminRoute]) -> dict[str, Any]:
    kinds: list[type[msgspec.Struct]] = [Refusal, ReadyView, NewRig, RigCertificate]
    for row in table:
        kinds += [kind for kind in (row.request, row.response) if kind is not None]
    _, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    return dict(sorted(zip(components, _plain(components.values()), strict=True)))


def _plain(schemas: Any) -> Iterator[Any]:
    """Yield JSON schemas whose patterns are said as JSON Schema says them (ECMA-262), not as Python does."""
    for schema in schemas:
        match schema:
            case dict():
                said = dict(zip(schema, _plain(schema.values()), strict=True))
                if isinstance(said.get("pattern"), str):
                    said["pattern"] = said["pattern"].replace(r"\A", "^").replace(r"\Z", "$")
                yield said
            case list():
                yield list(_plain(schema))
            case _:
                yield schema
