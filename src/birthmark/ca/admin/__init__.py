# SPDX-License-Identifier: Apache-2.0
"""Administration: the calls over HTTP, their client, and the work on the CA's own machine."""
