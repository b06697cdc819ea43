// SPDX-License-Identifier: Apache-2.0

/** The version of this package, and of the schema that it was generated from. */
export const VERSION = "0.1.0";
