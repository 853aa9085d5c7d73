package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/simulator"
)

// socketOf is where a simulator is reached.
func socketOf(socket, config string) string {
	if socket != "" {
		return socket
	}
	return strings.TrimSuffix(config, filepath.Ext(config)) + ".sock"
}

// simTarget says which simulator, and what of it.
type simTarget struct {
	Config string `help:"The simulator's YAML file." type:"path" placeholder:"FILE" xor:"where"`
	Socket string `help:"The simulator's socket, instead." type:"path" placeholder:"PATH" xor:"where"`
	Server string `help:"A server, with all of its devices." placeholder:"NAME" xor:"what"`
	Device string `help:"A device." placeholder:"NAME" xor:"what"`
}

func (t *simTarget) socket() (string, error) {
	if t.Config == "" && t.Socket == "" {
		return "", &usageError{"name the simulator by --config FILE or --socket PATH"}
	}
	return socketOf(t.Socket, t.Config), nil
}

type simFaultWord struct {
	Kind string `arg:"" help:"silent, slow, late, cut, busy, refused ... An unknown one is answered with the list."`
	simTarget
	For      time.Duration `help:"How long. Default: until sim clear." placeholder:"10s"`
	Delay    time.Duration `help:"Of slow, late, drip, jump, deaf, hasty and idle." placeholder:"1s"`
	Code     uint8         `help:"Of exception and most: the Modbus exception." placeholder:"4"`
	Range    string        `help:"Of Modbus: only requests that touch these addresses." placeholder:"holding:0-99"`
	Most     int           `help:"Of most: how many registers a request may have." placeholder:"50"`
	Every    int           `help:"Of Modbus: only every so many requests." placeholder:"3"`
	Function uint8         `help:"Of Modbus: only requests of this function." placeholder:"6"`
}

// Help has the examples.
func (*simFaultWord) Help() string {
	return `The fault replaces one that is there, and begins at once.

  fieldloom sim fault silent --device m7 --for 5s --config plant.yaml
  fieldloom sim fault busy --device m7 --range holding:100-149 --config plant.yaml
  fieldloom sim fault refused --server plc --for 10s --config plant.yaml`
}

// Run puts it under the fault.
func (w *simFaultWord) Run(ctx context.Context, _ *screen) error {
	socket, err := w.socket()
	if err != nil {
		return err
	}
	return simulator.Ask(ctx, socket, simulator.Order{Server: w.Server, Device: w.Device, For: w.For, Fault: &simulator.Fault{
		Kind: simulator.FaultKind(w.Kind), Delay: w.Delay, Code: w.Code, Range: w.Range, Most: w.Most, Every: w.Every, Function: w.Function,
	}})
}

type simClearWord struct{ simTarget }

// Run ends the fault.
func (w *simClearWord) Run(ctx context.Context, _ *screen) error {
	socket, err := w.socket()
	if err != nil {
		return err
	}
	return simulator.Ask(ctx, socket, simulator.Order{Server: w.Server, Device: w.Device})
}

type simStatusWord struct {
	Config string `help:"The simulator's YAML file." type:"path" placeholder:"FILE" xor:"where"`
	Socket string `help:"The simulator's socket, instead." type:"path" placeholder:"PATH" xor:"where"`
	JSON   bool   `help:"All counts as a line of JSON."`
}

// Run shows what the simulator tells.
func (w *simStatusWord) Run(ctx context.Context, s *screen) error {
	t := simTarget{Config: w.Config, Socket: w.Socket}
	socket, err := t.socket()
	if err != nil {
		return err
	}
	st, err := simulator.StateOf(ctx, socket)
	if err != nil {
		return err
	}
	if w.JSON {
		return printJSON(s.out, &st)
	}
	g := new(grid)
	g.add(bold, "NAME", "REQUESTS", "ANSWERS", "POLLS", "FAULT")
	row := func(name, requests, answers, polls string) {
		fault := ""
		if f, ok := st.Faults[name]; ok {
			fault = string(f.Kind)
		}
		g.add("", name, requests, answers, polls, fault)
	}
	for _, name := range sortedKeys(st.Counts.Servers) {
		row(name, "", "", "")
	}
	for _, name := range sortedKeys(st.Counts.Devices) {
		d := st.Counts.Devices[name]
		row(name, fmt.Sprint(d.Requests), fmt.Sprint(d.Answers), fmt.Sprint(d.Polls))
	}
	return g.print(s)
}
