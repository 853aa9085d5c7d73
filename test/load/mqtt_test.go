//go:build load

package load_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/test/plant"
)

// Every message of 1,000 MQTT devices that the session was handed is in the
// spool exactly once.
func TestMQTTThousandDevices(t *testing.T) {
	bins := plant.Build(t)
	sim := simulator.Start(t, simulator.MQTTFleet(devices, time.Second))
	dir := t.TempDir()
	bins.WriteConfig(t, dir, "", fmt.Sprintf("links:\n  broker: {driver: mqtt, broker: %q, client_id: load, devices: {\"d[1..%d]\": {points: {slot: {address: \"fleet/d{d}/slot integer\"}}}}}\n",
		sim.Addr("mqtt"), devices))
	g := bins.Start(t, dir)
	plant.Eventually(t, 30*time.Second, func() error {
		if counts := sim.Server("mqtt").Counts(); counts.Broker == nil || counts.Broker.Acked == 0 {
			return fmt.Errorf("no message was acknowledged")
		}
		return nil
	})
	time.Sleep(length)
	g.Stop()
	counts := sim.Server("mqtt").Counts()
	if counts.Broker.Dropped != 0 {
		t.Errorf("the broker dropped %d messages", counts.Broker.Dropped)
	}
	sim.Close()
	again := bins.Start(t, dir)
	slots, err := plant.Slots(waitSamples(t, again, "broker/*/slot"))
	if err != nil {
		t.Fatal(err)
	}
	total, least := 0, 1<<30
	for i := range devices {
		name := fmt.Sprintf("broker/d%d", i+1)
		n, err := plant.Contiguous(slots[name])
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		total, least = total+n, min(least, n)
	}
	if least < 59 {
		t.Errorf("only %d messages of a device in %v", least, length)
	}
	t.Logf("%d messages handed to the session, %d acknowledged; %d stored, at least %d a device", counts.Broker.Handed, counts.Broker.Acked, total, least)
}
