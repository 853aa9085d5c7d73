// Package commands reads and writes the points of the configuration in force, and lists
// them.
//
// The Service finds the points by their names, asks the drivers that have their links, and
// keeps in the audit log who wrote what. Its only lock is that of the discoveries: what it
// stands on may be called concurrently.
package commands

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/internal/api"
	"github.com/fieldloom/fieldloom/core/internal/audit"
	"github.com/fieldloom/fieldloom/core/internal/caller"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

const (
	commandLimit  = 60 * time.Second // for one read or write, its wait behind others included
	readsAtATime  = 16               // devices of one driver that one request reads at the same time
	maxReadPoints = 10_000           // of one request, patterns expanded
)

// A Service makes the reads and writes of one gateway.
type Service struct {
	InForce *inforce.Current
	// ControlOf finds the process that has a link.
	ControlOf func(driverName, link string) (control.Plane, error)
	Last      LastValues
	Audit     *audit.Log
	Log       *slog.Logger

	searches discoveries
}

var _ api.Commands = (*Service)(nil)

// Points implements api.Commands.
func (s *Service) Points(patterns []string) ([]client.Point, error) {
	list := []client.Point{}
	for at := range s.InForce.Get().Selected(patterns) {
		list = append(list, describe(at))
	}
	return list, nil
}

func describe(s *inforce.Point) client.Point {
	access := "r"
	switch {
	case s.Point.Readable && s.Point.Writable:
		access = "rw"
	case s.Point.Writable:
		access = "w"
	}
	return client.Point{Link: s.Link.Name, Device: s.Device.Name, Point: s.Point.Name, Address: s.Point.Address,
		Scan: s.Link.Classes[s.Point.Class].Name, Access: access, Unit: s.Point.Unit}
}

// Read implements api.Commands. A device that cannot be read costs its own points
// only.
func (s *Service) Read(ctx context.Context, names []string) ([]client.Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	parts, samples, err := partsOf(s.InForce.Get(), names)
	if err != nil {
		return nil, err
	}
	readParts(ctx, parts, samples, s.readDevice, s.Last)
	return samples, nil
}

func (s *Service) readDevice(ctx context.Context, p *Part) ([]control.NamedSample, error) {
	control, err := s.ControlOf(p.Link.Driver, p.Link.Name)
	if err != nil {
		return nil, err
	}
	read, err := control.Read(ctx, p.Link.Name, p.Device, p.Points)
	if err != nil {
		return nil, err
	}
	if err := checkAnswer(read, p); err != nil {
		return nil, fmt.Errorf("driver %s: %w", p.Link.Driver, err)
	}
	return read, nil
}

