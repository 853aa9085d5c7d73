package modbus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/modbus"
	"github.com/fieldloom/fieldloom/simulator"
)

// At level debug every request and every answer is in the log, with its device; at info
// nothing is.
func TestDebugShowsTheBytes(t *testing.T) {
	sim := simulator.Start(t, simulator.Config{Servers: []simulator.ServerConfig{{Name: "plc", Protocol: simulator.Modbus,
		Devices: []simulator.DeviceConfig{{Name: "m1", Unit: 5, Image: &simulator.Image{Points: []simulator.Point{
			{Name: "set", Address: "holding:2", Writable: true}}}}}}}})
	var out bytes.Buffer
	var level slog.LevelVar
	link, err := modbus.New().Open(t.Context(), driver.LinkConfig{
		Timeout: 10 * timeout, Settings: json.RawMessage(fmt.Sprintf(`{"url":"tcp://%s"}`, sim.Addr("plc"))),
	}, driver.Env{Log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: &level}))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = link.Close(context.Background()) })
	points := []driver.Point{{Name: "set", Address: "holding:2"}}
	dev, err := link.Device(t.Context(), driver.DeviceConfig{Name: "pump", Settings: json.RawMessage(`{"unit":5}`), Points: points})
	if err != nil {
		t.Fatal(err)
	}
	use := func() {
		t.Helper()
		if err := dev.(driver.Writer).Write(t.Context(), points[0], driver.Int64Value(0x1234)); err != nil {
			t.Fatal(err)
		}
		if err := dev.(driver.Reader).Read(t.Context(), points, make([]driver.Sample, 1)); err != nil {
			t.Fatal(err)
		}
	}
	use()
	if out.Len() > 0 {
		t.Errorf("at level info:\n%s", out.String())
	}
	level.Set(slog.LevelDebug)
	use()
	for _, want := range []string{
		"msg=sent device=pump length=12 bytes=0003000000060506000212", "msg=received device=pump length=12 bytes=0003000000060506000212",
		"msg=sent device=pump length=12 bytes=000400000006050300020001", "msg=received device=pump length=11 bytes=0004000000050503021234",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
