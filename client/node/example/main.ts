// SPDX-License-Identifier: Apache-2.0

import { Client } from "@lossd/client";

import { service } from "./service.js";

const MODEL = [
  [1.5, -0.5],
  [0.2, 0.1],
  [-1.0, 2.0],
];

// The variable LOSSD_ADDRESS has the address of the lossd server.
service(MODEL, new Client(undefined, { coalesce: true })).listen(8080, "127.0.0.1");
