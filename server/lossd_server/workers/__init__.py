# SPDX-License-Identifier: Apache-2.0
"""`lossd serve --workers N`: processes that share a port.

The supervisor (supervisor.py) starts the workers, replaces those that die, forwards SIGTERM and serves their combined metrics. It
neither imports torch nor serves gRPC. A worker (worker.py) is a complete Server. A pair of sockets (channel.py) connects each worker
with the supervisor; when one process ends, the other sees the end of the stream.
"""
