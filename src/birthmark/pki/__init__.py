# SPDX-License-Identifier: Apache-2.0
"""Names, extensions, certificate profiles, path validation and keys."""
