package depot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
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

	scanning sync.Mutex // one scan at a time; guards trust and policy
	trust    trust
	policy   Policy

	mu        sync.RWMutex // guards what the scans found
	untrusted string       // what is wrong with the trust file; "": nothing
	dir       string
	fault     string // why the directory is not used; "": it is
	seen      map[string]*found
	ledger    *ledger
	looked    bool // once, at the opening
}

// found is a package that was seen.
type found struct {
	print fingerprint
	entry Entry
	image *Image // nil: it is refused

	remembered bool // it was accepted before
	decided    bool // with a refusal: it is the operator's decision, and no trouble of the disk
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
	d := &Depot{o: o, changed: make(chan struct{}, 1), seen: map[string]*found{}, ledger: l}
	if o.DB != nil {
		d.tidy()
	}
	d.Scan()
	d.looked = true
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
	again := d.readTrust()
	d.mu.Lock()
	d.untrusted = d.trust.complaint(d.ledger.isEmpty())
	d.mu.Unlock()
	policy := Deny
	if d.o.Policy != nil {
		policy = d.o.Policy()
	}
	again = again || policy != d.policy
	d.policy = policy
	dir := d.o.Dir()
	names, err := listDir(dir)
	fault := ""
	if err != nil {
		fault = err.Error()
	}
	changed := d.moved(dir, fault)
	if fault != "" { // what is known stays: nobody removed it
		if d.revoke() || changed {
			d.signal()
		}
		return
	}
	if d.take(names, d.fresh(dir, names, again || changed)) || changed {
		d.signal()
	}
}

// moved notes directory and fault, and forgets all of another directory.
func (d *Depot) moved(dir, fault string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dir == dir && d.fault == fault {
		return false
	}
	if fault != "" {
		d.o.Log.Warn("drivers directory", "err", fault)
	}
	if d.dir != dir {
		d.seen = map[string]*found{}
	}
	d.dir, d.fault = dir, fault
	return true
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
		d.mu.RLock()
		old := d.seen[name]
		d.mu.RUnlock()
		if all || old == nil || old.print != mark {
			list = append(list, d.read(dir, name, mark))
		}
	}
	slices.SortStableFunc(list, func(a, b *candidate) int { return cmp.Compare(a.serial(), b.serial()) })
	return list
}

func (c *candidate) serial() uint64 {
	if c.image == nil {
		return 0
	}
	return c.image.Serial
}

// take accepts or refuses what is fresh, forgets what went, and reports whether anything
// changed.
func (d *Depot) take(names []string, fresh []*candidate) (changed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, f := range d.seen {
		if !slices.Contains(names, name) {
			delete(d.seen, name)
			changed = true
			d.o.Log.Info("package is gone", "driver", f.entry.Driver, "package", name)
		}
	}
	for _, c := range fresh {
		old := d.seen[c.name]
		f := d.judge(c, old)
		d.seen[c.name] = f
		if c.image != f.image {
			c.image.drop()
		}
		if old == nil || old.entry != f.entry || old.image != f.image {
			changed = true
			d.tell(f)
		}
	}
	return d.supersede() || changed
}

// revoke refuses what the operator does not trust any more, while nothing can be read.
func (d *Depot) revoke() (changed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.seen {
		if f.image == nil || d.stillGood(f.image) {
			continue
		}
		f.image, f.decided, changed = nil, true, true
		f.print = fingerprint{} // so that it is read again
		f.entry.State, f.entry.Refusal = Refused, "package "+f.entry.Name+": it is not trusted any more"
		d.tell(f)
	}
	return changed
}

// supersede refuses what a newer package of the same version replaced under another
// name: one version is one package.
func (d *Depot) supersede() (changed bool) {
	for _, f := range d.seen {
		if f.image == nil || f.image.Unsigned || d.ledger.of(f.image.Driver).Accepted[f.image.Version].Hash == hashOf(f.image.pack) {
			continue
		}
		f.image, changed = nil, true
		f.entry.State, f.entry.Refusal = Refused, "package "+f.entry.Name+": a newer package of this version was accepted"
		d.tell(f)
	}
	return changed
}

// oneLine is an error's text on one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func (d *Depot) tell(f *found) {
	e := &f.entry
	switch {
	case e.State != Accepted:
		d.o.Log.Warn("package is "+e.State.String(), "driver", e.Driver, "package", e.Name, "err", e.Refusal)
	case e.Unsigned:
		d.o.Log.Warn("package is not signed: allow-dev takes it", "driver", e.Driver, "package", e.Name)
	case f.remembered && !d.looked:
		d.o.Log.Debug("package is there", "driver", e.Driver, "package", e.Name)
	default:
		d.o.Log.Info("package is accepted", "driver", e.Driver, "package", e.Name, "serial", e.Serial, "key", e.KeyID)
	}
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
func (d *Depot) List() []Entry {
	d.mu.RLock()
	defer d.mu.RUnlock()
	list := make([]Entry, 0, len(d.seen))
	for _, name := range slices.Sorted(maps.Keys(d.seen)) {
		e := d.seen[name].entry
		if i := d.seen[name].image; i != nil {
			active, err := d.image(e.Driver)
			e.Active = err == nil && active == i
			e.Chosen = d.ledger.of(e.Driver).Chosen == e.Version
		}
		list = append(list, e)
	}
	return list
}
