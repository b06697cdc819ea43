# SPDX-License-Identifier: Apache-2.0
"""Who may come in, and gRPC over http2/: requests to service/, their answers and errors back.

listener.py, tls.py, tokens.py, callers.py, reloading.py   sockets, TLS, and who a caller is
router.py                                                  the methods; what arrives in one turn of the loop goes on together
request_headers.py, status.py                              a request's headers; a CallError as a gRPC status
rpc.py, unary.py, streaming.py                             what every RPC has; one message in, one out; streams of messages
grpc_health.py, reflection.py                              grpc.health.v1 and grpc.reflection
May import http2 and service.
"""
