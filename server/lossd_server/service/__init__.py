# SPDX-License-Identifier: Apache-2.0
"""What each RPC does, from bytes to bytes, independent of gRPC and HTTP.

scoring.py reads, computes or queues, and answers, for all RPCs; the other modules are the RPCs that carry many calls.
May import requests, queue, compute and losses.
"""
