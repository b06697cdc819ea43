# SPDX-License-Identifier: Apache-2.0
"""Encoded requests become validated Calls. A request with the structure of an earlier one is not parsed again.

reader.py is the entry point. May import losses, but neither queue nor compute.
"""
