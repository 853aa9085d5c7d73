package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/driver/drivertest"
	"github.com/fieldloom/fieldloom/core/engine"
	"github.com/fieldloom/fieldloom/core/frame"
)

// A failer is what a test and a run of a property have in common.
type failer interface {
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// A verdict is a failer for a bubble within a property, which a failure must not
// leave by a panic.
type verdict struct{ text string }

type failed struct{}

func (v *verdict) Errorf(format string, args ...any) { v.text = fmt.Sprintf(format, args...) }

func (v *verdict) Fatalf(format string, args ...any) {
	v.Errorf(format, args...)
	panic(failed{})
}

// bubble runs f in a bubble of its own and gives its verdict to t.
func bubble(t *testing.T, rt *rapid.T, f func(v failer)) {
	v := &verdict{}
	synctest.Test(t, func(*testing.T) {
		defer func() {
			if p := recover(); p != nil && p != any(failed{}) {
				panic(p)
			}
		}()
		f(v)
	})
	if v.text != "" {
		rt.Fatal(v.text)
	}
}

// A side is one of the engines that share the devices of a fake.
type side struct {
	*engine.Engine
	samples []frame.HandleSample
	last    uint64
}

// take reads and acknowledges the frames there are.
func (s *side) take(t failer) {
	for {
		f, ok := s.Ring().TryNext()
		if !ok {
			return
		}
		if f.Gap != nil || f.Sequence != s.last+1 {
			t.Fatalf("frame %d after %d: %+v", f.Sequence, s.last, f.Gap)
		}
		s.last = f.Sequence
		for v := range f.Batch.Samples() {
			s.samples = append(s.samples, v)
		}
		s.Ring().Ack(f.Sequence)
	}
}

// count gives the samples of a handle, of one quality.
func (s *side) count(handle uint32, q driver.Quality) (n int) {
	for _, v := range s.samples {
		if v.Handle == handle && v.Quality == q {
			n++
		}
	}
	return n
}

func (s *side) overruns(t failer, link, device string) uint64 {
	status, err := s.Status(context.Background())
	if err != nil {
		t.Fatalf("status: %v", err)
	}
	for _, l := range status.Links {
		for _, d := range l.Devices {
			if l.Name == link && d.Name == device {
				return d.Overruns
			}
		}
	}
	t.Fatalf("no device %s/%s", link, device)
	return 0
}

// A swap drives links between two engines over the same devices.
type swap struct {
	fake  *drivertest.Fake
	sides [2]*side
	owner map[string]int
	links []control.Link
}

func newSwap(t failer, skew time.Duration, links ...control.Link) (w *swap, closeAll func()) {
	w = &swap{fake: drivertest.NewFake(), owner: map[string]int{}, links: links}
	for i := range w.sides {
		w.sides[i] = &side{Engine: engine.New(w.fake, engine.Options{})}
	}
	engine.SetSkew(w.sides[1].Engine, skew)
	return w, func() {
		for _, s := range w.sides {
			if err := s.Close(context.Background()); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	}
}

// start has the first side open the links.
func (w *swap) start(t failer) {
	for i, s := range w.sides {
		state := &control.State{Revision: 1, Links: w.links}
		if faults, err := s.Apply(context.Background(), state, control.ApplyOptions{Standby: i == 1}); err != nil || len(faults) > 0 {
			t.Fatalf("apply: %v %v", err, faults)
		}
	}
}

// move drains links at their owner and activates them at another, pause later.
func (w *swap) move(t failer, to int, pause time.Duration, names ...string) {
	from := w.sides[w.owner[names[0]]]
	drained, err := from.Drain(context.Background(), names)
	if err != nil {
		t.Fatalf("drain: %v", err)
	}
	from.take(t)
	if from.last != drained.LastSequence {
		t.Fatalf("drain says %d, the last frame is %d", drained.LastSequence, from.last)
	}
	time.Sleep(pause)
	if err := w.sides[to].Activate(context.Background(), names, control.ActivateOptions{HandOff: drained.HandOff}); err != nil {
		t.Fatalf("activate: %v", err)
	}
	for _, name := range names {
		w.owner[name] = to
	}
}

// TestHandOverIsExact moves links to and fro between two engines at random, and
// counts the polls of each device by the slots they were due in: each slot once, in
// order, or counted as an overrun; none later than the switch took.
func TestHandOverIsExact(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		skew := 2 * time.Millisecond * time.Duration(rapid.IntRange(-2500, 2500).Draw(rt, "skew"))
		delay := time.Duration(rapid.IntRange(0, 200).Draw(rt, "delay ms")) * time.Millisecond
		period := time.Duration(rapid.SampledFrom([]int{500, 1000, 5000}).Draw(rt, "period ms")) * time.Millisecond
		window := rapid.IntRange(0, 3).Draw(rt, "window")
		type step struct {
			link, run, pause, to int
		}
		steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{
				rapid.IntRange(0, 2).Draw(t, "link"), rapid.IntRange(600, 4000).Draw(t, "run ms"),
				rapid.IntRange(0, 4000).Draw(t, "pause ms"), rapid.IntRange(0, 1).Draw(t, "to"),
			}
		}), 1, 12).Draw(rt, "steps")
		bubble(t, rt, func(rt failer) {
			var links []control.Link
			for i := range 3 {
				l := link(fmt.Sprintf("l%d", i), 2, table(1))
				l.Classes[0].Period = period
				for j := range l.Devices {
					l.Devices[j].FirstHandle = uint32(10*i + j + 1)
				}
				links = append(links, l)
			}
			w, closeAll := newSwap(rt, skew, links...)
			defer closeAll()
			for _, l := range links {
				w.fake.Link(l.Name).SetWindow(window)
				for _, d := range l.Devices {
					f := w.fake.Link(l.Name).Device(d.Name)
					f.Set("a0", driver.Int64Value(1))
					f.Delay(delay)
				}
			}
			w.start(rt)
			sleep(12 * time.Second) // every phase is known
			late := map[string]time.Duration{}
			for _, s := range steps {
				name := links[s.link].Name
				sleep(time.Duration(s.run) * time.Millisecond)
				began := time.Now()
				w.move(rt, s.to, time.Duration(s.pause)*time.Millisecond, name)
				late[name] = max(late[name], time.Since(began))
			}
			sleep(12 * time.Second)
			for _, s := range w.sides {
				if _, err := s.Drain(context.Background(), nil); err != nil {
					rt.Fatalf("drain: %v", err)
				}
				s.take(rt)
			}
			for _, l := range links {
				for _, d := range l.Devices {
					checkSlots(rt, w, l.Name, d, period, 2*delay+late[l.Name])
				}
				if n := w.fake.Link(l.Name).MostOpen(); n != 1 {
					rt.Fatalf("link %s was open %d times at once", l.Name, n)
				}
			}
		})
	})
}

