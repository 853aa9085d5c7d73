package commands

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
)

func plant() *inforce.Config {
	table := &control.Table{Points: []control.Point{
		{Name: "u", Readable: true}, {Name: "set", Writable: true}, {Name: "i", Readable: true, Writable: true},
	}}
	class := []control.Class{{Name: "default"}}
	return &inforce.Config{Config: &config.Config{Links: []*config.Link{
		{Name: "line1", Driver: "modbus", Classes: class, Devices: []*config.Device{{Name: "m1", Table: table}, {Name: "m2", Table: table}}},
		{Name: "line2", Driver: "mqtt", Classes: class, Devices: []*config.Device{{Name: "m1", Table: table}}},
	}}}
}

func TestPartsKeepTheOrderAndGroupByDevice(t *testing.T) {
	parts, samples, err := partsOf(plant(), []string{"line2/m1/i", "line1/m1/u", "line2/m1/u", "line1/*/i"})
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for i := range samples {
		order = append(order, samples[i].Path())
	}
	if diff := cmp.Diff([]string{"line2/m1/i", "line1/m1/u", "line2/m1/u", "line1/m1/i", "line1/m2/i"}, order); diff != "" {
		t.Error(diff)
	}
	if len(parts) != 3 {
		t.Fatalf("%d parts, want one a device", len(parts))
	}
	if diff := cmp.Diff([]string{"i", "u"}, parts[0].Points); diff != "" || cmp.Diff([]int{0, 2}, parts[0].Places) != "" {
		t.Errorf("%s places %v", diff, parts[0].Places)
	}
}

func TestPartsOfWriteOnlyPoints(t *testing.T) {
	if _, samples, err := partsOf(plant(), []string{"line1/m1/*"}); err != nil || len(samples) != 2 {
		t.Errorf("a pattern gave %d points, %v: it should leave out what cannot be read", len(samples), err)
	}
	if _, samples, err := partsOf(plant(), []string{"line1/m1/set"}); err != nil || len(samples) != 1 {
		t.Errorf("a name gave %d points, %v: the driver should say that it cannot be read", len(samples), err)
	}
}

func TestMissingSaysWhatIsNotThere(t *testing.T) {
	for name, want := range map[string]string{
		"line9/m1/u":   "line9/m1/u: there is no link line9",
		"line1/m9/u":   "line1/m9/u: link line1 has no device m9",
		"line1/m1/x":   "line1/m1/x: device m1 has no point x",
		"line1":        "line1: name a point as LINK/DEVICE/POINT",
		"line9/*":      "line9/*: no point matches that can be read",
		"line1/m1/u/v": "line1/m1/u/v: device m1 has no point u/v",
	} {
		_, _, err := partsOf(plant(), []string{name})
		if name == "line1" {
			_, ok := plant().Find(name)
			if err = plant().Missing(name); ok {
				t.Errorf("%s was found", name)
			}
		}
		if err == nil || err.Error() != want || driver.CodeOf(err) != driver.NotFound {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestFaultsOfWritesAndReads holds what a caller is told against what became of the call.
func TestFaultsOfWritesAndReads(t *testing.T) {
	sent := func(code driver.Code) error { return driver.Errorf(code, "x") }
	unsent := func(code driver.Code) error { return driver.Errorf(code, "%w: x", driver.ErrNotSent) }
	part := driver.Errorf(driver.Denied, "%w: x", driver.ErrMayBeDone)
	for _, c := range []struct {
		err         error
		write, read string
	}{
		{sent(driver.NotConnected), client.CodeUnconfirmed, client.CodeUnconfirmed},
		{sent(driver.Internal), client.CodeUnconfirmed, client.CodeUnconfirmed},
		{sent(driver.Timeout), client.CodeUnconfirmed, "timeout"},
		{sent(driver.Protocol), client.CodeUnconfirmed, "protocol"},
		{sent(driver.Denied), "denied", "denied"},
		{sent(driver.Busy), "busy", "busy"},
		{unsent(driver.NotConnected), "not-connected", "not-connected"},
		{unsent(driver.Timeout), "busy", "busy"},
		{unsent(driver.Internal), "not-connected", "not-connected"},
		{unsent(driver.Denied), "denied", "denied"},
		{part, client.CodeUnconfirmed, client.CodeUnconfirmed},
		{errors.New("x"), client.CodeUnconfirmed, client.CodeUnconfirmed},
	} {
		err := writeFault("l/d/p", c.err)
		code := driver.CodeOf(err).String()
		var whole *client.Error
		if errors.As(err, &whole) {
			code = whole.Code
		}
		if read := readFault(c.err).Code; code != c.write || read != c.read || errors.Is(err, client.ErrUnconfirmed) != driver.MayBeDone(c.err) {
			t.Errorf("%v: a write is told %s and a read %s, want %s and %s", c.err, code, read, c.write, c.read)
		}
	}
}
