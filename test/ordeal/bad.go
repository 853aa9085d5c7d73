package ordeal

import (
	"fmt"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/test/plant"
)

// Ways are what can be wrong with a new version, by the words of test/chaos/baddriver.
func Ways() []string {
	return []string{
		"start",     // it ends before its handshake
		"handshake", // it prints something else
		"apply",     // it ends when it is given its configuration
		"refuse",    // it refuses the configuration
		"hang",      // it opens no link and does not return
		"die",       // it ends 100 ms after it was given links
		"answers",   // all of its samples are Bad
		"panic",     // it panics in a poll
		"name",      // it says that it is another driver
		"silent",    // it stands still after a while: no heartbeats any more
	}
}

// BadUpgrades tries versions of which each has something wrong, every way so many times:
// each is taken back, and nothing is lost but what a process that died took with it, of
// which a gap tells.
func BadUpgrades(t testing.TB, o Options, ways []string, times int) {
	t.Helper()
	o.Process = "probation: 5s"
	f := newField(t, o)
	shown := f.watch()
	built := make(map[string]string, len(ways))
	for _, way := range ways {
		built[way] = plant.Compile(t, "./test/chaos/baddriver", "-X main.way="+way)
	}
	old := f.active(0)
	var spells []spell
	for round := range times {
		for i, way := range ways {
			spells = append(spells, f.badUpgrade(way, fmt.Sprintf("0.9.%d", round*len(ways)+i), built[way]))
			if now := f.active(0); now.PID != old.PID || now.Version != first {
				t.Fatalf("%s: after the way back process %d of version %s is active, it was %d of %s", way, now.PID, now.Version, old.PID, first)
			}
		}
	}
	f.polled(5)
	f.end()
	e := f.evidence()
	v, all := f.judge(e)
	acknowledged, forgotten := shown.account(t, e)
	for _, s := range spells {
		f.judgeSpell(s, all)
	}
	figure(t, "driver upgraded to what is bad", "upgrades", len(spells), "taken_back", len(spells), "ways", len(ways), "devices", o.Devices, "period_ms", o.Period,
		"served", v.served, "stored", v.stored, "lost_with_the_process", v.lost, "lost_without_gap", v.outside, "repeated", v.repeated, "disordered", v.disordered,
		"acknowledged", acknowledged, "acknowledged_lost", forgotten, "gaps", len(e.gaps), "bad_samples", e.bad)
}

// A spell is the time of one bad upgrade.
type spell struct {
	way, fault string
	from, to   time.Time
}

func (f *Field) badUpgrade(way, version, executable string) spell {
	f.t.Helper()
	f.install(plant.Package{Driver: "modbus", Version: version, Executable: executable})
	s := spell{way: way, from: time.Now()}
	_, err := f.upgrade(version)
	if err == nil {
		f.t.Fatalf("%s: the bad version %s was taken", way, version)
	}
	s.fault = err.Error()
	f.polledSince(time.Now())
	s.to = time.Now()
	if _, err := f.API.Remove(f.t.Context(), "modbus", version, false); err != nil {
		f.t.Error(err)
	}
	return s
}

// judgeSpell tells what one bad version cost.
func (f *Field) judgeSpell(s spell, all [][]poll) {
	f.t.Helper()
	lost, longest := 0, time.Duration(0)
	for _, polls := range all {
		var last time.Time
		for _, p := range polls {
			if p.at.After(s.from) && p.at.Before(s.to) && !p.stored {
				lost++
			}
			if !p.stored {
				continue
			}
			if !last.IsZero() && p.at.After(s.from) && last.Before(s.to) {
				longest = max(longest, p.at.Sub(last))
			}
			last = p.at
		}
	}
	p := f.pace(all, s.from, s.to)
	figure(f.t, "bad version: "+s.way, "took_ms", s.to.Sub(s.from), "polls_missed", p.missed, "lost_with_the_process", lost,
		"longest_pause_of_a_device_ms", longest, "machine_stall_ms", p.stall, "machine_busy", f.pulse.busy(), "fault", s.fault)
}
