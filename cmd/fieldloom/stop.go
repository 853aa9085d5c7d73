package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/gateway"
)

type stopWord struct {
	remote
	Drivers bool `help:"Stop the detached drivers as well."`
	JSON    bool `help:"As JSON."`
}

// Help has the examples.
func (*stopWord) Help() string {
	return `Returns when the gateway has stopped. Detached drivers go on polling: the next gateway finds them and nothing is missing. With
--drivers they are drained and stopped too, for a plant that is shut down; also where no gateway runs any more. What they have is stored.

  fieldloom stop --config /etc/fieldloom
  fieldloom stop --drivers`
}

// Run stops the gateway and waits for its end.
func (w *stopWord) Run(ctx context.Context, s *screen) error {
	c, err := w.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	before, err := c.Health(ctx)
	if errors.Is(err, client.ErrUnreachable) && w.Drivers && w.Socket == "" {
		return w.endDrivers(s)
	}
	if err != nil {
		return err
	}
	process, err := unix.PidfdOpen(before.PID, 0) // before it is asked: the number may be another's afterwards
	if err != nil {
		return fmt.Errorf("watch the gateway's process %d: %w: is it in this container?", before.PID, err)
	}
	defer func() { _ = unix.Close(process) }()
	h, err := c.Stop(ctx, w.Drivers)
	if errors.Is(err, client.ErrUnconfirmed) && ctx.Err() == nil {
		h = before // it may have stopped before it could answer
	} else if err != nil {
		return err
	}
	if err := awaitEnd(ctx, process); err != nil {
		return fmt.Errorf("%w: the gateway (pid %d) was asked to stop: %v", client.ErrUnconfirmed, h.PID, err) //nolint:errorlint // Ctrl-C is not what stops it
	}
	if w.JSON {
		return printJSON(s.out, client.StopRequest{Drivers: w.Drivers})
	}
	_, err = fmt.Fprintf(s.out, "gateway %s (pid %d) has stopped\n", h.Gateway, h.PID)
	return err
}

// endDrivers stops the drivers of a gateway that does not run. Its configuration may be
// wrong by now: the data directory is enough.
func (w *stopWord) endDrivers(s *screen) error {
	c, err := config.Load(w.Config)
	if err != nil {
		dir, findErr := w.dataDir()
		if findErr != nil {
			return findErr
		}
		c = &config.Config{Dir: w.Config, DataDir: dir, DriversDir: filepath.Join(w.Config, "drivers"), Spool: config.Spool{MaxBytes: math.MaxInt64}}
	}
	ended, err := gateway.EndDrivers(gateway.Options{Config: c, Version: version(), Log: newLog(s.err, "text", slog.LevelWarn)})
	if err != nil {
		return err
	}
	if w.JSON {
		return printJSON(s.out, client.StopRequest{Drivers: true})
	}
	_, err = fmt.Fprintf(s.out, "no gateway runs; %d of its driver processes went on, and have stopped\n", ended)
	return err
}

// awaitEnd waits until the process of a pidfd is dead.
func awaitEnd(ctx context.Context, process int) error {
	const step = 100 // milliseconds, in which Ctrl-C is seen
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(process), Events: unix.POLLIN}}, step)
		if n > 0 {
			return nil
		}
		if err != nil && err != unix.EINTR {
			return err
		}
	}
	return ctx.Err()
}
