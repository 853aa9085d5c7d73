package engine_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
	"github.com/fieldloom/fieldloom/core/frame"
)

// gaps are those that were taken.
func (r *rig) gaps() (list []*frame.Gap) {
	for _, f := range r.frames {
		if f.Gap != nil {
			list = append(list, f.Gap)
		}
	}
	return list
}

// TestWhatADriverLosesIsAGap has a driver say that it has lost samples, in a flood and
// while the core takes nothing.
func TestWhatADriverLosesIsAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		r.set("l", "d1", 1)
		r.set("l", "d2", 1)
		r.apply(link("l", 2, table(1)))
		sleep(time.Second)
		l := r.fake.Link("l")
		from := time.Now()
		for i := range 1000 {
			l.Lose(driver.Loss{Device: "d1", Samples: 2, Cause: "the queue was full"})
			if i%100 == 0 {
				l.Lose(driver.Loss{Device: "d2", Cause: "a line was too long"})
			}
			sleep(time.Millisecond)
		}
		l.Lose(driver.Loss{Device: "nobody", Samples: 1, From: time.Unix(1, 0), To: time.Now().Add(time.Hour), Cause: "x"})
		l.Lose(driver.Loss{Device: "d1", Samples: math.MaxUint64, Cause: strings.Repeat("x", 1<<20)})
		sleep(10 * time.Second)
		r.take(true)
		gaps := r.gaps()
		if len(gaps) == 0 || len(gaps) > 5 {
			t.Fatalf("%d gaps of a second's flood of three kinds", len(gaps))
		}
		var d1, d2, anybody *frame.Gap
		for _, g := range gaps {
			at := g.Links[0]
			switch {
			case len(g.Links) != 1 || at.Link != "l" || driver.CodeOf(g.Cause) != driver.Lost || g.FirstSeq != 0:
				t.Errorf("gap %+v", g)
			case at.Device == "d1":
				d1 = g
			case at.Device == "d2":
				d2 = g
			case at.Device == "":
				anybody = g
			}
		}
		if d1 == nil || d1.Samples != 1<<40 || d1.From.Before(from) || len(d1.Cause.Text) > 1000 || d1.Links[0].Uncounted {
			t.Errorf("what d1 lost: %+v", d1)
		}
		if d2 == nil || d2.Samples != 0 || !d2.Links[0].Uncounted || d2.Cause.Text != "the driver: a line was too long" {
			t.Errorf("what d2 lost: %+v", d2)
		}
		if anybody == nil || anybody.Samples != 1 || anybody.To.After(time.Now()) {
			t.Errorf("what a device lost that there is not: %+v", anybody)
		}

		// The core is away for an hour: one gap a device, however often it is told.
		from = time.Now()
		for range 3600 {
			l.Lose(driver.Loss{Device: "d1", Samples: 1, Cause: "the queue was full"})
			sleep(time.Second)
		}
		r.frames = nil
		r.take(true)
		gaps = slices.DeleteFunc(r.gaps(), func(g *frame.Gap) bool { return g.Links == nil })
		if len(gaps) != 1 || gaps[0].Samples != 3600 && gaps[0].Samples != 3599 || gaps[0].From.Sub(from) > time.Second || gaps[0].To.Sub(from) < 59*time.Minute {
			t.Errorf("gaps of an hour: %+v", gaps)
		}
	})
}

// TestWhatIsLostInTheCloseComesWithTheDrain closes a link right after a loss.
func TestWhatIsLostInTheCloseComesWithTheDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		r.set("l", "d1", 1)
		r.apply(link("l", 1, table(1)))
		sleep(time.Second)
		r.take(true)
		r.fake.Link("l").Lose(driver.Loss{Device: "d1", Samples: 7, Cause: "closed"})
		drained, err := r.Drain(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.frames = nil
		r.take(true)
		gaps := r.gaps()
		if len(gaps) != 1 || gaps[0].Samples != 7 {
			t.Fatalf("gaps %v", gaps)
		}
		if last := r.frames[len(r.frames)-1].Sequence; last != drained.LastSequence {
			t.Errorf("the drain names frame %d as the last, and %d came", drained.LastSequence, last)
		}
	})
}
