// SPDX-License-Identifier: Apache-2.0

// A service that classifies, and scores its predictions when the right classes become known.
//
//   POST /predict {"features": [...]}       {"id": "...", "logits": [...]}
//   POST /outcome {"id": "...", "class": 2} {"loss": 0.24}
//   GET  /loss                              {"loss": 0.31, "count": 1200}

import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server } from "node:http";
import { json } from "node:stream/consumers";

import { LossdError, type Client } from "@lossd/client";

/** The classes of a linear model, each with one weight for each feature. */
export type Model = readonly (readonly number[])[];

/** Answers requests. The loss over all scored predictions is exact, whatever their order. */
export function service(model: Model, client: Client): Server {
  const served = new Map<string, readonly number[]>();
  const evaluation = client.evaluation();

  function predict(features: readonly number[]): object {
    const logits = model.map((weights) => weights.reduce((sum, weight, i) => sum + weight * (features[i] ?? 0), 0));
    const id = randomUUID();
    served.set(id, logits);
    return { id, logits };
  }

  async function score(id: string, label: number): Promise<object> {
    const logits = served.get(id);
    if (logits === undefined) throw new TypeError("there is no such prediction");
    // Outcomes that arrive together share a message, because the client coalesces.
    const result = await client.crossEntropy([logits], [label], { returnStatistics: true });
    if (served.delete(id)) evaluation.add(result);
    return { loss: result.value };
  }

  async function answer(request: IncomingMessage): Promise<object> {
    switch (`${request.method} ${request.url}`) {
      case "POST /predict":
        return predict(((await json(request)) as { features: number[] }).features);
      case "POST /outcome": {
        const outcome = (await json(request)) as { id: string; class: number };
        return score(outcome.id, outcome.class);
      }
      case "GET /loss": {
        const { value, callCount } = await evaluation.total();
        return { loss: value, count: callCount };
      }
      default:
        throw new TypeError("there is no such page");
    }
  }

  return createServer((request, response) => {
    answer(request).then(
      (body) => response.end(JSON.stringify(body)),
      (error: unknown) => {
        const faulty = error instanceof TypeError || (error instanceof LossdError && error.code === "INVALID_ARGUMENT");
        response.writeHead(faulty ? 400 : 503).end(JSON.stringify({ error: String(error) }));
      },
    );
  });
}
