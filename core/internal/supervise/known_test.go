package supervise_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// A process that is too busy to answer is shown as what it is known to be: its conditions
// and the counters that it sends by itself are the present ones, and of all others it is
// said how old they are, or that nobody knows them.
func TestStatusOfABusyProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.beats = true
		defer r.s.Close(false)
		r.set(1)
		p := <-r.starts
		a := p.attachment()
		synctest.Wait()
		p.late.Store(int64(5 * time.Second))
		ask := func() supervise.Status {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			list := r.s.Status(ctx)
			if took := time.Since(began); took > time.Second {
				t.Errorf("the status took %v", took)
			}
			return list[0]
		}
		up := time.Now()
		a.to.Event(control.Event{Time: up, Link: "line", Condition: control.Up})
		a.to.Event(control.Event{Time: up, Link: "line", Device: "nobody", Condition: control.Up})
		a.to.(host.RingHandler).Ring(control.RingStatus{Samples: 4711, NextSequence: 9})
		s := ask()
		if s.State != supervise.Active || s.Engine == nil || s.Engine.Ring.Samples != 4711 || s.Late != nil || len(s.Engine.Links) != 1 {
			t.Fatalf("before the first answer: %+v", s)
		}
		l, late := s.Engine.Links[0], s.LateLink["line"]
		if l.Condition != control.Up || !l.Since.Equal(up) || late == nil || !late.At.IsZero() {
			t.Errorf("before the first answer: %+v, %+v", l, late)
		}
		if s.Processes[0].Late == nil {
			t.Error("the process is not said to be late")
		}

		time.Sleep(5 * time.Second) // the question goes on without who asked
		p.late.Store(0)
		if s = ask(); len(s.LateLink) != 0 || s.Processes[0].Late != nil || len(s.Engine.Links) != 1 || s.Engine.Links[0].Devices[0].Polls == 0 {
			t.Fatalf("when it answers: %+v", s)
		}
		polls, answered := s.Engine.Links[0].Devices[0].Polls, time.Now()

		p.late.Store(int64(time.Hour))
		time.Sleep(3 * time.Second)
		fault := &driver.Error{Code: driver.Timeout, Text: "no answer"}
		a.to.Event(control.Event{Time: time.Now(), Link: "line", Condition: control.Down, Cause: fault})
		s = ask()
		l, late = s.Engine.Links[0], s.LateLink["line"]
		if l.Condition != control.Down || l.Cause != fault || len(l.Devices) != 1 || l.Devices[0].Polls != polls {
			t.Errorf("when it does not answer any more: %+v", l)
		}
		if late == nil || !late.At.Equal(answered) || !late.Since.Equal(answered) {
			t.Errorf("its counters are said to be of %+v, and are of %v", late, answered)
		}
	})
}
