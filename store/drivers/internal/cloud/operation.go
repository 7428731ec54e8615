package cloud

import (
	"context"
	"sync/atomic"
)

// operation is what a request is made for. The requests of one operation after the
// first count as retries.
type operation struct {
	kind    string   // as in store.Traffic
	traffic *traffic // of the store that the operation is for; nil if nobody counts
	sent    atomic.Int64
}

type operationKey struct{}

// Operation gives a context for one operation of a kind, by the names of
// store.Traffic. The store gives it to every method of a Backend; a method that
// makes more than one request that is no retry, such as a list page by page, asks
// for one more context for each.
func Operation(ctx context.Context, kind string) context.Context {
	return context.WithValue(ctx, operationKey{}, &operation{kind: kind, traffic: operationOf(ctx).traffic})
}

// counted gives a context whose operations count for s.
func (s *cloudStore) counted(ctx context.Context) context.Context {
	return context.WithValue(ctx, operationKey{}, &operation{kind: "other", traffic: &s.traffic})
}

// operationOf is the operation of a context; a new one of the kind "other" where
// there is none.
func operationOf(ctx context.Context) *operation {
	if op, ok := ctx.Value(operationKey{}).(*operation); ok {
		return op
	}
	return &operation{kind: "other"}
}
