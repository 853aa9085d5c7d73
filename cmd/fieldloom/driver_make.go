package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"

	"github.com/fieldloom/fieldloom/core/pack"
)

type driverPackWord struct {
	signing
	Draft   string            `arg:"" help:"Draft of the manifest: name, version, api, schemas, wants." type:"path"`
	Exec    map[string]string `help:"Executable of a platform." required:"" placeholder:"linux/amd64=FILE"`
	File    map[string]string `help:"Another file: its path in the package." placeholder:"LICENCE=FILE"`
	Version string            `help:"Version, instead of the draft's." placeholder:"V"`
	Into    string            `help:"Directory for the package. Default: the current one." default:"." type:"path" placeholder:"DIR"`
	IfNew   bool              `help:"Leave a package that holds the same already."`
	JSON    bool              `help:"As JSON."`
}

// Help has the examples.
func (*driverPackWord) Help() string {
	return `Lays the package NAME-VERSION into a directory and signs it. It appears there at once and whole, so the directory may be that of
a running gateway. Schemas in the draft may be the paths of files beside it.

  fieldloom driver pack driver.json --exec linux/amd64=driver-acme --key ~/acme.key
  fieldloom driver pack driver.json --exec linux/amd64=a --exec linux/arm64=b --key k --archive acme-1.2.3.tar.gz`
}

// Run packs.
func (w *driverPackWord) Run(ctx context.Context, s *screen) error {
	if err := os.MkdirAll(w.Into, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(w.Into, ".pack-") // a gateway looks at no name that begins with a dot
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	dir := filepath.Join(work, "package")
	m, err := pack.Assemble(dir, pack.Assembly{Draft: w.Draft, Executables: w.Exec, Others: w.File, Version: w.Version})
	if err != nil {
		return err
	}
	named := filepath.Join(work, m.ID()) // errors name it
	if err := os.Rename(dir, named); err != nil {
		return err
	}
	dir = named
	to := filepath.Join(w.Into, m.ID())
	fresh, trust, err := w.sign(ctx, s, dir)
	if err != nil {
		return err
	}
	if old, err := pack.Open(to, trust); w.IfNew && err == nil && sameContent(fresh.Manifest, old.Manifest) {
		return w.finish(s, to, old, w.JSON)
	}
	if err := pack.Replace(dir, to); err != nil {
		return err
	}
	return w.finish(s, to, fresh, w.JSON)
}

// sameContent reports whether two packages differ in their serials only.
func sameContent(a, b *pack.Manifest) bool {
	one, other := *a, *b
	one.Serial, other.Serial = 0, 0
	oneText, err := one.Encode()
	if err != nil {
		return false
	}
	otherText, err := other.Encode()
	return err == nil && bytes.Equal(oneText, otherText)
}
