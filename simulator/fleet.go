package simulator

import "fmt"

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
