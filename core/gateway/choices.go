package gateway

import (
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/fieldloom/fieldloom/core/internal/state"
)

var choicesKey = []byte("choices")

// choices are what the operator decided by commands. They are kept across restarts.
// A driver that no link uses now stays disabled: it may come back, and must not come back
// running. What is off line and configured no longer is dropped.
type choices struct {
	Disabled map[string]time.Time `json:"disabled,omitempty"` // drivers, since when
	Offline  map[string]time.Time `json:"offline,omitempty"`  // LINK or LINK/DEVICE
	Resting  map[string]time.Time `json:"resting,omitempty"`  // drivers that are off line with all their links
	Levels   map[string]string    `json:"levels,omitempty"`   // of drivers' logs
	Previous map[string]string    `json:"previous,omitempty"` // versions that were active before
	RunDir   string               `json:"run_dir,omitempty"`
}

func (c *choices) clone() *choices {
	return &choices{
		Disabled: copied(c.Disabled), Offline: copied(c.Offline), Resting: copied(c.Resting),
		Levels: copied(c.Levels), Previous: copied(c.Previous), RunDir: c.RunDir,
	}
}

// copied is a map that may be written to, also of none.
func copied[V any](m map[string]V) map[string]V {
	if m == nil {
		return make(map[string]V)
	}
	return maps.Clone(m)
}

// choiceBook keeps the choices. Its methods may be called concurrently.
type choiceBook struct {
	db state.Store

	mu  sync.Mutex
	now *choices // never changed; replaced
}

func openChoices(db state.Store) (*choiceBook, error) {
	b := &choiceBook{db: db, now: (&choices{}).clone()}
	err := db.View(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(gatewayBucket)
		if bucket == nil {
			return nil
		}
		if text := bucket.Get(choicesKey); text != nil {
			return json.Unmarshal(text, b.now)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what the operator chose: %w", err)
	}
	b.now = b.now.clone()
	return b, nil
}

// get returns the present choices, which the caller does not change.
func (b *choiceBook) get() *choices {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

// change stores what f makes of the choices. They are in force once they are durable.
func (b *choiceBook) change(f func(c *choices)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := b.now.clone()
	f(next)
	text, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("keep what the operator chose: %w", err)
	}
	err = b.db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists(gatewayBucket)
		if err != nil {
			return err
		}
		return bucket.Put(choicesKey, text)
	})
	if err != nil {
		return fmt.Errorf("keep what the operator chose: %w", err)
	}
	b.now = next
	return nil
}
