package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
)

func TestApplyRestartsOnlyWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		build := func() (a, b control.Link) { // decoded anew each time, as from the wire
			a, b = link("a", 3, table(2)), link("b", 1, table(2))
			b.Devices[0].FirstHandle = 9000
			return a, b
		}
		for i := range 4 {
			r.set("a", fmt.Sprintf("d%d", i+1), 2)
		}
		r.set("b", "d1", 2)
		a, b := build()
		r.apply(a, b)
		sleep(5 * time.Second)

		a, b = build()
		r.apply(a, b) // the same again
		sleep(2 * time.Second)
		if n, m := len(r.fake.Link("a").Opens()), len(r.fake.Link("b").Opens()); n != 1 || m != 1 {
			t.Errorf("the same state opened the links %d and %d times", n, m)
		}

		a, b = build()
		a.Devices[1].Settings = json.RawMessage(`{"note":"new"}`) // one device
		a.Devices = a.Devices[:2]                                 // and one less
		b.Timeout = 2 * time.Second                               // the other link itself
		polls := len(r.fake.Link("a").Device("d1").Polls())
		r.apply(a, b)
		sleep(5 * time.Second)
		if n, m := len(r.fake.Link("a").Opens()), len(r.fake.Link("b").Opens()); n != 1 || m != 2 {
			t.Errorf("the links were opened %d and %d times, want 1 and 2", n, m)
		}
		if n := len(r.fake.Link("a").Device("d1").Polls()) - polls; n != 5 {
			t.Errorf("the neighbour that did not change was polled %d times in 5 s", n)
		}
		if s := r.device("a", "d2"); s.Condition != control.Up || s.Polls < 10 {
			t.Errorf("the device that changed: %+v", s)
		}
		if n := len(r.link("a").Devices); n != 2 {
			t.Errorf("%d devices", n)
		}
		gone := len(r.fake.Link("a").Device("d3").Polls())
		sleep(3 * time.Second)
		if n := len(r.fake.Link("a").Device("d3").Polls()); n != gone {
			t.Error("a device that was removed is polled")
		}
		r.apply(b)
		sleep(time.Second)
		if r.fake.Link("a").Connected() {
			t.Error("a link that was removed is open")
		}
	})
}

func TestFaultsChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		r.apply(link("l", 1, table(1)))
		sleep(2 * time.Second)
		wrong := link("l", 1, table(2, func(i int, p *control.Point) { p.Address = fmt.Sprintf("bad%d", i) }))
		faults, err := r.Apply(t.Context(), &control.State{Revision: 2, Links: []control.Link{wrong}}, control.ApplyOptions{})
		if err != nil || len(faults) != 2 {
			t.Fatalf("faults %v, error %v", faults, err)
		}
		want := driver.ConfigError{Link: "l", Device: "d1", Point: "p0", Key: "address", Text: `"bad0" is no address`}
		if *faults[0] != want {
			t.Errorf("fault is %+v, want %+v", faults[0], want)
		}
		polls := len(d.Polls())
		sleep(2 * time.Second)
		if n := len(d.Polls()) - polls; n != 2 {
			t.Errorf("%d polls in 2 s after a refused state", n)
		}
	})
}

