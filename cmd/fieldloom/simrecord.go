package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"go.bug.st/serial"

	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/simulator/record"
)

type simRecordWord struct {
	Out    string `arg:"" help:"The file to write; it must not be there."`
	To     string `help:"The device, on TCP." placeholder:"HOST:PORT" xor:"device"`
	Listen string `help:"Where the gateway connects to. Default: a free port of 127.0.0.1." placeholder:"HOST:PORT" default:"127.0.0.1:0"`
	Port   string `help:"The device, on a serial port." placeholder:"/dev/ttyUSB0" xor:"device"`
	Baud   int    `help:"Of the serial port; 8 data bits, 1 stop bit." default:"9600"`
	Parity string `help:"Of the serial port: none, odd or even." default:"none" enum:"none,odd,even"`
	Link   string `help:"The name of the tty that the gateway opens in the port's place." placeholder:"PATH"`
	MBAP   bool   `help:"It is Modbus TCP: when it is played back transaction ids may differ." name:"mbap"`
}

// Help has the examples.
func (*simRecordWord) Help() string {
	return `Stands between a gateway and a real device until Ctrl-C, and writes what passes, both ways, as it does. The file is text and can be
edited; it has everything that passed, passwords too. It is played back by a server of the simulator:

  fieldloom sim record --to 192.0.2.17:502 --mbap meter.rec          # have the gateway connect here
  fieldloom sim record --port /dev/ttyUSB0 --baud 19200 --link ./tty scale.rec

  servers:
    meter: {protocol: playback, recording: meter.rec, listen: 127.0.0.1:1502}`
}

// Run records.
func (w *simRecordWord) Run(ctx context.Context, s *screen) (err error) {
	if (w.To == "") == (w.Port == "") {
		return &usageError{"name the device by --to HOST:PORT or by --port DEVICE"}
	}
	if w.Port != "" && w.Link == "" {
		return &usageError{"with --port, name the tty that the gateway opens in its place by --link PATH"}
	}
	f, err := os.OpenFile(w.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r := &record.Recorder{Of: w.To, Form: record.Raw, To: f}
	if w.MBAP {
		r.Form = record.MBAP
	}
	if w.Port != "" {
		err = w.line(ctx, s, r)
	} else {
		err = w.connections(ctx, s, r)
	}
	_, printErr := fmt.Fprintf(s.out, "%d steps in %s\n", r.Steps(), w.Out)
	return errors.Join(err, printErr)
}

func (w *simRecordWord) connections(ctx context.Context, s *screen, r *record.Recorder) error {
	l, err := net.Listen("tcp", w.Listen)
	if err != nil {
		return err
	}
	r.Dial = func(ctx context.Context) (io.ReadWriteCloser, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", w.To)
	}
	if _, err := fmt.Fprintf(s.out, "tcp://%s stands for tcp://%s; Ctrl-C ends it\n", l.Addr(), w.To); err != nil {
		return errors.Join(err, l.Close())
	}
	return r.Serve(ctx, l)
}

// line records a serial line, which is one connection.
func (w *simRecordWord) line(ctx context.Context, s *screen, r *record.Recorder) error {
	parity := map[string]serial.Parity{"none": serial.NoParity, "odd": serial.OddParity, "even": serial.EvenParity}[w.Parity]
	port, err := serial.Open(w.Port, &serial.Mode{BaudRate: w.Baud, DataBits: 8, Parity: parity, StopBits: serial.OneStopBit})
	if err != nil {
		return fmt.Errorf("open %s: %w", w.Port, err)
	}
	tty, err := simulator.NewTTY(w.Link)
	if err != nil {
		return errors.Join(err, port.Close())
	}
	r.Of = w.Port
	r.Dial = func(context.Context) (io.ReadWriteCloser, error) { return port, nil }
	if _, err := fmt.Fprintf(s.out, "%s stands for %s; Ctrl-C ends it\n", w.Link, w.Port); err != nil {
		return errors.Join(err, port.Close(), tty.Close())
	}
	return r.Line(ctx, tty)
}
