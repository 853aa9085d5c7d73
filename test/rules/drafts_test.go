package rules_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/pack"
	"github.com/fieldloom/fieldloom/drivers/modbus"
	"github.com/fieldloom/fieldloom/drivers/mqtt"
	"github.com/fieldloom/fieldloom/drivers/serial"
)

// The endpoints of a draft are those that the examples of the driver's settings name.
func TestDraftsNameTheEndpointsOfExamples(t *testing.T) {
	for _, d := range []driver.Driver{modbus.New(), mqtt.New(), serial.New()} {
		info := d.Info()
		m, err := pack.Assemble(filepath.Join(t.TempDir(), "package"), pack.Assembly{
			Draft: filepath.Join("../../drivers", info.Name, "driver.json"), Executables: map[string]string{pack.Platform(): os.Args[0]},
		})
		if err != nil {
			t.Error(err)
			continue
		}
		var schema struct {
			Properties map[string]struct{ Examples []any }
		}
		if err := json.Unmarshal(info.LinkSchema, &schema); err != nil {
			t.Error(err)
		}
		named := 0
		for key, property := range schema.Properties {
			for _, example := range property.Examples {
				text, _ := example.(string)
				e, err := m.Endpoint(text)
				if err == nil && e.Over != "" {
					named++
					err = m.Wants.Allows(e)
				}
				if err != nil {
					t.Errorf("driver %s: %s: %q: %v", info.Name, key, text, err)
				}
			}
		}
		if named == 0 {
			t.Errorf("driver %s: no example of its link's settings names an endpoint", info.Name)
		}
	}
}

// What a package says of its driver, before it runs, is what the driver says.
func TestDraftsSayWhatDriversSay(t *testing.T) {
	for _, d := range []driver.Driver{modbus.New(), mqtt.New(), serial.New()} {
		info := d.Info()
		m, err := pack.Assemble(filepath.Join(t.TempDir(), "package"), pack.Assembly{
			Draft:       filepath.Join("../../drivers", info.Name, "driver.json"),
			Executables: map[string]string{pack.Platform(): os.Args[0]},
		})
		if err != nil {
			t.Error(err)
			continue
		}
		if m.Name != info.Name || m.Version != info.Version {
			t.Errorf("the draft is of %s, the driver is %s %s", m.ID(), info.Name, info.Version)
		}
		for what, pair := range map[string][2][]byte{
			"link": {m.Schemas.Link, info.LinkSchema}, "device": {m.Schemas.Device, info.DeviceSchema}, "address": {m.Schemas.Address, info.AddressSchema},
		} {
			var want bytes.Buffer
			if err := json.Compact(&want, pair[1]); err != nil || !bytes.Equal(pair[0], want.Bytes()) {
				t.Errorf("driver %s: the %s schema of the draft is another (%v)", info.Name, what, err)
			}
		}
	}
}
