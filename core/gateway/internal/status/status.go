// Package status says what a gateway and its drivers do, and went through.
package status

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/confine"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/gateway/internal/configure"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/gateway/internal/outlook"
	"github.com/fieldloom/fieldloom/core/gateway/internal/secrets"
	"github.com/fieldloom/fieldloom/core/internal/api"
	"github.com/fieldloom/fieldloom/core/internal/depot"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// statusLimit is how long a status waits for a driver to tell its counters: of one that is
// busy for longer, those that it told last are shown, and how old they are.
const statusLimit = 2 * time.Second

// A Service gathers the status of one gateway. What it shows belongs to others; its own are
// the counters of the call before, which the rates are made of.
type Service struct {
	InForce  *inforce.Current
	Choices  *choices.Book
	Config   *configure.Service
	Drivers  *supervise.Supervisor
	Depot    *depot.Depot
	Spool    *spool.Spool
	Outlook  *outlook.Outlook
	Health   func() client.Health
	Warnings func() []string // what is loosened, and which limits are near
	Watchers func() int      // streams of samples being sent
	// Process is how a living process was confined, and whether nobody signed what it runs;
	// nil: no such process lives.
	Process func(pid int) (confined *confine.Report, unsigned bool)
	LevelOf func(driverName string) slog.Level // of a driver's log

	rates rates
}

var _ api.Status = (*Service)(nil)

// Status implements api.Status.
func (s *Service) Status(ctx context.Context) (*client.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	chosen := s.Choices.Get()
	st := &client.Status{Health: s.Health(), Config: s.Config.Status(), Spool: s.spoolStatus(), Watchers: s.Watchers(),
		Warnings: slices.Concat(s.Warnings(), s.Depot.Faults(), secretTexts(s.InForce.Get().Config), s.Outlook.Warnings()), Offline: chosen.OfflineList()}
	known := make(map[driverLink]*control.LinkStatus)
	drivers := make(map[string]*supervise.Status)
	list := s.Drivers.Status(ctx)
	for i := range list {
		d := &list[i]
		if at, disabled := chosen.Disabled[d.Driver]; disabled && d.Since.IsZero() {
			d.Since, d.Lost = at, at // it did not run since the gateway's start
		}
		drivers[d.Driver] = d
		st.Drivers = append(st.Drivers, s.driverStatus(d))
		if d.Engine == nil {
			continue
		}
		for j := range d.Engine.Links {
			known[driverLink{d.Driver, d.Engine.Links[j].Name}] = &d.Engine.Links[j]
		}
	}
	for _, l := range s.InForce.Get().Links {
		ls := linkStatus(l, known[driverLink{l.Driver, l.Name}], drivers[l.Driver])
		if d := drivers[l.Driver]; d != nil {
			ls.Unanswered, ls.Uncounted = unanswered(d.LateLink[l.Name], time.Now())
		}
		chosen.Show(&ls)
		st.Links = append(st.Links, ls)
	}
	s.rates.fill(st, time.Now())
	return st, nil
}

// secretTexts says which secrets cannot be had.
func secretTexts(c *config.Config) (list []string) {
	for _, fault := range secrets.Check(c) {
		list = append(list, fault.Error())
	}
	return list
}

// driverLink is a link as its driver knows it: no other speaks for it.
type driverLink struct{ driver, link string }

func (s *Service) spoolStatus() client.SpoolStatus {
	st := s.Spool.Stats()
	out := client.SpoolStatus{Records: st.Records, Bytes: st.Bytes, Files: st.Files, Duplicates: st.Duplicates,
		Lost: st.Lost, Syncs: st.Syncs, First: st.First, Last: st.Last}
	if st.Fault != nil {
		out.Fault = st.Fault.Error()
	}
	s.Outlook.Fill(&out)
	return out
}

