package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/gateway"
	"github.com/fieldloom/fieldloom/simulator"
)

type demoWord struct {
	For     time.Duration `help:"End after this time, instead of with Ctrl-C." placeholder:"30s"`
	Devices int           `help:"Modbus devices." default:"20"`
	JSON    bool          `help:"Print the summary only, as a line of JSON."`
	Data    string        `help:"Directory for the demo's configuration and data." default:"data/demo" type:"path" placeholder:"DIR"`
	Drivers string        `help:"Directory of the drivers. Default: drivers beside fieldloom." type:"path" placeholder:"DIR"`
}

// Help has the examples.
func (*demoWord) Help() string {
	return `Simulates a plant (Modbus TCP devices, an MQTT fleet with its broker, serial instruments on a PTY), runs the gateway with real
driver processes against it, shows the samples, and at the end compares what the devices served with what is stored. The exit code is 1 when a
sample is missing, repeated or not good. While it runs, every other word works with --config data/demo.

  fieldloom demo
  fieldloom demo --for 30s --devices 200
  fieldloom demo --for 10s --json | jq .ok`
}

// settle is the time between the count of what was served and the gateway's stop:
// what is on its way then has arrived.
const settle = 300 * time.Millisecond

// Run demonstrates.
func (w *demoWord) Run(ctx context.Context, s *screen) (err error) {
	began := time.Now()
	if w.Devices < 1 || w.Devices > 5000 {
		return &usageError{"--devices takes a number from 1 to 5000"}
	}
	if err := w.alone(ctx); err != nil {
		return err
	}
	tune()
	plant := newPlant(w.Devices)
	sim, err := simulator.Run(context.WithoutCancel(ctx), &plant.config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sim.Close()) }()
	c, err := w.configure(sim, plant)
	if err != nil {
		return err
	}
	if w.For > 0 {
		limited, cancel := context.WithTimeout(ctx, w.For)
		defer cancel()
		ctx = limited
	}
	run := &demoRun{word: w, screen: s, sim: sim, config: c, began: began, tally: newDemoTally(c)}
	if err := run.gateway(ctx); err != nil {
		return err
	}
	return run.summarise(context.WithoutCancel(ctx))
}

// alone refuses a directory in which another demo runs: its files are not to change.
func (w *demoWord) alone(ctx context.Context) error {
	c := client.New(filepath.Join(w.Data, config.DefaultData, config.DefaultSocket))
	defer c.Close()
	h, err := c.Health(ctx)
	if err != nil {
		return nil //nolint:nilerr // nobody answers: that is what is wanted
	}
	return fmt.Errorf("another demo runs in %s (pid %d): stop it, or choose another directory with --data", w.Data, h.PID)
}

// configure writes the gateway's configuration for the plant and loads it.
func (w *demoWord) configure(sim *simulator.Simulator, p *plant) (*config.Config, error) {
	links := filepath.Join(w.Data, config.LinksDir)
	if err := os.RemoveAll(links); err != nil { // of an earlier demo, with other ports
		return nil, err
	}
	if err := os.MkdirAll(links, 0o700); err != nil {
		return nil, err
	}
	drivers := w.Drivers
	if drivers != "" {
		drivers = fmt.Sprintf("drivers: %q\n", drivers)
	}
	for path, text := range map[string]string{
		filepath.Join(w.Data, config.MainFile): fmt.Sprintf(demoMain, drivers),
		filepath.Join(links, "demo.yaml"):      p.links(sim),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return config.Load(w.Data)
}

// demoMain is the demo's fieldloom.yaml.
const demoMain = `# Written by fieldloom demo at every start.
gateway: demo
%sdetach: false
spool: {max: 256MiB, keep: 1d}
`

// demoRun is one demo.
type demoRun struct {
	word   *demoWord
	screen *screen
	sim    *simulator.Simulator
	config *config.Config
	began  time.Time
	tally  *demoTally
	log    demoLog
	served map[string]uint64 // by device, shortly before the gateway's end
}

// gateway runs the gateway until ctx is done, and shows what it stores meanwhile.
func (r *demoRun) gateway(ctx context.Context) error {
	log, closeLog, err := r.openLog()
	if err != nil {
		return err
	}
	defer closeLog()
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- gateway.Run(running, gateway.Options{Config: r.config, Version: version(), Log: log, Ready: func() { close(ready) }})
	}()
	select {
	case <-ready:
	case <-ctx.Done():
	case err := <-ended:
		return err
	}
	watching := r.show(ctx)
	r.served = r.polls()
	time.Sleep(settle)
	stop()
	return errors.Join(watching, <-ended)
}

// openLog sends the gateway's log to a file, and what is wrong also to people.
func (r *demoRun) openLog() (*slog.Logger, func(), error) {
	path := filepath.Join(r.word.Data, "gateway.log")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	r.log.path = path
	people := r.screen.err
	if r.screen.lively {
		people = io.Discard // the table has the last one as its notice
	}
	return slog.New(r.log.handler(f, people)), func() { _ = f.Close() }, nil
}

// show follows the samples until ctx is done.
func (r *demoRun) show(ctx context.Context) error {
	c := client.New(r.config.Socket)
	defer c.Close()
	table := newLatest(r.screen)
	lively := r.screen.lively && !r.word.JSON
	var mu sync.Mutex // guards the tally
	watch := func(ctx context.Context) error {
		for sample, err := range c.Watch(ctx, client.WatchOptions{Since: r.began}) {
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			mu.Lock()
			r.tally.take(&sample)
			r.tally.first(&sample, time.Since(r.began))
			mu.Unlock()
			table.take(sample)
		}
		return nil
	}
	if lively {
		return ticking(ctx, drawEvery, watch, func() {
			table.note(r.log.last())
			table.draw()
		})
	}
	return ticking(ctx, time.Second, watch, func() {
		if !r.word.JSON {
			mu.Lock()
			defer mu.Unlock()
			_, _ = fmt.Fprintln(r.screen.out, r.tally.line(time.Since(r.began)))
		}
	})
}

// polls is what each device has served so far.
func (r *demoRun) polls() map[string]uint64 {
	served := make(map[string]uint64)
	for name, d := range r.sim.Witness().Counts().Devices {
		served[name] = d.Polls
	}
	return served
}
