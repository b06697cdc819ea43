# SPDX-License-Identifier: Apache-2.0
"""gRPC over http2/: requests to Service and EvaluationService, and their answers and errors back.

head.py        a request's headers
status.py      a CallError as a gRPC status
rpc.py         what every RPC has
unary.py       one message in, one out
streaming.py   messages in, messages out
front.py       the methods, and unary calls that arrive together
listener.py    sockets, TLS, drain
"""
