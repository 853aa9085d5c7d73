package tasks_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/fieldloom/fieldloom/core/gateway/internal/tasks"
)

// What has begun is waited for, and nothing begins before the start or after the end.
func TestWorkEndsWithTheGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g tasks.Group
		if _, _, ok := g.Begin(); ok {
			t.Error("work began before the start")
		}
		life, stop := context.WithCancel(t.Context())
		g.Start(life)
		ended := false
		g.Go(func(ctx context.Context) {
			<-ctx.Done()
			ended = true
		})
		synctest.Wait()
		if ended {
			t.Error("the work ended before its context")
		}
		stop()
		if g.End(); !ended {
			t.Error("the end did not wait for the work")
		}
		g.Go(func(context.Context) { t.Error("work began after the end") })
		if _, _, ok := g.Begin(); ok {
			t.Error("work began after the end")
		}
	})
}
