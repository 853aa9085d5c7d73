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
