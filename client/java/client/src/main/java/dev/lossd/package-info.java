// SPDX-License-Identifier: Apache-2.0

/** PyTorch's losses over gRPC. Begin with {@link dev.lossd.LossdClient}. */
package dev.lossd;
