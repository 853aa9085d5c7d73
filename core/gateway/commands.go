package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

const (
	commandLimit  = 60 * time.Second // for one read or write, its wait behind others included
	readsAtATime  = 16               // devices of one driver that one request reads at the same time
	maxReadPoints = 10_000           // of one request, patterns expanded
)

// Points implements api.Gateway.
func (g *gateway) Points(patterns []string) ([]client.Point, error) {
	list := []client.Point{}
	for at := range g.inForce.Get().Selected(patterns) {
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

// Read implements api.Gateway. A device that cannot be read costs its own points
// only.
func (g *gateway) Read(ctx context.Context, names []string) ([]client.Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	parts, samples, err := partsOf(g.inForce.Get(), names)
	if err != nil {
		return nil, err
	}
	readParts(ctx, parts, samples, g.readDevice, g.readLast)
	return samples, nil
}

func (g *gateway) readDevice(ctx context.Context, p *part) ([]control.NamedSample, error) {
	control, err := g.drivers.Control(p.link.Driver, p.link.Name)
	if err != nil {
		return nil, err
	}
	read, err := control.Read(ctx, p.link.Name, p.device, p.points)
	if err != nil {
		return nil, err
	}
	if err := checkAnswer(read, p); err != nil {
		return nil, fmt.Errorf("driver %s: %w", p.link.Driver, err)
	}
	return read, nil
}

// checkAnswer tells whether an answer is of the points that were asked for, in their order.
// What has a time that cannot be is not Good.
func checkAnswer(read []control.NamedSample, p *part) error {
	if len(read) != len(p.points) {
		return driver.Errorf(driver.Internal, "it answered %d samples to a read of %d points", len(read), len(p.points))
	}
	now := time.Now()
	for i := range read {
		s := &read[i]
		if s.Point != p.points[i] {
			return driver.Errorf(driver.Internal, "it answered with point %.64q to a read of %q", s.Point, p.points[i])
		}
		if s.Quality == driver.Good && !s.Time.IsZero() && !supervise.Timely(s.Time, now) {
			s.Quality, s.Fault = driver.Uncertain, driver.Errorf(driver.BadValue, "its time is %v: that cannot be", s.Time.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

func (p *part) fail(samples []client.Sample, err error) {
	for _, place := range p.places {
		samples[place].Time, samples[place].Fault = time.Now(), readFault(err)
	}
}

// parts resolves names to devices, in the order of the names, and makes room for
// the answer.
func partsOf(a *inforce.Config, names []string) ([]*part, []client.Sample, error) {
	var list []*part
	var samples []client.Sample
	byDevice := make(map[*config.Device]*part)
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
				p = &part{link: at.Link, device: at.Device.Name}
				byDevice[at.Device] = p
				list = append(list, p)
			}
			p.points = append(p.points, at.Point.Name)
			p.places = append(p.places, len(samples))
			samples = append(samples, client.Sample{Link: at.Link.Name, Device: at.Device.Name, Point: at.Point.Name, Unit: at.Point.Unit})
		}
		if !found {
			return nil, nil, a.Missing(name)
		}
	}
	return list, samples, nil
}

// Write implements api.Gateway.
func (g *gateway) Write(ctx context.Context, name string, v driver.Value) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	if !inforce.IsLiteral(name) {
		return time.Time{}, driver.Errorf(driver.BadValue, "write %s: a pattern is only for reading: name one point as LINK/DEVICE/POINT", name)
	}
	a := g.inForce.Get()
	at, ok := a.Find(name)
	if !ok {
		return time.Time{}, a.Missing(name)
	}
	err := g.audited(ctx, name, at, v, func() error { return g.send(ctx, name, at, v) })
	if err != nil {
		return time.Time{}, err
	}
	return time.Now(), nil
}

func (g *gateway) send(ctx context.Context, name string, at *inforce.Point, v driver.Value) error {
	control, err := g.drivers.Control(at.Link.Driver, at.Link.Name)
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