func checkSlots(t failer, w *swap, link string, d control.Device, period, late time.Duration) {
	polls := times(w.fake.Link(link).Device(d.Name).Polls())
	in := func(at time.Time) int64 { return engine.DueSlot(at, link, d.Name, "default", period) }
	skipped, slot := uint64(0), in(polls[0])-1
	for i, at := range polls {
		n := in(at)
		if n <= slot {
			t.Fatalf("%s/%s: poll %d at %v is of slot %d, after %d", link, d.Name, i, at, n, slot)
		}
		skipped += uint64(n - slot - 1)
		slot = n
	}
	overruns := w.sides[0].overruns(t, link, d.Name) + w.sides[1].overruns(t, link, d.Name)
	if skipped != overruns {
		t.Fatalf("%s/%s: %d slots were skipped, %d overruns counted", link, d.Name, skipped, overruns)
	}
	got := w.sides[0].count(d.FirstHandle, driver.Good) + w.sides[1].count(d.FirstHandle, driver.Good)
	if got != len(polls) {
		t.Fatalf("%s/%s: %d samples of %d polls", link, d.Name, got, len(polls))
	}
	for _, s := range w.sides {
		status, _ := s.Status(context.Background())
		for _, l := range status.Links {
			for _, ds := range l.Devices {
				if l.Name == link && ds.Name == d.Name && ds.MaxLate > late+period/20+100*time.Millisecond {
					t.Fatalf("%s/%s: a poll was %v late, the longest switch took %v", link, d.Name, ds.MaxLate, late)
				}
			}
		}
	}
}

