# SPDX-License-Identifier: Apache-2.0
"""Who may do what: roles in certificates, and acts that need two persons."""
