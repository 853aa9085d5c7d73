package depot

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/fieldloom/fieldloom/core/pack"
)

// stagePrefix begins the names under which packages wait before they are committed.
const stagePrefix = ".fieldloom-stage-"

// Install verifies the package at path, a directory or an archive, and puts a copy of
// it into the drivers directory by a rename. A package of the same version is replaced.
func (d *Depot) Install(path string) (Entry, error) {
	name := strings.TrimSuffix(filepath.Base(path), pack.ArchiveSuffix)
	info, err := os.Stat(path)
	if err != nil {
		return Entry{}, fmt.Errorf("install package %s: %w", name, err)
	}
	if info.IsDir() {
		return d.install(name, func(into string) error { return copyPackage(path, into) })
	}
	if !info.Mode().IsRegular() {
		return Entry{}, fmt.Errorf("install package %s: is neither a directory nor an archive", name)
	}
	f, err := os.Open(path)
	if err != nil {
		return Entry{}, fmt.Errorf("install package %s: %w", name, err)
	}
	defer f.Close()
	return d.install(name, func(into string) error { return d.unpack(f, into) })
}

// InstallArchive is Install of an archive that is read from r.
func (d *Depot) InstallArchive(r io.Reader) (Entry, error) {
	return d.install("archive", func(into string) error { return d.unpack(r, into) })
}

// unpack unpacks nothing large of what is refused by its signature.
func (d *Depot) unpack(r io.Reader, into string) error {
	d.scanning.Lock()
	o := d.verifier.opener()
	d.scanning.Unlock()
	err := o.Unpack(r, into)
	d.scanning.Lock()
	defer d.scanning.Unlock()
	return d.verifier.explain(err)
}

// copyPackage copies what the manifest lists, with the care that is taken of archives.
func copyPackage(from, into string) error {
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.CloseWithError(pack.Archive(from, w)) // never fails; the reader gets the error
	}()
	err := pack.Unpack(r, into)
	_ = r.Close() // lets the goroutine end when Unpack has failed
	<-done
	return err
}

func (d *Depot) install(name string, unpack func(into string) error) (Entry, error) {
	d.Scan() // the trust file may have changed just now
	dir := d.o.Dir()
	if _, err := listDir(dir); err != nil {
		return Entry{}, fmt.Errorf("install package %s: %w", name, err)
	}
	stage, err := os.MkdirTemp(dir, stagePrefix)
	if err != nil {
		return Entry{}, fmt.Errorf("install package %s: %w", name, err)
	}
	defer os.RemoveAll(stage)
	staged := filepath.Join(stage, name)
	if err := os.Mkdir(staged, 0o755); err != nil {
		return Entry{}, fmt.Errorf("install package %s: %w", name, err)
	}
	if err := unpack(staged); err != nil {
		return Entry{}, fmt.Errorf("install package %s: %w", name, err)
	}
	id, err := d.examine(staged)
	if err != nil {
		return Entry{}, fmt.Errorf("install: %w", err)
	}
	if err := pack.Replace(staged, filepath.Join(dir, id)); err != nil {
		return Entry{}, fmt.Errorf("install: %w", err)
	}
	d.Scan()
	return d.entry(id)
}

// examine checks a staged package as a scan will, so that nothing that is refused gets
// into the place of something that runs.
func (d *Depot) examine(staged string) (string, error) {
	d.scanning.Lock()
	defer d.scanning.Unlock()
	p, err := d.verifier.openPackage(staged)
	if err != nil {
		return "", err
	}
	id := p.Manifest.ID()
	image, err := d.verifier.imageOf(id, p)
	if err != nil {
		return "", err
	}
	defer image.drop() // the scan makes its own
	if p.Unsigned {
		return id, nil
	}
	if err := d.inventory.permits(p); err != nil {
		return "", fmt.Errorf("package %s: %w", id, err)
	}
	return id, nil
}

// entry returns what the last scan made of a name.
func (d *Depot) entry(name string) (Entry, error) {
	for _, e := range d.List() {
		if e.Name == name && e.State == Accepted {
			return e, nil
		}
		if e.Name == name {
			return e, errors.New(e.Refusal)
		}
	}
	return Entry{}, fmt.Errorf("package %s: %w", name, ErrNotThere)
}

// Remove removes a version from the drivers directory: its directory, its archive, or
// the bare executable. The ledger keeps what was accepted.
func (d *Depot) Remove(driver, version string) error {
	if err := errors.Join(pack.CheckName(driver), pack.CheckVersion(version)); err != nil {
		return err
	}
	dir, id := d.o.Dir(), driver+"-"+version
	names := []string{id, id + pack.ArchiveSuffix}
	if version == DevVersion {
		names = append(names, devPrefix+driver)
	}
	stage, err := os.MkdirTemp(dir, stagePrefix)
	if err != nil {
		return fmt.Errorf("remove driver %s %s: %w", driver, version, err)
	}
	defer os.RemoveAll(stage)
	removed := false
	for _, name := range names {
		err := os.Rename(filepath.Join(dir, name), filepath.Join(stage, name)) // at once, so that no half is seen
		if err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("remove driver %s %s: %w", driver, version, err)
		}
		removed = removed || err == nil
	}
	if !removed {
		return fmt.Errorf("remove driver %s: version %s %w %s", driver, version, ErrNotThere, dir)
	}
	d.Scan()
	return nil
}
