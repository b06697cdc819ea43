// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

/**
 * The loss over all updates of a series.
 *
 * @param value the mean or the sum, as the updates' reduction says
 * @param statistics its exact statistics, rounded once
 * @param callCount the number of updates
 */
public record SeriesResult(double value, Statistics statistics, long callCount) {}
