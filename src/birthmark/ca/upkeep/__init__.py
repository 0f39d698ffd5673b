# SPDX-License-Identifier: Apache-2.0
"""What whoever runs the authority does beside it: copies of the ledger, and a look at its health."""
