package mqtt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// device is a set of topics of a link.
type device struct {
	link   *link
	name   string
	qos    byte
	retain bool
	clock  clock
	points []*compiled // by Point.Index
}

var (
	_ driver.Subscriber = (*device)(nil)
	_ driver.Writer     = (*device)(nil)
)

// compiled is a point with its parsed address.
type compiled struct {
	index int
	*address
}

// parseDevice compiles the device and reports all that is wrong with it together.
func parseDevice(cfg driver.DeviceConfig, link *linkSettings) (*device, error) {
	set := deviceSettings{}
	if err := driver.DecodeSettings(cfg.Settings, &set); err != nil {
		return nil, &driver.ConfigError{Device: cfg.Name, Text: err.Error()}
	}
	var errs []error
	d := &device{name: cfg.Name, qos: byte(link.QoS), retain: set.Retain}
	if set.QoS != nil {
		if *set.QoS < 0 || *set.QoS > 2 {
			errs = append(errs, &driver.ConfigError{Device: cfg.Name, Key: "qos", Text: fmt.Sprintf("%d is not 0, 1 or 2", *set.QoS)})
		}
		d.qos = byte(*set.QoS)
	}
	var err error
	if d.clock, err = parseClock(set); err != nil {
		errs = append(errs, &driver.ConfigError{Device: cfg.Name, Key: "time", Text: err.Error()})
	}
	d.points = make([]*compiled, len(cfg.Points))
	for i, p := range cfg.Points {
		a, err := parseAddress(p.Address)
		if err != nil {
			errs = append(errs, &driver.ConfigError{Device: cfg.Name, Point: p.Name, Key: "address", Text: err.Error()})
		}
		d.points[i] = &compiled{index: p.Index, address: a}
	}
	return d, errors.Join(errs...)
}

// Subscribe delivers what the broker sends for points. It ends with ctx.Err(), or
// with why the link was lost.
func (d *device) Subscribe(ctx context.Context, points []driver.Point, emit driver.EmitFunc) error {
	s := newSubscription(ctx, d, points, emit)
	if err := d.link.enlist(s); err != nil {
		return err
	}
	defer d.link.retire(s)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-d.link.lost:
		return d.link.cause()
	}
}

// Write publishes v and waits for the broker's acknowledgement.
func (d *device) Write(ctx context.Context, p driver.Point, v driver.Value) error {
	a := d.points[p.Index]
	if a.set == "" {
		return driver.Errorf(driver.Denied, "point %s: %q is no single topic to publish on: add set=TOPIC to the address", p.Name, a.filter)
	}
	content, fault := a.payloadOf(v)
	if fault != nil {
		return fault
	}
	return d.link.publish(ctx, d.name, a.set, d.qos, d.retain, content)
}

// clock takes the time of a sample from its message.
type clock struct {
	path   path // nil: the time of arrival
	format string
}

var timeUnits = map[string]time.Duration{
	"s": time.Second, "ms": time.Millisecond, "us": time.Microsecond, "ns": time.Nanosecond,
}

func parseClock(set deviceSettings) (clock, error) {
	c := clock{format: set.TimeFormat}
	if set.Time == "" {
		if set.TimeFormat != "" {
			return c, errors.New("time_format needs time, the path to the time in the payload")
		}
		return c, nil
	}
	if c.format == "" {
		c.format = "rfc3339"
	}
	if timeUnits[c.format] == 0 && c.format != "rfc3339" {
		return c, fmt.Errorf("time_format %q is not rfc3339, s, ms, us or ns", c.format)
	}
	var err error
	c.path, err = parsePath(set.Time)
	return c, err
}

// stamp gives the sample its time. A sample whose message lacks the time that it
// should have is Uncertain: the value is sure, its time is the arrival's.
func (c *clock) stamp(s *driver.Sample, p *payload, arrival time.Time) {
	s.Time = arrival
	if c.path == nil || s.Quality != driver.Good {
		return
	}
	doc, fault := p.json()
	if fault == nil {
		field, _ := c.path.find(doc)
		var ok bool
		if s.Time, ok = c.parse(field); ok {
			return
		}
		fault = driver.Errorf(driver.Protocol, "payload has no time (%s) at %s", c.format, c.path)
	}
	s.Time, s.Quality, s.Fault = arrival, driver.Uncertain, fault
}

func (c *clock) parse(field any) (time.Time, bool) {
	if c.format == "rfc3339" {
		s, _ := field.(string)
		t, err := time.Parse(time.RFC3339Nano, s)
		return t, err == nil && fitsNanos(t)
	}
	return epoch(field, timeUnits[c.format])
}
