package configure

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/gateway/internal/datadir"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/internal/catalog"
	"github.com/fieldloom/fieldloom/core/internal/state"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// A choice is in force with its states and a new revision, or it is not kept either.
func TestAChoiceIsInForceOrTakenBack(t *testing.T) {
	data, err := datadir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = data.Close() }()
	names, err := state.Open(filepath.Join(t.TempDir(), "names.db"))
	if err != nil {
		t.Fatal(err)
	}
	points, err := catalog.Open(names)
	if err != nil {
		t.Fatal(err)
	}
	book, err := choices.Open(data.DB)
	if err != nil {
		t.Fatal(err)
	}
	drivers := supervise.New(supervise.Options{Launch: func(context.Context, supervise.LaunchSpec) (supervise.Process, error) {
		return nil, errors.New("no licence")
	}})
	defer drivers.Close(false)
	parsed := func(text string) *config.Config {
		c, err := config.Parse(map[string][]byte{"fieldloom.yaml": []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	told := 0
	s := &Service{
		InForce: inforce.NewCurrent(parsed("links: {a: {driver: acme, devices: {d: {points: {p: {address: \"1\"}}}}}}\n"), time.Now()),
		Choices: book, Catalog: points, Data: data, Drivers: drivers, Log: slog.New(slog.DiscardHandler),
		Instances: func(config.Process, *control.State) int { return 1 },
		Changed:   func(_, _ *inforce.Config, states bool) { told++ },
	}
	offline := func(name string) error {
		defer s.Hold()()
		return s.Choose(func(c *choices.Choices) { c.Offline[name] = time.Now() })
	}
	if err := offline("a"); err != nil {
		t.Fatal(err)
	}
	now := s.InForce.Get()
	if !now.States["acme"].Links[0].Offline || now.States["acme"].Revision != now.Revision || now.Revision == 0 || told != 1 {
		t.Errorf("in force is %+v, told %d times", now, told)
	}

	s.InForce.Set(&inforce.Config{Config: parsed("links: {b: {driver: acme, devices: {d: {points: {p: {address: \"1\"}}}}}}\n"), Revision: now.Revision})
	if err := names.Close(); err != nil { // new points cannot be numbered any more
		t.Fatal(err)
	}
	if err := offline("b"); err == nil {
		t.Fatal("a choice came into force whose points have no numbers")
	}
	if _, kept := book.Get().Offline["b"]; kept || told != 1 {
		t.Errorf("it is kept: %v, told %d times", book.Get().Offline, told)
	}
}
