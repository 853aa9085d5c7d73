package ordeal

import (
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/test/plant"
)

// Restarts ends the core with SIGKILL, then in order, and starts it again, each time with
// the drivers polling on; at last another build of fieldloom takes its place. No poll is
// missed, and every slot is stored once.
func Restarts(t testing.TB, o Options, kills, planned int, another func(testing.TB) plant.Binaries) {
	t.Helper()
	f := newField(t, o)
	other := another(t)
	process := f.active(0)
	f.polled(10)
	began := time.Now()
	var away []time.Duration
	for i := range kills + planned + 1 {
		f.polled(3)
		time.Sleep(o.Period * time.Duration(i%7) / 7)
		at := time.Now()
		bins := f.bins
		if i < kills {
			f.G.Kill()
		} else {
			f.G.Stop()
		}
		if i == kills+planned {
			bins = other
		}
		time.Sleep(time.Duration(i%4) * 100 * time.Millisecond) // some cores come back later
		f.start(bins)
		away = append(away, time.Since(at))
		now := f.active(0)
		if now.PID != process.PID || !now.Adopted || !now.Detached {
			t.Fatalf("restart %d: the driver is process %d (adopted: %v, detached: %v), and was %d before", i+1, now.PID, now.Adopted, now.Detached, process.PID)
		}
	}
	f.polled(10)
	over := time.Now()
	f.end()
	e := f.evidence()
	v, all := f.judge(e)
	p := f.pace(all, began, over)
	for _, g := range e.gaps {
		t.Errorf("a gap: %s (%v to %v)", g.cause, g.from, g.to)
	}
	if v.lost > 0 || e.bad > 0 {
		t.Errorf("%d slots of %d are not stored, %d samples are Bad", v.lost, v.served, e.bad)
	}
	f.hold(p)
	figure(t, "core restarted, drivers detached", "kills", kills, "planned", planned, "other_builds", 1, "devices", o.Devices, "period_ms", o.Period,
		"took_ms", over.Sub(began), "served", v.served, "stored", v.stored, "lost", v.lost, "repeated", v.repeated, "disordered", v.disordered,
		"polls_missed", p.missed, "polls_missed_by_the_machine", p.excused, "latest_poll_ms", p.latest, "limit_ms", o.Period,
		"core_away_median_ms", median(away), "core_away_worst_ms", worst(away), "machine_stall_ms", p.stall, "machine_busy", f.pulse.busy())
}
