# SPDX-License-Identifier: Apache-2.0
"""What tests/chaos.py is made of: hostile messages and callers, honest ones, the server that they meet, and the verdict."""
