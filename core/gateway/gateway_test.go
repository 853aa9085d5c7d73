package gateway

import (
	"context"
	"errors"
	"testing"
)

// What goes on in a gateway says why it ended, whoever ended it.
func TestUntilStopped(t *testing.T) {
	parent, end := context.WithCancel(t.Context())
	byParent, stop := untilStopped(parent)
	defer stop()
	end()
	<-byParent.Done()
	byStop, stop := untilStopped(t.Context())
	stop()
	for name, ctx := range map[string]context.Context{"parent": byParent, "stop": byStop} {
		if !errors.Is(ctx.Err(), context.Canceled) || !errors.Is(context.Cause(ctx), errStopping) {
			t.Errorf("%s: %v because of %v", name, ctx.Err(), context.Cause(ctx))
		}
	}
}
