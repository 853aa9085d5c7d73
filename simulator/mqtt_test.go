package simulator_test

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
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

// eventually looks until something is so.
func eventually(t *testing.T, so func() bool) {
	t.Helper()
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	deadline := time.After(30 * time.Second)
	for !so() {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatal("it never came to be so")
		}
	}
}

// follow receives until every device has reached a slot, and fails where a device's slots have a hole or come out of order. What comes twice is left out, as
// QoS 1 allows it.
func follow(t *testing.T, from <-chan message, devices int, upto uint64, each ...func(n int)) {
	t.Helper()
	last := make(map[string]uint64)
	deadline := time.After(30 * time.Second)
	for n, done := 0, 0; done < devices; n++ {
		select {
		case m := <-from:
			for _, f := range each {
				f(n)
			}
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
			if last[m.topic] = slot; slot == upto {
				done++
			}
		case <-deadline:
			t.Fatalf("slots so far: %v", last)
		}
	}
}

func TestFleetLosesNothing(t *testing.T) {
	sim := simulator.Start(t, simulator.MQTTFleet(50, 20*time.Millisecond))
	got := make(chan message, 100_000)
	c := client(t, sim.Addr("mqtt"), "reader", got)
	wait(t, c.Subscribe("fleet/+/slot", 1, nil))
	follow(t, got, 50, 50)
	counts := sim.Witness().Counts()
	n := counts.Servers["mqtt"].Broker
	if n.Dropped != 0 || n.Sessions != 1 || n.Handed+n.Unheard != n.Published || n.Published < 50*50 || n.Acked == 0 {
		t.Errorf("broker %+v", n)
	}
	if d := counts.Devices["d7"]; d.Polls < 50 || d.MinGap <= 0 || d.MaxGap < d.MinGap || d.Polls != d.Answers {
		t.Errorf("d7 %+v", d)
	}
}

func TestBrokerKeepsSessionsOverRestart(t *testing.T) {
	sim := simulator.Start(t, simulator.MQTTFleet(10, 10*time.Millisecond))
	srv := sim.Server("mqtt")
	got := make(chan message, 100_000)
	c := client(t, sim.Addr("mqtt"), "reader", got)
	wait(t, c.Subscribe("fleet/+/slot", 1, nil))
	follow(t, got, 10, 100, func(n int) {
		if n%100 != 0 || n > 400 {
			return
		}
		if err := srv.Restart(); err != nil {
			t.Error(err)
		}
	})
	if n := srv.Counts(); n.Broker.Dropped != 0 || n.Broker.Sessions != 1 || n.Connections < 6 {
		t.Errorf("server %+v, broker %+v", n, n.Broker)
	}
}

// A client that comes back while much is undelivered has it all, in order, and its SUBSCRIBE is accepted although packet ids are in use.
func TestSessionCatchesUp(t *testing.T) {
	sim := simulator.Start(t, simulator.MQTTFleet(5, 10*time.Millisecond))
	got := make(chan message, 100_000)
	first := client(t, sim.Addr("mqtt"), "reader", got)
	wait(t, first.Subscribe("fleet/+/slot", 1, nil))
	first.Disconnect(0)
	eventually(t, func() bool { return sim.Device("d5").Slot() >= 60 })
	again := client(t, sim.Addr("mqtt"), "reader", got)
	token := again.Subscribe("fleet/+/slot", 1, nil)
	wait(t, token)
	if s, ok := token.(*paho.SubscribeToken); !ok || s.Result()["fleet/+/slot"] != 1 {
		t.Errorf("subscribed: %+v", token)
	}
	follow(t, got, 5, 80)
	if n := sim.Server("mqtt").Counts().Broker; n.Dropped != 0 {
		t.Errorf("broker %+v", n)
	}
}

// A broker that is a black hole takes connections and answers nothing; when that ends, all goes on.
func TestSilentBroker(t *testing.T) {
	sim := simulator.Start(t, simulator.MQTTFleet(5, 10*time.Millisecond))
	srv := sim.Server("mqtt")
	got := make(chan message, 100_000)
	c := client(t, sim.Addr("mqtt"), "reader", got)
	wait(t, c.Subscribe("fleet/+/slot", 1, nil))
	<-got
	if err := srv.Fault(simulator.Fault{Kind: simulator.Silent}); err != nil {
		t.Fatal(err)
	}
	raw := dial(t, strings.TrimPrefix(srv.Addr(), "tcp://"))
	send(t, raw, "10 0f 0004 4d515454 04 02 000a 0003 616263")
	if err := raw.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := raw.Read(make([]byte, 1)); n != 0 || !isTimeout(err) {
		t.Errorf("read %d bytes, %v", n, err)
	}
	slot := sim.Device("d1").Slot()
	if err := srv.Clear(); err != nil {
		t.Fatal(err)
	}
	follow(t, got, 5, slot+20)
	if err := raw.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if connack := make([]byte, 4); !readFull(raw, connack) || connack[0] != 0x20 {
		t.Errorf("after the fault: % x", connack)
	}
}

