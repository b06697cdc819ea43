# SPDX-License-Identifier: Apache-2.0
"""Golden vectors: requests and the server's answers, which the test suites of all clients share. See README.md."""
