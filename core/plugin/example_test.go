package plugin_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/internal/host"
	"github.com/fieldloom/fieldloom/core/internal/wire"
	"github.com/fieldloom/fieldloom/core/plugin"
)

// ExampleServe is the main of a driver.
func ExampleServe() {
	if os.Getenv("FIELDLOOM_DRIVER") != "" { // under the gateway
		plugin.Serve(counting{})
	}
}

// printer stores nothing: it prints what it gets.
type printer struct{}

func (printer) Frame(seq uint64, frame []byte) {
	_, batch, gap, err := wire.DecodeFrame(frame)
	if err != nil || gap != nil {
		fmt.Println(seq, gap, err)
		return
	}
	for sample := range batch.Samples() {
		fmt.Println(sample.Handle, sample.Value, sample.Quality)
	}
}
func (printer) Event(e control.Event) { fmt.Println(e.Link, e.Device, e.Condition) }
func (printer) Heartbeat(uint64)      {}

// ExampleLaunch is a core in small.
func ExampleLaunch() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p, err := host.Launch(ctx, host.Command{Name: "modbus", Path: "bin/drivers/driver-modbus", Log: slog.Default()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = p.Stop(context.Background()) }()
	if faults, err := p.Apply(ctx, &control.State{Revision: 1}, control.ApplyOptions{}); err != nil || len(faults) > 0 {
		fmt.Println(faults, err)
		return
	}
	a, err := p.Attach(ctx, host.Hello{CoreEpoch: uint64(time.Now().UnixNano())}, printer{})
	if err != nil {
		fmt.Println(err)
		return
	}
	<-a.Done()
	fmt.Println(a.Err())
}
