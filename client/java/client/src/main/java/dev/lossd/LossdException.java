// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A call failed. {@link #code} says how:
 *
 * <ul>
 *   <li>INVALID_ARGUMENT: fix the arguments, which {@link #fieldViolations} names.
 *   <li>RESOURCE_EXHAUSTED: the request, its answer or its computation is above a limit of the
 *       server.
 *   <li>UNAVAILABLE: the server is overloaded, or none was reached. The same call may succeed
 *       later.
 *   <li>DEADLINE_EXCEEDED: the call's timeout passed before its answer came.
 *   <li>UNAUTHENTICATED, PERMISSION_DENIED: the token or the certificate is missing or wrong, or
 *       does not permit the call.
 *   <li>CANCELLED: the client was closed, or the thread was interrupted.
 *   <li>Others: the server failed, which is a bug of the server.
 * </ul>
 *
 * <p>The cause is the {@link StatusRuntimeException} of gRPC.
 */
public final class LossdException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /**
   * What the server said. `neverRetry` forbids retries of an error that would otherwise be retried.
   */
  record Details(
      String description,
      String reason,
      List<FieldViolation> fieldViolations,
      Duration retryAfter,
      boolean neverRetry,
      Map<String, String> metadata) {

    static Details of(String description, String reason) {
      return new Details(description, reason, List.of(), null, false, Map.of());
    }
  }

  private final transient Details details;

  /** The code of gRPC's status. */
  private final Status.Code code;

  /** Why, for programs. */
  private final String reason;

  LossdException(Details details, StatusRuntimeException cause) {
    super(
        details.description
            + " ["
            + (details.reason.isEmpty() ? cause.getStatus().getCode() : details.reason)
            + "]",
        cause);
    this.details = details;
    this.code = cause.getStatus().getCode();
    this.reason = details.reason;
  }

  /**
   * The code of gRPC's status.
   *
   * @return the code
   */
  public Status.Code code() {
    return code;
  }

  /**
   * Why, for programs, such as "SHAPE_MISMATCH".
   *
   * @return the reason; "" if no lossd server gave one, as when none was reached
   */
  public String reason() {
    return reason;
  }

  /**
   * Why, for people.
   *
   * @return the message without the reason
   */
  public String description() {
    return details().description;
  }

  /**
   * The arguments at fault.
   *
   * @return one violation for each
   */
  public List<FieldViolation> fieldViolations() {
    return details().fieldViolations;
  }

  /**
   * How long the server asks to wait before the same call.
   *
   * @return the time; empty if it does not say
   */
  public Optional<Duration> retryAfter() {
    return Optional.ofNullable(details().retryAfter);
  }

  /**
   * Whether the same call may succeed later. The client has already retried such a call until its
   * timeout, unless told not to.
   *
   * @return true if it may
   */
  public boolean isRetryable() {
    return code == Status.Code.UNAVAILABLE && !details().neverRetry;
  }

  /**
   * Further facts, such as limits.
   *
   * @return the metadata of {@code google.rpc.ErrorInfo}
   */
  public Map<String, String> metadata() {
    return details().metadata;
  }

  // Implementation details follow.

  /** The details. A deserialised exception has only its message, its code and its reason. */
  Details details() {
    return details == null ? Details.of(getMessage(), reason) : details;
  }

  StatusRuntimeException status() {
    return (StatusRuntimeException) getCause();
  }

  /**
   * The same error, thrown here: its stack trace is that of the thread that waited for the call.
   */
  LossdException here() {
    return new LossdException(details(), status());
  }

  /** The same error in other words. */
  LossdException with(String description, List<FieldViolation> violations) {
    Details old = details();
    var changed =
        new Details(
            description,
            old.reason,
            violations,
            old.retryAfter,
            old.neverRetry,
            new HashMap<>(old.metadata));
    return new LossdException(changed, status());
  }
}
