package simulator

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/fieldloom/fieldloom/simulator/internal/modbus"
	"github.com/fieldloom/fieldloom/simulator/signal"
)

// modbusServer is one port with Modbus devices behind it.
type modbusServer struct {
	*port
	server    *Server
	form      modbusForm
	units     [256]*Device // nil where no device answers
	authority []byte       // in PEM, over TLS
	stray     atomic.Uint64
	atOnce    atomic.Uint64
	conns     atomic.Int64 // open now
	lateness  sync.WaitGroup
}

func newModbusServer(srv *Server, c *ServerConfig, images imageCache) (endpoint, error) {
	m := &modbusServer{server: srv}
	var err error
	if m.form, err = formOf(c); err != nil {
		return nil, err
	}
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
	carrier, err := m.newCarrier(c)
	if err != nil {
		return nil, err
	}
	return &modbusEndpoint{carrier, m}, nil
}

// modbusEndpoint is a Modbus server on what it listens on.
type modbusEndpoint struct {
	endpoint
	*modbusServer
}

func (e *modbusEndpoint) open() error   { return e.endpoint.open() }
func (e *modbusEndpoint) addr() string  { return e.endpoint.addr() }
func (e *modbusEndpoint) refuse() error { return e.endpoint.refuse() }
func (e *modbusEndpoint) admit() error  { return e.endpoint.admit() }
func (e *modbusEndpoint) cut()          { e.endpoint.cut() }

// close waits also for the answers that are late.
func (e *modbusEndpoint) close() error {
	err := e.endpoint.close()
	e.lateness.Wait()
	return err
}

func (e *modbusEndpoint) counts(c *ServerCounts) {
	e.endpoint.counts(c)
	c.Stray, c.AtOnce = e.stray.Load(), e.atOnce.Load()
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

// registers is the store of a Modbus device.
type registers struct{ *modbus.Memory }

func (r *registers) find(point string) (int, bool) { return r.Layout().Find(point) }

func (r *registers) set(point int, v signal.Value, at moment) { r.Set(point, v, at.instant()) }

func (r *registers) get(point int, at moment) signal.Value { return r.Get(point, at.instant()) }

func (r *registers) isSlot(point int) bool { return signal.IsSlot(r.Layout().Points()[point].Signal) }

func (m moment) instant() modbus.Instant {
	return modbus.Instant{Elapsed: m.elapsed, Seed: m.seed, Slot: m.slot}
}
