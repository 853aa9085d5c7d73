package supervise

import (
	"context"
	"fmt"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// await returns a process of the driver, or the reason why the last start failed.
func (p *pool) await(ctx context.Context) (Process, error) {
	for {
		p.mu.Lock()
		proc, worst, changed := p.roster.process(), p.roster.worst(), p.changed
		why := p.down(worst)
		down := worst == nil || worst.state.down()
		p.mu.Unlock()
		switch {
		case proc != nil:
			return proc, nil
		case down:
			return nil, why
		}
		select {
		case <-changed:
		case <-p.done:
			return nil, driver.Errorf(driver.NotConnected, "driver %s was stopped", p.driver)
		case <-ctx.Done():
			return nil, fmt.Errorf("start driver %s: %w", p.driver, ctx.Err())
		}
	}
}

// control returns the process that has a link.
func (p *pool) control(name string) (control.Plane, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if name == "" {
		if proc := p.roster.process(); proc != nil {
			return proc, nil
		}
		return nil, p.down(p.roster.worst())
	}
	if l := p.links.byName[name]; l != nil {
		if l.holder != nil && !l.holder.over {
			return l.holder.proc, nil
		}
		if sh := p.links.shardOf(l); sh != nil {
			return nil, p.down(sh.primary)
		}
	}
	return nil, p.down(p.roster.worst())
}

// down says why a member's links are down; without a member, why the driver's are.
func (p *pool) down(m *member) *driver.Error {
	state, cause := Stopped, p.demand.stopCause()
	if m != nil && cause == "" {
		state, cause = m.state, m.cause
	}
	text := fmt.Sprintf("driver %s is %s", p.driver, state)
	if cause != "" {
		text += ": " + cause
	}
	return &driver.Error{Code: driver.NotConnected, Text: text, Err: driver.ErrNotSent}
}
