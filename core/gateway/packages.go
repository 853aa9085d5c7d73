package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/gateway/internal/datadir"
	"github.com/fieldloom/fieldloom/core/internal/depot"
	"github.com/fieldloom/fieldloom/core/pack"
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
	return listPackages(p.depot, p.config, c), usable(p.depot)
}

// usable tells why the drivers directory is not used at all.
func usable(d *depot.Depot) error {
	if fault := d.Fault(); fault != "" {
		return driver.Errorf(driver.NotConnected, "%s", fault)
	}
	return nil
}

// Install installs the package of an archive.
func (p *Packages) Install(_ context.Context, archive io.Reader) (client.Package, error) {
	c, err := p.choices()
	if err != nil {
		return client.Package{}, err
	}
	return installPackage(p.depot, p.config, c, archive)
}

// Remove removes a version, or the only one.
func (p *Packages) Remove(_ context.Context, name, version string, force bool) (client.DriverChange, error) {
	return removePackage(p.depot, name, version, func(version string) string {
		active, err := p.depot.Image(name)
		if force || err != nil || active.Version != version {
			return ""
		}
		return usedBy(p.config, name)
	})
}

// usedBy names the links that use a driver, shortened where they are many; empty: none does.
func usedBy(c *config.Config, name string) string {
	const most = 5
	var links []string
	for _, l := range c.Links {
		if l.Driver == name {
			links = append(links, l.Name)
		}
	}
	if n := len(links) - most; n > 0 {
		links = append(links[:most:most], fmt.Sprintf("%d more", n))
	}
	return strings.Join(links, ", ")
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

func listPackages(d *depot.Depot, c *config.Config, chosen *choices.Choices) []client.Package {
	links := make(map[string][]string)
	for _, l := range c.Links {
		links[l.Driver] = append(links[l.Driver], l.Name)
	}
	list := []client.Package{}
	for _, e := range d.List() {
		p := packageOf(&e)
		p.Links = links[p.Driver]
		_, p.Disabled = chosen.Disabled[p.Driver]
		list = append(list, p)
	}
	return list
}

func packageOf(e *depot.Entry) client.Package {
	return client.Package{Driver: e.Driver, Version: e.Version, Serial: e.Serial, Key: e.KeyID, Signer: e.Signer, Unsigned: e.Unsigned,
		Active: e.Active, Chosen: e.Chosen, State: e.State.String(), Refusal: e.Refusal, Path: e.Name, Accepted: e.Accepted}
}

func installPackage(d *depot.Depot, c *config.Config, chosen *choices.Choices, archive io.Reader) (client.Package, error) {
	installed, err := d.InstallArchive(archive)
	if err != nil {
		return client.Package{}, &client.Error{Status: 422, Code: "refused", Detail: err.Error()}
	}
	list := listPackages(d, c, chosen) // as it is now: the entry is from before others looked
	if i := slices.IndexFunc(list, func(p client.Package) bool { return p.Path == installed.Name }); i >= 0 {
		return list[i], nil
	}
	return packageOf(&installed), nil
}

// checkNames refuses the name of a driver, and a version where one is given, that no package
// can have.
func checkNames(name, version string) error {
	err := pack.CheckName(name)
	if version != "" {
		err = errors.Join(err, pack.CheckVersion(version))
	}
	if err != nil {
		return driver.Errorf(driver.BadValue, "%w", err)
	}
	return nil
}

// removePackage removes a version, or without one the only version that there is. Not if it
// is in use: used names the links, or is empty.
func removePackage(d *depot.Depot, name, version string, used func(version string) string) (client.DriverChange, error) {
	none := client.DriverChange{}
	d.Scan()
	if err := usable(d); err != nil {
		return none, err
	}
	if err := checkNames(name, version); err != nil {
		return none, err
	}
	var versions []string
	for _, e := range d.List() {
		if e.Driver == name && !slices.Contains(versions, e.Version) {
			versions = append(versions, e.Version)
		}
	}
	switch {
	case version != "":
	case len(versions) == 1:
		version = versions[0]
	case len(versions) > 1:
		return none, &client.Error{Status: 400, Code: "bad-request", Detail: fmt.Sprintf("driver %s has several versions: %v: name one", name, versions)}
	default:
		return none, &client.Error{Status: 404, Code: "not-found", Detail: fmt.Sprintf("no package of a driver %s is in the drivers directory", name)}
	}
	if links := used(version); links != "" {
		return none, &client.Error{Status: 409, Code: "in-use", Detail: fmt.Sprintf(
			"driver %s %s is used by %s: they would go down: upgrade to another version first, or remove it with --force", name, version, links)}
	}
	if err := d.Remove(name, version); err != nil {
		status, code := 500, "internal"
		if errors.Is(err, depot.ErrNotThere) {
			status, code = 404, "not-found"
		}
		return none, &client.Error{Status: status, Code: code, Detail: err.Error()}
	}
	return client.DriverChange{Driver: name, Version: version, Text: fmt.Sprintf("driver %s %s is removed", name, version)}, nil
}
