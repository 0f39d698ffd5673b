# SPDX-License-Identifier: Apache-2.0
"""IPC-CFX (IPC-2591): what the line tells the factory, and what it asks before work begins, over AMQP 1.0."""
