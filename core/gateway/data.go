package gateway

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/fieldloom/fieldloom/core/internal/state"
)

// data is an open data directory: it belongs to this process until close.
type data struct {
	lock  *os.File
	db    *state.DB
	epoch uint64 // grows with every opening
	owner string // the mark of the driver processes that belong to this directory
}

// stateFile is the database in the data directory.
const stateFile = "state.db"

var (
	gatewayBucket = []byte("gateway")
	storeBucket   = []byte("store")
	epochKey      = []byte("epoch")
	ownerKey      = []byte("owner")
	revisionKey   = []byte("revision")
)

// openData makes dir, private to its user, where it is not there, and takes it.
func openData(dir string, log *slog.Logger) (*data, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the data directory: %w: set `data:` to a directory that can be made and written", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	d := &data{lock: lock}
	path := filepath.Join(dir, stateFile)
	if d.db, err = state.Open(path, log); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if d.epoch, err = d.count(epochKey); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), d.close())
	}
	if d.owner, err = d.mark(); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), d.close())
	}
	return d, nil
}

// mark returns the directory's own mark, which it makes the first time.
func (d *data) mark() (mark string, err error) {
	err = d.db.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(gatewayBucket); b != nil {
			mark = string(b.Get(ownerKey))
		}
		return nil
	})
	if err != nil || mark != "" {
		return mark, err
	}
	mark = rand.Text()
	return mark, d.db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(gatewayBucket)
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

// count adds one to a durable counter and returns it.
func (d *data) count(key []byte) (n uint64, err error) {
	err = d.db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(gatewayBucket)
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

func (d *data) close() error {
	return errors.Join(d.db.Close(), d.lock.Close())
}
