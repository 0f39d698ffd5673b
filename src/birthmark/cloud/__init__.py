# SPDX-License-Identifier: Apache-2.0
"""Verification and onboarding of devices, telemetry and commands."""
