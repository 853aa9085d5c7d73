package gateway

import (
	"context"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// statusLimit is how long a driver may take to tell its counters.
const statusLimit = 3 * time.Second

// Status implements api.Gateway.
func (g *gateway) Status(ctx context.Context) (*client.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	s := &client.Status{Health: g.Health(), Config: g.configStatus(), Spool: g.spoolStatus(), Watchers: g.hub.Watchers()}
	known := make(map[string]*engine.LinkStatus)
	drivers := make(map[string]*supervise.Status)
	list := g.drivers.Status(ctx)
	for i := range list {
		d := &list[i]
		drivers[d.Kind] = d
		s.Drivers = append(s.Drivers, driverStatus(d))
		if d.Engine == nil {
			continue
		}
		for j := range d.Engine.Links {
			known[d.Engine.Links[j].Name] = &d.Engine.Links[j]
		}
	}
	for _, l := range g.inForce.Load().Links {
		s.Links = append(s.Links, linkStatus(l, known[l.Name], drivers[l.Driver]))
	}
	g.rates.fill(s, time.Now())
	return s, nil
}

func (g *gateway) spoolStatus() client.SpoolStatus {
	st := g.spool.Stats()
	s := client.SpoolStatus{Records: st.Records, Bytes: st.Bytes, Files: st.Files, Duplicates: st.Duplicates,
		Lost: st.Lost, Syncs: st.Syncs, First: st.First, Last: st.Last}
	if st.Fault != nil {
		s.Fault = st.Fault.Error()
	}
	return s
}

func driverStatus(d *supervise.Status) client.Driver {
	s := client.Driver{Name: d.Kind, Version: d.Version, State: d.State.String(), Since: d.Since, Cause: d.Cause, Stderr: d.Stderr,
		PID: d.PID, Started: d.Started, Restarts: d.Restarts, Frames: d.Frames, Bytes: d.Bytes, Gaps: d.Gaps}
	if d.Engine != nil {
		r := d.Engine.Ring
		s.Samples, s.Dropped, s.Slowed, s.Ring, s.RingMax = r.Samples, r.Dropped, r.Slowed, r.Bytes, r.MaxBytes
	}
	return s
}

// linkStatus is what the driver says of the link, or why nothing is known of it.
func linkStatus(l *config.Link, known *engine.LinkStatus, d *supervise.Status) client.Link {
	s := client.Link{Name: l.Name, Driver: l.Driver, State: engine.NotStarted.String(), Devices: make([]client.Device, len(l.Devices))}
	if known == nil {
		state, since, cause := unknown(d)
		s.State, s.Since, s.Cause = state, since, cause
		for i, dev := range l.Devices {
			s.Devices[i] = client.Device{Name: dev.Name, State: state, Since: since, Cause: cause}
		}
		return s
	}
	s.State, s.Since, s.Cause = known.Condition.String(), known.Since, client.FaultOf(known.Cause)
	s.Opens, s.OpenFailures = known.Opens, known.OpenFailures
	byName := make(map[string]*engine.DeviceStatus, len(known.Devices))
	for i := range known.Devices {
		byName[known.Devices[i].Name] = &known.Devices[i]
	}
	for i, dev := range l.Devices {
		s.Devices[i] = deviceStatus(dev.Name, byName[dev.Name])
	}
	return s
}

// unknown is the condition of what no process speaks for.
func unknown(d *supervise.Status) (state string, since time.Time, cause *client.Fault) {
	switch {
	case d == nil:
		return engine.NotStarted.String(), time.Time{}, nil
	case d.Down != nil:
		return engine.Down.String(), d.Lost, client.FaultOf(d.Down)
	case d.Engine == nil && d.State == supervise.Active:
		return engine.Down.String(), d.Since, &client.Fault{Code: driver.Timeout.String(), Text: "driver " + d.Kind + " does not answer"}
	default: // just configured, or just started: the process has not taken it yet
		return engine.NotStarted.String(), d.Since, nil
	}
}

func deviceStatus(name string, d *engine.DeviceStatus) client.Device {
	if d == nil {
		return client.Device{Name: name, State: engine.NotStarted.String()}
	}
	return client.Device{
		Name: name, State: d.Condition.String(), Since: d.Since, Cause: client.FaultOf(d.Cause),
		Polls: d.Polls, Failures: d.Failures, Overruns: d.Overruns, Samples: d.Samples, BadSamples: d.BadSamples,
		Writes: d.Writes, WriteFailures: d.WriteFailures,
		LastPoll: milliseconds(d.LastPoll), LastLate: milliseconds(d.LastLate), MaxLate: milliseconds(d.MaxLate),
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
