# SPDX-License-Identifier: Apache-2.0
"""The request-coalescing queue: which calls are computed together, and when.

coalescer.py decides and imports nothing of lossd; dispatcher.py gives it a clock, a device and those who wait.
May import compute and losses.
"""
