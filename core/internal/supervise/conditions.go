package supervise

import (
	"log/slog"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/frame"
)

type place struct{ link, device string }

// eventsEnd is how long after a change of the configuration events of what is not
// configured any more may be on their way.
const eventsEnd = 10 * time.Second

// noteCondition takes e, unless it tells of a link that another process holds.
func (l *life) noteCondition(e control.Event) (foreign bool) {
	p := l.m.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	ln := p.links.byName[e.Link]
	known := ln != nil
	if known && ln.holder == l {
		if known = p.links.knows(place{e.Link, e.Device}); known {
			ln.tell(e)
			p.tracker.note(e, time.Now())
		}
	}
	if known {
		return false
	}
	return l.m.life == l && l.given.state != nil && l.given.state == p.demand.desired.State && time.Since(l.given.at) > eventsEnd
}

// disown takes the names of links and devices that the driver does not have.
func (l *life) disown(links []frame.GapLink) {
	p := l.m.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range links {
		lost := &links[i]
		if p.links.byName[lost.Link] == nil {
			lost.Link, lost.Device = "", ""
		} else if lost.Device != "" && !p.links.knows(place{lost.Link, lost.Device}) {
			lost.Device = ""
		}
	}
}

// convict kills the process for what it sent.
func (l *life) convict(why error) {
	l.m.pool.do(func() { l.kill(&offence{why}) })
}

// configured is the present state.
func (l *life) configured() *control.State {
	p := l.m.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.demand.desired.State
}

// note takes e, of a link or device that there is. Every change is there for debugging; what
// people are to see is written by look.
func (t *tracker) note(e control.Event, now time.Time) {
	if t.log.takes(slog.LevelDebug) {
		t.log.Debug(kindOf(e)+" is "+e.Condition.String(), attributes(e)...)
	}
	l := t.links[e.Link]
	unwell := isTrouble(e)
	if l == nil {
		if !unwell {
			return // nothing is kept of what is well
		}
		l = &linkTrouble{name: e.Link, devices: make(map[string]*episode)}
		if t.links == nil {
			t.links = make(map[string]*linkTrouble)
		}
		t.links[e.Link] = l
	}
	switch {
	case e.Cause != nil && e.Cause.Text == control.OfflineText:
		l.leave(e)
	case e.Device == "" && unwell:
		l.fall(e, now)
	case e.Device == "" && e.Condition == control.Up:
		l.rise(t, e, now)
	case e.Device != "" && unwell && !l.own.bad:
		l.deviceFalls(e, now)
	case e.Device != "" && e.Condition == control.Up:
		l.deviceRises(e, now)
	}
}

// isTrouble reports whether e tells of trouble: without a cause, or off line, it was taken
// down on purpose.
func isTrouble(e control.Event) bool {
	if e.Cause == nil || e.Cause.Text == control.OfflineText {
		return false
	}
	return e.Condition == control.Down || e.Condition == control.Degraded || e.Condition == control.Stopped
}

func kindOf(e control.Event) string {
	if e.Device == "" {
		return "link"
	}
	return "device"
}

func attributes(e control.Event) []any {
	list := []any{"link", e.Link}
	if e.Device != "" {
		list = append(list, "device", e.Device)
	}
	if e.Cause != nil {
		list = append(list, "code", e.Cause.Code.String(), "err", e.Cause.Text)
	}
	return list
}
