# SPDX-License-Identifier: Apache-2.0
"""lossd: PyTorch losses over gRPC."""
