package supervise_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// handles are from 1 to 9.
type handles struct{}

func (handles) Until(first uint32, count uint64) (int64, bool) {
	return math.MaxInt64, first >= 1 && uint64(first)+count <= 10
}

func withHandles(o *supervise.Options) {
	o.Handles = func(string) wire.Handles { return handles{} }
}

func one(handle uint32, at time.Time) *frame.Batch {
	return &frame.Batch{Blocks: []frame.Block{{Runs: []uint32{handle, 1}, Time: at.UnixNano(), Kind: driver.KindBool, Bools: []bool{true}}}}
}

func (a *fakeAttachment) send(seq uint64, b *frame.Batch, g *frame.Gap) {
	a.to.Frame(seq, wire.AppendFrame(nil, seq, b, g))
}

// What a process may not send is stored as a gap in its own name, in the place of the frame,
// with what it did; it is acknowledged, counted and logged, and what is behind it is taken.
func TestAFrameThatIsRefusedIsAGap(t *testing.T) {
	year := 365 * 24 * time.Hour
	for name, c := range map[string]struct {
		batch func() *frame.Batch
		gap   *frame.Gap
		want  string
	}{
		"another's point":       {batch: func() *frame.Batch { return one(10, time.Now()) }, want: "not all its own"},
		"nobody's point":        {batch: func() *frame.Batch { return one(1_000_000, time.Now()) }, want: "not all its own"},
		"1677":                  {batch: func() *frame.Batch { return one(1, time.Unix(0, math.MinInt64)) }, want: "too early: 1677"},
		"2262":                  {batch: func() *frame.Batch { return one(1, time.Unix(0, math.MaxInt64)) }, want: "too late: 2262"},
		"the clock's beginning": {batch: func() *frame.Batch { return one(1, time.Unix(0, 0)) }, want: "too early: 1970"},
		"two years ago":         {batch: func() *frame.Batch { return one(1, time.Now().Add(-2*year)) }, want: "too early"},
		"next year":             {batch: func() *frame.Batch { return one(1, time.Now().Add(year)) }, want: "too late"},
		"a gap of everything":   {gap: &frame.Gap{Samples: math.MaxUint64}, want: "cannot be so many"},
		"a gap of what is there": {gap: &frame.Gap{Samples: 1, FirstSeq: 1, LastSeq: 2, Cause: driver.Errorf(driver.Lost, "driver modbus: frames 1 to 2 never came")},
			want: "of which frame 1 was stored"},
		"a gap since 1677": {gap: &frame.Gap{Samples: 1, From: time.Unix(0, math.MinInt64)}, want: "1677"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, withHandles)
				defer r.s.Close(false)
				time.Sleep(time.Until(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)))
				r.set(1)
				a := (<-r.starts).attachment()
				a.send(1, one(1, time.Now()), nil)
				var batch *frame.Batch
				if c.batch != nil {
					batch = c.batch()
				}
				a.send(2, batch, c.gap)
				a.send(3, one(9, time.Now()), nil)
				synctest.Wait()
				if a.ackedUpTo() != 3 {
					t.Errorf("acknowledged up to %d", a.ackedUpTo())
				}
				r.wantStory("fake 1/1", "fake 1/2", "fake 1/3")
				_, b, g, err := wire.DecodeFrame(r.spool.records[1].Data)
				if err != nil || b != nil || g.FirstSeq != 2 || g.LastSeq != 2 || g.Samples != 0 || !g.To.Equal(time.Now()) ||
					!strings.HasPrefix(g.Cause.Text, "driver fake: frame 2") || !strings.Contains(g.Cause.Text, c.want) {
					t.Errorf("stored %+v, %+v %v", b, g, err)
				}
				if s := r.status(); s.Refused != 1 || !strings.Contains(s.Refusal, c.want) || s.State != supervise.Active {
					t.Errorf("status %s, %d refused: %q", s.State, s.Refused, s.Refusal)
				}
				if !strings.Contains(r.logged(), "frame refused") {
					t.Errorf("log %s", r.logged())
				}
			})
		})
	}
}

