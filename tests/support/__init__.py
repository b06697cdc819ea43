# SPDX-License-Identifier: Apache-2.0
"""What several test modules use: servers, clients and peers under the control of a test."""
