# SPDX-License-Identifier: Apache-2.0
"""From a request that met the first demands to its certificate."""