// A sample whose time is ahead of the gateway's clock is kept, and is not Good.
func TestSamplesFromTheFutureAreUncertain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withHandles)
		defer r.s.Close(false)
		r.set(1)
		a := (<-r.starts).attachment()
		now := time.Now()
		b := one(1, now)
		b.Blocks[0].Runs[1], b.Blocks[0].Bools = 4, []bool{true, true, true, true}
		b.Blocks[0].Deltas = []int64{0, int64(time.Hour), int64(time.Hour), int64(time.Minute)}
		fault := driver.Errorf(driver.Timeout, "silent")
		b.Blocks[0].Exceptions = []frame.Exception{{First: 2, Count: 1, Quality: driver.Bad, Fault: fault}}
		a.send(1, b, nil)
		a.send(2, one(1, now.Add(4*time.Minute)), nil)
		synctest.Wait()
		var have []string
		for _, record := range r.spool.records {
			_, batch, _, err := wire.DecodeFrame(record.Data)
			if err != nil {
				t.Fatal(err)
			}
			for s := range batch.Samples() {
				have = append(have, fmt.Sprintf("%d %v %v", s.Handle, s.Quality, s.Time.Sub(now)))
			}
		}
		want := "1 good 0s, 2 uncertain 1h0m0s, 3 bad 1h0m0s, 4 good 1m0s, 1 good 4m0s"
		if strings.Join(have, ", ") != want {
			t.Errorf("have %q, want %s", have, want)
		}
	})
}

// A process that goes on is killed, and the driver ends in quarantine with what it did.
func TestADriverThatForgesEndsInQuarantine(t *testing.T) {
	acts := map[string]func(a *fakeAttachment, n uint64){
		"points":    func(a *fakeAttachment, n uint64) { a.send(n, one(100, time.Now()), nil) },
		"gaps":      func(a *fakeAttachment, n uint64) { a.send(n, nil, &frame.Gap{Samples: math.MaxUint64}) },
		"sequences": func(a *fakeAttachment, n uint64) { a.send(2*n, one(1, time.Now()), nil) },
		"conditions": func(a *fakeAttachment, n uint64) {
			a.to.Event(control.Event{Link: "another's", Condition: control.Down, Cause: driver.Errorf(driver.Timeout, "x")})
		},
		"devices": func(a *fakeAttachment, n uint64) {
			a.to.Event(control.Event{Link: "line", Device: "another's", Condition: control.Down, Cause: driver.Errorf(driver.Timeout, "x")})
		},
	}
	for name, act := range acts {
		for pace, pause := range map[string]time.Duration{"at once": 0, "slowly": 30 * time.Second} {
			t.Run(name+" "+pace, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, withHandles)
					r.beats = true
					defer r.s.Close(false)
					r.set(1)
					for lives := 1; ; lives++ {
						p := <-r.starts
						a := p.attachment()
						time.Sleep(20 * time.Second)
						for n := uint64(1); n < 50 && !isDone(p.done); n++ {
							act(a, n)
							time.Sleep(pause)
						}
						synctest.Wait()
						if !isDone(p.done) {
							t.Fatalf("life %d goes on: %+v", lives, r.status())
						}
						s := r.status()
						if !strings.Contains(s.Cause, "was refused 17 times") && pause == 0 || s.Refused < uint64(17*lives) {
							t.Fatalf("%d refused: %q", s.Refused, s.Cause)
						}
						if s.State == supervise.Quarantined {
							if lives > 5 {
								t.Errorf("quarantined in its life %d", lives)
							}
							return
						}
						time.Sleep(time.Minute)
					}
				})
			})
		}
	}
}

// What was configured a moment ago may still be told of, and a hole now and then is no
// reason to kill a process.
func TestAnHonestDriverIsNotKilledForWhatIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withHandles)
		r.beats = true
		defer r.s.Close(false)
		r.set(1)
		p := <-r.starts
		a := p.attachment()
		time.Sleep(time.Minute)
		r.set(2)
		synctest.Wait()
		for range 1000 {
			a.to.Event(control.Event{Link: "that was there", Condition: control.Stopped})
		}
		for n := uint64(1); n < 100; n++ {
			time.Sleep(2 * time.Minute)
			a.send(2*n, one(1, time.Now()), nil)
		}
		synctest.Wait()
		if s := r.status(); p.wasStopped() || s.State != supervise.Active || s.Gaps == 0 {
			t.Errorf("%s after %d refusals: %s", s.State, s.Refused, s.Cause)
		}
	})
}

