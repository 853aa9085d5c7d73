package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/fieldloom/fieldloom/simulator"
)

// simWord is the words of the simulator; without one it runs.
type simWord struct {
	Run    simRunWord    `cmd:"" default:"withargs" help:"Run simulated devices. It may be left out: fieldloom sim --config FILE."`
	Fault  simFaultWord  `cmd:"" help:"Put a server or a device of a running simulator under a fault."`
	Clear  simClearWord  `cmd:"" help:"End a fault."`
	Status simStatusWord `cmd:"" help:"What a running simulator has served, and its faults."`
	Record simRecordWord `cmd:"" help:"Stand between a gateway and a real device, and record what passes."`
}

type simRunWord struct {
	Config string        `help:"The simulator's YAML file." required:"" type:"path" placeholder:"FILE"`
	JSON   bool          `help:"Print where each server listens, and at the end the witness's counts, as a line of JSON each."`
	Socket string        `help:"Where sim fault, clear and status reach it. Default: the file's name with .sock, beside it." type:"path" placeholder:"PATH"`
	For    time.Duration `help:"End after this time, instead of with Ctrl-C." placeholder:"30s"`
}

// Help has the examples.
func (*simRunWord) Help() string {
	return `Devices to try a configuration without hardware: Modbus TCP servers, an MQTT fleet with its broker, serial instruments on
PTYs, with signals and faults. A witness counts what was asked of them.

  fieldloom sim --config plant.yaml
  fieldloom sim --config plant.yaml --for 30s --json | tail -n 1 | jq .total`
}

// Run simulates until a signal.
func (w *simRunWord) Run(ctx context.Context, s *screen) (err error) {
	c, err := simulator.Load(w.Config)
	if err != nil {
		return &usageError{err.Error()}
	}
	c.Log = newLog(s.err, "text", slog.LevelInfo)
	sim, err := simulator.Run(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sim.Close()) }()
	if err := w.greet(s, sim); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := sim.Control(ctx, socketOf(w.Socket, w.Config)); err != nil {
			c.Log.Warn("sim fault, clear and status do not reach this simulator", "err", err)
		}
	})
	defer serving.Wait()
	defer cancel()
	if w.For > 0 {
		limited, cancel := context.WithTimeout(ctx, w.For)
		defer cancel()
		ctx = limited
	}
	<-ctx.Done()
	return w.report(s, sim)
}

// greet tells where the servers are.
func (w *simRunWord) greet(s *screen, sim *simulator.Simulator) error {
	counts := sim.Witness().Counts()
	addrs := make(map[string]string)
	g := new(grid)
	g.add(bold, "SERVER", "PROTOCOL", "ADDRESS")
	for _, name := range sortedKeys(counts.Servers) {
		addrs[name] = counts.Servers[name].Addr
		g.add("", name, string(counts.Servers[name].Protocol), addrs[name])
	}
	if w.JSON {
		return printJSON(s.out, map[string]any{"servers": addrs})
	}
	return g.print(s)
}

// report prints the witness's counts.
func (w *simRunWord) report(s *screen, sim *simulator.Simulator) error {
	counts := sim.Witness().Counts()
	if w.JSON {
		return printJSON(s.out, counts)
	}
	t := counts.Total
	_, err := fmt.Fprintf(s.out, "%d devices in %.1f s: %d requests, %d answers, %d polls served, %d writes\n",
		t.Devices, counts.Elapsed, t.Requests, t.Answers, t.Polls, t.Writes)
	return err
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
