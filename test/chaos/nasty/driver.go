package main

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"

	"github.com/fieldloom/fieldloom/core/driver"
)

// nasty is a healthy driver until a deed is asked for.
type nasty struct {
	name string
	lock sync.Mutex // what every Read takes; a deed never gives it back
}

var (
	_ driver.Driver = (*nasty)(nil)
	_ driver.Reader = (*device)(nil)
	_ driver.Writer = (*device)(nil)
)

const linkSchema = `{"type": "object", "additionalProperties": false, "properties": {
	"does": {"type": "string", "description": "What it does wrong as soon as the link is opened."}}}`

// Info describes it.
func (n *nasty) Info() driver.Info {
	return driver.Info{Name: n.name, Version: "1.0.0", LinkSchema: json.RawMessage(linkSchema)}
}

// Open opens a link, and does what its settings say.
func (n *nasty) Open(_ context.Context, cfg driver.LinkConfig, env driver.Env) (driver.Link, error) {
	var s struct{ Does string }
	if err := driver.DecodeSettings(cfg.Settings, &s); err != nil {
		return nil, err
	}
	l := &link{driver: n, env: env}
	if s.Does != "" {
		return l, l.do(s.Does)
	}
	return l, nil
}

// link is one wire to nowhere.
type link struct {
	driver *nasty
	env    driver.Env
	// What its devices do from now on.
	reads atomic.Pointer[func() driver.Sample] // nil: a number that counts
	stays atomic.Bool                          // neither Read nor Close returns
}

// Device makes a device.
func (l *link) Device(context.Context, driver.DeviceConfig) (driver.Device, error) {
	return &device{link: l}, nil
}

// Close has nothing to release.
func (l *link) Close(context.Context) error {
	if l.stays.Load() {
		select {}
	}
	return nil
}

type device struct {
	link  *link
	count int64 // polls made; calls of a link are serialised
}

// Read answers how often it was asked.
func (d *device) Read(_ context.Context, points []driver.Point, out []driver.Sample) error {
	d.count++
	d.link.driver.lock.Lock()
	d.link.driver.lock.Unlock() //nolint:staticcheck // whether it can be had is all that matters
	if d.link.stays.Load() {
		select {}
	}
	for i := range points {
		if f := d.link.reads.Load(); f != nil {
			out[i] = (*f)()
			continue
		}
		out[i] = driver.GoodSample(driver.Int64Value(d.count))
	}
	return nil
}

// Write does the deed that is written.
func (d *device) Write(_ context.Context, _ driver.Point, v driver.Value) error {
	return d.link.do(v.Str())
}
