// Package datadir opens the data directory of a gateway.
//
// A Dir is an open one, which belongs to this process alone: its lock, the database of
// what is remembered, and the count of its openings.
package datadir

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/internal/catalog"
	"github.com/fieldloom/fieldloom/core/internal/state"
)

// A Dir is an open data directory: it belongs to this process until Close. Its fields are
// read only.
type Dir struct {
	DB    *state.DB
	Epoch uint64   // grows with every opening
	Owner string   // the mark of the driver processes that belong to this directory
	Lost  []string // what was found wrong with it of late, and what is lost with that

	path  string
	lock  *os.File
	found []string // what was found wrong with it now
}

// StateFile is the database in the data directory.
const StateFile = "state.db"

// Bucket is where the database keeps what is the gateway's own.
var Bucket = []byte("gateway")

var (
	epochKey    = []byte("epoch")
	ownerKey    = []byte("owner")
	lostKey     = []byte("lost")
	revisionKey = []byte("revision")
)

// Open makes dir, private to its user, where it is not there, and takes it.
func Open(dir string) (*Dir, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the data directory: %w: set `data:` to a directory that can be made and written", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	d := &Dir{path: dir, lock: lock}
	path := filepath.Join(dir, StateFile)
	if d.DB, err = state.Open(path); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if d.Epoch, err = d.nextEpoch(); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), d.Close())
	}
	d.found = append(d.found, d.DB.Findings()...)
	if d.Owner, err = d.mark(); err == nil {
		err = d.noteFindings()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), d.Close())
	}
	return d, nil
}

// lostFor is how long a loss stays among the warnings.
const lostFor = 7 * 24 * time.Hour

// lossNote is what is kept of a finding: whoever opens the directory next may be a command,
// and the gateway has to tell of it too.
type lossNote struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

// noteFindings keeps what was found now, and makes Lost what was found of late.
func (d *Dir) noteFindings() error {
	var notes []lossNote
	err := d.DB.View(func(tx *bbolt.Tx) error {
		if text := tx.Bucket(Bucket).Get(lostKey); text != nil {
			return json.Unmarshal(text, &notes)
		}
		return nil
	})
	if err != nil {
		return err
	}
	had := len(notes)
	notes = slices.DeleteFunc(notes, func(n lossNote) bool { return time.Since(n.Time).Abs() > lostFor })
	changed := len(notes) != had
	for _, text := range d.found {
		notes, changed = append(notes, lossNote{time.Now().UTC().Truncate(time.Second), text}), true
	}
	d.found, d.Lost = nil, nil
	for _, n := range notes {
		d.Lost = append(d.Lost, n.Time.Local().Format(time.DateTime)+": "+n.Text)
	}
	if !changed {
		return nil
	}
	text, err := json.Marshal(notes)
	if err != nil {
		return err
	}
	return d.DB.Update(func(tx *bbolt.Tx) error { return tx.Bucket(Bucket).Put(lostKey, text) })
}

// OpenCatalog opens the catalog with the names that lie beside what is stored.
func (d *Dir) OpenCatalog(log *slog.Logger) (*catalog.Catalog, error) {
	beside := d.SpoolDir()
	if err := os.MkdirAll(beside, 0o700); err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	processes, _ := os.ReadDir(filepath.Join(d.path, "run")) // of detached drivers: they have handles
	c, err := catalog.OpenBeside(d.DB, catalog.Beside{
		Path: filepath.Join(beside, "names"), Restored: d.DB.Restored(), Used: len(processes) > 0, Log: log,
	})
	if err != nil {
		return nil, err
	}
	if text := c.Finding(); text != "" {
		d.found = append(d.found, d.DB.Path()+" "+text)
		err = d.noteFindings()
	}
	return c, err
}

// SpoolDir is where the samples are stored.
func (d *Dir) SpoolDir() string { return filepath.Join(d.path, "spool") }

// mark returns the directory's own mark, which it makes the first time.
func (d *Dir) mark() (mark string, err error) {
	err = d.DB.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(Bucket); b != nil {
			mark = string(b.Get(ownerKey))
		}
		return nil
	})
	if err != nil || mark != "" {
		return mark, err
	}
	mark = rand.Text()
	return mark, d.DB.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(Bucket)
		if err != nil {
			return err
		}
		return b.Put(ownerKey, []byte(mark))
	})
}

// lockDir takes the directory's lock, which the system lets go with the process.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the data directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		owner, _ := io.ReadAll(io.LimitReader(f, 20))
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("data directory %s: another gateway runs on it (pid %s): stop that one, or set another `data` directory",
				dir, strings.TrimSpace(string(owner)))
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := writePID(f); err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", path, err), f.Close())
	}
	return f, nil
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return err
}

// nextEpoch counts the openings. Where the count was lost it goes on from the present
// time: drivers that outlived an earlier gateway refuse a lower epoch than they have seen.
func (d *Dir) nextEpoch() (epoch uint64, err error) {
	used, _ := filepath.Glob(filepath.Join(d.path, "spool", "*.log"))
	processes, _ := os.ReadDir(filepath.Join(d.path, "run"))
	if epoch, err = d.count(epochKey); err != nil {
		return 0, err
	}
	if epoch == 1 && len(used)+len(processes) > 0 && !d.DB.Restored() {
		d.found = append(d.found, d.DB.Path()+" "+state.Missing)
	}
	if d.DB.Restored() || len(d.found) > 0 {
		return d.raiseEpoch(epoch, uint64(max(0, time.Now().Unix())))
	}
	return epoch, nil
}

// PassEpoch makes the epoch higher than one that was used.
func (d *Dir) PassEpoch(used uint64) (err error) {
	d.Epoch, err = d.raiseEpoch(d.Epoch, used+1)
	return err
}

// NextRevision counts the configurations that were put in force.
func (d *Dir) NextRevision() (uint64, error) { return d.count(revisionKey) }

// raiseEpoch makes the epoch at least as high as least.
func (d *Dir) raiseEpoch(epoch, least uint64) (uint64, error) {
	if epoch >= least {
		return epoch, nil
	}
	return least, d.DB.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(Bucket).Put(epochKey, binary.BigEndian.AppendUint64(nil, least))
	})
}

// count adds one to a durable counter and returns it.
func (d *Dir) count(key []byte) (n uint64, err error) {
	err = d.DB.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(Bucket)
		if err != nil {
			return err
		}
		if old := b.Get(key); len(old) == 8 {
			n = binary.BigEndian.Uint64(old)
		}
		n++
		return b.Put(key, binary.BigEndian.AppendUint64(nil, n))
	})
	return n, err
}

// Close lets go of the directory.
func (d *Dir) Close() error {
	return errors.Join(d.DB.Close(), d.lock.Close())
}
