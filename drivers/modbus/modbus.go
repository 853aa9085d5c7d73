package modbus

import (
	"context"
	_ "embed" // for the schemas
	"errors"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/carrier"
)

//go:embed schema/link.json
var linkSchema string

//go:embed schema/device.json
var deviceSchema string

//go:embed schema/address.json
var addressSchema string

// New returns the driver.
func New() driver.Driver { return &modbusDriver{open: carrier.Open} }

type modbusDriver struct {
	open func(context.Context, *carrier.Address, driver.Env) (carrier.Conn, error)
}

var (
	_ driver.Driver    = (*modbusDriver)(nil)
	_ driver.Checker   = (*modbusDriver)(nil)
	_ driver.Link      = (*link)(nil)
	_ driver.Pipeliner = (*link)(nil)
	_ driver.Lazy      = (*link)(nil)
	_ driver.Pacer     = (*link)(nil)
	_ driver.Reader    = (*device)(nil)
	_ driver.Preparer  = (*device)(nil)
	_ driver.Writer    = (*device)(nil)
	_ driver.Reader    = (*reader)(nil)
)

// Info describes the driver.
func (*modbusDriver) Info() driver.Info {
	return driver.Info{
		Name:          "modbus",
		Version:       "0.1.0",
		LinkSchema:    []byte(linkSchema),
		DeviceSchema:  []byte(deviceSchema),
		AddressSchema: []byte(addressSchema),
	}
}

// Check finds everything wrong in the settings and addresses.
func (*modbusDriver) Check(cfg driver.LinkConfig, devices []driver.DeviceConfig) error {
	link, err := parseLink(cfg)
	errs := []error{err}
	serial := link.framing != nil && link.framing.serial()
	for _, d := range devices {
		s, err := parseDevice(d.Name, d.Settings)
		errs = append(errs, err)
		_, _, err = parsePoints(d.Name, d.Points, s, serial)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Open makes a link, which connects when it is first used: a connection that nobody uses is
// one that others cannot have, and that some devices close.
func (d *modbusDriver) Open(_ context.Context, cfg driver.LinkConfig, env driver.Env) (driver.Link, error) {
	s, err := parseLink(cfg)
	if err != nil {
		return nil, err
	}
	l := &line{
		dial:    func(ctx context.Context) (carrier.Conn, error) { return d.open(ctx, s.address, env) },
		framing: s.framing, env: env, timeout: cfg.Timeout, window: s.Window,
		pause: time.Duration(s.PauseAfterConnect), idle: time.Duration(s.IdleClose),
		pace: &pace{least: s.silence(cfg.Gap)}, frames: s.address.Datagrams() && !s.framing.serial(), char: s.character(),
		opening: make(chan struct{}, 1),
	}
	if s.CloseAfterPoll {
		l.idle = afterPoll
	}
	return &link{line: l}, nil
}

// A link is one line with its devices.
type link struct{ line *line }

// Window is how many calls may be in flight.
func (l *link) Window() int { return l.line.window }

// Lazy reports that the link connects when it is first used.
func (l *link) Lazy() bool { return true }

// Allowance is the time to connect, at most twice in a call, and for each request the time on
// the line and the silence before it.
func (l *link) Allowance() (call, request time.Duration) {
	return 2 * (l.line.timeout + l.line.pause), l.line.longest()
}

// Close closes the connection. There is no goroutine to wait for: a call in flight
// fails at once.
func (l *link) Close(context.Context) error {
	l.line.close()
	return nil
}

// Device compiles the points of a unit.
func (l *link) Device(_ context.Context, cfg driver.DeviceConfig) (driver.Device, error) {
	s, err := parseDevice(cfg.Name, cfg.Settings)
	points, owns, pointsErr := parsePoints(cfg.Name, cfg.Points, s, l.line.framing.serial())
	if err := errors.Join(err, pointsErr); err != nil {
		return nil, err
	}
	return &device{name: cfg.Name, line: l.line, settings: s, packager: l.line.framing.packager(byte(s.Unit)), points: points, owns: owns}, nil
}
