# SPDX-License-Identifier: Apache-2.0
"""Calls become Answers: concatenated, computed by one kernel on one device, reduced for each call by itself.

device.py owns the threads, batch.py is the way of a batch. May import losses.
"""
