# SPDX-License-Identifier: Apache-2.0
"""Appraisal policy as reviewed data: the file's structure, and one module per kind of data in it."""
