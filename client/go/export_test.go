// SPDX-License-Identifier: Apache-2.0

package lossd

import (
	"context"
	"errors"
)

// ErrUncuttable is the error of a call without a batch of several rows.
var ErrUncuttable = errors.New("the call cannot be cut")

// ScoreInParts scores a call in that many parts, or fewer if it has fewer rows.
func (c *Client) ScoreInParts(ctx context.Context, call Call, unreduced bool, count int) (Loss, Unreduced, error) {
	if unreduced {
		call = call.unreduced()
	}
	b, failed := batchOf(call.request)
	if failed != nil {
		return Loss{}, Unreduced{}, ErrUncuttable
	}
	parts, failed := b.cut(count)
	if failed != nil {
		return Loss{}, Unreduced{}, failed
	}
	responses, failed := c.scoreAll(ctx, b, parts)
	if failed != nil {
		return Loss{}, Unreduced{}, failed
	}
	merged := mergeParts(b, responses)
	return lossOf(merged), unreducedOf(merged), nil
}
