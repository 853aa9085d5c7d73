package catalog

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
)

// States returns what each kind of driver is to do, by the driver's name, with
// handles given to every point. What is new is stored before States returns.
func (c *Catalog) States(cfg *config.Config, revision uint64) (map[string]*control.State, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := newAssignment(c.view.Load())
	states := map[string]*control.State{}
	for _, l := range cfg.Links {
		s := states[l.Driver]
		if s == nil {
			s = &control.State{Revision: revision}
			states[l.Driver] = s
		}
		link := control.Link{
			Name: l.Name, Settings: l.Settings, Timeout: l.Timeout, Gap: l.Gap, Classes: l.Classes,
			Devices: make([]control.Device, len(l.Devices)),
		}
		for i, d := range l.Devices {
			first, err := a.handles(device{l.Name, d.Name}, l.Driver, d.Table)
			if err != nil {
				return nil, fmt.Errorf("catalog: device %s/%s: %w", l.Name, d.Name, err)
			}
			link.Devices[i] = control.Device{Name: d.Name, Settings: d.Settings, Table: d.Table, FirstHandle: first}
		}
		s.Links = append(s.Links, link)
	}
	if err := c.keepNames(a); err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	if err := a.store(c.db); err != nil {
		return nil, fmt.Errorf("catalog: store handles: %w", err)
	}
	a.view.index()
	c.view.Store(a.view)
	return states, nil
}

// An assignment makes the next view.
type assignment struct {
	view    *view
	known   map[blockKey]int // index of a block
	hashes  map[*control.Table]hashes
	strings map[hash][]byte // records to store
	changed []int           // blocks to store
	moved   []int           // blocks whose owner is to be stored
	now     time.Time
}

type blockKey struct {
	device
	names hash
}

type hashes struct{ names, units hash }

func newAssignment(old *view) *assignment {
	a := &assignment{
		view:    &view{blocks: slices.Clone(old.blocks), floor: old.floor, tables: map[hash]*table{}, units: map[hash][]string{}},
		known:   make(map[blockKey]int, len(old.blocks)),
		hashes:  map[*control.Table]hashes{},
		strings: map[hash][]byte{},
		now:     time.Now(),
	}
	for i := range a.view.blocks {
		b := &a.view.blocks[i]
		b.configured = false
		a.known[blockKey{b.device, b.namesHash}] = i
		a.view.tables[b.namesHash] = b.table
		a.view.units[b.unitsHash] = b.units
	}
	return a
}

// handles returns the first handle of a device's block, which is the driver's from now on;
// 0 where it has no points.
func (a *assignment) handles(d device, driver string, t *control.Table) (uint32, error) {
	if t == nil || len(t.Points) == 0 {
		return 0, nil
	}
	h, known := a.hashes[t]
	if !known {
		h = a.table(t)
		a.hashes[t] = h
	}
	i, known := a.known[blockKey{d, h.names}]
	if !known {
		next := a.view.next()
		if next+uint64(len(t.Points)) > math.MaxUint32+1 {
			return 0, fmt.Errorf("all handles are used up: move the data directory away to begin anew")
		}
		i = len(a.view.blocks)
		a.view.blocks = append(a.view.blocks, block{device: d, first: uint32(next), table: a.view.tables[h.names], namesHash: h.names})
		a.known[blockKey{d, h.names}] = i
	}
	b := &a.view.blocks[i]
	if !known || b.unitsHash != h.units {
		b.unitsHash, b.units = h.units, a.view.units[h.units]
		a.changed = append(a.changed, i)
	}
	b.configured = true
	a.own(i, driver)
	return b.first, nil
}

// table makes the names and units of a table known.
func (a *assignment) table(t *control.Table) hashes {
	names := make([]string, len(t.Points))
	var units []string // none, where no point has one
	for i := range t.Points {
		names[i] = t.Points[i].Name
		if unit := t.Points[i].Unit; unit != "" && units == nil {
			units = make([]string, len(t.Points))
		}
		if units != nil {
			units[i] = t.Points[i].Unit
		}
	}
	namesRecord, unitsRecord := encodeStrings(names), encodeStrings(units)
	h := hashes{hashOf(namesRecord), hashOf(unitsRecord)}
	if a.view.tables[h.names] == nil {
		a.view.tables[h.names] = newTable(names)
		a.strings[h.names] = namesRecord
	}
	if _, known := a.view.units[h.units]; !known {
		a.view.units[h.units] = units
		a.strings[h.units] = unitsRecord
	}
	return h
}

// store writes what is new in one transaction.
func (a *assignment) store(db Store) error {
	if len(a.changed) == 0 && len(a.moved) == 0 {
		return nil
	}
	return db.Update(func(tx *bolt.Tx) error {
		root := tx.Bucket(rootBucket)
		stored := root.Bucket(stringsBucket)
		for h, record := range a.strings {
			if err := stored.Put(h[:], record); err != nil {
				return err
			}
		}
		for _, i := range a.changed {
			if err := a.view.blocks[i].putRecord(root); err != nil {
				return err
			}
		}
		return a.storeOwners(root)
	})
}

// put stores a block with its strings.
func (b *block) put(root *bolt.Bucket) error {
	stored := root.Bucket(stringsBucket)
	for h, list := range map[hash][]string{b.namesHash: b.table.names, b.unitsHash: b.units} {
		if err := stored.Put(h[:], encodeStrings(list)); err != nil {
			return err
		}
	}
	return b.putRecord(root)
}

func (b *block) putRecord(root *bolt.Bucket) error {
	blocks := root.Bucket(blocksBucket)
	blocks.FillPercent = 1 // keys only ever grow
	r := blockRecord{
		count: uint32(len(b.table.names)), names: b.namesHash, units: b.unitsHash, link: b.link, device: b.name,
	}
	return blocks.Put(binary.BigEndian.AppendUint32(nil, b.first), r.encode())
}

// keepNames writes what is new to the file of names, before anybody gets a handle of it.
func (c *Catalog) keepNames(a *assignment) error {
	if c.names == nil {
		return nil
	}
	w := nameLines{have: maps.Clone(c.names.have)}
	for _, i := range a.changed {
		w.block(c.identity.id, &a.view.blocks[i])
	}
	if err := c.names.append(&w); err != nil {
		return err
	}
	c.names.have = w.have
	return nil
}
