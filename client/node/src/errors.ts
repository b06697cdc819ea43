// SPDX-License-Identifier: Apache-2.0

import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { status, type Metadata, type ServiceError } from "@grpc/grpc-js";

import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "./gen/google/rpc/status_pb.js";
import type { Error as ErrorMessage } from "./gen/lossd/v1/evaluation_service_pb.js";

/** The name of a gRPC status code, such as `"INVALID_ARGUMENT"`. */
export type Code = keyof typeof status;

/** What is wrong with one argument. */
export interface FieldViolation {
  /** The argument's name, or a path that begins with it. */
  readonly field: string;
  /** What is wrong with it. */
  readonly description: string;
}

/** An error as the server described it, in a status or in a message. */
export interface ErrorDetails {
  readonly code: Code;
  readonly message: string;
  readonly reason?: string;
  readonly fieldViolations?: readonly FieldViolation[];
  readonly retryAfterSeconds?: number | undefined;
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * A call failed. What to do depends on `code`:
 *
 * - `INVALID_ARGUMENT`: change the arguments; `fieldViolations` names them.
 * - `RESOURCE_EXHAUSTED`: split the batch; it is above a limit of the server, which `metadata` holds.
 * - `UNAVAILABLE`: with a `reason`, the server is full or shuts down; without one, no server was reached.
 * - `DEADLINE_EXCEEDED`: allow more time.
 * - `UNAUTHENTICATED`, `PERMISSION_DENIED`: check the token or the certificate.
 * - `CANCELLED`: the client was closed.
 * - all others: the server failed, which is a bug of the server.
 */
export class LossdError extends Error {
  override readonly name = "LossdError";
  /** The gRPC status. */
  readonly code: Code;
  /** Why, such as `"SHAPE_MISMATCH"`; empty if the server gave no reason. */
  readonly reason: string;
  /** The arguments at fault. */
  readonly fieldViolations: readonly FieldViolation[];
  /** How many seconds the server asks to wait before a retry: Infinity if it asks for none, undefined if it does not say. */
  readonly retryAfterSeconds: number | undefined;
  /** Facts such as limits and estimates. */
  readonly metadata: Readonly<Record<string, string>>;

  constructor(details: ErrorDetails, options?: ErrorOptions) {
    super(details.message, options);
    this.code = details.code;
    this.reason = details.reason ?? "";
    this.fieldViolations = details.fieldViolations ?? [];
    this.retryAfterSeconds = details.retryAfterSeconds;
    this.metadata = details.metadata ?? {};
  }
}

/** The same error in other words. @internal */
export function reworded(error: LossdError, message: string, fieldViolations = error.fieldViolations): LossdError {
  const { code, reason, retryAfterSeconds, metadata } = error;
  return new LossdError({ code, message, reason, fieldViolations, retryAfterSeconds, metadata }, { cause: error.cause });
}

/** The error of calls in flight when their client is closed, and of calls of a closed client. @internal */
export function closedError(): LossdError {
  return new LossdError({ code: "CANCELLED", message: "the client is closed" });
}

/** @internal */
export function deadlineError(): LossdError {
  return new LossdError({ code: "DEADLINE_EXCEEDED", message: "no answer within the call's timeout" });
}

/** @internal */
export function isTooLarge(error: unknown): error is LossdError {
  return error instanceof LossdError && error.code === "RESOURCE_EXHAUSTED";
}

/** @internal */
export function isInvalid(error: unknown): error is LossdError {
  return error instanceof LossdError && (error.code === "INVALID_ARGUMENT" || error.code === "OUT_OF_RANGE");
}

/** The error that a message of many calls holds for one of them. @internal */
export function errorOfMessage(error: ErrorMessage): LossdError {
  const { message, reason, fieldViolations, retryAfterSeconds, metadata } = error;
  return new LossdError({ code: codeName(error.code), message, reason, fieldViolations, retryAfterSeconds, metadata });
}

/** The error of a failed RPC. @internal */
export function errorOfRpc(error: ServiceError): LossdError {
  const details = error.metadata.get("grpc-status-details-bin")[0];
  const described = Buffer.isBuffer(details) ? describedBy(error, details) : notDescribed(error);
  const retryAfterSeconds = described.retryAfterSeconds ?? pushback(error.metadata);
  return new LossdError({ ...described, retryAfterSeconds }, { cause: error });
}

// Implementation details follow.

function codeName(code: number): Code {
  return (status[code] ?? "UNKNOWN") as Code;
}

function describedBy(error: ServiceError, details: Uint8Array): ErrorDetails {
  const described = fromBinary(StatusSchema, details);
  let reason = "";
  let metadata: Record<string, string> = {};
  let fieldViolations: FieldViolation[] = [];
  let retryAfterSeconds: number | undefined;
  for (const detail of described.details) {
    const info = anyUnpack(detail, ErrorInfoSchema);
    if (info !== undefined) ({ reason, metadata } = info);
    const request = anyUnpack(detail, BadRequestSchema);
    if (request !== undefined) fieldViolations = request.fieldViolations.map(({ field, description }) => ({ field, description }));
    const delay = anyUnpack(detail, RetryInfoSchema)?.retryDelay;
    if (delay !== undefined) retryAfterSeconds = Number(delay.seconds) + delay.nanos * 1e-9;
  }
  return { code: codeName(error.code), message: described.message, reason, metadata, fieldViolations, retryAfterSeconds };
}

// Parts of messages about failed connections, each with the likely cause and what to do.
const CURES: readonly (readonly [symptom: string, cure: string])[] = [
  ["wrong version number", "the server does not use TLS: omit tls, or connect to its TLS port"],
  ["packet length too long", "the server does not use TLS: omit tls, or connect to its TLS port"],
  ["certificate", "this client does not trust the server's certificate: pass the authority's, tls: { ca: \"ca.crt\" }"],
  ["alert", "the server refused the handshake: it may require a client certificate, tls: { cert, key }"],
  ["ECONNREFUSED", "nothing listens at this address: check it, and check that the server has started"],
  ["Connection dropped", "the server stopped, or it uses TLS and this client does not: pass tls: true"],
  ["Failed to connect", "the server ended the connection, or it uses TLS and this client does not: pass tls: true"],
  ["Name resolution failed", "there is no such host: check the address, host:port"],
];
// Another attempt cannot succeed after these.
const LASTING = /wrong version number|packet length too long|certificate|alert/;

/** The details of an error that the server did not describe. */
function notDescribed(error: ServiceError): ErrorDetails {
  const message = error.details || codeName(error.code);
  // A connection that broke while grpc-js wrote to it. Every RPC may be made again.
  if (error.code === status.INTERNAL && /internal client error|Call ended without gRPC status/.test(message)) {
    return { code: "UNAVAILABLE", message };
  }
  const code = codeName(error.code);
  if (code !== "UNAVAILABLE") return { code, message };
  const cure = CURES.find(([symptom]) => message.includes(symptom))?.[1];
  const described = cure === undefined ? message : `${message}; ${cure}`;
  return { code, message: described, retryAfterSeconds: LASTING.test(message) ? Infinity : undefined };
}

/** The seconds that the trailer `grpc-retry-pushback-ms` asks for. Anything but a number of milliseconds means no retry. */
function pushback(trailers: Metadata): number | undefined {
  const value = trailers.get("grpc-retry-pushback-ms")[0];
  if (value === undefined) return undefined;
  return typeof value === "string" && /^\d+$/.test(value) ? Number(value) * 1e-3 : Infinity;
}
