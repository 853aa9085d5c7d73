package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/simulator/signal"
)

// plant is what the demo simulates. Device names are the same in the simulator and
// in the gateway.
type plant struct {
	config simulator.Config
}

const (
	demoRegisters = 10
	demoSensors   = 10
	demoSerial    = 2
	demoBaud      = 9600
)

func newPlant(devices int) *plant {
	p := &plant{config: simulator.ModbusFleet(devices, demoRegisters, simulator.Units)}
	p.config.Servers = append(p.config.Servers, sensors())
	p.config.Servers = append(p.config.Servers, simulator.SerialLine(demoSerial, demoBaud).Servers...)
	return p
}

// sensors is an MQTT fleet d1, d2 ... that sends JSON.
func sensors() simulator.ServerConfig {
	s := simulator.ServerConfig{Name: "mqtt", Protocol: simulator.MQTT}
	points := []simulator.Point{
		{Name: "slot", Signal: signal.Slot()},
		{Name: "temperature", Signal: signal.Sine(21, 4, 30*time.Second)},
	}
	publish := []simulator.Publication{{Topic: "demo/{device}", Every: time.Second, QoS: 1}}
	for i := range demoSensors {
		s.Devices = append(s.Devices, simulator.DeviceConfig{Name: fmt.Sprintf("d%d", i+1), Points: points, Publish: publish})
	}
	return s
}

// links is the gateway's configuration for the plant as it runs.
func (p *plant) links(sim *simulator.Simulator) string {
	var b strings.Builder
	b.WriteString("# Written by fieldloom demo at every start.\ntemplates:\n  meter:\n    points:\n")
	b.WriteString("      slot: {address: \"holding:0:uint32\"}\n      r[2..9]: {address: \"holding:{n}\", access: rw}\nlinks:\n")
	for i := range p.config.Servers {
		s := &p.config.Servers[i]
		fmt.Fprintf(&b, "  %s:\n", s.Name)
		switch s.Protocol {
		case simulator.Modbus:
			modbusLink(&b, s, sim.Addr(s.Name))
		case simulator.MQTT:
			mqttLink(&b, s, sim.Addr(s.Name))
		case simulator.Serial:
			serialLink(&b, s, sim.Addr(s.Name))
		}
	}
	return b.String()
}

func modbusLink(b *strings.Builder, s *simulator.ServerConfig, addr string) {
	fmt.Fprintf(b, "    driver: modbus\n    url: \"tcp://%s\"\n    devices:\n", addr)
	for i := range s.Devices {
		fmt.Fprintf(b, "      %s: {template: meter, unit: %d}\n", s.Devices[i].Name, s.Devices[i].Unit)
	}
}

func mqttLink(b *strings.Builder, s *simulator.ServerConfig, addr string) {
	fmt.Fprintf(b, "    driver: mqtt\n    broker: %q\n    client_id: fieldloom-demo\n    devices:\n", addr)
	for i := range s.Devices {
		name := s.Devices[i].Name
		fmt.Fprintf(b, "      %s:\n        points:\n          slot: {address: \"demo/%s $.slot integer\"}\n", name, name)
		fmt.Fprintf(b, "          temperature: {address: \"demo/%s $.temperature number\", unit: \"°C\"}\n", name)
	}
}
