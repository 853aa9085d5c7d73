package simulator

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// step is the begin or the end of a scheduled fault.
type step struct {
	at  time.Duration
	act func() error
}

// plan makes the steps of a schedule, in their order.
func (s *Simulator) plan(schedule []Scheduled) ([]step, error) {
	var steps []step
	for i, c := range schedule {
		begin, end, err := s.target(c)
		if err != nil {
			return nil, fmt.Errorf("schedule entry %d: %w", i+1, err)
		}
		steps = append(steps, step{c.At, begin})
		if c.For > 0 {
			steps = append(steps, step{c.At + c.For, end})
		}
	}
	slices.SortStableFunc(steps, func(a, b step) int { return int(a.at - b.at) })
	return steps, nil
}

func (s *Simulator) target(c Scheduled) (begin, end func() error, err error) {
	if c.At < 0 || c.For < 0 {
		return nil, nil, fmt.Errorf("a time is negative")
	}
	f := c.Fault
	if srv, ok := s.servers[c.Server]; ok && c.Device == "" {
		return func() error { return srv.Fault(f) }, srv.Clear, f.check(srv.protocol, true)
	}
	if d, ok := s.devices[c.Device]; ok && c.Server == "" {
		return func() error { return d.Fault(f) }, func() error { d.Clear(); return nil }, f.check(d.server.protocol, false)
	}
	return nil, nil, fmt.Errorf("it names neither one server nor one device (server %q, device %q)", c.Server, c.Device)
}

// follow executes the steps at their times, until ctx ends.
func (s *Simulator) follow(ctx context.Context, steps []step) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for _, st := range steps {
		timer.Reset(time.Until(s.started.Add(st.at)))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := st.act(); err != nil {
			s.log.Error("scheduled fault", "err", err)
		}
	}
}
