// SPDX-License-Identifier: Apache-2.0

import type { Answers } from "./caller.js";
import { VocabularyLosses } from "./vocabulary.js";

/** One method for each loss, with torch's names and defaults in camel case. */
export abstract class LossMethods<A extends Answers> extends VocabularyLosses<A> {}
