package depot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

const (
	rescanEvery = 10 * time.Second
	// settle is how long the directory must be quiet before it is scanned.
	settle = 100 * time.Millisecond
)

// Depot is an open depot. Its methods may be called concurrently.
type Depot struct {
	o       Options
	changed chan struct{}

	scanning  sync.Mutex // one scan at a time; guards verifier, and is taken before inventory's lock
	verifier  *verifier
	inventory *inventory
}

// Open opens the depot and scans the directory once. What is wrong with a package is
// no error: List and Image tell it.
func Open(o Options) (*Depot, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.API == 0 {
		o.API = 1
	}
	l, err := openLedger(o.DB)
	if err != nil {
		return nil, err
	}
	for driver, version := range o.Chosen {
		l.chose(driver, version)
	}
	d := &Depot{
		o: o, changed: make(chan struct{}, 1), verifier: &verifier{o: o},
		inventory: &inventory{log: o.Log, seen: map[string]*found{}, ledger: l},
	}
	if o.DB != nil {
		d.tidy()
	}
	d.Scan()
	d.inventory.opened()
	select { // the caller looks for the first time anyway
	case <-d.changed:
	default:
	}
	return d, nil
}

// Run watches the directory and the trust file until ctx is done.
func (d *Depot) Run(ctx context.Context) error {
	w, err := fsnotify.NewWatcher()
	if err != nil { // the system has no watch left, say: scanning alone finds everything, later
		d.o.Log.Warn("watch the drivers directory: changes are seen every 10 s only", "err", err)
		w = &fsnotify.Watcher{}
	} else {
		defer w.Close()
	}
	rescan := time.NewTicker(rescanEvery)
	defer rescan.Stop()
	quiet := time.NewTimer(settle)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-quiet.C:
			d.watch(w)
			d.Scan()
		case <-rescan.C:
			d.watch(w)
			d.Scan()
		case e := <-w.Events:
			if d.concerns(e) {
				quiet.Reset(settle)
			}
		case err := <-w.Errors:
			d.o.Log.Warn("watch the drivers directory: the next scan finds what was missed", "err", err)
		}
	}
}

// watch watches the directories as they are now; adding one twice does no harm, and
// one that is not there is found by a scan.
func (d *Depot) watch(w *fsnotify.Watcher) {
	if w.Events == nil {
		return
	}
	_ = w.Add(d.o.Dir())
	if d.o.Trust != nil && d.o.Trust() != "" {
		_ = w.Add(filepath.Dir(d.o.Trust()))
	}
}

// concerns reports whether an event can have changed a package or the trust file. The trust
// file's directory may be that of the configuration, where much else changes.
func (d *Depot) concerns(e fsnotify.Event) bool {
	if filepath.Dir(e.Name) == filepath.Clean(d.o.Dir()) {
		return !strings.HasPrefix(filepath.Base(e.Name), ".")
	}
	return d.o.Trust != nil && e.Name == filepath.Clean(d.o.Trust())
}

// Changed has a value after something in the depot changed: a package came, went or
// was refused. Several changes are one value.
func (d *Depot) Changed() <-chan struct{} { return d.changed }

func (d *Depot) signal() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// Scan looks at the directory now.
func (d *Depot) Scan() {
	d.scanning.Lock()
	defer d.scanning.Unlock()
	again := d.verifier.refresh()
	d.inventory.noteTrust(&d.verifier.trust)
	dir := d.o.Dir()
	names, err := listDir(dir)
	fault := ""
	if err != nil {
		fault = err.Error()
	}
	changed := d.inventory.moved(dir, fault)
	if fault != "" { // what is known stays: nobody removed it
		if d.inventory.revoke(d.verifier) || changed {
			d.signal()
		}
		return
	}
	if d.inventory.take(names, d.fresh(dir, names, again || changed), d.verifier) || changed {
		d.signal()
	}
}

// listDir returns the names of the directory that are looked at.
func listDir(dir string) ([]string, error) {
	var s unix.Stat_t
	if err := unix.Stat(dir, &s); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("drivers directory %s: is not there: make it, or set `drivers` in fieldloom.yaml", dir)
	} else if err != nil {
		return nil, fmt.Errorf("drivers directory %s: %w", dir, err)
	}
	switch {
	case s.Mode&0o022 != 0:
		return nil, fmt.Errorf("drivers directory %s: may be written by others than its owner: chmod go-w", dir)
	case s.Uid != 0 && int(s.Uid) != os.Geteuid():
		return nil, fmt.Errorf("drivers directory %s: belongs to user %d: it must belong to root or to the user of the gateway", dir, s.Uid)
	}
	all, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("drivers directory: %w", err)
	}
	var names []string
	for _, e := range all {
		if isPackage(e) {
			names = append(names, e.Name())
		}
	}
	if len(names) > maxPackages {
		return nil, fmt.Errorf("drivers directory %s: has more than %d packages: remove old ones", dir, maxPackages)
	}
	return names, nil
}

const maxPackages = 1000

// fresh reads what changed since the last scan, in the order in which it is to be
// accepted: by serial, so that none stands in the way of another.
func (d *Depot) fresh(dir string, names []string, all bool) (list []*candidate) {
	for _, name := range names {
		mark := fingerprintOf(filepath.Join(dir, name)) // before it is read, so a change meanwhile shows next time
		old, ok := d.inventory.printOf(name)
		if all || !ok || old != mark {
			list = append(list, d.verifier.read(dir, name, mark))
		}
	}
	slices.SortStableFunc(list, func(a, b *candidate) int { return cmp.Compare(a.serial(), b.serial()) })
	return list
}

// tidy removes what an install that was cut off has left.
func (d *Depot) tidy() {
	dir := d.o.Dir()
	all, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range all {
		if strings.HasPrefix(e.Name(), stagePrefix) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				d.o.Log.Warn("remove what an install left", "err", err)
			}
		}
	}
}

// List returns every package that was seen, by name.
func (d *Depot) List() []Entry { return d.inventory.list() }

// Image returns the image of a driver's active version: the one that the operator
// chose, else the one accepted last. When that is gone the answer is an error and not
// an older version: going back is the operator's own step. An unsigned image is the
// answer only where no signed package of the driver is there. While the directory is not used
// there is no active version: nothing new is started.
func (d *Depot) Image(driver string) (*Image, error) { return d.inventory.active(driver) }

// ImageOf returns the image of a version that is accepted and there, or was before the
// directory could not be used any more.
func (d *Depot) ImageOf(driver, version string) (*Image, error) {
	return d.inventory.version(driver, version)
}

// Fault is why the directory is not used; "": it is.
func (d *Depot) Fault() string { return d.inventory.whyUnused() }

// Faults is what is wrong with the directory and with the trust file.
func (d *Depot) Faults() []string { return d.inventory.faults() }

// SetActive makes a version the driver's, durably; "" takes the choice back. The
// version must be there and accepted, now or before.
func (d *Depot) SetActive(driver, version string) error {
	changed, err := d.inventory.choose(driver, version)
	if err == nil && changed {
		d.signal()
	}
	return err
}
