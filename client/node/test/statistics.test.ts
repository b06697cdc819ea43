// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { test } from "node:test";

import { ExactSum, Totals } from "../src/statistics.js";

function sumOf(numbers: readonly number[]): number {
  const sum = new ExactSum();
  for (const number of numbers) sum.add(number);
  return sum.value;
}

test("one number is itself, over the whole range of doubles", () => {
  const numbers = [
    0,
    1,
    -1,
    0.1,
    Math.PI,
    Number.MIN_VALUE,
    2 ** -1022,
    2 ** -1022 - 2 ** -1074,
    Number.MAX_VALUE,
    -Number.MAX_VALUE,
  ];
  for (let exponent = -1074; exponent < 1024; exponent++) numbers.push(2 ** exponent);
  for (let i = 0; i < 1000; i++) numbers.push((Math.random() - 0.5) * 2 ** Math.floor(Math.random() * 2000 - 1040));
  for (const number of numbers) assert.equal(sumOf([number]), number === 0 ? 0 : number);
});

test("nothing is lost to rounding before the end", () => {
  assert.equal(sumOf([1e308, 1e308, -1e308, -1e308, 1]), 1);
  assert.equal(sumOf([1e16, 1, 1]), 1e16 + 2);
  assert.equal(sumOf(Array.from({ length: 10 }, () => 0.1)), 1);
});

test("the end is rounded once, to nearest, ties to even", () => {
  const half = 2 ** -53;
  assert.equal(sumOf([1, half]), 1);
  assert.equal(sumOf([1, half, Number.MIN_VALUE]), 1 + 2 ** -52);
  assert.equal(sumOf([1, half, -Number.MIN_VALUE]), 1);
  assert.equal(sumOf([1 + 2 ** -52, half]), 1 + 2 ** -51);
  assert.equal(sumOf([-1, -half, -Number.MIN_VALUE]), -1 - 2 ** -52);
  assert.equal(sumOf([Number.MAX_VALUE, Number.MAX_VALUE]), Infinity);
});

test("infinities and NaN add as in IEEE 754", () => {
  assert.equal(sumOf([Infinity, 1, -1e308]), Infinity);
  assert.equal(sumOf([-Infinity, 1]), -Infinity);
  assert.equal(sumOf([Infinity, 1, -Infinity]), NaN);
  assert.equal(sumOf([NaN, Infinity]), NaN);
});

test("totals survive JSON, and merge in any order to the same bits", () => {
  const results = Array.from({ length: 50 }, (_, i) => ({
    sum: (Math.random() - 0.5) * 10 ** (i - 25),
    meanNumerator: Math.random(),
    meanDenominator: i,
    elementCount: i,
    ignoredCount: 1,
  }));
  const forwards = new Totals();
  for (const result of results) forwards.add(result);
  const halves = [new Totals(), new Totals()] as const;
  results.reverse().forEach((result, i) => halves[i % 2 === 0 ? 0 : 1].add(result));
  const merged = Totals.of(JSON.parse(JSON.stringify(halves[1])) as ReturnType<Totals["toJSON"]>);
  merged.merge(halves[0]);
  assert.deepEqual(merged.toJSON(), forwards.toJSON());
  assert.equal(merged.value("mean"), forwards.value("mean"));
  assert.equal(new Totals().value("mean"), NaN);
});
