# SPDX-License-Identifier: Apache-2.0
"""The request-coalescing queue: which calls are computed together, and when.

coalescer.py decides, and imports nothing of lossd; dispatcher.py connects it to a clock, a device and the callers.
May import compute and losses.
"""
