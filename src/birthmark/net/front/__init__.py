# SPDX-License-Identifier: Apache-2.0
"""
Envoy as the TLS front of a service: it ends mutual TLS and hands each request to one of several workers.

description   what is wanted: addresses, files, limits
envoy         the same in Envoy's words, and how its program is found
supervisor    starts Envoy and the workers, watches them, ends them in good order
worker        the HTTP server of one worker, on a Unix socket that nobody but the front can open
identity      the header in which Envoy says who the TLS client is
"""
