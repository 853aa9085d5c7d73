package engine_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/driver/drivertest"
	"github.com/fieldloom/fieldloom/core/engine"
)

// TestWhatWaitsIsMadeInOrder lets everything that a link can do come while a call is on the
// wire: writes go first, each kind in the order in which it came, and polls last.
func TestWhatWaitsIsMadeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		l := link("l", 3, table(1))
		l.Timeout = 5 * time.Second
		for i := range 3 {
			r.set("l", fmt.Sprintf("d%d", i+1), 1).Delay(400 * time.Millisecond)
		}
		r.apply(l) // three polls of 400 ms a second: one is always due
		sleep(3 * time.Second)
		var order []string
		done := make(chan string)
		ask := func(kind, device string) {
			go func() {
				var err error
				if kind == "read" {
					_, err = r.Read(t.Context(), "l", device, []string{"p0"})
				} else {
					err = r.Write(t.Context(), "l", device, "p0", driver.Int64Value(1))
				}
				if err != nil {
					t.Errorf("%s of %s: %v", kind, device, err)
				}
				done <- kind + " " + device
			}()
			synctest.Wait()
		}
		polls := r.polls("d1", "d2", "d3")
		begun := time.Now()
		for _, q := range [][2]string{{"read", "d2"}, {"write", "d3"}, {"read", "d1"}, {"write", "d1"}, {"write", "d2"}} {
			ask(q[0], q[1])
		}
		for range 5 {
			order = append(order, <-done)
		}
		if want := []string{"write d3", "write d1", "write d2", "read d2", "read d1"}; !slices.Equal(order, want) {
			t.Errorf("the order was %q, want %q", order, want)
		}
		if took := time.Since(begun); took > 6*400*time.Millisecond {
			t.Errorf("five requests took %v: a poll came between", took)
		}
		if n := r.polls("d1", "d2", "d3") - polls; n > 1 {
			t.Errorf("%d polls ended before the last request was answered", n)
		}
	})
}

// polls counts the polls that devices of the link l have answered.
func (r *rig) polls(devices ...string) (n uint64) {
	for _, d := range devices {
		n += r.device("l", d).Polls
	}
	return n
}

// TestDevicesTakeTurns has more to do than there is time for: every device gets its share,
// and polls with a period are not pushed away by those without.
func TestDevicesTakeTurns(t *testing.T) {
	for name, test := range map[string]struct {
		periods [4]time.Duration
		least   [4]int // polls in 20 s, of 50 ms each
		most    [4]int
	}{
		"without periods": {[4]time.Duration{}, [4]int{99, 99, 99, 99}, [4]int{101, 101, 101, 101}},
		"overdue": {
			[4]time.Duration{100 * time.Millisecond, 100 * time.Millisecond, 100 * time.Millisecond, 100 * time.Millisecond},
			[4]int{95, 95, 95, 95}, [4]int{105, 105, 105, 105},
		},
		"mixed": {[4]time.Duration{time.Second, 0, 0, 0}, [4]int{19, 120, 120, 120}, [4]int{21, 132, 132, 132}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, engine.Options{})
				l := control.Link{Name: "l", Timeout: time.Second}
				for i, period := range test.periods {
					class := control.Class{Name: fmt.Sprint("c", i), Period: period}
					l.Classes = append(l.Classes, class)
					device := control.Device{
						Name: fmt.Sprintf("d%d", i+1), FirstHandle: uint32(1000*i + 1),
						Table: table(1, func(_ int, p *control.Point) { p.Class = i }),
					}
					l.Devices = append(l.Devices, device)
					r.set("l", device.Name, 1).Delay(50 * time.Millisecond)
				}
				r.apply(l)
				sleep(20 * time.Second)
				for i := range test.periods {
					polls := len(r.fake.Link("l").Device(fmt.Sprintf("d%d", i+1)).Polls())
					if polls < test.least[i] || polls > test.most[i] {
						t.Errorf("d%d: %d polls, want %d to %d", i+1, polls, test.least[i], test.most[i])
					}
				}
			})
		})
	}
}

