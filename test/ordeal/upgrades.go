package ordeal

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/test/plant"
)

const second = "0.2.0"

// quiet is how long a field is looked at before anything is done to it.
const quiet = 2 * time.Second

// Upgrades upgrades the driver n times, to and fro between two versions: every poll slot
// is stored once and in order, and none is later than one period.
func Upgrades(t testing.TB, o Options, n int) {
	t.Helper()
	o.Process = "probation: 1s"
	f := newField(t, o)
	f.install(plant.Package{Driver: "modbus", Version: second, Executable: plant.Copy(t, filepath.Join(f.bins.Executables(), "driver-modbus"))})
	calm := time.Now()
	time.Sleep(quiet)
	began := time.Now()
	var switches []time.Duration
	for i := range n {
		before := f.active(0)
		to := []string{second, first}[i%2]
		took, err := f.upgrade(to)
		if err != nil {
			t.Fatalf("upgrade %d: %v", i+1, err)
		}
		switches = append(switches, took)
		if now := f.active(0); now.Version != to || now.PID == before.PID {
			t.Fatalf("upgrade %d to %s: process %d of version %s is active, it was %d", i+1, to, now.PID, now.Version, before.PID)
		}
	}
	f.polled(5)
	over := time.Now()
	f.end()
	e := f.evidence()
	v, all := f.judge(e)
	still, p := f.pace(all, calm, began), f.pace(all, began, over)
	for _, g := range e.gaps {
		t.Errorf("a gap: %s (%v to %v)", g.cause, g.from, g.to)
	}
	if v.lost > 0 || e.bad > 0 {
		t.Errorf("%d slots of %d are not stored, %d samples are Bad", v.lost, v.served, e.bad)
	}
	f.hold(p)
	figure(t, "driver upgraded while it polls", "upgrades", n, "devices", o.Devices, "period_ms", o.Period, "took_ms", over.Sub(began),
		"served", v.served, "stored", v.stored, "lost", v.lost, "repeated", v.repeated, "disordered", v.disordered,
		"polls_missed", p.missed, "polls_missed_by_the_machine", p.excused, "latest_poll_ms", p.latest, "polls_later_than_a_period", p.beyond, "limit_ms", o.Period,
		"latest_poll_without_upgrade_ms", still.latest, "all_links_switched_median_ms", median(switches), "all_links_switched_worst_ms", worst(switches), "machine_stall_ms", p.stall, "machine_busy", f.pulse.busy())
}

// install puts a package into the drivers directory and waits until the gateway has
// looked at it.
func (f *Field) install(p plant.Package) {
	f.t.Helper()
	f.bins.Pack(f.t, p, f.drivers)
	plant.Eventually(f.t, patience, func() error {
		list, err := f.API.Packages(f.t.Context())
		if err != nil {
			return err
		}
		for _, have := range list {
			if have.Driver == p.Driver && have.Version == p.Version && have.Refusal == "" {
				return nil
			}
		}
		return fmt.Errorf("the gateway has no %s %s: %v", p.Driver, p.Version, list)
	})
}

// upgrade brings the driver to a version, and tells how long its links took to change
// hands. Its error is the fault of an upgrade that was taken back.
func (f *Field) upgrade(version string) (took time.Duration, err error) {
	f.t.Helper()
	final := false
	var from, to time.Time
	for step, err := range f.API.Upgrade(f.t.Context(), "modbus", version) {
		if err != nil {
			f.t.Fatal(err)
		}
		switch {
		case step.Final:
			final = true
			if step.Fault != nil {
				return 0, errors.New(step.Fault.String())
			}
		case step.Link == "" && to.IsZero():
			from = step.Time
		case step.Link != "":
			to = step.Time
		}
	}
	if !final {
		f.t.Fatalf("the upgrade to %s has no end", version)
	}
	return to.Sub(from), nil
}
