package simulator_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/simulator/signal"
)

type message struct {
	topic, payload string
}

// client connects to a broker with a session that lasts, until the test ends.
func client(t *testing.T, url, id string, to chan<- message) paho.Client {
	t.Helper()
	o := paho.NewClientOptions().AddBroker(url).SetClientID(id).SetCleanSession(false).SetAutoReconnect(true).SetMaxReconnectInterval(20 * time.Millisecond)
	o.SetConnectRetry(true).SetConnectRetryInterval(20 * time.Millisecond).SetResumeSubs(false)
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { to <- message{m.Topic(), string(m.Payload())} })
	c := paho.NewClient(o)
	wait(t, c.Connect())
	t.Cleanup(func() { c.Disconnect(10) })
	return c
}

func wait(t *testing.T, token paho.Token) {
	t.Helper()
	if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Fatalf("mqtt: %v", token.Error())
	}
}

func fleet(n int, every time.Duration) simulator.Config {
	return simulator.MQTTFleet(n, every)
}

// collect receives until every device's slots reach upto, and fails when one is missing or out of order.
func collect(t *testing.T, from <-chan message, devices int, upto uint64) {
	t.Helper()
	next := make(map[string]uint64)
	complete := 0
	deadline := time.After(30 * time.Second)
	for complete < devices {
		select {
		case m := <-from:
			slot, err := strconv.ParseUint(m.payload, 10, 64)
			if err != nil {
				continue
			}
			want := next[m.topic] + 1
			if slot < want {
				continue // once more, as QoS 1 may
			}
			if slot != want {
				t.Fatalf("%s: slot %d, want %d", m.topic, slot, want)
			}
			if next[m.topic] = slot; slot == upto {
				complete++
			}
		case <-deadline:
			t.Fatalf("%d of %d devices sent %d messages", complete, devices, upto)
		}
	}
}

func TestFleetPublishesEachSlotOnce(t *testing.T) {
	sim := simulator.Start(t, fleet(20, 20*time.Millisecond))
	got := make(chan message, 10_000)
	c := client(t, sim.Addr("mqtt"), "reader", got)
	wait(t, c.Subscribe("fleet/+/slot", 1, nil))
	first := <-got
	if _, err := strconv.Atoi(first.payload); err != nil {
		t.Fatalf("payload %q", first.payload)
	}
	n := sim.Witness().Counts().Servers["mqtt"].Broker
	if n.Dropped != 0 || n.Published == 0 || n.Sessions != 1 {
		t.Errorf("broker %+v", n)
	}
}

func TestBrokerKeepsSessionsOverRestart(t *testing.T) {
	cfg := fleet(10, 10*time.Millisecond)
	sim := simulator.Start(t, cfg)
	srv := sim.Server("mqtt")
	got := make(chan message, 100_000)
	c := client(t, sim.Addr("mqtt"), "reader", got)
	wait(t, c.Subscribe("fleet/+/slot", 1, nil))
	base := make(map[string]uint64)
	for _, d := range srv.Devices() {
		base[d.Name()] = d.Slot()
	}
	for range 5 {
		m := <-got
		_ = m
		if err := srv.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	// Every device's messages come without a hole from the first that was heard.
	last := make(map[string]uint64)
	deadline := time.After(30 * time.Second)
	for done := 0; done < 10; {
		select {
		case m := <-got:
			slot, err := strconv.ParseUint(m.payload, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			before, seen := last[m.topic]
			if seen && slot <= before {
				continue
			}
			if seen && slot != before+1 {
				t.Fatalf("%s: slot %d after %d", m.topic, slot, before)
			}
			if last[m.topic] = slot; slot == 200 {
				done++
			}
		case <-deadline:
			t.Fatalf("slots so far %v, broker %+v", last, srv.Counts().Broker)
		}
	}
	if n := srv.Counts().Broker; n.Dropped != 0 || n.Sessions != 1 {
		t.Errorf("broker %+v", n)
	}
}

func TestDeviceTakesValues(t *testing.T) {
	cfg := simulator.Config{Servers: []simulator.ServerConfig{{Name: "mqtt", Protocol: simulator.MQTT, Devices: []simulator.DeviceConfig{{
		Name: "d",
		Points: []simulator.Point{
			{Name: "setpoint", Writable: true, Signal: signal.Constant(signal.Float(20))},
			{Name: "n", Signal: signal.Slot()},
		},
		Publish: []simulator.Publication{{Topic: "plant/{device}", Every: 20 * time.Millisecond, QoS: 1}},
		Set:     "plant/{device}/{point}/set",
	}}}}}
	sim := simulator.Start(t, cfg)
	got := make(chan message, 1000)
	c := client(t, sim.Addr("mqtt"), "writer", got)
	wait(t, c.Subscribe("plant/d", 1, nil))
	wait(t, c.Publish("plant/d/setpoint/set", 1, false, "21.5"))
	wait(t, c.Publish("plant/d/setpoint/set", 1, false, "warm"))
	if v, err := sim.Device("d").Get("setpoint"); err != nil || v != 21.5 {
		t.Errorf("setpoint %v, %v", v, err)
	}
	w := sim.Device("d").Writes()
	if len(w) != 1 || w[0].Point != "setpoint" || w[0].Value != 21.5 {
		t.Errorf("writes %+v", w)
	}
	for m := range got {
		var slot int
		if n, _ := fmt.Sscanf(m.payload, `{"setpoint":21.5,"n":%d}`, &slot); n == 1 && slot > 0 {
			return
		}
	}
}