// TestSuspectWaitsForItsNeighbours has a link that always has a poll due: a device whose
// answer did not come is asked again only after ten seconds, and then it is.
func TestSuspectWaitsForItsNeighbours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		l := link("l", 3, table(1))
		l.Classes[0].Period = 10 * time.Millisecond
		r.set("l", "d1", 1).Delay(20 * time.Millisecond)
		r.set("l", "d3", 1).Delay(20 * time.Millisecond)
		suspect := r.set("l", "d2", 1)
		suspect.Delay(20 * time.Millisecond)
		r.apply(l)
		sleep(time.Second)
		suspect.Silence(true)
		sleep(25 * time.Second)
		polls := times(suspect.Polls())
		var waits []time.Duration
		for i := len(polls) - 2; i < len(polls); i++ {
			waits = append(waits, polls[i].Sub(polls[i-1]).Round(time.Second))
		}
		// The time-out itself, and ten seconds from the due time after it.
		if want := []time.Duration{11 * time.Second, 11 * time.Second}; !slices.Equal(waits, want) {
			t.Errorf("the suspect was asked again after %v, want %v", waits, want)
		}
	})
}

// TestSuspectIsAskedInTheIdleTime is the same with time left: it keeps its period.
func TestSuspectIsAskedInTheIdleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		l := link("l", 2, table(1))
		l.Timeout = 100 * time.Millisecond
		r.set("l", "d1", 1)
		suspect := r.set("l", "d2", 1)
		r.apply(l)
		sleep(3 * time.Second)
		suspect.Silence(true)
		sleep(2500 * time.Millisecond)
		polls := times(suspect.Polls())
		for i := len(polls) - 2; i < len(polls); i++ {
			if wait := polls[i].Sub(polls[i-1]); wait != time.Second {
				t.Errorf("the suspect was asked again after %v", wait)
			}
		}
	})
}

// TestProbeOnlyBetweenPolls has a link with 30 ms left a second: a probe takes no longer.
func TestProbeOnlyBetweenPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		l := link("l", 2, table(1))
		l.Classes[0].Period = 100 * time.Millisecond
		neighbour := r.set("l", "d1", 1)
		neighbour.Delay(70 * time.Millisecond)
		dead := r.set("l", "d2", 1)
		dead.Silence(true)
		r.apply(l)
		sleep(time.Minute)
		if c := r.device("l", "d2").Condition; c != control.Down {
			t.Fatalf("the device is %v", c)
		}
		before := len(dead.Polls())
		late := len(neighbour.Polls())
		sleep(time.Minute)
		if n := len(dead.Polls()) - before; n < 3 || n > 8 {
			t.Errorf("%d probes in a minute", n)
		}
		polls := times(neighbour.Polls())[late:]
		if len(polls) < 599 {
			t.Errorf("%d polls of the neighbour in a minute", len(polls))
		}
		if worst := shifts(polls, polls[0], 100*time.Millisecond); worst != 0 {
			t.Errorf("a probe moved the neighbour by %v", worst)
		}
	})
}

// TestBusyDeviceIsLeftAlone gives a device the time that it asked for, and no other.
func TestBusyDeviceIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		busy, other := r.set("l", "d1", 1), r.set("l", "d2", 1)
		busy.Fail(&driver.Error{Code: driver.Busy, Text: "busy", After: 4500 * time.Millisecond})
		r.apply(link("l", 2, table(1)))
		sleep(30 * time.Second)
		checkWaits(t, busy, 5*time.Second, 5*time.Second)
		checkWaits(t, other, time.Second, time.Second)
		if s := r.device("l", "d1"); s.Condition != control.Degraded || driver.CodeOf(s.Cause) != driver.Busy {
			t.Errorf("the device is %v: %v", s.Condition, s.Cause)
		}
	})
}

// checkWaits holds the times between the polls of a device against bounds.
func checkWaits(t *testing.T, d *drivertest.FakeDevice, least, most time.Duration) {
	t.Helper()
	polls := times(d.Polls())
	if len(polls) < 3 {
		t.Fatalf("%d polls", len(polls))
	}
	for i := 1; i < len(polls); i++ {
		if wait := polls[i].Sub(polls[i-1]); wait < least || wait > most {
			t.Errorf("poll %d came after %v, want %v to %v", i, wait, least, most)
		}
	}
}
