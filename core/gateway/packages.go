package gateway

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/gateway/internal/datadir"
	"github.com/fieldloom/fieldloom/core/gateway/internal/packages"
	"github.com/fieldloom/fieldloom/core/internal/depot"
)

// Packages is the drivers directory of a gateway that does not run. A gateway that does
// offers the same by its API.
type Packages struct {
	config *config.Config
	depot  *depot.Depot
	data   *datadir.Dir // nil: the gateway never ran, so nothing is remembered
}

// OpenPackages opens the drivers directory of c's gateway, which must not run.
func OpenPackages(c *config.Config, log *slog.Logger) (*Packages, error) {
	p := &Packages{config: c}
	_, err := os.Stat(c.DataDir)
	switch {
	case err == nil:
		if p.data, err = datadir.Open(c.DataDir); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	current := func() *config.Config { return c }
	if p.data == nil {
		p.depot, err = openDepot(current, nil, nil, log)
	} else {
		p.depot, err = openDepot(current, p.data.DB, nil, log)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Close lets go of the directory.
func (p *Packages) Close() error {
	if p.data == nil {
		return nil
	}
	return p.data.Close()
}

// Packages lists the packages.
func (p *Packages) Packages(context.Context) ([]client.Package, error) {
	c, err := p.choices()
	if err != nil {
		return nil, err
	}
	return packages.List(p.depot, p.config, c), packages.Usable(p.depot)
}

// Install installs the package of an archive.
func (p *Packages) Install(_ context.Context, archive io.Reader) (client.Package, error) {
	c, err := p.choices()
	if err != nil {
		return client.Package{}, err
	}
	return packages.Install(p.depot, p.config, c, archive)
}

// Remove removes a version, or the only one.
func (p *Packages) Remove(_ context.Context, name, version string, force bool) (client.DriverChange, error) {
	return packages.Remove(p.depot, name, version, func(version string) string {
		active, err := p.depot.Image(name)
		if force || err != nil || active.Version != version {
			return ""
		}
		return packages.UsedBy(p.config, name)
	})
}

func (p *Packages) choices() (*choices.Choices, error) {
	if p.data == nil {
		return new(choices.Choices), nil
	}
	book, err := choices.Open(p.data.DB)
	if err != nil {
		return nil, err
	}
	return book.Get(), nil
}
