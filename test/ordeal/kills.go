package ordeal

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// coldLimit is how long a driver that was killed may be away, besides the poll's own
// period.
const coldLimit = 150 * time.Millisecond

// gapLink is a link in the text of a gap, and how many of its polls were due.
var gapLink = regexp.MustCompile(`(plc\d+) \((\d+) polls due\)`)

// A kill is one death of a driver.
type kill struct {
	at  time.Time
	pid int
}

// Kills kills the driver n times with SIGKILL: nothing is repeated, nothing that was
// acknowledged is lost, and each outage is a gap with its cause. With spares, a warm
// process takes over.
//
// Every death is forgiven by `driver enable`, as if a healthy minute had passed: the
// second in a row would be followed by a pause, and the fifth by quarantine.
func Kills(t testing.TB, o Options, spares, n int) {
	t.Helper()
	o.Process = "standby: " + strconv.Itoa(spares)
	f := newField(t, o)
	shown := f.watch()
	began := time.Now()
	var kills []kill
	for i := range n {
		victim := f.active(spares)
		if _, err := f.API.Enable(t.Context(), "modbus"); err != nil {
			t.Fatal(err)
		}
		f.polled(3)
		time.Sleep(o.Period * time.Duration(i%7) / 7) // at every phase of a period
		k := kill{time.Now(), victim.PID}
		if err := syscall.Kill(k.pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		kills = append(kills, k)
		f.polledSince(k.at)
	}
	f.active(spares)
	f.polled(3)
	f.end()
	f.judgeKills(shown, kills, spares, time.Since(began))
}

func (f *Field) judgeKills(shown *watcher, kills []kill, spares int, took time.Duration) {
	t := f.t
	t.Helper()
	e := f.evidence()
	v, all := f.judge(e)
	acknowledged, forgotten := shown.account(t, e)
	for _, k := range kills {
		if !e.gapFor(k.at, f.o.Period, "pid "+strconv.Itoa(k.pid), "killed") {
			t.Errorf("no gap tells of the death of process %d at %v", k.pid, k.at)
		}
	}
	if len(e.gaps) != len(kills) {
		t.Errorf("%d gaps for %d deaths: %v", len(e.gaps), len(kills), e.gaps[max(0, len(e.gaps)-5):])
	}
	for _, g := range e.gaps {
		if missing := f.uncovered(&g, all); missing != "" {
			t.Errorf("a gap says less than was lost: %s: %s", missing, g.cause)
		}
	}
	delays, firsts, skips := f.outages(all, kills)
	name, limit := "driver killed, cold", coldLimit+f.o.Period
	if spares > 0 {
		name, limit = "driver killed, standby", f.o.Period
	}
	figure(t, name, "kills", len(kills), "devices", f.o.Devices, "period_ms", f.o.Period, "took_ms", took,
		"served", v.served, "lost_with_the_process", v.lost, "lost_without_gap", v.outside, "repeated", v.repeated,
		"acknowledged", acknowledged, "acknowledged_lost", forgotten, "gaps", len(e.gaps),
		"next_sample_of_any_device_median_ms", median(firsts), "next_sample_of_any_device_worst_ms", worst(firsts),
		"next_sample_median_ms", median(delays), "next_sample_worst_ms", worst(delays), "limit_ms", limit,
		"slots_without_sample", skips.samples, "polls_missed", skips.polls, "machine_stall_ms", f.pulse.worst(kills[0].at, kills[len(kills)-1].at), "machine_busy", f.pulse.busy())
	if median(delays) > 4*limit {
		t.Errorf("half of the devices wait more than %v for the next sample, the limit is %v", median(delays), limit)
	}
}

// uncovered is a link of which more polls were served in a gap and lost than were due in it
// by what the gap says; empty: there is none. The text names the first links only.
func (f *Field) uncovered(g *gap, all [][]poll) string {
	named := gapLink.FindAllStringSubmatch(g.cause, -1)
	if len(named) == 0 {
		return "it names no link"
	}
	for _, m := range named {
		due, err := strconv.Atoi(m[2])
		if err != nil {
			return m[0]
		}
		i, err := strconv.Atoi(strings.TrimPrefix(m[1], "plc"))
		if err != nil || i < 1 || i > len(all) {
			return m[0]
		}
		lost := 0
		for _, p := range all[i-1] {
			if !p.stored && g.meets(p.at, p.at) {
				lost++
			}
		}
		if lost > due {
			return fmt.Sprintf("%s (%d lost)", m[0], lost)
		}
	}
	return ""
}

// skips counts, by their number, the slots of a device's grid that were left out at a
// death: of which nothing is stored, and which were not even polled.
type skips struct{ samples, polls map[string]int }

// outages tells how long after each death each device's next stored poll was asked for,
// and how long it took to the first of any.
func (f *Field) outages(all [][]poll, kills []kill) (delays, firsts []time.Duration, s skips) {
	s = skips{map[string]int{}, map[string]int{}}
	for _, k := range kills {
		first := time.Hour
		for i := range all {
			before, after := around(all[i], k.at, true)
			if before == nil || after == nil {
				f.t.Errorf("%s: nothing is stored on one side of a death", linkName(i))
				continue
			}
			delay := after.at.Sub(k.at)
			delays = append(delays, delay)
			first = min(first, delay)
			s.samples[f.left(before, after)]++
			s.polls[f.left(around(all[i], k.at, false))]++
		}
		firsts = append(firsts, first)
	}
	return delays, firsts, s
}

// left is how many slots lie between two polls, as a word.
func (f *Field) left(before, after *poll) string {
	if before == nil || after == nil {
		return "none"
	}
	n := int((after.at.Sub(before.at)+f.o.Period/2)/f.o.Period) - 1
	return strconv.Itoa(max(n, 0))
}

// around finds the last poll before a time and the first after it; only those that are
// stored, or all.
func around(polls []poll, at time.Time, stored bool) (before, after *poll) {
	for i := range polls {
		p := &polls[i]
		switch {
		case stored && !p.stored:
		case !p.at.After(at):
			before = p
		default:
			return before, p
		}
	}
	return before, nil
}
