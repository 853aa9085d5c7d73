package engine

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
)

const ms = int64(time.Millisecond)

// A desk is an agenda of named devices, at the time 100 s.
type desk struct {
	agenda
	devices map[string]*device
}

const deskNow = 100 * second

// device makes a prepared device with a group of a period.
func (k *desk) device(name string, period time.Duration) *device {
	if k.devices[name] == nil {
		class := &control.Class{Name: "c", Period: period}
		d := &device{prepared: true, table: &table{all: &set{}}}
		d.spec.Name = name
		d.groups = []*group{{d: d, set: &set{}, class: class, grid: control.NewGrid(period, "l", name, "c")}}
		k.devices[name] = d
	}
	return k.devices[name]
}

// poll makes a poll due so long after now.
func (k *desk) poll(name string, period time.Duration, in int64) *device {
	d := k.device(name, period)
	d.groups[0].due = deskNow + in
	k.due.push(d.groups[0])
	return d
}

func (k *desk) ask(kind askKind, name string) *request {
	q := &request{kind: kind, d: k.device(name, time.Second), at: deskNow}
	k.agenda.ask(q)
	return q
}

// discover has a step of a discovery wait that takes so long.
func (k *desk) discover(name string, patience int64) *request {
	q := k.ask(askDiscover, name)
	q.candidate.Patience = time.Duration(patience)
	return q
}

// demote makes a device due for a probe so long after now.
func (k *desk) demote(name string, in int64) {
	d := k.device(name, time.Second)
	d.health.demoted, d.health.probeAt = true, deskNow+in
	k.down = append(k.down, d)
}

// names says what was chosen.
func (j *job) names() string {
	names := map[jobKind]string{jobPrepare: "prepare ", jobPoll: "poll ", jobProbe: "probe ", jobBreak: "break "}
	switch j.kind {
	case jobNone:
		return "nothing"
	case jobRequest:
		return [...]string{"write ", "read ", "browse ", "trial ", "discover "}[j.req.kind] + j.d.spec.Name
	}
	return names[j.kind] + j.d.spec.Name
}

