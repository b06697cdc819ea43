# SPDX-License-Identifier: Apache-2.0
"""`lossd serve --workers N`: processes that share a port.

The supervisor (supervisor.py) starts them, replaces those that die, passes SIGTERM on and serves their metrics as one. It neither
imports torch nor speaks gRPC. A worker (worker.py) is a whole Server of its own. Between each and the supervisor there is one pair of
sockets (channel.py), whose end tells either that the other is gone.
"""
