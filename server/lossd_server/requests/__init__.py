# SPDX-License-Identifier: Apache-2.0
"""Encoded requests become validated Calls. A request like an earlier one is recognised and not parsed again.

reader.py is the way in. May import losses, and neither queue nor compute.
"""
