// SPDX-License-Identifier: Apache-2.0

package dev.lossd;

import com.google.protobuf.Message;
import java.time.Duration;

/**
 * A call of a loss.
 *
 * @param request the request message of LossService
 * @param reduction the reduction that the request names
 * @param timeout the call's own time limit, or null for the client's
 */
record Call<R extends LossResult>(Message request, Reduction<R> reduction, Duration timeout) {}
