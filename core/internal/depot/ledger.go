package depot

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/fieldloom/fieldloom/core/pack"
)

var ledgerBucket = []byte("depot")

// A ledger remembers what was accepted. Its owner serialises the calls.
type ledger struct {
	db      Store
	drivers map[string]*history
}

// history is what is remembered of one driver.
type history struct {
	Order    uint64            `json:"order"`            // of the last acceptance
	Highest  map[string]uint64 `json:"highest"`          // serial, by public key
	Accepted map[string]record `json:"accepted"`         // by version
	Chosen   string            `json:"chosen,omitempty"` // version that the operator set
}

// record is an accepted package.
type record struct {
	Hash   string    `json:"hash"` // of the manifest, in hexadecimal
	Serial uint64    `json:"serial"`
	Key    string    `json:"key"`
	Order  uint64    `json:"order"`
	Time   time.Time `json:"time"`
}

// openLedger reads the ledger; db may be nil.
func openLedger(db Store) (*ledger, error) {
	l := &ledger{db: db, drivers: map[string]*history{}}
	if db == nil {
		return l, nil
	}
	err := db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(ledgerBucket)
		if b == nil {
			return nil
		}
		return b.ForEach(func(driver, text []byte) error {
			h := newHistory()
			if err := json.Unmarshal(text, h); err != nil {
				return fmt.Errorf("driver %s: %w", driver, err)
			}
			l.drivers[string(driver)] = h
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read which packages were accepted: %w", err)
	}
	return l, nil
}

func newHistory() *history {
	return &history{Highest: map[string]uint64{}, Accepted: map[string]record{}}
}

// of returns a driver's history, which is empty when nothing was accepted.
func (l *ledger) of(driver string) *history {
	if h := l.drivers[driver]; h != nil {
		return h
	}
	return newHistory()
}

// isEmpty reports whether no package was ever accepted.
func (l *ledger) isEmpty() bool {
	for _, h := range l.drivers {
		if len(h.Accepted) > 0 {
			return false
		}
	}
	return true
}

// put stores a history, and takes it when it is stored.
func (l *ledger) put(driver string, h *history) error {
	if l.db != nil {
		text, err := json.Marshal(h)
		if err != nil {
			return err
		}
		err = l.db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(ledgerBucket)
			if err != nil {
				return err
			}
			return b.Put([]byte(driver), text)
		})
		if err != nil {
			return fmt.Errorf("remember the packages of driver %s: %w", driver, err)
		}
	}
	l.drivers[driver] = h
	return nil
}

// copy returns a history that may be changed without the ledger knowing.
func (h *history) copy() *history {
	c := *h
	c.Highest, c.Accepted = map[string]uint64{}, map[string]record{}
	for k, v := range h.Highest {
		c.Highest[k] = v
	}
	for k, v := range h.Accepted {
		c.Accepted[k] = v
	}
	return &c
}

func hashOf(p *pack.Package) string { return hex.EncodeToString(p.Hash[:]) }

// permits reports whether a signed package may be accepted: it is the very one that was
// accepted as this version, or it is newer than everything of its key.
func (h *history) permits(p *pack.Package) error {
	m := p.Manifest
	if h.Accepted[m.Version].Hash == hashOf(p) {
		return nil
	}
	highest := h.Highest[p.Signer.Key]
	switch {
	case m.Serial > highest:
		return nil
	case m.Serial == highest:
		return fmt.Errorf("serial %d of key %s was accepted with other contents: sign this package again", m.Serial, p.KeyID)
	}
	return fmt.Errorf("serial %d is older than %d, the highest accepted of key %s: an old package is not taken as a new one", m.Serial, highest, p.KeyID)
}

// accept remembers a package for ever. It returns when it was first accepted.
func (l *ledger) accept(p *pack.Package) (time.Time, error) {
	h := l.of(p.Manifest.Name)
	if err := h.permits(p); err != nil {
		return time.Time{}, err
	}
	if known := h.Accepted[p.Manifest.Version]; known.Hash == hashOf(p) {
		return known.Time, nil
	}
	h = h.copy()
	h.Order++
	h.Highest[p.Signer.Key] = p.Manifest.Serial
	r := record{Hash: hashOf(p), Serial: p.Manifest.Serial, Key: p.Signer.Key, Order: h.Order, Time: time.Now().UTC().Truncate(time.Second)}
	h.Accepted[p.Manifest.Version] = r
	return r.Time, l.put(p.Manifest.Name, h)
}

// choose stores the operator's version; "" is none.
func (l *ledger) choose(driver, version string) error {
	h := l.of(driver).copy()
	h.Chosen = version
	return l.put(driver, h)
}

// chose takes a choice that another ledger holds; it is not stored in this one.
func (l *ledger) chose(driver, version string) {
	h := l.of(driver).copy()
	h.Chosen = version
	l.drivers[driver] = h
}

// Chosen reads the version that the operator chose of each driver, or that a gateway
// pinned, from its database.
func Chosen(db Store) (map[string]string, error) {
	l, err := openLedger(db)
	if err != nil {
		return nil, err
	}
	versions := make(map[string]string)
	for driver, h := range l.drivers {
		if h.Chosen != "" {
			versions[driver] = h.Chosen
		}
	}
	return versions, nil
}

// last is the version that was accepted last; "" when none was.
func (h *history) last() (version string) {
	var order uint64
	for v, r := range h.Accepted {
		if r.Order > order {
			version, order = v, r.Order
		}
	}
	return version
}

// ErrNotThere is that the directory has no package of a driver or version.
var ErrNotThere = errors.New("is not in the drivers directory")

// ErrUnclear is in the tree of an error that says nothing of what the operator wants: the
// drivers directory, the trust file or a package cannot be used, and nobody removed anything.
// What runs goes on then, and nothing new is started.
var ErrUnclear = errors.New("what may run is not clear")

// errPolicy is that unsigned packages are not taken.
var errPolicy = errors.New("not signed")

// silent keeps an error for errors.Is without a text.
type silent struct{ error }

func (silent) Error() string   { return "" }
func (s silent) Unwrap() error { return s.error }
