# SPDX-License-Identifier: Apache-2.0
"""Calls become Answers: concatenated, computed by one kernel on one device, reduced for each call by itself.

The answer to a call is the same to the bit, alone or merged with any other calls, on any supported Python and numpy, and with any
number of intra-op threads, as long as PyTorch's build and the type of the CPU or GPU are the same. Only the two losses that include
their output layer also depend on the number of threads, because a matrix product does; they are never merged.

device.py owns the threads; batch.py computes a batch. May import losses.
"""
