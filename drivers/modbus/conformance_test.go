package modbus_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/driver/drivertest"
	"github.com/fieldloom/fieldloom/drivers/modbus"
	"github.com/fieldloom/fieldloom/simulator"
)

func TestConformance(t *testing.T) {
	for _, framing := range []string{"mbap", "rtu", "ascii"} {
		t.Run(framing, func(t *testing.T) {
			sim := simulator.Start(t, simulator.Config{Servers: []simulator.ServerConfig{{
				Name: "line", Protocol: simulator.Modbus, Framing: framing, Devices: []simulator.DeviceConfig{{
					Name: "m", Unit: 7, Image: &simulator.Image{Ranges: []string{"holding:0-9"}, Points: []simulator.Point{
						{Name: "set", Address: "holding:2", Type: "float32", Writable: true},
					}},
				}},
			}}})
			settings := func(s string) json.RawMessage { return json.RawMessage(s) }
			url := fmt.Sprintf(`"url":"tcp://%s","framing":%q`, sim.Addr("line"), framing)
			setup := drivertest.Setup{
				Driver: modbus.New(),
				Lacks:  []drivertest.Ability{drivertest.Subscribe, drivertest.Keep},
				Link:   driver.LinkConfig{Name: "line", Timeout: timeout / 5, Settings: settings("{" + url + "}")},
				Device: driver.DeviceConfig{Name: "m", Settings: settings(`{"unit":7}`), Points: []driver.Point{
					{Name: "set", Address: "holding:2:float32"}, {Name: "bit", Address: "holding:0.3"},
				}},
				BadLinks:  []json.RawMessage{settings(`{}`), settings("{" + url + `,"window":0}`)},
				BadDevice: driver.DeviceConfig{Name: "m", Points: []driver.Point{{Name: "a", Address: "x"}, {Name: "b", Address: "holding:70000"}}},
				Missing:   driver.Point{Name: "gone", Address: "holding:5000"},
				Writes:    []drivertest.WriteCase{{Point: "set", Value: driver.Float64Value(2.5)}},
				BadWrite:  drivertest.WriteCase{Point: "set", Value: driver.StringValue("x")},
				Browsed:   "holding:2:float32:abcd", BrowsedBelow: "holding:2",
				Found: "unit 7", FoundWithin: "99,7",
			}
			if framing == "mbap" {
				setup.Lacks = append(setup.Lacks, drivertest.Silence) // a gateway says at once that nobody is there
			} else {
				setup.Silent = driver.DeviceConfig{Name: "dead", Settings: settings(`{"unit":99}`), Points: []driver.Point{{Name: "a", Address: "holding:0"}}}
			}
			drivertest.Run(t, setup)
		})
	}
}
