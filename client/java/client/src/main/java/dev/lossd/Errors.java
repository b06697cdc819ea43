// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.lossd.LossdException.Details;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/** The exceptions for failed RPCs, for errors in messages, and for errors of the client itself. */
final class Errors {
  private static final Metadata.Key<String> PUSHBACK =
      Metadata.Key.of("grpc-retry-pushback-ms", Metadata.ASCII_STRING_MARSHALLER);

  /**
   * A symptom in the messages of a failed connection, its likely cause and what to do, and whether
   * another attempt would fail again.
   */
  private record Cure(String symptom, String text, boolean lasting) {}

  private static final String CLOSED =
      "the connection was closed: the server stopped, or it uses TLS and this client does not (see"
          + " tls()), or it requires a client certificate (see clientCertificate())";

  private static final List<Cure> CURES =
      List.of(
          new Cure(
              "not an SSL/TLS record",
              "the server does not use TLS: omit tls(), or connect to its TLS port",
              true),
          new Cure(
              "unable to find valid certification path",
              "the server's certificate is not signed by an authority that this client trusts:"
                  + " pass the authority's certificate to trustCertificates()",
              true),
          new Cure("No subject alternative", "the server's certificate is for another host", true),
          new Cure("No name matching", "the server's certificate is for another host", true),
          new Cure(
              "SSLHandshake",
              "the server's certificate may be for another host, or the server may require a client"
                  + " certificate",
              true),
          new Cure(
              "Connection refused",
              "nothing listens at this address: check it, and check that the server has started",
              false),
          new Cure(
              "Unable to resolve host",
              "there is no such host: check the address, host:port",
              false),
          new Cure("Network closed for unknown reason", CLOSED, false),
          new Cure("Connection reset", CLOSED, false));

  private Errors() {}

  /** The exception for the status of a failed RPC. */
  static LossdException of(Status status, Metadata trailers) {
    var proto = StatusProto.fromStatusAndTrailers(status, trailers);
    String reason = "";
    Map<String, String> metadata = Map.of();
    List<FieldViolation> violations = List.of();
    Duration retryAfter = null;
    try {
      for (Any detail : proto.getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          var info = detail.unpack(ErrorInfo.class);
          reason = info.getReason();
          metadata = Map.copyOf(info.getMetadataMap());
        } else if (detail.is(BadRequest.class)) {
          violations =
              detail.unpack(BadRequest.class).getFieldViolationsList().stream()
                  .map(
                      violation ->
                          new FieldViolation(violation.getField(), violation.getDescription()))
                  .toList();
        } else if (detail.is(RetryInfo.class)) {
          var delay = detail.unpack(RetryInfo.class).getRetryDelay();
          retryAfter = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
        }
      }
    } catch (InvalidProtocolBufferException unreadable) {
      // The status holds without its details.
    }
    String description =
        proto.getMessage().isEmpty() ? status.getCode().name() : proto.getMessage();
    boolean never = false;
    String pushback = trailers.get(PUSHBACK);
    if (retryAfter == null && pushback != null) {
      never =
          !pushback.matches(
              "\\d{1,12}"); // as gRPC defines it: anything but a number of milliseconds means no
      // retry
      retryAfter = never ? null : Duration.ofMillis(Long.parseLong(pushback));
    }
    if (reason.isEmpty() && status.getCode() == Status.Code.UNAVAILABLE) {
      String symptoms = description + causes(status.getCause());
      description = symptoms;
      for (Cure cure : CURES) {
        if (symptoms.contains(cure.symptom)) {
          description = symptoms + "; " + cure.text;
          never |= cure.lasting;
          break;
        }
      }
    }
    return new LossdException(
        new Details(description, reason, violations, retryAfter, never, metadata),
        status.asRuntimeException(trailers));
  }

  /** The exception for one call of many in a message. */
  static LossdException of(dev.lossd.v1.Error error) {
    var violations =
        error.getFieldViolationsList().stream()
            .map(violation -> new FieldViolation(violation.getField(), violation.getDescription()))
            .toList();
    Duration retryAfter =
        error.hasRetryAfterSeconds()
            ? Duration.ofNanos((long) Math.min(1e18, error.getRetryAfterSeconds() * 1e9))
            : null;
    var details =
        new Details(
            error.getMessage(),
            error.getReason(),
            violations,
            retryAfter,
            false,
            Map.copyOf(error.getMetadataMap()));
    return new LossdException(
        details,
        Status.fromCodeValue(error.getCode())
            .withDescription(error.getMessage())
            .asRuntimeException());
  }

  /** An error of the client itself. */
  static LossdException of(Status.Code code, String description, String reason) {
    return of(code, Details.of(description, reason));
  }

  static LossdException of(Status.Code code, Details details) {
    return new LossdException(
        details, code.toStatus().withDescription(details.description()).asRuntimeException());
  }

  /** The error of a wrong shape, as the server words it. */
  static LossdException misfit(String field, String description) {
    var violations = List.of(new FieldViolation(field, description));
    return of(
        Status.Code.INVALID_ARGUMENT,
        new Details(
            field + ": " + description, "SHAPE_MISMATCH", violations, null, false, Map.of()));
  }

  static LossdException closed() {
    return of(Status.Code.CANCELLED, "the client is closed", "");
  }

  static LossdException interrupted() {
    return of(Status.Code.CANCELLED, "the thread was interrupted", "");
  }

  static LossdException deadline(String description) {
    return of(Status.Code.DEADLINE_EXCEEDED, description, "");
  }

  private static String causes(Throwable cause) {
    var text = new StringBuilder();
    int depth = 0;
    for (Throwable each = cause; each != null && depth < 5; each = each.getCause(), depth++) {
      text.append(": ")
          .append(each.getClass().getSimpleName())
          .append(": ")
          .append(each.getMessage());
    }
    return text.toString();
  }
}
