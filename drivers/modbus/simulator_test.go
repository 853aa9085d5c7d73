package modbus_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/modbus"
	"github.com/fieldloom/fieldloom/simulator"
)

// simulated are the types that the simulator has too, and shares no code for.
var simulated = []string{"bool", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "string"}

// The simulator's codec is a second opinion: what the driver writes is what the
// device has, and what the device has is what the driver reads.
func TestRoundTripsAgainstTheSimulator(t *testing.T) {
	image := &simulator.Image{Points: []simulator.Point{{Name: "coil", Address: "coil:3", Writable: true}}}
	addresses, names := []string{"coil:3"}, []string{"coil"}
	values := [][]driver.Value{{yes, no}}
	for i, kind := range simulated {
		for j, order := range orders {
			p := simulator.Point{
				Name: kind + order, Address: fmt.Sprintf("holding:%d", 100*i+10*j), Type: kind, Order: order, Writable: true,
			}
			typed := kind
			if kind == "string" {
				p.Length, typed = 7, "string:7"
			}
			image.Points = append(image.Points, p)
			addresses, names = append(addresses, p.Address+":"+typed+":"+order), append(names, p.Name)
			values = append(values, valuesOf[typed])
		}
	}
	sim := simulator.Start(t, simulator.Config{Servers: []simulator.ServerConfig{{
		Name: "plc", Protocol: simulator.Modbus, Devices: []simulator.DeviceConfig{{Name: "m1", Unit: 5, Image: image}},
	}}})
	link, err := modbus.New().Open(t.Context(), driver.LinkConfig{
		Timeout: 10 * timeout, Settings: json.RawMessage(fmt.Sprintf(`{"url":"tcp://%s"}`, sim.Addr("plc"))),
	}, driver.Env{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = link.Close(context.Background()) })
	for _, settings := range []string{
		`{"unit":5}`, `{"unit":5,"write":"fc6","write_coil":"fc15"}`, `{"unit":5,"write":"fc16","max_block":4}`,
	} {
		r := &rig{t: t, link: link}
		u := r.mustUnit(settings, addresses...)
		for i := range addresses {
			for _, v := range values[i] {
				r.roundTrip(u, i, v)
				r.mustHold(sim.Device("m1"), names[i], v)
			}
		}
		for i, sample := range u.mustPoll() {
			r.mustHold(sim.Device("m1"), names[i], sample.Value)
		}
	}
}

// mustHold compares a value with what the device has.
func (r *rig) mustHold(d *simulator.Device, point string, v driver.Value) {
	r.t.Helper()
	got, err := d.Get(point)
	if err != nil {
		r.t.Fatal(err)
	}
	if f, isFloat := got.(float64); isFloat {
		got = driver.Float64Value(f)
		if contains(point, "float32") {
			got, v = driver.Float32Value(float32(f)), driver.Float32Value(float32(v.Float64()))
		}
	}
	if fmt.Sprint(got) != v.String() {
		r.t.Errorf("%s of the device is %v, want %v", point, got, v)
	}
}

// Reading ahead never has more on the wire than the window, and every answer is
// delivered once, in order: the slot is how many polls the simulator served.
func TestReadAheadAgainstTheSimulator(t *testing.T) {
	sim := simulator.Start(t, simulator.ModbusFleet(1, 300, simulator.Ports))
	link, err := modbus.New().Open(t.Context(), driver.LinkConfig{
		Timeout: 10 * timeout, Settings: json.RawMessage(fmt.Sprintf(`{"url":"tcp://%s"}`, sim.Addr("m1"))),
	}, driver.Env{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = link.Close(context.Background()) })
	u := (&rig{t: t, link: link}).mustUnit(`{}`, "holding:0:uint32", "holding:200")
	points := []driver.Point{{Index: 0}, {Index: 1}}
	prepared, err := u.device.(driver.Preparer).Prepare(points)
	if err != nil {
		t.Fatal(err)
	}
	reader := prepared.(driver.AheadReader)
	const polls = 200
	first := uint64(0)
	for i := range uint64(polls) {
		out := make([]driver.Sample, len(points))
		asked := 0
		err := reader.ReadAhead(t.Context(), points, out, func() bool { asked++; return i < polls-1 })
		if err != nil {
			t.Fatalf("poll %d: %v", i, err)
		}
		slot := out[0].Value.Uint64()
		if first == 0 {
			first = slot
		}
		if asked != 1 || slot != first+i || out[1].Quality != driver.Good {
			t.Fatalf("poll %d: asked %d times, slot %d after a first of %d, %v", i, asked, slot, first, out[1])
		}
	}
	if got := sim.Witness().Counts().Total.Requests; got != 2*polls {
		t.Errorf("%d polls of two requests were %d requests", polls, got)
	}
}
