// Package packages lists, installs and removes driver packages.
//
// List, Install and Remove do it with the drivers directory alone, whether a gateway runs
// on it or not. The Service does it for one that runs, and knows what runs from each.
package packages

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/choices"
	"github.com/fieldloom/fieldloom/core/internal/depot"
	"github.com/fieldloom/fieldloom/core/pack"
)

// Usable returns why the drivers directory is not used at all.
func Usable(d *depot.Depot) error {
	if fault := d.Fault(); fault != "" {
		return driver.Errorf(driver.NotConnected, "%s", fault)
	}
	return nil
}

// UsedBy names the links that use a driver, shortened where they are many; empty: none does.
func UsedBy(c *config.Config, name string) string {
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

// List lists the packages of a drivers directory, with the links of c that use them.
func List(d *depot.Depot, c *config.Config, chosen *choices.Choices) []client.Package {
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

// Install installs the package of an archive.
func Install(d *depot.Depot, c *config.Config, chosen *choices.Choices, archive io.Reader) (client.Package, error) {
	installed, err := d.InstallArchive(archive)
	if err != nil {
		return client.Package{}, &client.Error{Status: 422, Code: "refused", Detail: err.Error()}
	}
	list := List(d, c, chosen) // as it is now: the entry is from before others looked
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

// Remove removes a version, or without one the only version that there is. Not if it
// is in use: used names the links, or is empty.
func Remove(d *depot.Depot, name, version string, used func(version string) string) (client.DriverChange, error) {
	none := client.DriverChange{}
	d.Scan()
	if err := Usable(d); err != nil {
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

// ActiveVersion is the version that new processes of a driver are started from; empty:
// there is none.
func ActiveVersion(d *depot.Depot, driverName string) string {
	active, err := d.Image(driverName)
	if err != nil {
		return ""
	}
	return active.Version
}
