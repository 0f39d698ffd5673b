# SPDX-License-Identifier: Apache-2.0
"""TPM 2.0 as a secure element, through tpm2-pytss (optional extra `tpm`). Only bytes leave this folder."""
