package driver_test

import (
	"context"
	"fmt"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// A whole driver: every device is a clock, whose points are read by the layout in
// their address. Its main would be `func main() { plugin.Serve(clockDriver{}) }`.

type clockDriver struct{}

func (clockDriver) Info() driver.Info {
	return driver.Info{
		Name: "clock", Version: "1.0.0",
		LinkSchema: []byte(`{"type":"object","properties":{"zone":{"type":"string"}},"additionalProperties":false}`),
	}
}

func (clockDriver) Open(_ context.Context, cfg driver.LinkConfig, _ driver.Env) (driver.Link, error) {
	settings := struct{ Zone string }{Zone: "UTC"}
	if err := driver.DecodeSettings(cfg.Settings, &settings); err != nil {
		return nil, err
	}
	zone, err := time.LoadLocation(settings.Zone)
	if err != nil {
		return nil, &driver.ConfigError{Key: "zone", Text: err.Error()}
	}
	return clock{zone}, nil
}

type clock struct{ zone *time.Location } // both the link and its devices

var _ driver.Reader = clock{}

func (c clock) Device(context.Context, driver.DeviceConfig) (driver.Device, error) { return c, nil }

func (c clock) Close(context.Context) error { return nil }

func (c clock) Read(_ context.Context, points []driver.Point, out []driver.Sample) error {
	now := time.Unix(1_000_000_000, 0).In(c.zone) // it stands still, for the example's sake
	for i, p := range points {
		out[i] = driver.GoodSample(driver.StringValue(now.Format(p.Address)))
	}
	return nil
}

// Example opens a link of a whole driver and reads a point, as the engine does.
func Example() {
	ctx := context.Background()
	link, err := clockDriver{}.Open(ctx, driver.LinkConfig{Name: "wall", Settings: []byte(`{"zone":"UTC"}`)}, driver.Env{})
	if err != nil {
		fmt.Println(err)
		return
	}
	device, _ := link.Device(ctx, driver.DeviceConfig{Name: "hall"})
	out := make([]driver.Sample, 1)
	_ = device.(driver.Reader).Read(ctx, []driver.Point{{Name: "time", Address: "15:04:05"}}, out)
	fmt.Println(out[0].Value, out[0].Quality)
	// Output: 01:46:40 good
}
