package simulator

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/fieldloom/fieldloom/simulator/internal/modbus"
	"github.com/fieldloom/fieldloom/simulator/signal"
)

// modbusServer is one port with Modbus devices behind it.
type modbusServer struct {
	*port
	server *Server
	units  [256]*Device // nil where no device answers
	stray  atomic.Uint64
	atOnce atomic.Uint64
}

func newModbusServer(srv *Server, c *ServerConfig, images imageCache) (*modbusServer, error) {
	m := &modbusServer{server: srv}
	m.port = newPort(c.Listen, m.serve)
	for i, d := range srv.devices {
		layout, err := images.of(&c.Devices[i])
		if err != nil {
			return nil, &deviceError{d.name, err}
		}
		d.store = &registers{modbus.NewMemory(layout)}
		if err := m.seat(d); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// seat gives a device its unit id.
func (m *modbusServer) seat(d *Device) error {
	if d.unit != 0 {
		if other := m.units[d.unit]; other != nil {
			return &deviceError{d.name, fmt.Errorf("device %s has unit %d, or answers any", other.name, d.unit)}
		}
		m.units[d.unit] = d
		return nil
	}
	if len(m.server.devices) > 1 {
		return &deviceError{d.name, errors.New("one of several devices of a server needs a unit")}
	}
	for i := range m.units {
		m.units[i] = d
	}
	return nil
}

func (m *modbusServer) counts(c *ServerCounts) {
	m.port.counts(c)
	c.Stray, c.AtOnce = m.stray.Load(), m.atOnce.Load()
}

// registers is the store of a Modbus device.
type registers struct{ *modbus.Memory }

func (r *registers) find(point string) (int, bool) { return r.Layout().Find(point) }

func (r *registers) set(point int, v signal.Value, at moment) { r.Set(point, v, at.instant()) }

func (r *registers) get(point int, at moment) signal.Value { return r.Get(point, at.instant()) }

func (r *registers) isSlot(point int) bool { return signal.IsSlot(r.Layout().Points()[point].Signal) }

func (m moment) instant() modbus.Instant {
	return modbus.Instant{Elapsed: m.elapsed, Seed: m.seed, Slot: m.slot}
}
