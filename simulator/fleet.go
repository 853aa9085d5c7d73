package simulator

import (
	"fmt"
	"time"

	"github.com/fieldloom/fieldloom/simulator/signal"
)

// Layout says how a fleet of Modbus devices is reached.
type Layout int

// The layouts.
const (
	Ports Layout = iota // a port for each device; server m1 has device m1, and so on
	Units               // up to 247 devices by unit id behind a port; servers modbus1, modbus2 ...
)

// unitsAPort is the number of unit ids that devices may have.
const unitsAPort = 247

// ModbusFleet is n like devices m1, m2 ... with StandardImage(registers), on free ports of 127.0.0.1.
func ModbusFleet(n, registers int, layout Layout) Config {
	var cfg Config
	image := StandardImage(registers)
	for i := range n {
		d := DeviceConfig{Name: fmt.Sprintf("m%d", i+1), Unit: 1, Image: image}
		if layout == Ports {
			cfg.Servers = append(cfg.Servers, ServerConfig{Name: d.Name, Protocol: Modbus, Devices: []DeviceConfig{d}})
			continue
		}
		if i%unitsAPort == 0 {
			cfg.Servers = append(cfg.Servers, ServerConfig{Name: fmt.Sprintf("modbus%d", i/unitsAPort+1), Protocol: Modbus})
		}
		d.Unit = byte(i%unitsAPort + 1)
		srv := &cfg.Servers[len(cfg.Servers)-1]
		srv.Devices = append(srv.Devices, d)
	}
	return cfg
}

// MQTTFleet is n devices d1, d2 ... on the broker `mqtt`, each of which sends its slot as a
// number on `fleet/<device>/slot` once a period at QoS 1.
func MQTTFleet(n int, every time.Duration) Config {
	srv := ServerConfig{Name: "mqtt", Protocol: MQTT}
	points := []Point{{Name: "slot", Signal: signal.Slot()}}
	publish := []Publication{{Topic: "fleet/{device}/slot", Payload: "{slot}", Every: every, QoS: 1}}
	for i := range n {
		srv.Devices = append(srv.Devices, DeviceConfig{Name: fmt.Sprintf("d%d", i+1), Points: points, Publish: publish})
	}
	return Config{Servers: []ServerConfig{srv}}
}

// SerialLine is one serial server, `serial`, with n instruments s1, s2 ... that answer `?1`,
// `?2` ... with `1 <slot> <temperature>` and so on, and take a new temperature with `!1 21.5`,
// answered `ok`. Bytes are paced for the baud rate, 0 for none.
func SerialLine(n, baud int) Config {
	srv := ServerConfig{Name: "serial", Protocol: Serial, Line: Line{Baud: baud}}
	points := []Point{
		{Name: "slot", Signal: signal.Slot()},
		{Name: "temperature", Writable: true, Signal: signal.Sine(20, 5, time.Minute)},
	}
	for i := 1; i <= n; i++ {
		srv.Devices = append(srv.Devices, DeviceConfig{
			Name:   fmt.Sprintf("s%d", i),
			Points: points,
			Exchange: []Exchange{
				{Match: fmt.Sprintf(`\?%d`, i), Reply: fmt.Sprintf("%d {slot} {temperature:%%.2f}", i)},
				{Match: fmt.Sprintf(`!%d (?P<temperature>[-+0-9.]+)`, i), Reply: "ok"},
			},
		})
	}
	return Config{Servers: []ServerConfig{srv}}
}