// checkAnswer reports whether an answer is of the points that were asked for, in their order.
// What has a time that cannot be is not Good.
func checkAnswer(read []control.NamedSample, p *Part) error {
	if len(read) != len(p.Points) {
		return driver.Errorf(driver.Internal, "it answered %d samples to a read of %d points", len(read), len(p.Points))
	}
	now := time.Now()
	for i := range read {
		s := &read[i]
		if s.Point != p.Points[i] {
			return driver.Errorf(driver.Internal, "it answered with point %.64q to a read of %q", s.Point, p.Points[i])
		}
		if s.Quality == driver.Good && !s.Time.IsZero() && !supervise.Timely(s.Time, now) {
			s.Quality, s.Fault = driver.Uncertain, driver.Errorf(driver.BadValue, "its time is %v: that cannot be", s.Time.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

func (p *Part) fail(samples []client.Sample, err error) {
	for _, place := range p.Places {
		samples[place].Time, samples[place].Fault = time.Now(), readFault(err)
	}
}

// parts resolves names to devices, in the order of the names, and makes room for
// the answer.
func partsOf(a *inforce.Config, names []string) ([]*Part, []client.Sample, error) {
	var list []*Part
	var samples []client.Sample
	byDevice := make(map[*config.Device]*Part)
	for _, name := range names {
		found := false
		for at := range a.Selected([]string{name}) {
			if !at.Point.Readable && !inforce.IsLiteral(name) {
				continue
			}
			found = true
			if len(samples) == maxReadPoints {
				return nil, nil, driver.Errorf(driver.BadValue, "more than %d points: use a narrower pattern, or watch", maxReadPoints)
			}
			p := byDevice[at.Device]
			if p == nil {
				p = &Part{Link: at.Link, Device: at.Device.Name}
				byDevice[at.Device] = p
				list = append(list, p)
			}
			p.Points = append(p.Points, at.Point.Name)
			p.Places = append(p.Places, len(samples))
			samples = append(samples, client.Sample{Link: at.Link.Name, Device: at.Device.Name, Point: at.Point.Name, Unit: at.Point.Unit})
		}
		if !found {
			return nil, nil, a.Missing(name)
		}
	}
	return list, samples, nil
}

// Write implements api.Commands.
func (s *Service) Write(ctx context.Context, name string, v driver.Value) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	if !inforce.IsLiteral(name) {
		return time.Time{}, driver.Errorf(driver.BadValue, "write %s: a pattern is only for reading: name one point as LINK/DEVICE/POINT", name)
	}
	a := s.InForce.Get()
	at, ok := a.Find(name)
	if !ok {
		return time.Time{}, a.Missing(name)
	}
	err := s.audited(ctx, name, at, v, func() error { return s.send(ctx, name, at, v) })
	if err != nil {
		return time.Time{}, err
	}
	return time.Now(), nil
}

func (s *Service) send(ctx context.Context, name string, at *inforce.Point, v driver.Value) error {
	control, err := s.ControlOf(at.Link.Driver, at.Link.Name)
	if err == nil {
		err = control.Write(ctx, at.Link.Name, at.Device.Name, at.Point.Name, v)
	}
	if err != nil {
		return writeFault(name, err)
	}
	return nil
}

// writeFault says of a write that failed whether the value may be in the device. What
// was not sent can be tried again; what may have been written is to be looked at first.
func writeFault(name string, err error) error {
	fault := driver.AsError(err)
	switch {
	case driver.MayBeDone(err):
		return client.Unconfirmed("write %s: may have been written: %s (%s): read the point before you write again", name, fault.Text, fault.Code)
	case errors.Is(err, driver.ErrNotSent) && again(sentCode(fault)):
		return &driver.Error{Code: sentCode(fault), Text: fmt.Sprintf("write %s: not written: %s", name, fault.Text), After: fault.After, Err: err}
	}
	return &driver.Error{Code: fault.Code, Text: fmt.Sprintf("write %s: %s", name, fault.Text), After: fault.After, Err: err}
}

// again reports whether it is worth trying once more what fails with a code.
func again(c driver.Code) bool { return c == driver.NotConnected || c == driver.Busy }

// sentCode is the code of what was not sent: one that says the same by itself.
func sentCode(fault *driver.Error) driver.Code {
	switch {
	case !driver.MayBeDone(&driver.Error{Code: fault.Code}):
		return fault.Code
	case fault.Code == driver.Timeout:
		return driver.Busy
	}
	return driver.NotConnected
}

// readFault is the same of a read, which has side effects in some devices. A time-out and an
// answer that breaks the protocol say by themselves that the device was asked.
func readFault(err error) *client.Fault {
	fault := driver.AsError(err)
	switch {
	case errors.Is(err, driver.ErrNotSent):
		return &client.Fault{Code: sentCode(fault).String(), Text: fault.Text}
	case fault.Code != driver.Timeout && fault.Code != driver.Protocol && driver.MayBeDone(err):
		return &client.Fault{Code: client.CodeUnconfirmed, Text: fmt.Sprintf("the device may have been asked: %s (%s)", fault.Text, fault.Code)}
	}
	return client.FaultOf(fault)
}

// oldLimit is how long a write waits for the last value of its point, which is only for
// the audit log.
const oldLimit = 500 * time.Millisecond

// audited sends one write, and keeps in the audit log and the log who asked for it, before
// and after. A write goes on where that cannot be kept, which is logged and counted.
func (s *Service) audited(ctx context.Context, name string, at *inforce.Point, v driver.Value, send func() error) error {
	asked := &audit.Entry{Point: name, New: valueJSON(v), Result: audit.Asked}
	setCaller(ctx, asked)
	asked.Old = s.lastValue(ctx, at)
	s.keepWrite(asked, true)
	err := send()
	done := *asked
	done.Of, done.Time, done.Old, done.Result = asked.N, time.Time{}, nil, audit.Written
	if err != nil {
		done.Result = err.Error()
	}
	s.keepWrite(&done, false)
	s.Log.Info("write", "point", name, "user", asked.User, "pid", asked.PID, "program", asked.Program,
		"old", string(asked.Old), "new", string(asked.New), "result", done.Result, "audit", done.N, "hash", done.Hash)
	return err
}

// setCaller notes who asked.
func setCaller(ctx context.Context, asked *audit.Entry) {
	if who := caller.From(ctx); who != nil {
		asked.UID, asked.PID, asked.User, asked.Program, asked.From = who.UID(), who.PID(), who.User(), who.Program(), "local"
	}
}

func (s *Service) keepWrite(e *audit.Entry, sync bool) {
	if err := s.Audit.Append(e, sync); err != nil {
		s.Log.Error("a write is missing in the audit log, which will say how many", "point", e.Point, "err", err)
	}
}

func valueJSON(v driver.Value) []byte { return audit.Value(rawJSON(v.AppendJSON(nil))) }

// rawJSON is JSON already.
type rawJSON []byte

// MarshalJSON returns it as it is.
func (r rawJSON) MarshalJSON() ([]byte, error) { return r, nil }

// lastValue is the last value that is known of a point, were it from before the device went
// away; nil: none is known soon enough.
func (s *Service) lastValue(ctx context.Context, at *inforce.Point) []byte {
	ctx, cancel := context.WithTimeout(ctx, oldLimit)
	defer cancel()
	samples := []client.Sample{{Link: at.Link.Name, Device: at.Device.Name, Point: at.Point.Name}}
	p := &Part{Link: at.Link, Device: at.Device.Name, Points: []string{at.Point.Name}, Places: []int{0}}
	if !s.Last(ctx, p, samples) || samples[0].Time.IsZero() {
		return nil
	}
	switch s := &samples[0]; {
	case s.Quality != driver.Bad:
		return valueJSON(s.Value)
	case s.Last != nil && !s.Last.GoodTime.IsZero():
		return valueJSON(s.Last.Good)
	}
	return nil
}