func TestValidate(t *testing.T) {
	nan := math.NaN()
	for name, test := range map[string]struct {
		change func(*control.State)
		want   string
	}{
		"period":      {func(s *control.State) { s.Links[0].Classes[0].Period = time.Microsecond }, "period of scan class"},
		"timeout":     {func(s *control.State) { s.Links[0].Timeout = -1 }, "is not between"},
		"gap":         {func(s *control.State) { s.Links[0].Gap = 2 * time.Hour }, "is not between"},
		"policy":      {func(s *control.State) { s.Links[0].Classes[0].Policy = 9 }, "policy"},
		"link twice":  {func(s *control.State) { s.Links = append(s.Links, control.Link{Name: "l"}) }, "two links"},
		"no name":     {func(s *control.State) { s.Links[0].Name = "" }, "has no name"},
		"two devices": {func(s *control.State) { s.Links[0].Devices[1].Name = "d1" }, "two devices"},
		"no table":    {func(s *control.State) { s.Links[0].Devices[1].Table = nil }, "no table"},
		"overlap":     {func(s *control.State) { s.Links[0].Devices[1].FirstHandle = 2 }, "belongs to device l/d1 too"},
		"no handle":   {func(s *control.State) { s.Links[0].Devices[0].FirstHandle = 0 }, "out of range"},
		"last handle": {func(s *control.State) { s.Links[0].Devices[0].FirstHandle = math.MaxUint32 }, "out of range"},
		"settings":    {func(s *control.State) { s.Links[0].Settings = json.RawMessage(`{`) }, "not JSON"},
		"class":       {func(s *control.State) { s.Links[0].Devices[0].Table.Points[0].Class = 1 }, "no scan class 1"},
		"point twice": {func(s *control.State) { s.Links[0].Devices[0].Table.Points[1].Name = "p0" }, "two points"},
		"scale":       {func(s *control.State) { s.Links[0].Devices[0].Table.Points[0].Scale = ptr(0) }, "scale of 0"},
		"NaN":         {func(s *control.State) { s.Links[0].Devices[0].Table.Points[0].Offset = &nan }, "not a number"},
		"deadband":    {func(s *control.State) { s.Links[0].Devices[0].Table.Points[0].Deadband = ptr(-1) }, "negative"},
		"bounds": {func(s *control.State) {
			p := &s.Links[0].Devices[0].Table.Points[0]
			p.Min, p.Max = ptr(2), ptr(1)
		}, "more than the maximum"},
		"driver's": {func(s *control.State) { s.Links[0].Settings = json.RawMessage(`{"x":1}`) }, "unknown field"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, engine.Options{})
			s := &control.State{Links: []control.Link{link("l", 2, table(3))}}
			if faults, err := r.Validate(t.Context(), s); err != nil || len(faults) != 0 {
				t.Fatalf("a good state: %v, %v", faults, err)
			}
			test.change(s)
			faults, err := r.Validate(t.Context(), s)
			if err != nil || len(faults) == 0 || !strings.Contains(fmt.Sprint(faults), test.want) {
				t.Errorf("%v, %v, want %q", faults, err, test.want)
			}
		})
	}
}

func TestStandbyOpensNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		r.applyWith(control.ApplyOptions{Standby: true}, link("l", 1, table(1)))
		sleep(10 * time.Second)
		if n := len(r.fake.Link("l").Opens()); n != 0 {
			t.Fatalf("standby opened the link %d times", n)
		}
		if err := r.Write(t.Context(), "l", "d1", "p0", driver.BoolValue(true)); driver.CodeOf(err) != driver.NotConnected {
			t.Errorf("write in standby: %v", err)
		}
		if err := r.Activate(t.Context(), nil, control.ActivateOptions{}); err != nil {
			t.Fatal(err)
		}
		sleep(1100 * time.Millisecond)
		if len(d.Polls()) == 0 {
			t.Error("not polled after Activate")
		}
	})
}

func TestDrainAndHandOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		banded := table(3, func(_ int, p *control.Point) { p.Deadband = ptr(0.5) })
		old := newRig(t, engine.Options{})
		d := old.set("l", "d1", 3)
		d.Delay(100 * time.Millisecond)
		old.apply(link("l", 1, banded))
		sleep(3 * time.Second)
		drained, err := old.Drain(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		old.take(true)
		if last := old.frames[len(old.frames)-1].Sequence; last != drained.LastSequence {
			t.Errorf("the last frame is %d, drained says %d", last, drained.LastSequence)
		}
		if n := len(old.samples); n != 3 {
			t.Errorf("%d samples of 3 points that never change", n)
		}
		if old.fake.Link("l").Connected() || old.link("l").Condition != control.Stopped {
			t.Error("the link is not stopped")
		}
		polls := times(d.Polls())
		next := polls[len(polls)-1].Add(time.Second)

		fresh := newRig(t, engine.Options{})
		fresh.fake = old.fake
		e := engine.New(old.fake, engine.Options{})
		defer func() { _ = e.Close(context.Background()) }()
		state := &control.State{Revision: 1, Links: []control.Link{link("l", 1, banded)}}
		if _, err := e.Apply(t.Context(), state, control.ApplyOptions{Standby: true, HandOff: drained.HandOff}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(next) + 300*time.Millisecond) // the poll that is due comes in the switch
		if err := e.Activate(t.Context(), nil, control.ActivateOptions{}); err != nil {
			t.Fatal(err)
		}
		sleep(10 * time.Millisecond)
		if n := len(d.Polls()); n != len(polls)+1 {
			t.Errorf("the poll that was due in the switch was made %d times", n-len(polls))
		}
		sleep(3 * time.Second)
		after := times(d.Polls())
		for _, at := range after[len(polls)+1:] {
			if off := at.Sub(next) % time.Second; off != 0 {
				t.Errorf("a poll is %v off the old engine's grid", off)
			}
		}
		if f, ok := e.Ring().TryNext(); ok {
			t.Errorf("the deadbands were not handed over: %+v", f)
		}
		d.Set("a1", driver.Int64Value(5))
		sleep(2 * time.Second)
		if f, ok := e.Ring().TryNext(); !ok || f.Samples != 1 {
			t.Errorf("frame after a change: %+v", f)
		}
		if err := old.Activate(t.Context(), nil, control.ActivateOptions{}); err != nil { // the old takes the link back
			t.Fatal(err)
		}
		sleep(2 * time.Second)
		if s := old.device("l", "d1"); s.Condition != control.Up {
			t.Errorf("the device is %v", s.Condition)
		}
	})
}

// TestDrainInAPoll drains while a poll is in flight: it is finished, sent, and not made again.
func TestDrainInAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := newRig(t, engine.Options{})
		d := old.set("l", "d1", 1)
		d.Delay(300 * time.Millisecond)
		old.apply(link("l", 1, table(1)))
		sleep(3 * time.Second)
		polls := times(d.Polls())
		time.Sleep(time.Until(polls[len(polls)-1].Add(1100 * time.Millisecond))) // within the next
		drained, err := old.Drain(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		old.take(true)
		made := len(d.Polls())
		if len(old.samples) != made {
			t.Errorf("%d samples of %d polls", len(old.samples), made)
		}
		fresh := newRig(t, engine.Options{})
		next := fresh.set("l", "d1", 1)
		fresh.applyWith(control.ApplyOptions{HandOff: drained.HandOff}, link("l", 1, table(1)))
		sleep(time.Until(polls[len(polls)-1].Add(1990 * time.Millisecond)))
		if n := len(next.Polls()); n != 0 {
			t.Errorf("the poll that was drained was made again %d times", n)
		}
		sleep(20 * time.Millisecond)
		if n := len(next.Polls()); n != 1 {
			t.Errorf("%d polls at the next due time", n)
		}
	})
}

func TestDrainWaitsForNoHangingCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		r.apply(link("l", 1, table(1)))
		sleep(2 * time.Second)
		defer d.Hang()()
		sleep(time.Second)
		begun := time.Now()
		if _, err := r.Drain(t.Context(), nil); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("drain took %v", took)
		}
	})
}

func TestBadHandOffIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		r.applyWith(control.ApplyOptions{HandOff: []byte(`{"skew":"x"`)}, link("l", 1, table(1)))
		sleep(1100 * time.Millisecond)
		if len(d.Polls()) == 0 {
			t.Error("not polled")
		}
	})
}
