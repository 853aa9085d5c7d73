// Package testdriver is a driver without hardware, for tests of what runs around
// drivers. A test binary that serves it, when it is executed under the name of a
// driver, needs nothing built beforehand.
//
// Its devices live in memory. The address of a point says how it behaves:
//
//	ram      holds what was written to it, at first 0
//	count    the number of reads, this one included
//	text     a text
//	bad      cannot be read: there is no such point
//	deny     0, and refuses every write
//	crash    0, and a write ends the process with exit code 3
//	hang     0, and a write stops the whole process with SIGSTOP
//	fill     0, and a write takes 400 MiB of the disk, in the directory of the process
//	litter   the same with 1000 empty files
//	hide     the same with 400 MiB in files without a name
package testdriver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// New returns the driver under a name.
func New(name string) driver.Driver { return &memory{name} }

type memory struct{ name string }

var (
	_ driver.Checker = (*memory)(nil)
	_ driver.Reader  = (*device)(nil)
	_ driver.Writer  = (*device)(nil)
)

func addresses() []string {
	return []string{"ram", "count", "text", "bad", "deny", "crash", "hang", "fill", "litter", "hide"}
}

// Info describes the driver.
func (m *memory) Info() driver.Info {
	return driver.Info{
		Name: m.name, Version: "1.2.3",
		LinkSchema: json.RawMessage(`{"type":"object","additionalProperties":false,"properties":{
			"places":{"type":"integer","minimum":1,"description":"Where devices may be: somebody is at each that is odd."},
			"refuse":{"type":"string","description":"The link cannot be opened, for this reason."},
			"password":{"type":"string","description":"Whose length is a gauge; it may be a secret.","writeOnly":true}}}`),
		DeviceSchema: json.RawMessage(`{"type":"object","additionalProperties":false,"properties":{"unit":{"type":"integer","maximum":9}}}`),
	}
}

// Check checks every address.
func (m *memory) Check(_ driver.LinkConfig, devices []driver.DeviceConfig) error {
	var errs []error
	for _, d := range devices {
		errs = append(errs, check(d))
	}
	return errors.Join(errs...)
}

func check(d driver.DeviceConfig) error {
	var errs []error
	for _, p := range d.Points {
		if !slices.Contains(addresses(), p.Address) {
			errs = append(errs, &driver.ConfigError{Device: d.Name, Point: p.Name, Key: "address",
				Text: fmt.Sprintf("there is no memory named %q: use one of %v", p.Address, addresses())})
		}
	}
	return errors.Join(errs...)
}

// Open opens a link.
func (m *memory) Open(ctx context.Context, cfg driver.LinkConfig, env driver.Env) (driver.Link, error) {
	var s struct {
		Refuse, Password string
		Places           int
	}
	if err := driver.DecodeSettings(cfg.Settings, &s); err != nil {
		return nil, err
	}
	if s.Refuse != "" {
		return nil, driver.Errorf(driver.NotConnected, "%s", s.Refuse)
	}
	password, err := env.Resolve(ctx, s.Password)
	if err != nil {
		return nil, err
	}
	env.Gauge("password_bytes", float64(len(password)))
	env.Count("opens", 1)
	env.Log.Info("memory is there")
	env.Log.Debug("memory is empty")
	if s.Places > 0 {
		return &street{places: s.Places}, nil
	}
	return &link{}, nil
}

type link struct{}

// A street is a link with places to look for devices at.
type street struct {
	link
	places int
}

var _ driver.Discoverer = (*street)(nil)

// Discover finds somebody at each place that is odd; another takes the whole patience. It knows
// one word, "house", for the first place alone.
func (s *street) Discover(ctx context.Context, c driver.Candidate) (*driver.Entry, int, error) {
	places := s.places
	switch c.Within {
	case "":
	case "house":
		places = 1
	default:
		return nil, 0, driver.Errorf(driver.BadValue, "%q is no house", c.Within)
	}
	switch {
	case c.Number >= places:
		return nil, places, nil
	case c.Number%2 == 1:
		select {
		case <-time.After(c.Patience):
		case <-ctx.Done():
		}
		return nil, places, nil
	}
	e := &driver.Entry{Address: fmt.Sprintf("place %d", c.Number+1), Value: "lit"}
	if c.Identify {
		e.Name, e.Value = "a house", ""
	}
	return e, places, nil
}

// Device makes a device.
func (l *link) Device(_ context.Context, cfg driver.DeviceConfig) (driver.Device, error) {
	if err := check(cfg); err != nil {
		return nil, err
	}
	return &device{ram: make(map[int]driver.Value)}, nil
}

// Close has nothing to release.
func (l *link) Close(context.Context) error { return nil }

type device struct {
	mu    sync.Mutex
	ram   map[int]driver.Value
	reads int64
}

// Read reads.
func (d *device) Read(_ context.Context, points []driver.Point, out []driver.Sample) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads++
	for i, p := range points {
		switch p.Address {
		case "bad":
			out[i] = driver.Faulted(driver.Errorf(driver.NotFound, "there is nothing at bad"))
		case "count":
			out[i] = driver.GoodSample(driver.Int64Value(d.reads))
		case "text":
			out[i] = driver.GoodSample(driver.StringValue("a text"))
		default:
			out[i] = driver.GoodSample(d.value(p.Index))
		}
	}
	return nil
}

func (d *device) value(index int) driver.Value {
	if v, ok := d.ram[index]; ok {
		return v
	}
	return driver.Int64Value(0)
}

// Write writes.
func (d *device) Write(_ context.Context, p driver.Point, v driver.Value) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch p.Address {
	case "deny", "bad", "count", "text":
		return driver.Errorf(driver.Denied, "the device does not allow it")
	case "crash":
		fmt.Fprintln(os.Stderr, "panic: out of cheese")
		os.Exit(3)
	case "hang":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	}
	switch p.Address {
	case "fill":
		return litter(20, 20<<20, false)
	case "litter":
		return litter(1000, 0, false)
	case "hide":
		return litter(20, 20<<20, true)
	}
	d.ram[p.Index] = v
	return nil
}

// hidden keeps files without a name open.
var hidden []*os.File

// litter makes files of a size in the directory that the process has for its socket.
func litter(files int, size int64, hide bool) error {
	dir := os.Getenv("PLUGIN_UNIX_SOCKET_DIR")
	for i := range files {
		path := filepath.Join(dir, fmt.Sprintf("litter%d", i))
		f, err := os.Create(path)
		if err == nil && size > 0 {
			err = syscall.Fallocate(int(f.Fd()), 0, 0, size)
		}
		if err != nil {
			return err
		}
		if hide {
			hidden = append(hidden, f)
			err = os.Remove(path)
		} else {
			err = f.Close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}
