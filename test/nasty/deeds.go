package nasty

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
)

// Stop is the deed of a driver that somebody stops.
const Stop = "SIGSTOP"

// Most is what a deed may make the gateway's memory grow by. The gateway holds up to
// 4 MiB of a driver that are not stored yet, and Go lets the heap grow before it collects.
const Most = 64 << 20

// A Deed is something that a driver does wrong while it runs, and what becomes of it.
type Deed struct {
	Name, Driver, Deed string
	Main               string        // more of fieldloom.yaml
	Within             time.Duration // until the end is there
	End                Verdict
	AtLeast            time.Duration // that it goes on
}

// Deeds are those that end by themselves.
func Deeds() []Deed {
	const little = "processes: {nasty: {memory: 128MiB}}\n"
	return []Deed{
		{"SIGSTOP", "nasty", Stop, "", 15 * time.Second, Replaced("no heartbeat"), 0},
		{"heartbeats stop", "wire", "mute", "", 15 * time.Second, Replaced("no heartbeat"), 0},
		{"progress stops, heartbeats go on", "wire", "stall", "", 25 * time.Second, Replaced("no progress"), 0},
		{"a call that never returns", "nasty", "hang", "", 20 * time.Second, Sees("up", ""), 8 * time.Second},
		{"deadlock in every call", "nasty", "deadlock", "", 120 * time.Second, Replaced("no progress"), 0},
		{"spins on all processors", "nasty", "spin", "", 20 * time.Second, GoesOn(""), 10 * time.Second},
		{"eats memory, confined", "nasty", "eat", little, 30 * time.Second, Replaced("memory"), 0},
		{"floods stderr", "nasty", "flood", "", 60 * time.Second, GoesOn("the flood is over"), 0},
		{"floods stderr, detached", "nasty", "flood", "detach: true\n", 60 * time.Second, GoesOn("the flood is over"), 0},
		{"forks, confined", "nasty", "fork", "", 10 * time.Second, GoesOn("no child:"), 0},
		{"answers with a value of 100 MB", "nasty", "huge", "", 20 * time.Second, Stores("longer"), 5 * time.Second},
		{"answers with a fault of 100 MB", "nasty", "fault", "", 20 * time.Second, Stores("fff"), 5 * time.Second},
		{"sends a message of 100 MB", "wire", "batch", "", 30 * time.Second, Replaced("broke 5 times"), 0},
		{"answers calls with 100 MB", "wire", "answer", "", 20 * time.Second, Refuses("larger"), 5 * time.Second},
		{"forges another's points", "wire", "points", "", 20 * time.Second, Replaced("not all its own"), 0},
		{"forges points of nobody", "wire", "nobody", "", 20 * time.Second, Replaced("not all its own"), 0},
		{"has times of 1677", "wire", "past", "", 20 * time.Second, Replaced("too early: 1677"), 0},
		{"has times of 2262", "wire", "future", "", 20 * time.Second, Replaced("too late: 2262"), 0},
		{"claims a million nulls in 24 bytes", "wire", "nulls", "", 20 * time.Second, Replaced("not all its own"), 0},
		{"forges another's gaps", "wire", "gaps", "", 20 * time.Second, Replaced("cannot be so many"), 0},
		{"leaves frames out", "wire", "jumps", "", 20 * time.Second, Replaced("never came"), 0},
		{"numbers its frames to the last", "wire", "last", "", 20 * time.Second, Replaced("there cannot be so many"), 0},
		{"tells of another's devices", "wire", "events", "", 40 * time.Second, Replaced("which it does not have"), 0},
		{"floods with texts of 7 MB", "wire", "texts", "", 20 * time.Second, GoesOn(""), 8 * time.Second},
		{"sends each frame alone, as fast as it can", "wire", "messages", "", 20 * time.Second, GoesOn(""), 8 * time.Second},
		{"answers with another's points and links", "wire", "lie", "", 20 * time.Second, Refuses("it answered"), 3 * time.Second},
		{"writes to every directory it can", "wire", "litter", "", 60 * time.Second, GoesOn("MB of litter"), 0},
		{"panics", "nasty", "panic", "", 10 * time.Second, Replaced("panic: the driver has a bug"), 0},
	}
}

// Run has a gateway with the driver do the deed, after the neighbours were watched for
// a time. The gateway goes on.
func (d Deed) Run(t testing.TB, program string, quiet time.Duration) (*Plant, Toll) {
	t.Helper()
	p := Start(t, program, Config{Driver: d.Driver, Main: d.Main})
	before := p.Healthy()
	time.Sleep(quiet)
	w := p.Watch()
	if d.Deed == Stop {
		if err := syscall.Kill(before.PID, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	} else {
		p.Do(d.Deed)
	}
	time.Sleep(d.AtLeast)
	after := p.Until(d.Within, func(now client.Driver) error { return d.End(p, before, now) })
	toll := w.Toll()
	t.Logf("%s: %s, %d restarts, %.100q: %v", d.Name, after.State, after.Restarts, after.Cause, toll)
	return p, toll
}

// Quarantined reports whether a driver is quarantined after what the cause has in it.
func Quarantined(d client.Driver, cause string) error {
	if err := Is(d, "quarantined"); err != nil {
		return err
	}
	if err := Caused(d, "5 deaths in 5m0s"); err != nil {
		return err
	}
	return Caused(d, cause)
}

// Bounded reports whether the gateway logged more than is in order.
func (p *Plant) Bounded() error {
	if n := len(p.Log()); n > 4<<20 {
		return fmt.Errorf("the gateway logged %d bytes", n)
	}
	return nil
}