// Sequences that cannot be end the process before they raise its mark.
func TestSequencesNearTheEnd(t *testing.T) {
	for _, seq := range []uint64{math.MaxUint64, math.MaxUint64 - 1, 1 << 63, 1<<32 + 6} {
		t.Run(fmt.Sprint(seq), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, withHandles)
				defer r.s.Close(false)
				r.set(1)
				p := <-r.starts
				a := p.attachment()
				for n := range uint64(5) {
					a.send(n+1, one(1, time.Now()), nil)
				}
				a.send(seq, one(1, time.Now()), nil)
				synctest.Wait()
				if !p.wasStopped() || r.spool.MarkOf("fake", p.epoch) != 5 || a.ackedUpTo() != 5 {
					t.Errorf("the mark is %d, acknowledged %d", r.spool.MarkOf("fake", p.epoch), a.ackedUpTo())
				}
				if s := r.status(); !strings.Contains(s.Cause, fmt.Sprintf("it sent frame %d after frame 5", seq)) {
					t.Errorf("cause %q", s.Cause)
				}
			})
		})
	}
}

// A process whose frames would be taken for those of another before it does not run.
func TestEpochsThatComeAgain(t *testing.T) {
	for name, c := range map[string]struct {
		epoch uint64
		want  string
	}{
		"of a process that died": {1, "that of a process before it"},
		"none":                   {0, "process epoch is 0"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, withHandles)
				r.beats = true
				defer r.s.Close(false)
				r.set(1)
				p := <-r.starts
				p.attachment().send(1, one(1, time.Now()), nil)
				synctest.Wait()
				r.mu.Lock()
				r.make = func(p *fakeProcess) { p.epoch = c.epoch }
				r.mu.Unlock()
				p.die("killed")
				time.Sleep(time.Minute)
				s := r.status()
				if s.State != supervise.Quarantined || !strings.Contains(s.Cause, c.want) {
					t.Errorf("%s: %q", s.State, s.Cause)
				}
			})
		})
	}
	t.Run("of a process that runs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, withHandles)
			r.beats = true
			r.make = func(p *fakeProcess) { p.epoch = 1 }
			defer r.s.Close(false)
			r.want(supervise.Desired{State: state(1, "line"), Standby: 1})
			time.Sleep(time.Second)
			s := r.status()
			running := 0
			for _, p := range s.Processes {
				if p.State == supervise.Active || p.State == supervise.Standby {
					running++
				}
			}
			if running != 1 || !strings.Contains(s.Processes[0].Cause+s.Processes[1].Cause, "is that of process") {
				t.Errorf("%+v", s.Processes)
			}
		})
	})
}

// A driver that floods has what others leave; one that takes less than its share never
// waits.
func TestSharesOfTheIntake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.s.Close(false)
		r.s.Set(map[string]supervise.Desired{"flood": {State: state(1, "f")}, "honest": {State: state(1, "h")}})
		links := map[string]*fakeAttachment{}
		for range 2 {
			p := <-r.starts
			a := p.attachment()
			links[fmt.Sprint(p.applies()[0].Links[0].Name)] = a
		}
		text := strings.Repeat("x", 1<<20)
		stop := make(chan struct{})
		sent := 0
		go func() {
			for seq := uint64(1); !isDone(stop); seq++ {
				b := one(1, time.Now())
				b.Blocks[0].Kind, b.Blocks[0].Bools, b.Blocks[0].Strings = driver.KindString, nil, []string{text}
				links["f"].send(seq, b, nil)
				sent++
			}
		}()
		begun := time.Now()
		for seq := range uint64(100) {
			time.Sleep(100 * time.Millisecond)
			before := time.Now()
			links["h"].send(seq+1, one(1, before), nil)
			if waited := time.Since(before); waited > 0 {
				t.Fatalf("frame %d of the honest driver waited %v", seq, waited)
			}
		}
		close(stop)
		elapsed := time.Since(begun).Seconds()
		synctest.Wait()
		time.Sleep(time.Second)
		if rate := float64(sent) / elapsed; rate < 30 || rate > 36 {
			t.Errorf("the flood came in at %.1f MB/s, want 32 and what one slot more has", rate)
		}
	})
}
