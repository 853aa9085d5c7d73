package engine_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/engine"
)

// TestPollsDueAreThePollsMade counts for many spans of time what an engine polls in them.
func TestPollsDueAreThePollsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{})
		l := link("l", 3, table(3))
		for i := range l.Devices {
			r.set("l", l.Devices[i].Name, 3)
		}
		r.apply(l)
		sleep(5 * time.Second)
		from := time.Now()
		before := polled(r, l)
		for i, span := range []time.Duration{0, time.Millisecond, 310 * time.Millisecond, time.Second, 2500 * time.Millisecond, time.Minute} {
			sleep(span)
			got, uncounted := l.PollsDue(from, time.Now(), func(string) bool { return false })
			if made := polled(r, l) - before; got != made || uncounted {
				t.Errorf("span %d: %d polls due, %d made, uncounted: %v", i, got, made, uncounted)
			}
		}
	})
}

func TestPollsDueOfWhatHasNone(t *testing.T) {
	l := link("l", 3, table(3))
	from, to := time.Unix(1000, 0), time.Unix(1010, 0)
	none := func(string) bool { return false }
	if polls, uncounted := l.PollsDue(from, to, none); polls != 30 || uncounted {
		t.Errorf("%d polls of three devices in ten seconds, uncounted: %v", polls, uncounted)
	}
	if polls, _ := l.PollsDue(to, from, none); polls != 0 {
		t.Errorf("%d polls in no time", polls)
	}
	if polls, uncounted := l.PollsDue(from, to, func(device string) bool { return device == "d2" }); polls != 20 || !uncounted {
		t.Errorf("%d polls beside a device that pushes, uncounted: %v", polls, uncounted)
	}
	l.Devices[0].Offline = true
	if polls, _ := l.PollsDue(from, to, none); polls != 20 {
		t.Errorf("%d polls beside a device that is off line", polls)
	}
	l.Classes[0].Period = 0
	if polls, uncounted := l.PollsDue(from, to, none); polls != 0 || !uncounted {
		t.Errorf("%d polls of a class without a period, uncounted: %v", polls, uncounted)
	}
	l.Offline = true
	if polls, uncounted := l.PollsDue(from, to, none); polls != 0 || uncounted {
		t.Errorf("%d polls of a link that is off line, uncounted: %v", polls, uncounted)
	}
}

// polled is how many polls the devices of a link have been asked for.
func polled(r *rig, l control.Link) (n uint64) {
	for i := range l.Devices {
		n += r.device("l", l.Devices[i].Name).Polls
	}
	return n
}