func readFull(c net.Conn, b []byte) bool {
	_, err := io.ReadFull(c, b)
	return err == nil
}

func TestFaultsOfPublishers(t *testing.T) {
	sim := simulator.Start(t, simulator.MQTTFleet(3, 10*time.Millisecond))
	got := make(chan message, 100_000)
	c := client(t, sim.Addr("mqtt"), "reader", got)
	wait(t, c.Subscribe("fleet/+/slot", 1, nil))
	for kind, want := range map[simulator.FaultKind]func(payload string) bool{
		simulator.Cut:     func(p string) bool { return len(p) < 2 },
		simulator.Garbage: func(p string) bool { _, err := strconv.Atoi(p); return err != nil },
	} {
		if err := sim.Device("d1").Fault(simulator.Fault{Kind: kind}); err != nil {
			t.Fatal(err)
		}
		for m := range got {
			if m.topic == "fleet/d1/slot" && want(m.payload) {
				break
			}
		}
		sim.Device("d1").Clear()
	}
	if err := sim.Device("d2").Fault(simulator.Fault{Kind: simulator.Silent}); err != nil {
		t.Fatal(err)
	}
	slot, other := sim.Device("d2").Slot(), sim.Device("d3").Slot()
	eventually(t, func() bool { return sim.Device("d3").Slot() >= other+10 })
	if now := sim.Device("d2").Slot(); now > slot+1 {
		t.Errorf("a silent device sent %d messages", now-slot)
	}
}

// Garbage and a cut on the broker's wire end a connection, and cost the session nothing.
func TestWireFaults(t *testing.T) {
	sim := simulator.Start(t, simulator.MQTTFleet(3, 10*time.Millisecond))
	srv := sim.Server("mqtt")
	got := make(chan message, 100_000)
	c := client(t, sim.Addr("mqtt"), "reader", got)
	wait(t, c.Subscribe("fleet/+/slot", 1, nil))
	<-got
	if err := srv.Fault(simulator.Fault{Kind: simulator.Cut}); err != nil {
		t.Fatal(err)
	}
	before := srv.Counts().Connections
	eventually(t, func() bool { return srv.Counts().Connections >= before+2 })
	if err := srv.Clear(); err != nil {
		t.Fatal(err)
	}
	follow(t, got, 3, sim.Device("d1").Slot()+20)
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

func TestThousandPublishers(t *testing.T) {
	sim := simulator.Start(t, simulator.MQTTFleet(1000, 300*time.Millisecond))
	got := make(chan message, 100_000)
	c := client(t, sim.Addr("mqtt"), "reader", got)
	wait(t, c.Subscribe("fleet/+/slot", 1, nil))
	follow(t, got, 1000, 4)
	if n := sim.Server("mqtt").Counts().Broker; n.Dropped != 0 {
		t.Errorf("broker %+v", n)
	}
}

// A session changes hands while messages come in, and none is lost between the hands.
func TestTakeOver(t *testing.T) {
	sim := simulator.Start(t, simulator.MQTTFleet(20, 10*time.Millisecond))
	got := make(chan message, 100_000)
	take := func() paho.Client {
		o := paho.NewClientOptions().AddBroker(sim.Addr("mqtt")).SetClientID("reader").SetCleanSession(false).SetAutoReconnect(false)
		o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { got <- message{m.Topic(), string(m.Payload())} })
		c := paho.NewClient(o)
		wait(t, c.Connect())
		t.Cleanup(func() { c.Disconnect(0) })
		return c
	}
	wait(t, take().Subscribe("fleet/+/slot", 1, nil))
	for range 20 {
		<-got
		take()
	}
	slot := sim.Device("d1").Slot()
	follow(t, got, 20, slot+20)
	if n := sim.Server("mqtt").Counts().Broker; n.Dropped != 0 || n.Sessions != 1 {
		t.Errorf("broker %+v", n)
	}
}