func (s *Service) driverStatus(d *supervise.Status) client.Driver {
	out := client.Driver{Name: d.Driver, Version: d.Version, State: d.State.String(), Since: d.Since, Cause: causeOf(d.Cause, d.Over), Stderr: d.Stderr,
		PID: d.PID, Started: d.Started, Restarts: d.Restarts, Frames: d.Frames, Bytes: d.Bytes, Gaps: d.Gaps, Refused: d.Refused, Refusal: d.Refusal,
		Level: levelWord(s.LevelOf(d.Driver)), Disabled: d.Disabled, Instances: d.Instances, Standby: d.Standby}
	_, out.Uncounted = unanswered(d.Late, time.Now())
	if d.Engine != nil {
		r := d.Engine.Ring
		out.Samples, out.Dropped, out.Slowed, out.Ring, out.RingMax, out.Spill, out.SpillMax = r.Samples, r.Dropped, r.Slowed, r.Bytes, r.MaxBytes, r.SpillBytes, r.MaxSpillBytes
		out.Meters = metersOf(d.Engine.Meters)
	}
	out.Processes = make([]client.Process, len(d.Processes))
	for i := range d.Processes {
		out.Processes[i] = s.processStatus(&d.Processes[i])
		if _, unsigned := s.Process(d.Processes[i].PID); unsigned {
			out.Unsigned = true
		}
	}
	if u := d.Upgrade; u != nil {
		out.Upgrade = &client.UpgradeStatus{Version: u.Version, Since: u.Since, Text: u.Text, Done: u.Done, Of: u.Total}
	}
	for i := range d.History {
		out.Events = append(out.Events, eventOf(&d.History[i]))
	}
	return out
}

func (s *Service) processStatus(p *supervise.ProcessStatus) client.Process {
	out := client.Process{Member: p.Member, Instance: p.Shard, Next: p.Next, State: p.State.String(), Since: p.Since, Cause: causeOf(p.Cause, p.Over), Retry: p.Retry,
		Version: p.Version, PID: p.PID, Started: p.Started, Restarts: p.Restarts, Links: p.Links, Pending: p.Pending, Detached: p.Detached, Adopted: p.Adopted, Stderr: p.Stderr}
	out.Unanswered, _ = unanswered(p.Late, time.Now())
	if r, _ := s.Process(p.PID); r != nil {
		out.Confinement = &client.Confinement{Mode: r.Mode.String(), InForce: append([]string{}, r.InForce...), Missing: r.Missing}
	}
	return out
}

// unanswered is for how many seconds a process has not told its counters, and whether it
// never has. late may be nil: it has just told them.
func unanswered(late *supervise.Late, now time.Time) (seconds float64, never bool) {
	if late == nil {
		return 0, false
	}
	return max(0.001, now.Sub(late.Since).Seconds()), late.At.IsZero()
}

// causeOf tells the cause of trouble that is over for what it is.
func causeOf(cause string, over bool) string {
	if over && cause != "" {
		return "was down: " + cause
	}
	return cause
}

func metersOf(meters []control.Meter) []client.Meter {
	var list []client.Meter
	for _, m := range meters {
		kind := "gauge"
		if m.Counter {
			kind = "counter"
		}
		list = append(list, client.Meter{Link: m.Link, Name: m.Name, Value: m.Value, Kind: kind})
	}
	return list
}

// linkStatus is what the driver says of the link, or why nothing is known of it.
func linkStatus(l *config.Link, known *control.LinkStatus, d *supervise.Status) client.Link {
	s := client.Link{Name: l.Name, Driver: l.Driver, State: control.NotStarted.String(), Devices: make([]client.Device, len(l.Devices))}
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
	byName := make(map[string]*control.DeviceStatus, len(known.Devices))
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
		return control.NotStarted.String(), time.Time{}, nil
	case d.Down != nil:
		return control.Down.String(), d.Lost, client.FaultOf(d.Down)
	default: // just configured, or just started: the process has not taken it yet
		return control.NotStarted.String(), d.Since, nil
	}
}

func deviceStatus(name string, d *control.DeviceStatus) client.Device {
	if d == nil {
		return client.Device{Name: name, State: control.NotStarted.String()}
	}
	return client.Device{
		Name: name, State: d.Condition.String(), Since: d.Since, Cause: client.FaultOf(d.Cause),
		Polls: d.Polls, Failures: d.Failures, Overruns: d.Overruns, Samples: d.Samples, BadSamples: d.BadSamples,
		Writes: d.Writes, WriteFailures: d.WriteFailures,
		LastPoll: milliseconds(d.LastPoll), LastLate: milliseconds(d.LastLate), MaxLate: milliseconds(d.MaxLate),
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
