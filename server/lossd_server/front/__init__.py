# SPDX-License-Identifier: Apache-2.0
"""Identifies callers, and serves gRPC over http2/: passes requests to service/, and sends its answers and errors.

listener.py, tls.py, tokens.py, callers.py, reloading.py   sockets, TLS, and the identity of callers
router.py                                                  the methods; scores calls together if they arrive in one turn of the loop
request_headers.py, status.py                              a request's headers; a CallError as a gRPC status
rpc.py, unary.py, streaming.py                             the common part of RPCs; one message each way; streams of messages
grpc_health.py, reflection.py                              grpc.health.v1 and grpc.reflection
May import http2 and service.
"""
