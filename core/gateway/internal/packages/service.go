package packages

import (
	"context"
	"io"
	"slices"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/internal/api"
	"github.com/fieldloom/fieldloom/core/internal/depot"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
)

// A Service is the packages of a gateway that runs. It has no state of its own: what is
// installed is in the depot, and what runs is the supervisor's.
type Service struct {
	InForce *inforce.Current
	Choices *choices.Book
	Drivers *supervise.Supervisor
	Depot   *depot.Depot
	// RunsFrom reports whether a process whose image has the hash runs what of is.
	RunsFrom func(of *depot.Image, hash string) bool
}

var _ api.Packages = (*Service)(nil)

// Packages implements api.Packages.
func (s *Service) Packages(context.Context) ([]client.Package, error) {
	s.Depot.Scan()
	list := List(s.Depot, s.InForce.Get().Config, s.Choices.Get())
	for i := range list {
		s.showRuns(&list[i])
	}
	return list, Usable(s.Depot)
}

// showRuns tells which processes run from a package, or did from what lay there before.
func (s *Service) showRuns(p *client.Package) {
	of, err := s.Depot.ImageOf(p.Driver, p.Version)
	for _, r := range s.Drivers.Runs(p.Driver) {
		if r.Version != p.Version {
			continue
		}
		p.Processes++
		p.Holds += r.Links
		if err != nil || !s.RunsFrom(of, r.Hash) {
			p.Stale = true
		}
	}
}

// Install implements api.Packages.
func (s *Service) Install(_ context.Context, archive io.Reader) (client.Package, error) {
	return Install(s.Depot, s.InForce.Get().Config, s.Choices.Get(), archive)
}

// Remove implements api.Packages. The depot tells the gateway, which stops what ran from
// it.
func (s *Service) Remove(_ context.Context, name, version string, force bool) (client.DriverChange, error) {
	done, err := Remove(s.Depot, name, version, func(version string) string {
		runs := slices.ContainsFunc(s.Drivers.Runs(name), func(r supervise.Run) bool { return r.Version == version })
		if force || !runs && ActiveVersion(s.Depot, name) != version {
			return ""
		}
		return UsedBy(s.InForce.Get().Config, name)
	})
	if err == nil && s.InForce.Get().States[name] != nil {
		if _, gone := s.Depot.Image(name); gone != nil {
			done.Text += "; its links go down"
		}
	}
	return done, err
}
