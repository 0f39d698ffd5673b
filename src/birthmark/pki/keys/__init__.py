# SPDX-License-Identifier: Apache-2.0
"""Signing keys as pyca private keys, whatever holds them."""
