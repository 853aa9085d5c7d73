package engine

import (
	"context"
	"testing"

	"github.com/fieldloom/fieldloom/core/driver"
)

// TestConnectionNext is what a link does to be open or closed, one line for each state.
func TestConnectionNext(t *testing.T) {
	const now = 100 * second
	live := func(change func(s *session)) *session {
		s := &session{window: 4, cancel: func() {}, ctx: context.Background()}
		change(s)
		return s
	}
	plain := func(*session) {}
	for name, test := range map[string]struct {
		c         connection
		calls     int
		abandoned int
		want      jobKind
		until     int64 // where there is nothing to do
		runners   int
	}{
		"not wanted":             {c: connection{}, until: never, runners: 1},
		"wanted":                 {c: connection{active: true}, want: jobOpen, runners: 1},
		"backing off":            {c: connection{active: true, backoff: backoff{until: now + 1}}, until: now + 1, runners: 1},
		"being opened":           {c: connection{active: true, opening: true}, until: never, runners: 1},
		"being checked":          {c: connection{active: true, checkup: &checkup{}}, until: never, runners: 1},
		"with a bad setting":     {c: connection{active: true, stopped: errOffline}, until: never, runners: 1},
		"with too many hangs":    {c: connection{active: true}, abandoned: maxAbandoned, until: never, runners: 1},
		"removed":                {c: connection{removed: true}, until: never, runners: 0},
		"removed, being opened":  {c: connection{removed: true, opening: true}, until: never, runners: 1},
		"broken":                 {c: connection{active: true, session: live(func(s *session) { s.broken = true })}, calls: 1, want: jobClose, runners: 1},
		"stopped":                {c: connection{session: live(plain)}, want: jobClose, runners: 1},
		"stopped in a call":      {c: connection{session: live(plain), stopBy: now + 5}, calls: 1, until: now + 5, runners: 1},
		"stopped in a long call": {c: connection{session: live(plain), stopBy: now}, calls: 1, want: jobClose, runners: 1},
		"with a keeper":          {c: connection{session: live(func(s *session) { s.keeper = keeper{} })}, want: jobKeep, runners: 1},
		"broken, with a keeper":  {c: connection{active: true, session: live(func(s *session) { s.keeper, s.broken = keeper{}, true })}, want: jobClose, runners: 1},
		"with a keeper that was asked": {
			c: connection{session: live(func(s *session) { s.keeper, s.asked = keeper{}, true })}, want: jobClose, runners: 1,
		},
		"with a keeper that answers": {
			c: connection{session: live(func(s *session) { s.keeper, s.keeping = keeper{}, true })}, until: never, runners: 1,
		},
		"with a keeper and a subscription": {
			c:     connection{stopBy: now, session: live(func(s *session) { s.keeper, s.subs = keeper{}, 1 })},
			until: now + int64(grace), runners: 1,
		},
		"being closed": {c: connection{session: live(func(s *session) { s.closing = true })}, until: never, runners: 1},
		"closed":       {c: connection{session: live(func(s *session) { s.closing, s.closed = true, true })}, want: jobEnd, runners: 1},
		"closed, in a call": {
			c:     connection{session: live(func(s *session) { s.closing, s.closed, s.closeBy = true, true, now+9 })},
			calls: 1, until: now + 9, runners: 1,
		},
		"closed, with a subscription for long": {
			c:    connection{session: live(func(s *session) { s.closing, s.closed, s.closeBy, s.subs = true, true, now, 1 })},
			want: jobEnd, runners: 1,
		},
	} {
		if test.c.ready() {
			t.Errorf("%s: it is ready", name)
		}
		if n := test.c.runners(); n != test.runners {
			t.Errorf("%s: %d runners, want %d", name, n, test.runners)
		}
		j, until := test.c.next(now, test.calls, test.abandoned, 0)
		if j.kind != test.want || j.kind == jobNone && until != test.until {
			t.Errorf("%s: %s until %d, want %s until %d", name, j.name(), until, jobNames[test.want], test.until)
		}
	}
	open := connection{active: true, session: live(plain)}
	if !open.ready() || open.runners() != 4 {
		t.Errorf("open: ready %v, %d runners", open.ready(), open.runners())
	}
}

type keeper struct{ driver.Keeper }
