package serial

import (
	"context"
	"errors"
	"fmt"

	"github.com/fieldloom/fieldloom/core/driver"
)

// device is one instrument.
type device struct {
	name     string
	link     *link
	requests map[string]*request
	lines    map[string]*request
	writes   map[string]*request
	points   []*compiled // by Point.Index
}

// compiled is a point with its parsed address.
type compiled struct {
	index int
	*address
	source *request // nil: can't be read
	write  *request // nil: can't be written
	field  int      // in what source.answer.fields returns
}

// polled is a device that is asked, listening one that speaks by itself. Both can be
// written to.
type (
	polled    struct{ *device }
	listening struct{ *device }
)

var (
	_ driver.Reader     = polled{}
	_ driver.Preparer   = polled{}
	_ driver.Writer     = polled{}
	_ driver.Subscriber = listening{}
	_ driver.Writer     = listening{}
)

// parseDevice compiles the device and reports all that is wrong with it together.
func parseDevice(cfg driver.DeviceConfig, link *linkSettings) (*device, error) {
	var set deviceSettings
	if err := driver.DecodeSettings(cfg.Settings, &set); err != nil {
		return nil, &driver.ConfigError{Device: cfg.Name, Text: err.Error()}
	}
	c := &compiler{device: cfg.Name}
	c.setVars(set.Vars)
	d := &device{name: cfg.Name}
	d.requests = c.talks("requests", set.Requests, func(key, name string, t talk) *request {
		return c.request(key, name, t, link.Terminator.Send)
	})
	d.lines = c.talks("lines", set.Lines, c.line)
	d.writes = c.talks("writes", set.Writes, func(key, name string, t talk) *request {
		return c.write(key, name, t, link.Terminator.Send)
	})
	for name := range set.Requests {
		if d.lines[name] != nil {
			c.wrong("lines."+name, errors.New("a request has the same name"))
		}
	}
	d.points = make([]*compiled, len(cfg.Points))
	for i, p := range cfg.Points {
		point, err := d.compile(p)
		if err != nil {
			c.errs = append(c.errs, &driver.ConfigError{Device: cfg.Name, Point: p.Name, Key: "address", Text: err.Error()})
		}
		d.points[i] = point
	}
	if len(c.errs) == 0 && d.listens() && d.polls() {
		c.wrong("", errors.New("points of requests and points of lines can't be in one device: make it two devices on the link"))
	}
	return d, errors.Join(c.errs...)
}

func (c *compiler) request(key, name string, t talk, terminator string) *request {
	r := &request{device: c.device, name: name, send: c.send(key, t, terminator), refuse: c.pattern(key+".refuse", t.Refuse)}
	r.answer = c.extractor(key, t)
	if r.send.takesValue() {
		c.wrong(key+".send", errors.New("a request has no {value}: that is for writes"))
	}
	return r
}

func (c *compiler) line(key, name string, t talk) *request {
	if t.Send != "" || t.SendHex != "" || t.Refuse != "" {
		c.wrong(key, errors.New("a line that comes unasked has no send and no refuse"))
	}
	return &request{device: c.device, name: name, answer: c.extractor(key, t)}
}

func (c *compiler) write(key, name string, t talk, terminator string) *request {
	r := &request{device: c.device, name: name, send: c.send(key, t, terminator), refuse: c.pattern(key+".refuse", t.Refuse)}
	r.answer = c.extractor(key, t)
	if t.Split != "" {
		c.wrong(key+".split", errors.New("nothing is taken from the answer to a write"))
	}
	return r
}

// compile finds what a point's address names.
func (d *device) compile(p driver.Point) (*compiled, error) {
	a, err := parseAddress(p.Address)
	if err != nil {
		return nil, err
	}
	point := &compiled{index: p.Index, address: a}
	if a.write != "" {
		if point.write = d.writes[a.write]; point.write == nil {
			return nil, fmt.Errorf("there is no write named %q in writes", a.write)
		}
	}
	if a.source == "" {
		return point, nil
	}
	if point.source = d.requests[a.source]; point.source == nil {
		point.source = d.lines[a.source]
	}
	if point.source == nil {
		return nil, fmt.Errorf("there is neither a request nor a line named %q", a.source)
	}
	if expect := point.source.answer.expect; expect != nil && expect.Regexp == nil {
		return point, nil // it did not compile: that error is reported already
	}
	if a.binary != nil {
		return point, nil // of the whole frame
	}
	point.field, err = point.source.answer.index(a.field)
	return point, err
}

func (d *device) listens() bool { return d.has(d.lines) }
func (d *device) polls() bool   { return d.has(d.requests) }

func (d *device) has(sources map[string]*request) bool {
	for _, p := range d.points {
		if p.source != nil && sources[p.source.name] == p.source {
			return true
		}
	}
	return false
}

// Write sends the point's write and waits for the acknowledgement, where one is expected.
func (d *device) Write(ctx context.Context, p driver.Point, v driver.Value) error {
	point := d.points[p.Index]
	if point.write == nil {
		return driver.Errorf(driver.Denied, "point %s: its address has no set=WRITE", p.Name)
	}
	content, fault := point.write.send.render(v, point.kind)
	if fault != nil {
		return fault
	}
	if !point.write.awaits() {
		return d.link.tell(ctx, d.name, content)
	}
	claimed, err := d.link.claim(ctx, point.write)
	if err != nil {
		return unsent(err)
	}
	_, err = d.link.exchange(ctx, content, claimed)
	if driver.CodeOf(err) == driver.Timeout {
		return driver.Errorf(driver.Timeout, "write %s: the value may have been taken: %w", point.write.name, err)
	}
	return err
}
