// SPDX-License-Identifier: Apache-2.0

// The names of arguments, for the fields of requests.

import { schemaOf, type Rpc } from "./codec.js";

const CLASSES = { class_indices: "target", class_probabilities: "target" };
const DISTANCE = "distanceFunction";
// The fields of request messages whose names differ from the arguments that they hold by more than their case.
const ARGUMENTS: Readonly<Record<Rpc, Readonly<Record<string, string>>>> = {
  CrossEntropyLoss: CLASSES,
  LinearCrossEntropyLoss: CLASSES,
  GaussianNllLoss: { variance_values: "variance", variance_scalar: "variance" },
  CtcLoss: { padded_targets: "targets", concatenated_targets: "targets" },
  TripletMarginWithDistanceLoss: {
    pairwise_distance: DISTANCE,
    cosine_distance: DISTANCE,
    squared_euclidean_distance: DISTANCE,
  },
};

const WORD = /\b[a-z]+[0-9]*(?:_[a-z0-9]+)+\b/g;

/** A message of the server with the names of arguments instead of fields. @internal */
export function inArguments(rpc: Rpc, text: string): string {
  const names = ARGUMENTS[rpc] ?? {};
  const fields = schemaOf(rpc).fields;
  return text.replace(WORD, (word) => names[word] ?? fields.find((field) => field.name === word)?.localName ?? word);
}

/** The argument that a field of the generated code holds. @internal */
export function argumentOf(rpc: Rpc, field: string): string {
  const name = schemaOf(rpc).field[field]?.name ?? field;
  return ARGUMENTS[rpc]?.[name] ?? field;
}
