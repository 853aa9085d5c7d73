package plugin

import (
	"context"
	"log/slog"
	"os"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

// Telemetry and Backend let a test serve something other than an engine.
type (
	Telemetry = telemetry
	Backend   struct {
		Control    control.Plane
		Ring       Telemetry
		Epoch      uint64
		Progress   func() uint64
		Conditions func() []control.Event
	}
	// Inside is what a served driver has of its process.
	Inside struct {
		Log   *slog.Logger
		Store func(link string) driver.Store
		Event func(control.Event)

		Secrets func(link string) driver.Secrets
		Gateway driver.Gateway
	}
)

// ServeBackend is Serve with a backend of the test's.
func ServeBackend(build func(Inside) Backend) {
	os.Exit(serve("fake", "1.2.3", os.Stderr, func(s *server, log *slog.Logger) (backend, closer) {
		b := build(Inside{
			Log:   log,
			Store: func(link string) driver.Store { return &store{questions: s.questions, link: link} },
			Event: s.event,

			Secrets: func(link string) driver.Secrets { return &secrets{questions: s.questions, link: link} },
			Gateway: &gateway{questions: s.questions},
		})
		return backend{b.Control, b.Ring, b.Epoch, b.Progress, b.Conditions},
			func(context.Context) error { return nil }
	}))
}
