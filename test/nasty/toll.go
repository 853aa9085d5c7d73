package nasty

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/test/plant"
)

// A Watch looks at a gateway while something is done to it.
type Watch struct {
	p      *Plant
	begun  time.Time
	before int64 // bytes of memory of the gateway that were resident at its begin
}

// Watch begins to look. What the neighbours did before is what they are held against.
func (p *Plant) Watch() *Watch {
	p.t.Helper()
	pid := p.PID()
	// 5 sets the peak to what is resident now; see proc(5).
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		p.t.Logf("the peak of the gateway's memory is that since its start: %v", err)
	}
	return &Watch{p: p, begun: time.Now(), before: memory(pid, "VmRSS")}
}

// A Toll is what a deed cost.
type Toll struct {
	Took                 time.Duration
	Before, Peak, After  int64         // bytes of the gateway that were resident
	Quiet, Worst         time.Duration // the neighbours' worst lateness before and during the deed
	QuietMost, WorstMost time.Duration // the lateness of all but one in a hundred
	Polls                int           // of the neighbours, during
	Missed, QuietMissed  int           // that were due and not made, during and before
}

// Toll ends the watch.
func (w *Watch) Toll() Toll {
	pid := w.p.PID()
	now := time.Now()
	toll := Toll{Took: now.Sub(w.begun), Before: w.before, Peak: memory(pid, "VmHWM"), After: memory(pid, "VmRSS")}
	var quiet, during []time.Duration
	for i := range neighbours {
		polls := w.p.sim.Device(device(i)).PollTimes()
		before, late := offGrid(polls, w.p.begun, w.begun), offGrid(polls, w.begun, now)
		quiet, during = append(quiet, before...), append(during, late...)
		toll.QuietMissed += missed(before, w.begun.Sub(w.p.begun))
		toll.Missed += missed(late, toll.Took)
	}
	toll.Polls = len(during)
	toll.Quiet, toll.QuietMost = most(quiet)
	toll.Worst, toll.WorstMost = most(during)
	return toll
}

// missed tells how many polls of one device are lacking in a time.
func missed(polls []time.Duration, in time.Duration) int { return max(0, int(in/period)-1-len(polls)) }

func (t Toll) String() string {
	return fmt.Sprintf("%6.2f s, memory %d -> %d MB (peak %d), neighbours' worst lateness %.1f ms, without %.1f ms (99 %%: %.1f, without %.1f), %d polls, %d missed, without %d",
		t.Took.Seconds(), t.Before>>20, t.After>>20, t.Peak>>20, milli(t.Worst), milli(t.Quiet), milli(t.WorstMost), milli(t.QuietMost), t.Polls, t.Missed, t.QuietMissed)
}

func milli(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Check says what was too much: more memory than more bytes, or neighbours that
// missed polls or made more than one in a hundred half a period later than before. Where they missed some before, the machine has
// other things to do, and nothing can be said of them.
func (t Toll) Check(more int64) error {
	switch {
	case t.Peak-t.Before > more:
		return fmt.Errorf("the gateway took %d MB more memory, at most %d are in order", (t.Peak-t.Before)>>20, more>>20)
	case t.QuietMissed > 0:
	case t.Missed > 0:
		return fmt.Errorf("the neighbours missed %d polls of %d", t.Missed, t.Missed+t.Polls)
	case t.WorstMost > t.QuietMost+period/2:
		return fmt.Errorf("of the neighbours' polls one in a hundred was %v late or more, without the deed %v", t.WorstMost, t.QuietMost)
	}
	return nil
}

// memory reads a field of /proc/PID/status, in bytes; 0 when the process is dead.
func memory(pid int, field string) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if name, value, ok := strings.Cut(string(line), ":"); ok && name == field {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

// early is how far before its time a poll may seem to be: what is earlier is as late as
// makes it the one before.
const early = period / 10

// offGrid lists how far each poll between two times is behind its device's grid: up to
// nine tenths of a period. What is later lacks at its own time, and is missed there.
func offGrid(polls []time.Time, from, to time.Time) []time.Duration {
	base := onTime(polls)
	var off []time.Duration
	for _, at := range polls {
		if !at.Before(from) && !at.After(to) {
			off = append(off, (at.Sub(base)%period+period+early)%period-early)
		}
	}
	return off
}

// onTime is a point of the grid of a device's polls: nine of ten are later than theirs.
func onTime(polls []time.Time) time.Time {
	if len(polls) == 0 {
		return time.Time{}
	}
	base := polls[0]
	for _, share := range []int{2, 10} { // the middle first, so that the grid's ends are far from most polls
		off := make([]time.Duration, len(polls))
		for i, at := range polls {
			off[i] = (at.Sub(base)%period+period+period/2)%period - period/2
		}
		slices.Sort(off)
		base = base.Add(off[len(off)/share])
	}
	return base
}

// most is the largest of the distances, and that of all but one in a hundred.
func most(off []time.Duration) (worst, almost time.Duration) {
	if len(off) == 0 {
		return 0, 0
	}
	sorted := slices.Sorted(slices.Values(off))
	return max(0, sorted[len(sorted)-1]), max(0, sorted[len(sorted)*99/100])
}

// EachOnce stops the gateway and holds what it stored of the neighbours against what
// they served.
func (p *Plant) EachOnce() error {
	if _, err := p.CLI("stop", "--drivers"); err != nil {
		return err
	}
	p.Wait()
	served := make([]uint64, neighbours)
	for i := range served {
		served[i] = p.sim.Device(device(i)).Slot()
	}
	p.sim.Close()
	again := p.bins.Start(p.t, p.Dir)
	plant.Eventually(p.t, Patience, func() error {
		_, err := again.Status()
		return err
	})
	slots, err := plant.Slots(again.Stored("plc*/d/slot"))
	if err != nil {
		return err
	}
	for i, n := range served {
		if err := plant.EachOnce(slots[fmt.Sprintf("plc%d/d", i+1)], n); err != nil {
			return fmt.Errorf("plc%d: %w", i+1, err)
		}
	}
	return nil
}
