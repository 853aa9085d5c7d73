// Baddriver is the Modbus driver with one thing wrong, for tests of upgrades that have
// to be taken back. What is wrong is built into it:
//
//	go build -ldflags "-X main.way=panic" ./test/chaos/baddriver
package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/plugin"
	"github.com/fieldloom/fieldloom/drivers/modbus"
)

// way is what is wrong; the linker sets it.
var way = ""

func main() {
	switch way {
	case "start":
		fmt.Fprintln(os.Stderr, "this version does not start")
		os.Exit(3)
	case "handshake":
		fmt.Println("this is no handshake")
		time.Sleep(time.Minute) // and says nothing more
	}
	plugin.Serve(&bad{Driver: modbus.New()})
}

// bad is the driver.
type bad struct {
	driver.Driver
	once sync.Once
}

var _ driver.Checker = (*bad)(nil)

// Info describes the driver.
func (b *bad) Info() driver.Info {
	info := b.Driver.Info()
	if way == "name" {
		info.Name = "another"
	}
	return info
}

// Check is a part of applying a configuration.
func (b *bad) Check(cfg driver.LinkConfig, devices []driver.DeviceConfig) error {
	switch way {
	case "apply":
		os.Exit(4)
	case "refuse":
		return &driver.ConfigError{Device: devices[0].Name, Text: "this version knows no such device"}
	}
	return b.Driver.(driver.Checker).Check(cfg, devices)
}

// Open opens a link.
func (b *bad) Open(ctx context.Context, cfg driver.LinkConfig, env driver.Env) (driver.Link, error) {
	switch way {
	case "hang":
		select {}
	case "die":
		b.once.Do(func() { time.AfterFunc(100*time.Millisecond, func() { os.Exit(5) }) })
	case "silent":
		b.once.Do(func() {
			time.AfterFunc(300*time.Millisecond, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) })
		})
	}
	l, err := b.Driver.Open(ctx, cfg, env)
	if err != nil || way != "answers" && way != "panic" {
		return l, err
	}
	return &link{l}, nil
}

// A link makes devices that cannot be read.
type link struct{ driver.Link }

// Device makes a device.
func (l *link) Device(ctx context.Context, cfg driver.DeviceConfig) (driver.Device, error) {
	if _, err := l.Link.Device(ctx, cfg); err != nil {
		return nil, err
	}
	return device{}, nil
}

type device struct{}

var _ driver.Reader = device{}

// Read panics, or answers that every point is Bad.
func (device) Read(_ context.Context, _ []driver.Point, out []driver.Sample) error {
	if way == "panic" {
		panic("this version cannot read")
	}
	for i := range out {
		out[i] = driver.Faulted(driver.Errorf(driver.NotFound, "this version finds no point"))
	}
	return nil
}
