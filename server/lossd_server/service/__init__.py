# SPDX-License-Identifier: Apache-2.0
"""Bytes in, bytes out: what each RPC does, knowing neither gRPC nor HTTP.

scoring.py reads, computes or queues, and answers, for all RPCs; the other modules are the RPCs that carry many calls.
May import requests, queue, compute and losses.
"""
