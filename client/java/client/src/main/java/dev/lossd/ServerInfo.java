// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import dev.lossd.v1.GetServerInfoResponse;
import java.util.List;

/**
 * What a server is and what it accepts.
 *
 * @param serverVersion the version of lossd
 * @param torchVersion the version of torch
 * @param devices as torch names them: "cpu", "cuda:0"
 * @param losses the names of the RPCs, such as "CrossEntropyLoss"
 * @param maxRequestBytes the largest request message, in bytes
 * @param maxResponseBytes the largest response message, in bytes
 * @param maxWorkspaceBytes the largest working memory that one request may ask for, in bytes
 * @param maxOperations the most multiply-adds, or what takes as long, that one request may ask for
 */
public record ServerInfo(
    String serverVersion,
    String torchVersion,
    List<String> devices,
    List<String> losses,
    long maxRequestBytes,
    long maxResponseBytes,
    long maxWorkspaceBytes,
    long maxOperations) {

  static ServerInfo of(GetServerInfoResponse proto) {
    return new ServerInfo(
        proto.getServerVersion(),
        proto.getTorchVersion(),
        List.copyOf(proto.getDevicesList()),
        List.copyOf(proto.getLossesList()),
        proto.getMaxRequestBytes(),
        proto.getMaxResponseBytes(),
        proto.getMaxWorkspaceBytes(),
        proto.getMaxOperations());
  }
}
