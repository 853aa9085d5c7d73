package mqtt_test

import (
	"encoding/json"
	"fmt"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/mqtt"
)

// The gateway asks the driver whether a configuration is right before it connects
// to anything.
func ExampleNew() {
	link := driver.LinkConfig{Name: "broker", Settings: json.RawMessage(`{"broker": "tcp://192.0.2.1:1883"}`)}
	line := driver.DeviceConfig{Name: "line1", Points: []driver.Point{
		{Index: 0, Name: "speed", Address: "plant/line1 $.motor.rpm"},
		{Index: 1, Name: "state", Address: "plant/#/state"},
	}}
	fmt.Println(mqtt.New().(driver.Checker).Check(link, []driver.DeviceConfig{line}))
	// Output:
	// device line1: point state: key address: filter "plant/#/state": # is allowed as the last level only
}
