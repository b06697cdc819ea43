# SPDX-License-Identifier: Apache-2.0
"""Calls become Answers: concatenated, computed by one kernel on one device, reduced for each call by itself.

The same call has the same bytes: alone or merged with any neighbours, on any supported Python and numpy, and with any number of
intra-op threads, as long as PyTorch's build and the type of the CPU or GPU are the same. Only the two losses that hold their output
layer depend on the number of threads too, since a matrix product does; they are never merged.

device.py owns the threads, batch.py is the way of a batch. May import losses.
"""
