package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

type profileWord struct {
	Kind string `arg:"" optional:"" help:"cpu, trace, mutex, block, heap, allocs or goroutine. Default: cpu." default:"cpu" enum:"cpu,trace,mutex,block,heap,allocs,goroutine"`
	remote
	For period `help:"How long cpu, trace, mutex and block are gathered, at most 1m. Default: 10s." placeholder:"10s"`
	To  string `short:"o" name:"out" help:"The file to write; - is standard output. Default: fieldloom-KIND.pprof here." placeholder:"FILE"`
}

// Help has the examples.
func (*profileWord) Help() string {
	return `Writes what the gateway's own process does, for those who look for where its time or memory goes. It changes nothing, and costs
some percent of a processor while it is gathered. Drivers are processes of their own and are not in it.

  fieldloom profile && go tool pprof -top fieldloom-cpu.pprof
  fieldloom profile heap -o heap.pprof
  fieldloom profile trace --for 1s -o t && go tool trace t`
}

// Run gathers the profile.
func (w *profileWord) Run(ctx context.Context, s *screen) error {
	c, err := w.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	fetch := func(to io.Writer) error { return c.Profile(ctx, w.Kind, time.Duration(w.For), to) }
	switch w.To {
	case "-":
		return fetch(s.out)
	case "":
		w.To = "fieldloom-" + w.Kind + ".pprof"
	}
	f, err := os.CreateTemp(filepath.Dir(w.To), ".fieldloom-profile-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // it has another name by then, or is not whole
	err = fetch(f)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), w.To)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.out, w.To)
	return err
}
