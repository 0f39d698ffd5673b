# SPDX-License-Identifier: Apache-2.0
"""Rigs get their certificates from the CA: by a ticket of two persons the first time, by the present one afterwards."""
