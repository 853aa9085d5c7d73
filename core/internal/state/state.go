package state

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/fieldloom/fieldloom/core/internal/durable"
)

// Store is what users of a database need of it. *DB is one, and so is *bbolt.DB.
type Store interface {
	View(func(*bolt.Tx) error) error
	Update(func(*bolt.Tx) error) error
}

const (
	copySuffix = ".copy"
	// A copy is made copyAfter a change, and copyEvery at most.
	copyAfter = time.Second
	copyEvery = 10 * time.Second
	lockLimit = time.Second // for the lock of the file, which only a fault holds
)

// DB is an open database. Its methods may be called concurrently.
type DB struct {
	*bolt.DB
	path     string
	log      atomic.Pointer[slog.Logger]
	findings []string
	remarks  []string
	restored bool

	changed chan struct{}
	closing chan struct{}
	once    sync.Once
	wait    sync.WaitGroup
	copied  time.Time
}

// Open opens the database at path, which is made where it is not there. The caller has
// taken its directory, so that nobody else opens it. A damaged file is no error: see
// Findings. Close closes it.
func Open(path string) (*DB, error) {
	d := &DB{path: path, changed: make(chan struct{}, 1), closing: make(chan struct{})}
	d.LogTo(slog.New(slog.DiscardHandler))
	if err := d.choose(); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	var err error
	d.DB, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: lockLimit, FreelistType: bolt.FreelistMapType, NoFreelistSync: true})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	d.wait.Go(d.copyLoop)
	return d, nil
}

// LogTo has the database log that its copy cannot be made.
func (d *DB) LogTo(log *slog.Logger) { d.log.Store(log) }

// Findings says what was found wrong at the opening, and what is lost with it.
func (d *DB) Findings() []string { return d.findings }

// Remarks says what was found wrong with the copy alone: nothing is lost with it.
func (d *DB) Remarks() []string { return d.remarks }

// Restored reports whether what is stored may be older than what was stored last.
func (d *DB) Restored() bool { return d.restored }

// Update is bbolt's Update, and seals what f has changed.
func (d *DB) Update(f func(*bolt.Tx) error) error { return d.UpdateIn(nil, f) }

// UpdateIn is Update for an f that changes nothing but the bucket at a path and those
// below it, and makes it where it is not there: only its sum is made anew.
func (d *DB) UpdateIn(path [][]byte, f func(*bolt.Tx) error) error {
	err := d.DB.Update(func(tx *bolt.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		return renew(tx, path)
	})
	if err == nil {
		select {
		case d.changed <- struct{}{}:
		default:
		}
	}
	return err
}

// Close makes a last copy and closes the database. Safe twice.
func (d *DB) Close() error {
	d.once.Do(func() { close(d.closing) })
	d.wait.Wait()
	return d.DB.Close()
}

// ReadOnly opens a database of a gateway that does not run, if it is whole.
func ReadOnly(path string) (*bolt.DB, error) {
	if f := inspect(path); f.err != nil {
		return nil, fmt.Errorf("open %s: %w", path, f.err)
	}
	return bolt.Open(path, 0, &bolt.Options{ReadOnly: true, Timeout: lockLimit})
}

// finding is what inspect found.
type finding struct {
	content []byte
	seal    seal
	half    bool // one of its heads is damaged, so the last change may be missing
	err     error
}

func (f *finding) missing() bool { return errors.Is(f.err, fs.ErrNotExist) }

func inspect(path string) *finding {
	f := &finding{}
	if f.content, f.err = os.ReadFile(path); f.err != nil {
		return f
	}
	if len(f.content) == 0 {
		f.err = errors.New("it is empty")
		return f
	}
	im, err := readImage(f.content)
	if err == nil {
		f.seal, err = im.check()
		f.half = im.half
	}
	f.err = err
	return f
}

// Missing is what is to be said where there is no state.db in a directory that was used.
const Missing = "is missing and has no copy: " + lost

// lost is what is gone with a state.db that has no whole copy.
const lost = "lost are the operator's choices (what was disabled, off line or set to a level runs again as configured), the active versions of drivers, " +
	"what drivers had stored, and which packages were accepted: an older package would now be taken as a new one, so look at `fieldloom driver list` before you trust it"

// choose makes the file at path the newest one that is whole.
func (d *DB) choose() error {
	main, spare := inspect(d.path), inspect(d.path+copySuffix)
	for _, f := range []*finding{main, spare} {
		var cannot *fs.PathError
		if errors.As(f.err, &cannot) && !f.missing() {
			return f.err // not damage of the file: the operator may mend it
		}
	}
	since := spare.seal.time.Local().Format(time.DateTime)
	switch {
	case main.missing() && spare.missing():
		return nil
	case main.err == nil && (spare.err != nil || spare.seal.id != main.seal.id && main.seal.generation > 0):
		return d.keep(main, spare)
	case main.err == nil && spare.seal.generation > main.seal.generation:
		return d.replace(main, "is older than its copy: the copy, of "+since+", goes on, so that nothing is undone in silence; to go back to an older one, move the copy away too")
	case main.err == nil && !main.half:
		return nil
	case main.err == nil && spare.seal.generation == main.seal.generation:
		return d.replace(main, "is damaged (one of its heads): its copy goes on, nothing is lost")
	case main.err == nil:
		return d.keep(main, spare)
	case spare.err == nil && main.missing():
		return d.replace(main, "is missing: its copy goes on; lost is what was changed after "+since)
	case spare.err == nil:
		return d.replace(main, fmt.Sprintf("is damaged (%v): its copy goes on; lost is what was changed after %s: "+
			"what was disabled or taken off line since then runs, and a package accepted since then is not known", main.err, since))
	}
	d.restored = true
	aside, err := d.setAside(d.path)
	if err != nil {
		return err
	}
	d.note("is damaged (%v) and has no whole copy: %s; %s", main.err, lost, aside)
	return nil
}

// keep goes on with a database whose copy is of no use.
func (d *DB) keep(main, spare *finding) error {
	if main.half {
		d.restored = true
		d.note("is damaged (one of its heads): it goes on with the other; the last change before the damage may be lost")
	}
	if spare.missing() {
		return nil
	}
	reason := "is of another database"
	if spare.err != nil {
		reason = fmt.Sprintf("is damaged (%v)", spare.err)
	}
	aside, err := d.setAside(d.path + copySuffix)
	d.remarks = append(d.remarks, fmt.Sprintf("%s%s %s and is made anew; %s", d.path, copySuffix, reason, aside))
	return err
}

// replace puts the copy in the place of the database.
func (d *DB) replace(main *finding, text string) error {
	d.restored = true
	if !main.missing() {
		aside, err := d.setAside(d.path)
		if err != nil {
			return err
		}
		text += "; " + aside
	}
	b, err := os.ReadFile(d.path + copySuffix)
	if err == nil {
		err = durable.Replace(d.path, b)
	}
	d.note("%s", text)
	return err
}

// note keeps what was found.
func (d *DB) note(format string, args ...any) {
	d.findings = append(d.findings, d.path+" "+fmt.Sprintf(format, args...))
}

// setAside renames a file and says so.
func (d *DB) setAside(path string) (text string, err error) {
	aside := fmt.Sprintf("%s.aside-%s", path, time.Now().UTC().Format("20060102T150405.000000000"))
	if err := os.Rename(path, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return "it is kept as " + filepath.Base(aside), nil
}
