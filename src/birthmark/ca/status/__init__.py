# SPDX-License-Identifier: Apache-2.0
"""Lists, OCSP and the feed: what relying parties are told of ended certificates."""