// TestChoose is the whole order of a link, one line for each rule.
func TestChoose(t *testing.T) {
	const slow = time.Second
	for name, test := range map[string]struct {
		fill  func(k *desk)
		terms terms
		want  string
		until int64 // from now, where there is nothing to do
	}{
		"an empty agenda":           {fill: func(*desk) {}, want: "nothing", until: never - deskNow},
		"a poll that is due":        {fill: func(k *desk) { k.poll("a", slow, 0) }, want: "poll a"},
		"a poll that is not":        {fill: func(k *desk) { k.poll("a", slow, 5*ms) }, want: "nothing", until: 5 * ms},
		"the one due longest":       {fill: func(k *desk) { k.poll("a", slow, -1*ms); k.poll("b", slow, -3*ms); k.poll("c", slow, -2*ms) }, want: "poll b"},
		"a read before a poll":      {fill: func(k *desk) { k.poll("a", slow, -ms); k.ask(askRead, "b") }, want: "read b"},
		"a write before a read":     {fill: func(k *desk) { k.ask(askRead, "a"); k.ask(askWrite, "b") }, want: "write b"},
		"the first of two writes":   {fill: func(k *desk) { k.ask(askWrite, "b"); k.ask(askWrite, "a") }, want: "write b"},
		"reads and browses in turn": {fill: func(k *desk) { k.ask(askBrowse, "b"); k.ask(askRead, "a") }, want: "browse b"},
		"no request of a busy device": {
			fill: func(k *desk) { k.ask(askWrite, "a").d.busy = true; k.ask(askRead, "b") }, want: "read b",
		},
		"no request of an unready device": {
			fill: func(k *desk) { k.ask(askWrite, "a").d.prepared = false; k.poll("b", slow, 0) }, want: "poll b",
		},
		"a preparation before a poll": {
			fill: func(k *desk) { k.poll("a", slow, -ms); k.unready = append(k.unready, k.device("b", slow)) }, want: "prepare b",
		},
		"a preparation after a read": {
			fill: func(k *desk) { k.ask(askRead, "a"); k.unready = append(k.unready, k.device("b", slow)) }, want: "read a",
		},
		"a preparation not before its time": {
			fill: func(k *desk) {
				k.unready = append(k.unready, k.device("a", slow))
				k.device("a", slow).health.retryAt = deskNow + 7*ms
			}, want: "nothing", until: 7 * ms,
		},
		"a subscription that does not end": {
			fill: func(k *desk) {
				d := k.device("a", slow)
				d.after, d.afterBy = &subscription{}, deskNow
				k.unready = append(k.unready, d)
			}, want: "break a",
		},
		"a suspect after its neighbours": {
			fill: func(k *desk) { k.poll("a", slow, -9*ms).health.failures = 1; k.poll("b", slow, -ms) }, want: "poll b",
		},
		"a suspect when none is due": {
			fill: func(k *desk) { k.poll("a", slow, -9*ms).health.failures = 1; k.poll("b", slow, ms) }, want: "poll a",
		},
		"a suspect before what is always due": {
			fill: func(k *desk) { k.poll("a", slow, -9*ms).health.failures = 1; k.poll("b", 0, -ms) }, want: "poll a",
		},
		"a suspect that has waited long": {
			fill: func(k *desk) { k.poll("a", slow, -11*second).health.failures = 1; k.poll("b", slow, -ms) }, want: "poll a",
		},
		"a suspect that is busy": {
			fill: func(k *desk) {
				k.poll("a", slow, -9*ms).health.failures = 1
				k.sortOut(deskNow, false)
				k.device("a", slow).busy = true
				k.poll("b", 0, -ms)
			}, want: "poll b",
		},
		"no poll of a busy device": {
			fill: func(k *desk) { k.poll("a", slow, -2*ms).busy = true; k.poll("b", slow, -ms) }, want: "poll b",
		},
		"a device that asked for patience": {
			fill: func(k *desk) { k.poll("a", slow, -ms).health.holdUntil = deskNow + ms; k.poll("b", slow, 0) }, want: "poll b",
		},
		"a probe when there is time": {fill: func(k *desk) { k.demote("a", -ms); k.poll("b", slow, 2*second) }, want: "probe a"},
		"a probe not before its time": {
			fill: func(k *desk) { k.demote("a", 3*ms); k.poll("b", slow, 2*second) }, want: "nothing", until: 3 * ms,
		},
		"a probe after a poll": {fill: func(k *desk) { k.demote("a", -ms); k.poll("b", slow, 0) }, want: "poll b"},
		"no probe just before a poll": {
			fill: func(k *desk) { k.demote("a", -ms); k.poll("b", slow, 50*ms) }, want: "nothing", until: 50 * ms,
		},
		"a short probe after patience": {
			fill: func(k *desk) { k.demote("a", -7*second); k.poll("b", slow, 50*ms) }, want: "probe a",
		},
		"a probe beside a poll": {
			fill:  func(k *desk) { k.demote("a", -ms); k.poll("b", slow, 50*ms) },
			terms: terms{beside: true}, want: "probe a",
		},
		"a probe before what is always due": {fill: func(k *desk) { k.demote("a", -ms); k.poll("b", 0, -ms) }, want: "probe a"},
		"a trial before a probe":            {fill: func(k *desk) { k.demote("a", -ms); k.ask(askTrial, "b") }, want: "trial b"},
		"a trial after a poll":              {fill: func(k *desk) { k.poll("a", slow, 0); k.ask(askTrial, "b") }, want: "poll a"},
		"a trial waits for quiet": {
			fill: func(k *desk) { k.poll("a", slow, 50*ms); k.ask(askTrial, "b") }, want: "nothing", until: 50 * ms,
		},
		"a trial that has waited long": {
			fill: func(k *desk) { k.poll("a", slow, 50*ms); k.ask(askTrial, "b").at -= int64(trialPatience) }, want: "trial b",
		},
		"a step of a discovery after a poll": {
			fill: func(k *desk) { k.poll("a", slow, 0); k.discover("l", 100*ms) }, want: "poll a",
		},
		"a step of a discovery after a probe": {
			fill: func(k *desk) { k.demote("a", -ms); k.discover("l", 100*ms) }, want: "probe a",
		},
		"a step of a discovery after a trial": {
			fill: func(k *desk) { k.discover("l", 100*ms); k.ask(askTrial, "b") }, want: "trial b",
		},
		"a step of a discovery that is over before a poll": {
			fill: func(k *desk) { k.poll("a", slow, 150*ms); k.discover("l", 100*ms) }, want: "discover l",
		},
		"a step of a discovery moves no poll": {
			fill: func(k *desk) { k.poll("a", slow, 50*ms); k.discover("l", 100*ms) }, want: "nothing", until: 50 * ms,
		},
		"a step of a discovery that has waited as long as it takes": {
			fill: func(k *desk) { k.poll("a", slow, 50*ms); k.discover("l", 100*ms).at -= 100 * ms }, want: "discover l",
		},
		"a step of a discovery leaves a late poll its turn": {
			fill: func(k *desk) { k.poll("a", slow, -ms); k.discover("l", 100*ms).at -= second }, want: "poll a",
		},
		"a step of a discovery starves on no line": {
			fill: func(k *desk) { k.poll("a", slow, -ms); k.discover("l", 100*ms).at -= int64(discoveryStarved) }, want: "discover l",
		},
		"a step of a discovery beside a poll": {
			fill:  func(k *desk) { k.poll("a", slow, 50*ms); k.discover("l", 100*ms) },
			terms: terms{beside: true}, want: "discover l",
		},
		"one step of a discovery at a time": {
			fill: func(k *desk) { k.discover("l", 100*ms).d.busy = true; k.discover("l", 100*ms) }, want: "nothing", until: never - deskNow,
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := &desk{devices: map[string]*device{}}
			test.fill(k)
			test.terms.timeout = time.Second
			k.sortOut(deskNow, false)
			before := fmt.Sprint(k.requests, k.unready, k.due, k.suspects, k.down)
			j, until := k.choose(deskNow, test.terms)
			if got := j.names(); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
			if j.kind == jobNone && until != deskNow+test.until {
				t.Errorf("nothing for %v, want %v", time.Duration(until-deskNow), time.Duration(test.until))
			}
			again, _ := k.choose(deskNow, test.terms)
			if again != j || fmt.Sprint(k.requests, k.unready, k.due, k.suspects, k.down) != before {
				t.Errorf("the choice has changed the agenda: then it is %s", again.names())
			}
		})
	}
}

