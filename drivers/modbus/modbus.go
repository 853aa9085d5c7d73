package modbus

import (
	"context"
	_ "embed" // for the schemas
	"errors"
	"io/fs"
	"net"
	"syscall"

	"github.com/goburrow/modbus"

	"github.com/fieldloom/fieldloom/core/driver"
)

//go:embed schema/link.json
var linkSchema string

//go:embed schema/device.json
var deviceSchema string

//go:embed schema/address.json
var addressSchema string

// New returns the driver.
func New() driver.Driver {
	return &modbusDriver{dial: func(ctx context.Context, address string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}}
}

type modbusDriver struct {
	dial func(ctx context.Context, address string) (net.Conn, error)
}

var (
	_ driver.Driver    = (*modbusDriver)(nil)
	_ driver.Checker   = (*modbusDriver)(nil)
	_ driver.Link      = (*link)(nil)
	_ driver.Pipeliner = (*link)(nil)
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
	_, err := parseLink(cfg.Settings)
	errs := []error{err}
	for _, d := range devices {
		s, err := parseDevice(d.Name, d.Settings)
		errs = append(errs, err)
		_, err = parsePoints(d.Name, d.Points, s)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Open connects.
func (d *modbusDriver) Open(ctx context.Context, cfg driver.LinkConfig, env driver.Env) (driver.Link, error) {
	s, err := parseLink(cfg.Settings)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	conn, err := d.dial(ctx, s.address)
	if err != nil {
		return nil, connectError(s.address, err)
	}
	return &link{wire: newWire(conn, cfg.Timeout, s.Window, env.Log), window: s.Window}, nil
}

// connectError says so where the machine and not the device refuses.
func connectError(address string, err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EAFNOSUPPORT) {
		return driver.Errorf(driver.NotConnected, "modbus: connect to %s: its confinement, or a firewall, keeps the driver from the port: "+
			"it is given those that the URLs of its links name: %w", address, err)
	}
	return driver.Errorf(driver.NotConnected, "modbus: connect to %s: %w", address, err)
}

// A link is one connection.
type link struct {
	wire   *wire
	window int
}

// Window is how many calls may be in flight.
func (l *link) Window() int { return l.window }

// Close closes the connection. There is no goroutine to wait for: a call in flight
// fails at once.
func (l *link) Close(context.Context) error {
	l.wire.shut("use the link", net.ErrClosed)
	return nil
}

// Device compiles the points of a unit.
func (l *link) Device(_ context.Context, cfg driver.DeviceConfig) (driver.Device, error) {
	s, err := parseDevice(cfg.Name, cfg.Settings)
	points, pointsErr := parsePoints(cfg.Name, cfg.Points, s)
	if err := errors.Join(err, pointsErr); err != nil {
		return nil, err
	}
	handler := modbus.NewTCPClientHandler("") // its packager; it never connects
	handler.SlaveId = byte(s.Unit)
	return &device{name: cfg.Name, wire: l.wire, settings: s, packager: handler, points: points}, nil
}
