package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/gateway"
	"github.com/fieldloom/fieldloom/core/pack"
)

// packages is what both a running gateway and its directory alone can do.
type packages interface {
	Packages(ctx context.Context) ([]client.Package, error)
	Install(ctx context.Context, archive io.Reader) (client.Package, error)
	Remove(ctx context.Context, driver, version string, force bool) (client.DriverChange, error)
}

// withPackages calls f with the running gateway, or with its drivers directory where none runs.
func (r *remote) withPackages(ctx context.Context, f func(packages) error) error {
	c, err := r.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := f(c); r.Socket != "" || !errors.Is(err, client.ErrUnreachable) {
		return err
	}
	loaded, err := config.Load(r.Config)
	if err != nil {
		return &gateway.RefusedError{Causes: []error{err}}
	}
	alone, err := gateway.OpenPackages(loaded, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return errors.Join(f(alone), alone.Close())
}

type driverInstallWord struct {
	Path string `arg:"" help:"Package: a directory or an archive." type:"path"`
	remote
	JSON bool `help:"As JSON."`
}

// Help has the examples.
func (*driverInstallWord) Help() string {
	return `Checks the package as the gateway does, and puts it into the drivers directory as a whole. A driver that a link waits for
starts at once; one that runs stays at its version until it is upgraded. Works without a gateway too.

  fieldloom driver install acme-1.2.3.tar.gz --config /etc/fieldloom`
}

// Run installs.
func (w *driverInstallWord) Run(ctx context.Context, s *screen) error {
	var p client.Package
	err := w.withPackages(ctx, func(to packages) (err error) {
		p, err = install(ctx, to, w.Path)
		return err
	})
	if err != nil {
		return err
	}
	if w.JSON {
		return printJSON(s.out, p)
	}
	what := "it is active"
	if !p.Active {
		what = fmt.Sprintf("not active: `fieldloom driver upgrade %s %s` puts it to use", p.Driver, p.Version)
	}
	_, err = fmt.Fprintf(s.out, "driver %s %s is installed (%s); %s\n", p.Driver, p.Version, signedText(&p), what)
	return err
}

// install sends a package to where it belongs.
func install(ctx context.Context, to packages, path string) (client.Package, error) {
	info, err := os.Stat(path)
	if err != nil {
		return client.Package{}, &usageError{fmt.Sprintf("%v: name a package: a directory or a .tar.gz archive", err)}
	}
	if info.IsDir() {
		from, into := io.Pipe()
		go func() { _ = into.CloseWithError(pack.Archive(path, into)) }() // ends with the reader, which gets its error
		p, err := to.Install(ctx, from)
		return p, errors.Join(err, from.Close())
	}
	f, err := os.Open(path)
	if err != nil {
		return client.Package{}, err
	}
	defer func() { _ = f.Close() }()
	return to.Install(ctx, f)
}

func signedText(p *client.Package) string {
	switch {
	case p.Unsigned:
		return "unsigned"
	case p.Key == "":
		return "-"
	}
	return fmt.Sprintf("serial %d, key %s", p.Serial, p.Key)
}

type driverListWord struct {
	remote
	JSON bool `help:"As JSON."`
}

// Help has the examples.
func (*driverListWord) Help() string {
	return `Every package of the drivers directory, whether it may run, which version is active, and which ones run. Works without a gateway
too.

  fieldloom driver list --config /etc/fieldloom
  fieldloom driver list --json | jq -r '.packages[] | select(.refusal) | .refusal'`
}

// Run lists.
func (w *driverListWord) Run(ctx context.Context, s *screen) error {
	var list []client.Package
	err := w.withPackages(ctx, func(from packages) (err error) {
		list, err = from.Packages(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if w.JSON {
		return printJSON(s.out, client.PackageList{Packages: list})
	}
	return packageGrid(list).print(s)
}

func packageGrid(list []client.Package) *grid {
	g := new(grid)
	g.add(bold, "DRIVER", "VERSION", "STATE", "SIGNED", "USED BY", "RUNS", "WHY NOT")
	for i := range list {
		p := &list[i]
		state, colour := p.State, ""
		switch {
		case p.Refusal != "":
			colour = red
		case p.Active && p.Disabled:
			state, colour = "disabled", yellow
		case p.Active:
			state, colour = "active", green
		}
		if p.Unsigned && colour != red {
			colour = yellow
		}
		used := ""
		if p.Active {
			used = linkCount(len(p.Links))
		}
		name, version := p.Driver, p.Version
		if name == "" {
			name = p.Path
		}
		g.add(colour, name, version, state, signedText(p), used, runsText(p), p.Refusal)
	}
	return g
}

// runsText is what runs from a package.
func runsText(p *client.Package) string {
	var text string
	switch {
	case p.Processes == 0:
		return ""
	case p.Holds == 0:
		text = "on standby"
	default:
		text = "with " + linkCount(p.Holds)
	}
	switch {
	case p.Stale:
		text += ", an earlier build"
	case !p.Active && p.Holds > 0:
		text += ", on probation"
	}
	return text
}

func linkCount(n int) string {
	switch n {
	case 0:
		return "no link"
	case 1:
		return "1 link"
	}
	return fmt.Sprintf("%d links", n)
}

type driverRemoveWord struct {
	Name string `arg:"" help:"NAME, or NAME@VERSION for one version of several."`
	remote
	Force bool `help:"Also what links use: they go down."`
	JSON  bool `help:"As JSON."`
}

// Help has the examples.
func (*driverRemoveWord) Help() string {
	return `What links use is removed with --force only: its driver is drained and stopped, and the links are down with the cause. What was accepted
once is remembered: an older package still does not take its place. Works without a gateway too.

  fieldloom driver remove acme@1.2.2 --config /etc/fieldloom`
}

// Run removes.
func (w *driverRemoveWord) Run(ctx context.Context, s *screen) error {
	name, version, chosen := strings.Cut(w.Name, "@")
	if chosen && version == "" {
		return &usageError{"no version stands behind the @: name one, or leave out the @"}
	}
	if err := checkDriver(name); err != nil {
		return err
	}
	var done client.DriverChange
	err := w.withPackages(ctx, func(from packages) (err error) {
		if version == "" {
			if err := onlyVersion(ctx, from, name); err != nil {
				return err
			}
		}
		done, err = from.Remove(ctx, name, version, w.Force)
		return err
	})
	if err != nil {
		return err
	}
	return printChange(s, &done, w.JSON)
}

// onlyVersion refuses to guess which of several versions is meant.
func onlyVersion(ctx context.Context, from packages, name string) error {
	list, err := from.Packages(ctx)
	if err != nil {
		return err
	}
	var versions []string
	for i := range list {
		if list[i].Driver == name && !slices.Contains(versions, list[i].Version) {
			versions = append(versions, list[i].Version)
		}
	}
	if len(versions) > 1 {
		return &usageError{fmt.Sprintf("driver %s has the versions %s: name one as %s@VERSION", name, strings.Join(versions, ", "), name)}
	}
	return nil
}

// checkDriver refuses what can be no driver's name before it becomes a path.
func checkDriver(name string) error {
	if err := pack.CheckName(name); err != nil {
		return &usageError{err.Error()}
	}
	return nil
}

func printChange(s *screen, done *client.DriverChange, asJSON bool) error {
	if asJSON {
		return printJSON(s.out, done)
	}
	_, err := fmt.Fprintln(s.out, printable(done.Text))
	return err
}
