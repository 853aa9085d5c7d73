package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/gateway"
)

type driverTryWord struct {
	Path   string   `arg:"" help:"Executable of the driver, or what starts it: a debugger."`
	Args   []string `arg:"" optional:"" help:"Arguments of the executable, behind --."`
	Config string   `help:"File with the links to try it on; a directory is a whole configuration." required:"" type:"path" placeholder:"FILE"`
	Level  string   `help:"Lowest level of its log." enum:"debug,info,warn,error" default:"info"`
	JSON   bool     `help:"One line of JSON a sample."`
}

// Help has the examples.
func (*driverTryWord) Help() string {
	return `For an author: runs the driver in the foreground with the terminal as it is, prints its samples, and ends with Ctrl-C, or when
nobody reads them any more. It is not verified, not confined, not restarted and not timed: a debugger may stop it. Nothing is stored.

To use it in a gateway instead, start the driver with FIELDLOOM_SERVE=record.json in its environment, and the gateway with
FIELDLOOM_ATTACH=NAME=record.json. The gateway says so loudly.

  fieldloom driver try ./driver-acme --config links/line1.yaml
  fieldloom driver try dlv --config links/line1.yaml -- exec ./driver-acme`
}

// Run tries.
func (w *driverTryWord) Run(ctx context.Context, s *screen) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(w.Level)); err != nil {
		return &usageError{err.Error()}
	}
	signal.Ignore(syscall.SIGPIPE) // a reader that goes is seen, and the driver ended
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if readerGone(ctx, os.Stdout) {
			cancel(errNoReader)
		}
	}()
	defer func() { cancel(nil); <-watched }()
	err := gateway.Try(ctx, gateway.TryOptions{
		Path: w.Path, Args: w.Args, Config: w.Config, Level: level, Log: newLog(s.err, "text", slog.LevelWarn),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Sample: func(sample *client.Sample) error { return printSample(s, sample, w.JSON) },
		Event:  func(e control.Event) { fmt.Fprintln(s.err, conditionLine(s, &e)) },
	})
	if errors.Is(context.Cause(ctx), errNoReader) || errors.Is(err, syscall.EPIPE) {
		return errNoReader
	}
	return err
}

// errNoReader ends a trial whose samples nobody reads any more.
var errNoReader = errors.New("nobody reads the driver's samples any more: it was ended")

// readerGone waits until nobody can read any more what is written to a pipe or terminal;
// it is false when ctx ends before.
func readerGone(ctx context.Context, out *os.File) bool {
	const step = 200 // milliseconds, in which the end of ctx is seen
	for ctx.Err() == nil {
		fds := []unix.PollFd{{Fd: int32(out.Fd())}} // asks for nothing but errors
		n, err := unix.Poll(fds, step)
		if n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0 {
			return true
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false
		}
	}
	return false
}

// conditionLine is a change of condition as a line.
func conditionLine(s *screen, e *control.Event) string {
	line := e.Time.Local().Format("2006-01-02T15:04:05.000") + "  " + e.Link
	if e.Device != "" {
		line += "/" + e.Device
	}
	line += " is " + e.Condition.String()
	if e.Cause != nil {
		line += ": " + e.Cause.Code.String() + ": " + e.Cause.Text
	}
	return s.paint(stateColour(e.Condition.String()), printable(line))
}
