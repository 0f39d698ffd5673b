# SPDX-License-Identifier: Apache-2.0
"""Mutual-TLS contexts, the HTTP transport and the ASGI glue. No protocol knowledge."""
