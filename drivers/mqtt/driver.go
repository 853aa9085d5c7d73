package mqtt

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
func New() driver.Driver { return mqttDriver{} }

type mqttDriver struct{}

var _ driver.Checker = mqttDriver{}

// Info describes the driver.
func (mqttDriver) Info() driver.Info {
	return driver.Info{
		Name: "mqtt", Version: "0.1.0",
		LinkSchema: linkSchema, DeviceSchema: deviceSchema, AddressSchema: addressSchema,
	}
}

// Check reports everything that is wrong with a link and its devices.
func (mqttDriver) Check(cfg driver.LinkConfig, devices []driver.DeviceConfig) error {
	set, err := parseLink(cfg)
	errs := []error{err}
	if set == nil {
		set = &linkSettings{}
	}
	for _, d := range devices {
		_, err := parseDevice(d, set)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Open connects to the broker.
func (mqttDriver) Open(ctx context.Context, cfg driver.LinkConfig, env driver.Env) (driver.Link, error) {
	set, err := parseLink(cfg)
	if err != nil {
		return nil, err
	}
	who, err := set.login(ctx, env)
	if err != nil {
		return nil, err
	}
	return open(ctx, cfg, set, who, env)
}
