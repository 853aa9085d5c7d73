// Package choices keeps what the operator decided by commands.
//
// Choices are those decisions, a value; a Book keeps the present ones, durably.
package choices

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/gateway/internal/datadir"
	"github.com/fieldloom/fieldloom/core/gateway/internal/inforce"
	"github.com/fieldloom/fieldloom/core/internal/state"
)

var choicesKey = []byte("choices")

// Choices are what the operator decided by commands. They are kept across restarts.
// A driver that no link uses now stays disabled: it may come back, and must not come back
// running. What is off line and configured no longer is dropped.
type Choices struct {
	Disabled map[string]time.Time `json:"disabled,omitempty"` // drivers, since when
	Offline  map[string]time.Time `json:"offline,omitempty"`  // LINK or LINK/DEVICE
	Resting  map[string]time.Time `json:"resting,omitempty"`  // drivers that are off line with all their links
	Levels   map[string]string    `json:"levels,omitempty"`   // of drivers' logs
	Previous map[string]string    `json:"previous,omitempty"` // versions that were active before
	RunDir   string               `json:"run_dir,omitempty"`
}

// Clone returns a copy that may be changed.
func (c *Choices) Clone() *Choices {
	return &Choices{
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

// A Book keeps the choices. Its methods may be called concurrently.
type Book struct {
	db state.Store

	mu  sync.Mutex
	now *Choices // never changed; replaced
}

// Open reads the choices that a database keeps, in which the gateway has its bucket.
func Open(db state.Store) (*Book, error) {
	b := &Book{db: db, now: (&Choices{}).Clone()}
	err := db.View(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(datadir.Bucket)
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
	b.now = b.now.Clone()
	return b, nil
}

// Get returns the present choices, which the caller does not change.
func (b *Book) Get() *Choices {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

// Change stores what f makes of the choices. They are in force once they are durable.
func (b *Book) Change(f func(c *Choices)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := b.now.Clone()
	f(next)
	text, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("keep what the operator chose: %w", err)
	}
	err = b.db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists(datadir.Bucket)
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

// KeepTime notes a time, unless there is an earlier one.
func KeepTime(times map[string]time.Time, name string, now time.Time) {
	if _, there := times[name]; !there {
		times[name] = now
	}
}

// Mark sets in states what the operator has taken off line.
func (c *Choices) Mark(states map[string]*control.State) {
	for driverName, state := range states {
		_, resting := c.Resting[driverName]
		for i := range state.Links {
			l := &state.Links[i]
			_, l.Offline = c.Offline[l.Name]
			l.Offline = l.Offline || resting
			for j := range l.Devices {
				_, l.Devices[j].Offline = c.Offline[l.Name+"/"+l.Devices[j].Name]
			}
		}
	}
}

// Since is since when a line is off line, by itself, its link or its driver; zero:
// it is not.
func (c *Choices) Since(driverName string, l inforce.Target) time.Time {
	if at, ok := c.Resting[driverName]; ok {
		return at
	}
	if at, ok := c.Offline[l.Link]; ok {
		return at
	}
	return c.Offline[l.String()]
}

// OfflineList is everything that is off line, for the status.
func (c *Choices) OfflineList() []client.LineResult {
	var list []client.LineResult
	for _, driverName := range slices.Sorted(maps.Keys(c.Resting)) {
		list = append(list, client.LineResult{Name: "driver " + driverName, Since: c.Resting[driverName], Text: "with all its links"})
	}
	for _, name := range slices.Sorted(maps.Keys(c.Offline)) {
		list = append(list, client.LineResult{Name: name, Since: c.Offline[name]})
	}
	return list
}

// Show tells of a link and its devices that they are off line, and since when, also where
// no process does.
func (c *Choices) Show(l *client.Link) {
	cause := &client.Fault{Code: driver.Denied.String(), Text: control.OfflineText}
	if at := c.Since(l.Driver, inforce.Target{Link: l.Name}); !at.IsZero() {
		l.State, l.Since, l.Cause = "offline", at, cause
	}
	for i := range l.Devices {
		d := &l.Devices[i]
		if at := c.Since(l.Driver, inforce.Target{Link: l.Name, Device: d.Name}); !at.IsZero() {
			d.State, d.Since, d.Cause = "offline", at, cause
		}
	}
}
