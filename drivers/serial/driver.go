package serial

import (
	"context"
	_ "embed" // the schemas
	"errors"

	"github.com/fieldloom/fieldloom/core/driver"
)

var (
	//go:embed schema/link.json
	linkSchema []byte
	//go:embed schema/device.json
	deviceSchema []byte
	//go:embed schema/address.json
	addressSchema []byte
)

// New returns the driver.
func New() driver.Driver { return serialDriver{} }

type serialDriver struct{}

var _ driver.Checker = serialDriver{}

// Info describes the driver.
func (serialDriver) Info() driver.Info {
	return driver.Info{
		Name: "serial", Version: "0.1.0",
		LinkSchema: linkSchema, DeviceSchema: deviceSchema, AddressSchema: addressSchema,
	}
}

// Check reports everything that is wrong with a link and its devices.
func (serialDriver) Check(cfg driver.LinkConfig, devices []driver.DeviceConfig) error {
	set, err := parseLink(cfg)
	errs := []error{err}
	if set == nil {
		set = &linkSettings{Terminator: terminators{Send: "\r\n", Receive: "\r\n"}}
	}
	for _, d := range devices {
		_, err := parseDevice(d, set)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Open opens the port, waits until the instrument has settled, and sends what it wants to hear.
func (serialDriver) Open(ctx context.Context, cfg driver.LinkConfig, env driver.Env) (driver.Link, error) {
	set, err := parseLink(cfg)
	if err != nil {
		return nil, err
	}
	return open(ctx, cfg, set, env)
}
