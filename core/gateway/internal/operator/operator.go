// Package operator carries out what the operator decides until he decides otherwise: which
// drivers are disabled and how much they log, which links and devices are off line.
//
// The choices are kept in a choices.Book and put in force by configure.Service, which is
// held meanwhile: nothing else changes what is in force between a look and a change.
package operator

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/gateway/internal/configure"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/internal/api"
	"github.com/fieldloom/fieldloom/core/internal/depot"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// A Service carries out the operator's choices. It has no state and no lock of its own.
type Service struct {
	InForce *inforce.Current
	Choices *choices.Book
	Config  *configure.Service
	Drivers *supervise.Supervisor
	Depot   *depot.Depot
	// LevelOf is the level of a driver's log; FollowLevels puts those in force in the
	// processes that run.
	LevelOf      func(driverName string) slog.Level
	FollowLevels func(ctx context.Context)
	Log          *slog.Logger
}

var _ api.Choices = (*Service)(nil)

// Enable implements api.Choices.
func (s *Service) Enable(_ context.Context, driverName string) (client.DriverChange, error) {
	s.Depot.Scan() // what is started is what lies there now
	defer s.Config.Hold()()
	_, disabled := s.Choices.Get().Disabled[driverName]
	if err := s.InForce.Get().Known(driverName); err != nil && !disabled {
		return client.DriverChange{}, err
	}
	if disabled {
		if err := s.Choices.Change(func(c *choices.Choices) { delete(c.Disabled, driverName) }); err != nil {
			return client.DriverChange{}, err
		}
		s.Config.SetDrivers()
	}
	if err := s.Drivers.Enable(driverName); err != nil && s.InForce.Get().Known(driverName) == nil {
		return client.DriverChange{}, err
	}
	s.Log.Info("enabled by the operator", "driver", driverName)
	return client.DriverChange{Driver: driverName, Text: fmt.Sprintf("driver %s is enabled", driverName)}, nil
}

// Disable implements api.Choices.
func (s *Service) Disable(_ context.Context, driverName string) (client.DriverChange, error) {
	defer s.Config.Hold()()
	if err := s.InForce.Get().Known(driverName); err != nil {
		return client.DriverChange{}, err
	}
	if err := s.Choices.Change(func(c *choices.Choices) { choices.KeepTime(c.Disabled, driverName, time.Now()) }); err != nil {
		return client.DriverChange{}, err
	}
	s.Config.SetDrivers()
	s.Log.Warn("disabled by the operator", "driver", driverName)
	return client.DriverChange{Driver: driverName, Text: fmt.Sprintf("driver %s is disabled: its links are down until it is enabled", driverName)}, nil
}

// SetLevel implements api.Choices.
func (s *Service) SetLevel(ctx context.Context, driverName, level string) (client.DriverChange, error) {
	defer s.Config.Hold()()
	if err := s.InForce.Get().Known(driverName); err != nil {
		return client.DriverChange{}, err
	}
	err := s.Choices.Change(func(c *choices.Choices) {
		if level == "default" {
			delete(c.Levels, driverName)
		} else {
			c.Levels[driverName] = level
		}
	})
	if err != nil {
		return client.DriverChange{}, err
	}
	s.FollowLevels(ctx)
	return client.DriverChange{Driver: driverName, Text: fmt.Sprintf("driver %s logs from level %s on", driverName, strings.ToLower(s.LevelOf(driverName).String()))}, nil
}
