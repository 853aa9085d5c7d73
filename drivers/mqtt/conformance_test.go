package mqtt_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/driver/drivertest"
	"github.com/fieldloom/fieldloom/drivers/mqtt"
)

func TestConformance(t *testing.T) {
	b := startBroker(t)
	drivertest.Run(t, drivertest.Setup{
		Driver: mqtt.New(),
		Lacks: []drivertest.Ability{
			drivertest.Read, drivertest.Prepare, drivertest.Browse, drivertest.Discover, drivertest.Pipeline, drivertest.Keep,
			drivertest.Missing, // a topic exists by being published on
			drivertest.Silence, // nobody waits for a device
		},
		Link:      driver.LinkConfig{Name: "broker", Timeout: time.Second, Settings: settings(t, "broker", b.url())},
		Device:    device("dev", "plant/temp number", "plant/name text"),
		BadLinks:  []json.RawMessage{settings(t), settings(t, "broker", "tcp://h:1", "qos", 7), settings(t, "borker", "x")},
		BadDevice: device("bad", "a/#/b", "fine", "a $."),
		Writes: []drivertest.WriteCase{
			{Point: "plant/temp number", Value: driver.Float64Value(21.5)},
			{Point: "plant/name text", Value: driver.StringValue("x")},
		},
		BadWrite: drivertest.WriteCase{Point: "plant/temp number", Value: driver.StringValue("x")},
		Push:     func(testing.TB) { b.publish("plant/temp", "21.5", false) },
	})
}
