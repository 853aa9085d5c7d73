package supervise

import (
	"context"
	"log/slog"

	"github.com/fieldloom/fieldloom/core/engine"
)

// tracker logs changes of condition. It keeps only what is not well, so that
// thousands of healthy devices cost nothing.
type tracker struct {
	unwell map[place]engine.Condition
}

type place struct{ link, device string }

// note logs e, unless it tells of a link that another process holds.
func (p *pool) note(from *intake, e engine.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ln := p.links[e.Link]; ln != nil && ln.holder != nil && &ln.holder.intake == from {
		p.tracker.note(e, p.logger)
	}
}

// note logs e: trouble and its end for people to see, the rest for debugging.
func (t *tracker) note(e engine.Event, log *slog.Logger) {
	at := place{e.Link, e.Device}
	before, was := t.unwell[at]
	level := slog.LevelDebug
	switch e.Condition {
	case engine.Down, engine.Degraded, engine.Stopped:
		if was && before == e.Condition {
			return
		}
		if t.unwell == nil {
			t.unwell = make(map[place]engine.Condition)
		}
		t.unwell[at] = e.Condition
		if e.Cause != nil { // without a cause it was taken down on purpose
			level = slog.LevelWarn
		}
	case engine.Up:
		if was {
			delete(t.unwell, at)
			level = slog.LevelInfo
		}
	}
	if log.Enabled(context.Background(), level) {
		log.Log(context.Background(), level, kindOf(e)+" is "+e.Condition.String(), attributes(e)...)
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
