package simulator

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"
)

const defaultTimes = 1 << 16

// Simulator is a set of running servers and the devices behind them. Its methods may be called
// concurrently.
type Simulator struct {
	started time.Time
	times   int
	log     *slog.Logger
	servers map[string]*Server
	devices map[string]*Device

	protocols map[Protocol]Maker

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
	err  error // of the end; after wg
}

// TB is the part of testing.TB that Start needs.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Cleanup(func())
}

// Start runs a simulator until the test ends. It is Run for tests, with every error a failure.
func Start(t TB, cfg Config) *Simulator {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := Run(ctx, &cfg)
	if err != nil {
		cancel()
		t.Fatalf("start the simulator: %v", err)
		return nil
	}
	t.Cleanup(func() {
		cancel()
		if err := s.Close(); err != nil {
			t.Errorf("close the simulator: %v", err)
		}
	})
	return s
}

// Run opens every server and returns when all of them listen. They run until ctx ends or Close
// is called; Close also waits for that.
func Run(ctx context.Context, cfg *Config) (*Simulator, error) {
	s := &Simulator{
		started: time.Now(),
		times:   cfg.Times,

		protocols: cfg.Protocols,
		log:       cfg.Log,
		servers:   make(map[string]*Server, len(cfg.Servers)),
		devices:   make(map[string]*Device, len(cfg.Servers)),
	}
	if s.times == 0 {
		s.times = defaultTimes
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	plan, err := s.build(cfg)
	if err != nil {
		return nil, err
	}
	ctx, s.stop = context.WithCancel(ctx)
	s.ctx = ctx
	for _, c := range cfg.Servers {
		if err := s.servers[c.Name].open(); err != nil {
			s.stop()
			return nil, errors.Join(fmt.Errorf("server %s: %w", c.Name, err), s.shut())
		}
	}
	s.wg.Go(func() {
		s.follow(ctx, plan)
		<-ctx.Done()
		s.err = s.shut()
	})
	return s, nil
}

// build makes servers and devices of a config, and opens nothing.
func (s *Simulator) build(cfg *Config) ([]step, error) {
	images := make(imageCache)
	for i := range cfg.Servers {
		c := &cfg.Servers[i]
		if _, double := s.servers[c.Name]; double || c.Name == "" {
			return nil, fmt.Errorf("server %q: a server has a name of its own", c.Name)
		}
		srv, err := s.newServer(c, images)
		if err != nil {
			return nil, fmt.Errorf("server %s: %w", c.Name, err)
		}
		s.servers[c.Name] = srv
	}
	return s.plan(cfg.Schedule)
}

func (s *Simulator) newServer(c *ServerConfig, images imageCache) (*Server, error) {
	if err := c.foreign(); err != nil {
		return nil, err
	}
	srv := &Server{sim: s, name: c.Name, protocol: c.Protocol, changed: make(chan struct{})}
	for i := range c.Devices {
		d, err := s.newDevice(srv, &c.Devices[i])
		if err != nil {
			return nil, err
		}
		srv.devices = append(srv.devices, d)
	}
	var err error
	srv.end, err = s.newEndpoint(srv, c, images)
	if err != nil {
		return nil, err
	}
	return srv, nil
}

func (s *Simulator) newDevice(srv *Server, c *DeviceConfig) (*Device, error) {
	if _, double := s.devices[c.Name]; double || c.Name == "" {
		return nil, fmt.Errorf("device %q: a device has a name of its own in the whole simulator", c.Name)
	}
	d := &Device{server: srv, name: c.Name, unit: c.Unit, seed: c.Seed}
	if d.seed == 0 {
		h := fnv.New64a()
		_, _ = h.Write([]byte(c.Name))
		d.seed = h.Sum64()
	}
	s.devices[c.Name] = d
	return d, nil
}

// Addr returns where a server, or a device's server, is reached: host:port, or the path of a
// tty. It panics when there is neither.
func (s *Simulator) Addr(name string) string {
	if srv, ok := s.servers[name]; ok {
		return srv.Addr()
	}
	return s.Device(name).Addr()
}

// Server returns a server by its name. It panics when there is none: the name stands in the
// config that the caller wrote.
func (s *Simulator) Server(name string) *Server {
	srv, ok := s.servers[name]
	if !ok {
		panic(fmt.Sprintf("simulator: no server is named %q", name))
	}
	return srv
}

// Device returns a device by its name. It panics when there is none.
func (s *Simulator) Device(name string) *Device {
	d, ok := s.devices[name]
	if !ok {
		panic(fmt.Sprintf("simulator: no device is named %q", name))
	}
	return d
}

// Witness returns what counts everything.
func (s *Simulator) Witness() *Witness { return &Witness{s} }

// Started returns the time from which the signals count.
func (s *Simulator) Started() time.Time { return s.started }

// Close stops everything and waits for it. It is safe to call twice; the counts stay readable.
func (s *Simulator) Close() error {
	s.stop()
	s.wg.Wait()
	return s.err
}

func (s *Simulator) shut() error {
	var errs []error
	for _, srv := range s.servers {
		if err := srv.end.close(); err != nil {
			errs = append(errs, fmt.Errorf("server %s: %w", srv.name, err))
		}
	}
	return errors.Join(errs...)
}