// TestTakeTurns takes one job after the other off an agenda: each comes once.
func TestTakeTurns(t *testing.T) {
	k := &desk{devices: map[string]*device{}}
	k.ask(askRead, "r1")
	k.ask(askWrite, "w1")
	k.ask(askRead, "r2")
	k.unready = append(k.unready, k.device("u", time.Second))
	k.poll("s", time.Second, -5*ms).health.failures = 1
	for i := range int64(3) {
		k.poll(fmt.Sprint("p", i), time.Second, -1*ms-i)
	}
	var got []string
	for range 20 {
		k.sortOut(deskNow, false)
		j, _ := k.choose(deskNow, terms{limits: limits{timeout: time.Second}})
		if j.kind == jobNone {
			break
		}
		k.take(j)
		got = append(got, j.names())
	}
	want := []string{"write w1", "read r1", "read r2", "prepare u", "poll p2", "poll p1", "poll p0", "poll s"}
	if !slices.Equal(got, want) {
		t.Errorf("the order is %q, want %q", got, want)
	}
}

// TestSortOut pins what becomes of polls that cannot be made.
func TestSortOut(t *testing.T) {
	k := &desk{devices: map[string]*device{}}
	busy := k.poll("busy", time.Second, -ms)
	busy.busy = true
	k.poll("off", time.Second, -ms).groups[0].off = true
	k.poll("gone", time.Second, -ms).gone = true
	full := k.poll("slow", time.Second, -ms)
	full.groups[0].class.Policy = control.Slow
	endless := k.poll("endless", 0, -ms)
	endless.groups[0].class.Policy = control.Slow
	if slowed := k.sortOut(deskNow, true); slowed != 2 {
		t.Errorf("%d polls slowed", slowed)
	}
	if due := full.groups[0].due; due <= deskNow || due > deskNow+second {
		t.Errorf("the slowed poll is due in %v", time.Duration(due-deskNow))
	}
	if due := endless.groups[0].due; due != deskNow+int64(maxLinger) {
		t.Errorf("the slowed poll without a period is due in %v", time.Duration(due-deskNow))
	}
	if k.device("off", 0).groups[0].queued || k.device("gone", 0).groups[0].queued || !busy.groups[0].queued {
		t.Error("what is left out is on the schedule, or what waits is not")
	}
	busy.busy = false
	if k.release(busy); len(k.due) != 3 || k.due[0] != busy.groups[0] {
		t.Error("the poll of the busy device has not come back")
	}
}
