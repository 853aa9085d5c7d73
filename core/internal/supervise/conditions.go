package supervise

import (
	"log/slog"
	"time"

	"github.com/fieldloom/fieldloom/core/engine"
)

// tracker logs changes of condition. It keeps only what is not well, so that
// thousands of healthy devices cost nothing.
type tracker struct {
	unwell map[place]engine.Condition
}

// forget drops what is not configured any more.
func (t *tracker) forget(s *engine.State) {
	if len(t.unwell) == 0 {
		return
	}
	left := make(map[place]engine.Condition)
	keep := func(at place) {
		if c, was := t.unwell[at]; was {
			left[at] = c
		}
	}
	for i := range s.Links {
		l := &s.Links[i]
		keep(place{l.Name, ""})
		for j := range l.Devices {
			keep(place{l.Name, l.Devices[j].Name})
		}
	}
	t.unwell = left
}

type place struct{ link, device string }

// eventsEnd is how long after a change of the configuration events of what is not
// configured any more may be on their way.
const eventsEnd = 10 * time.Second

// note logs e, unless it tells of a link that another process holds. It is true where e
// tells of a link or a device that the driver does not have, and has not had just now.
func (p *pool) note(from *intake, e engine.Event) (foreign bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ln := p.links[e.Link]
	known := ln != nil
	if known && ln.holder != nil && &ln.holder.intake == from {
		if known = p.knows(place{e.Link, e.Device}); known {
			ln.tell(e)
			p.tracker.note(e, p)
		}
	}
	if known {
		return false
	}
	l := p.lifeOf(from)
	return l != nil && l.applied != nil && l.applied == p.desired.State && time.Since(l.appliedAt) > eventsEnd
}

// knows tells whether a device is in the desired state.
func (p *pool) knows(at place) bool {
	if at.device == "" {
		return p.links[at.link] != nil
	}
	ln := p.links[at.link]
	return ln != nil && ln.device(at.device) >= 0
}

// note logs e, of a link or device that there is: trouble and its end for people to see,
// the rest for debugging.
func (t *tracker) note(e engine.Event, p *pool) {
	at := place{e.Link, e.Device}
	before, was := t.unwell[at]
	unwell := e.Condition == engine.Down || e.Condition == engine.Degraded || e.Condition == engine.Stopped
	level := slog.LevelDebug
	switch {
	case unwell && was && before == e.Condition:
		return
	case unwell && e.Cause != nil: // without a cause it was taken down on purpose
		level = slog.LevelWarn
	case e.Condition == engine.Up && was:
		level = slog.LevelInfo
	}
	logged := p.logger.Enabled(p.ctx, level)
	if !unwell && !was && !logged || !p.sluice.pass(p.logger) {
		return
	}
	switch {
	case unwell && t.unwell == nil:
		t.unwell = map[place]engine.Condition{at: e.Condition}
	case unwell:
		t.unwell[at] = e.Condition
	case e.Condition == engine.Up:
		delete(t.unwell, at)
	}
	if logged {
		p.logger.Log(p.ctx, level, kindOf(e)+" is "+e.Condition.String(), attributes(e)...)
	}
}

func kindOf(e engine.Event) string {
	if e.Device == "" {
		return "link"
	}
	return "device"
}

func attributes(e engine.Event) []any {
	list := []any{"link", e.Link}
	if e.Device != "" {
		list = append(list, "device", e.Device)
	}
	if e.Cause != nil {
		list = append(list, "code", e.Cause.Code.String(), "err", e.Cause.Text)
	}
	return list
}