// TestHandOverWithinAPeriod is 50 switches in a row, none as long as a period: no
// slot is skipped, the grid does not drift, and no deadband sends again.
func TestHandOverWithinAPeriod(t *testing.T) {
	for _, skew := range []time.Duration{0, 1234567 * time.Microsecond, -time.Hour, 500 * time.Microsecond} {
		t.Run(skew.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := link("l", 3, table(2, func(i int, p *control.Point) {
					if i == 1 {
						p.Deadband = ptr(0.5)
					}
				}))
				w, closeAll := newSwap(t, skew, l)
				defer closeAll()
				for i := range 3 {
					d := w.fake.Link("l").Device(fmt.Sprintf("d%d", i+1))
					d.Set("a0", driver.Int64Value(1))
					d.Set("a1", driver.Int64Value(1))
					d.Delay(time.Millisecond)
				}
				w.start(t)
				sleep(3 * time.Second)
				for i := range 50 {
					sleep(time.Duration(1000+37*i) * time.Millisecond)
					w.move(t, 1-w.owner["l"], time.Duration(i*9)*time.Millisecond, "l")
				}
				sleep(3 * time.Second)
				for _, s := range w.sides {
					s.take(t)
				}
				for i := range 3 {
					name := fmt.Sprintf("d%d", i+1)
					polls := times(w.fake.Link("l").Device(name).Polls())
					phase := polls[0].Truncate(50 * time.Millisecond)
					for n, at := range polls {
						slot := (at.Sub(phase) + time.Millisecond) / time.Second
						if int(slot) != n {
							t.Fatalf("%s: poll %d is of slot %d", name, n, slot)
						}
					}
					if off := (polls[len(polls)-1].Sub(phase) + time.Millisecond) % time.Second; off > 10*time.Millisecond {
						t.Errorf("%s: the grid has drifted by %v", name, off)
					}
					handle := uint32(1000*i + 2)
					if n := w.sides[0].count(handle, driver.Good) + w.sides[1].count(handle, driver.Good); n != 1 {
						t.Errorf("%s: the deadband sent %d times", name, n)
					}
				}
			})
		})
	}
}

func TestHandOverLeavesTheOthersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := link("a", 1, table(1)), link("b", 1, table(1))
		b.Devices[0].FirstHandle = 500
		w, closeAll := newSwap(t, 0, a, b)
		defer closeAll()
		d := w.fake.Link("b").Device("d1")
		w.start(t)
		sleep(2 * time.Second)
		for i := range 6 {
			w.move(t, 1-w.owner["a"], 300*time.Millisecond, "a")
			sleep(time.Duration(700+100*i) * time.Millisecond)
		}
		polls := times(d.Polls())
		for i := 1; i < len(polls); i++ {
			if gap := polls[i].Sub(polls[i-1]); gap != time.Second {
				t.Errorf("a neighbour link was polled after %v", gap)
			}
		}
		if n := len(w.fake.Link("b").Opens()); n != 1 {
			t.Errorf("it was opened %d times", n)
		}
	})
}

func TestHandOverOfADeadDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, closeAll := newSwap(t, 0, link("l", 2, table(1)))
		defer closeAll()
		w.fake.Link("l").Device("d1").Set("a0", driver.Int64Value(1))
		dead := w.fake.Link("l").Device("d2")
		dead.Silence(true)
		w.start(t)
		sleep(20 * time.Second)
		before := w.sides[0]
		was := deviceOf(t, before.Engine, "l", "d2")
		if was.Condition != control.Down {
			t.Fatalf("the dead device is %v", was.Condition)
		}
		made := len(dead.Polls())
		w.move(t, 1, 100*time.Millisecond, "l")
		now := deviceOf(t, w.sides[1].Engine, "l", "d2")
		if now.Condition != control.Down || !now.Since.Equal(was.Since) || now.Cause == nil {
			t.Errorf("in the next process it is %v since %v: %v", now.Condition, now.Since, now.Cause)
		}
		sleep(20 * time.Second)
		if n := len(dead.Polls()) - made; n > 4 {
			t.Errorf("it was asked %d times in 20 s: its probes began anew", n)
		}
		w.sides[1].take(t)
		if n := w.sides[1].count(1001, driver.Bad); n > 1 {
			t.Errorf("it was told to be Bad %d times within a minute", n)
		}
		dead.Silence(false)
		dead.Set("a0", driver.Int64Value(1))
		sleep(20 * time.Second)
		if s := deviceOf(t, w.sides[1].Engine, "l", "d2"); s.Condition != control.Up {
			t.Errorf("it came back and is %v: %v", s.Condition, s.Cause)
		}
	})
}

// TestHandOverOfABug drains a link whose devices a panic took out of the scan: the next
// process, which may not have the bug, polls them at once.
func TestHandOverOfABug(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, closeAll := newSwap(t, 0, link("l", 1, table(1)))
		defer closeAll()
		d := w.fake.Link("l").Device("d1")
		d.Set("a0", driver.Int64Value(1))
		d.Panic("a bug")
		w.start(t)
		sleep(20 * time.Second)
		if s := deviceOf(t, w.sides[0].Engine, "l", "d1"); s.Condition != control.Down {
			t.Fatalf("a device that cannot be read without a panic is %v", s.Condition)
		}
		d.Panic(nil)
		w.move(t, 1, 100*time.Millisecond, "l")
		sleep(1100 * time.Millisecond)
		if s := deviceOf(t, w.sides[1].Engine, "l", "d1"); s.Condition != control.Up || s.Polls == 0 {
			t.Errorf("after %d polls of the next process it is %v: %v", s.Polls, s.Condition, s.Cause)
		}
	})
}

func deviceOf(t *testing.T, e *engine.Engine, link, device string) control.DeviceStatus {
	t.Helper()
	return (&rig{t: t, Engine: e}).device(link, device)
}

// TestCutPollIsMadeByTheNext drains while a device does not answer: the slot that was
// given up is polled by the next process.
func TestCutPollIsMadeByTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := link("l", 1, table(1))
		l.Timeout, l.Classes[0].Period = 20*time.Second, 5*time.Second
		w, closeAll := newSwap(t, 0, l)
		defer closeAll()
		d := w.fake.Link("l").Device("d1")
		d.Set("a0", driver.Int64Value(1))
		w.start(t)
		sleep(12 * time.Second)
		polls := times(d.Polls())
		last := polls[len(polls)-1]
		time.Sleep(time.Until(last.Add(4 * time.Second)))
		d.Delay(time.Minute)
		time.Sleep(1500 * time.Millisecond) // into the poll that will not end
		began := time.Now()
		drained, err := w.sides[0].Drain(t.Context(), []string{"l"})
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("drain took %v", took)
		}
		d.Delay(0)
		made := len(d.Polls())
		if err := w.sides[1].Activate(t.Context(), nil, control.ActivateOptions{HandOff: drained.HandOff}); err != nil {
			t.Fatal(err)
		}
		sleep(100 * time.Millisecond)
		if n := len(d.Polls()) - made; n != 1 {
			t.Errorf("the slot was polled %d times at once", n)
		}
		if late := deviceOf(t, w.sides[1].Engine, "l", "d1").LastLate; late < 500*time.Millisecond {
			t.Errorf("the poll is %v late: it has not its own due time", late)
		}
		w.sides[0].take(t)
		w.sides[1].take(t)
		if a, b := w.sides[0].count(1, driver.Good), w.sides[1].count(1, driver.Good); a != made-1 || b != 1 {
			t.Errorf("%d and %d samples of %d polls", a, b, made+1)
		}
	})
}

func TestLongPeriodIsNotPolledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := link("l", 1, table(1))
		l.Classes[0].Period = time.Hour
		w, closeAll := newSwap(t, 0, l)
		defer closeAll()
		d := w.fake.Link("l").Device("d1")
		w.start(t)
		sleep(2 * time.Hour)
		made := len(d.Polls())
		w.move(t, 1, time.Second, "l")
		sleep(time.Minute)
		if n := len(d.Polls()); n != made {
			t.Errorf("polled %d times more than once an hour", n-made)
		}
		sleep(time.Hour)
		if n := len(d.Polls()); n != made+1 {
			t.Errorf("polled %d times in the hour after", n-made)
		}
	})
}

// TestStaleHandOff activates long after the drain: nothing is made good for.
func TestStaleHandOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := link("l", 1, table(1, func(_ int, p *control.Point) { p.Deadband = ptr(1) }))
		w, closeAll := newSwap(t, 0, l)
		defer closeAll()
		w.fake.Link("l").Device("d1").Set("a0", driver.Int64Value(1))
		w.start(t)
		sleep(3 * time.Second)
		w.move(t, 1, time.Hour, "l")
		sleep(3 * time.Second)
		w.sides[1].take(t)
		s := deviceOf(t, w.sides[1].Engine, "l", "d1")
		if s.Overruns != 0 || s.MaxLate != 0 {
			t.Errorf("%d overruns, %v late", s.Overruns, s.MaxLate)
		}
		if n := w.sides[1].count(1, driver.Good); n != 1 {
			t.Errorf("the deadband sent %d times", n)
		}
	})
}

// TestOwnHandOver takes links back without a hand-off, after another process may have
// sent: the due time is kept, the deadbands send again.
func TestOwnHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		d := r.set("l", "d1", 1)
		r.apply(link("l", 1, table(1, func(_ int, p *control.Point) { p.Deadband = ptr(1) })))
		sleep(3 * time.Second)
		made := times(d.Polls())
		last := made[len(made)-1]
		time.Sleep(time.Until(last.Add(900 * time.Millisecond)))
		if _, err := r.Drain(t.Context(), []string{"l"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(400 * time.Millisecond)
		if err := r.Activate(t.Context(), []string{"l"}, control.ActivateOptions{}); err != nil {
			t.Fatal(err)
		}
		sleep(10 * time.Millisecond)
		if n := len(d.Polls()); n != len(made)+1 {
			t.Errorf("%d polls for the slot in the pause", n-len(made))
		}
		sleep(3 * time.Second)
		r.take(true)
		if n := len(r.of(1)); n != 2 {
			t.Errorf("%d samples, want one before and one after", n)
		}
	})
}

func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, closeAll := newSwap(t, 0, link("l", 1, table(1)))
		defer closeAll()
		script := w.fake.Link("l")
		var n byte
		script.Keeps(func() ([]byte, error) { n++; return []byte{n}, nil })
		w.start(t)
		sleep(time.Second)
		w.move(t, 1, 0, "l")
		sleep(time.Second)
		w.move(t, 0, 0, "l")
		sleep(time.Second)
		script.FailOpen(errors.New("not now"))
		w.move(t, 1, 0, "l")
		sleep(time.Second)
		script.FailOpen(nil)
		sleep(2 * time.Second)
		script.Break() // what was kept is used up
		sleep(2 * time.Second)
		script.Keeps(func() ([]byte, error) { return bytes.Repeat([]byte("x"), driver.MaxKept+1), nil })
		w.move(t, 0, 0, "l")
		sleep(time.Second)
		w.move(t, 1, 0, "l") // too much is none
		sleep(time.Second)
		var got []string
		for _, k := range script.Kept() {
			if s := fmt.Sprintf("%v", k); len(got) == 0 || got[len(got)-1] != s {
				got = append(got, s)
			}
		}
		want := "[[] [1] [2] [3] [] [4] []]"
		if fmt.Sprint(got) != want {
			t.Errorf("opens were given %v, want %v", got, want)
		}
	})
}

func TestKeeperThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		release := make(chan struct{})
		r.fake.Link("l").Keeps(func() ([]byte, error) { <-release; return nil, nil })
		r.set("l", "d1", 1)
		r.apply(link("l", 1, table(1)))
		sleep(2 * time.Second)
		began := time.Now()
		if _, err := r.Drain(t.Context(), nil); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 10*time.Second || r.fake.Link("l").Connected() {
			t.Errorf("drain took %v", took)
		}
		close(release)
	})
}

// TestSubscriberHandsOver moves a broker session: the old closes before the new opens,
// and what was pushed and not stored stays in the old ring until it is.
func TestSubscriberHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, closeAll := newSwap(t, 0, link("l", 1, table(1)))
		defer closeAll()
		d := w.fake.Link("l").Device("d1")
		d.Pushes()
		w.start(t)
		stored := 0
		for i := range 20 {
			if err := d.Emit(t.Context(), []driver.PointSample{pushed(0, int64(i))}, func() { stored++ }); err != nil {
				t.Fatal(err)
			}
			if i%5 != 4 {
				continue
			}
			from := w.sides[w.owner["l"]]
			drained, err := from.Drain(t.Context(), []string{"l"})
			if err != nil {
				t.Fatal(err)
			}
			if got := drained.LastSequence; got == from.last {
				t.Errorf("nothing in the ring")
			}
			w.owner["l"] = 1 - w.owner["l"]
			if err := w.sides[w.owner["l"]].Activate(t.Context(), []string{"l"}, control.ActivateOptions{HandOff: drained.HandOff}); err != nil {
				t.Fatal(err)
			}
		}
		if stored != 0 {
			t.Errorf("%d stored before the core took any", stored)
		}
		sleep(time.Second)
		for _, s := range w.sides {
			s.take(t)
		}
		if n := len(w.sides[0].samples) + len(w.sides[1].samples); n != 20 || stored != 20 {
			t.Errorf("%d samples, %d stored, of 20", n, stored)
		}
		if n := w.fake.Link("l").MostOpen(); n != 1 {
			t.Errorf("%d sessions at once", n)
		}
	})
}

func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		a, b := link("a", 1, table(1)), link("b", 1, table(1))
		b.Devices[0].FirstHandle = 500
		open := func(wantA, wantB bool) {
			t.Helper()
			sleep(time.Second)
			if gotA, gotB := r.fake.Link("a").Connected(), r.fake.Link("b").Connected(); gotA != wantA || gotB != wantB {
				t.Errorf("a open: %v, b open: %v", gotA, gotB)
			}
		}
		r.applyWith(control.ApplyOptions{Hold: []string{"a"}}, a, b)
		open(false, true)
		if err := r.Activate(t.Context(), []string{"a"}, control.ActivateOptions{}); err != nil {
			t.Fatal(err)
		}
		open(true, true)
		if _, err := r.Drain(t.Context(), []string{"b"}); err != nil {
			t.Fatal(err)
		}
		open(true, false)
		r.applyWith(control.ApplyOptions{Hold: []string{"b"}}, a, b) // twice the same
		r.applyWith(control.ApplyOptions{Hold: []string{"b"}}, a, b)
		open(true, false)
		if n := len(r.fake.Link("a").Opens()); n != 1 {
			t.Errorf("a was opened %d times", n)
		}
		first, err := r.Drain(t.Context(), []string{"b"})
		if err != nil {
			t.Fatal(err)
		}
		if again, err := r.Drain(t.Context(), []string{"b"}); err != nil || !bytes.Equal(again.HandOff, first.HandOff) {
			t.Errorf("a second drain answers %s, not %s (%v)", again.HandOff, first.HandOff, err)
		}
		if _, err := r.Drain(t.Context(), []string{"x"}); driver.CodeOf(err) != driver.NotFound {
			t.Errorf("drain of no link: %v", err)
		}
		r.apply(a, b)
		open(true, true)
		r.applyWith(control.ApplyOptions{Standby: true}, a, b)
		open(false, false)
		if err := r.Activate(t.Context(), []string{"b"}, control.ActivateOptions{}); err != nil {
			t.Fatal(err)
		}
		open(false, true)
	})
}
