package status

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// Who follows without what was before gets nothing of it with the next event either.
func TestEventsFollowedFromNowOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &History{Drivers: supervise.New(supervise.Options{
			Launch: func(context.Context, supervise.LaunchSpec) (supervise.Process, error) {
				return nil, errors.New("no licence")
			},
		})}
		defer h.Drivers.Close(false)
		h.Drivers.Set(map[string]supervise.Desired{"acme": {State: &control.State{Revision: 1}}})
		synctest.Wait()
		before, _ := h.Drivers.Events(0)
		if len(before) == 0 {
			t.Fatal("nothing has happened")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var got []client.Event
		_ = h.Events(ctx, 0, true, func(e client.Event) error { got = append(got, e); return nil }) // ends with ctx
		if len(got) == 0 || got[0].Number != before[len(before)-1].Number+1 {
			t.Errorf("%d events before, and followed: %+v", len(before), got)
		}
	})
}
