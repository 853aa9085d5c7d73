package catalog

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// Beside says where the names of what is stored are kept, beside it.
type Beside struct {
	Path     string // of the file of names, in the directory of the spool
	Restored bool   // the database may be older than what was stored last
	Used     bool   // drivers that outlived an earlier gateway may have handles
	Log      *slog.Logger
}

// margin is how many handles are left out where some may have been given out that nobody
// knows of any more.
const margin = 1 << 20

var (
	idKey     = []byte("id")     // the catalog's
	legacyKey = []byte("legacy") // of the catalog to which belongs what was stored without an id
	floorKey  = []byte("floor")  // the lowest handle that may be given out
)

// identity is what tells a catalog from others, as it is stored.
type identity struct {
	id, legacy ID
	floor      uint64
}

func newID() (id ID) {
	_, _ = rand.Read(id[:])
	return id
}

func loadIdentity(tx *bolt.Tx) (i identity) {
	root := tx.Bucket(rootBucket)
	copy(i.id[:], root.Get(idKey))
	copy(i.legacy[:], root.Get(legacyKey))
	if b := root.Get(floorKey); len(b) == 8 {
		i.floor = binary.BigEndian.Uint64(b)
	}
	return i
}

func (i identity) store(root *bolt.Bucket) error {
	for key, value := range map[string][]byte{
		string(idKey): i.id[:], string(legacyKey): i.legacy[:], string(floorKey): binary.BigEndian.AppendUint64(nil, i.floor),
	} {
		if err := root.Put([]byte(key), value); err != nil {
			return err
		}
	}
	return nil
}

// OpenBeside is Open for a catalog that keeps its names beside what is stored. Where db was
// lost, or came back older, the names that it lacks come from there, and no handle is
// given out twice. Where not all of them are known for certain, the catalog begins anew
// under another ID, and what was stored before is named by what is known of the old one.
func OpenBeside(db Store, o Beside) (*Catalog, error) {
	c, v, err := load(db)
	if err != nil {
		return nil, err
	}
	book, err := readNames(o.Path)
	if err != nil {
		return nil, err
	}
	r := newReunion(v, c.identity, book, &o)
	if book.damaged > 0 {
		aside, err := book.heal()
		if err != nil {
			return nil, err
		}
		o.Log.Error("names of what is stored are lost: samples of these points cannot be named unless the state has them too",
			"file", o.Path, "lines", book.damaged, "kept", aside)
	}
	r.unite()
	if r.restored {
		o.Log.Warn("the catalog is not the one that was used last: what is stored keeps the names it had", "file", o.Path,
			"blocks", len(r.added), "anew", r.anew, "first", v.next())
	}
	c.finding = r.finding(&o)
	c.identity = r.identity
	c.names = &nameFile{path: o.Path, size: book.size, have: map[hash]bool{}}
	for h := range book.strings {
		c.names.have[h] = true
	}
	if err := r.store(c); err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	c.others = r.others()
	v.index()
	c.view.Store(v)
	return c, nil
}

// reunion brings a database and a file of names together.
type reunion struct {
	identity
	before   identity // as the database had it
	view     *view
	book     *nameBook
	restored bool
	anew     bool    // a new ID is begun
	used     bool    // handles may be in use, or in what is stored
	added    []block // that the database lacks
	old      ID      // of which view holds the blocks until unite
	former   []block // those of old, where a new ID is begun
}

func newReunion(v *view, i identity, b *nameBook, o *Beside) *reunion {
	logs, _ := filepath.Glob(filepath.Join(filepath.Dir(o.Path), "*.log"))
	r := &reunion{identity: i, before: i, view: v, book: b, restored: o.Restored, used: o.Used || len(logs) > 0}
	none := ID{}
	switch {
	case r.id != none:
	case len(v.blocks) > 0 && b.last != none && subset(v.blocks, b.blocks[b.last]):
		r.id, r.restored = b.last, true
	case len(v.blocks) > 0: // of a version that kept no id: what is stored is of this catalog
		r.id = newID()
		r.legacy = r.id
	case b.last != none:
		r.id, r.restored = b.last, true
	default:
		r.id, r.restored = newID(), r.restored || r.used || b.exists
		r.anew = r.used
	}
	if r.legacy == none {
		r.legacy = b.legacy
	}
	return r
}

func subset(list []block, of map[uint32]block) bool {
	return !slices.ContainsFunc(list, func(k block) bool { return !same(k, of[k.first]) })
}

func same(x, y block) bool { return x.device == y.device && x.namesHash == y.namesHash }

// finding says what the names tell of the database, beside what its opening has told.
func (r *reunion) finding(o *Beside) string {
	switch {
	case o.Restored:
		return ""
	case r.before.id != (ID{}) && r.book.last != (ID{}) && r.book.last != r.before.id:
		return "is of another gateway than what is stored: what the operator chose and which packages were accepted is not what this gateway knew"
	case r.before.id != (ID{}) && len(r.added) > 0:
		return "is older than what is stored: what the operator chose since, and which packages were accepted since, is not in it; " +
			"an older package would now be taken as a new one"
	}
	return ""
}

// unite adds to the view what the names have more, and decides whether that is certain
// to be all.
func (r *reunion) unite() {
	r.old = r.id
	known := map[uint32]int{}
	for i := range r.view.blocks {
		known[r.view.blocks[i].first] = i
	}
	var contradicted []uint32
	for _, k := range r.book.of(r.id) {
		i, ok := known[k.first]
		switch {
		case !ok && r.overlaps(&k):
			contradicted = append(contradicted, k.first)
		case !ok:
			r.added = append(r.added, k)
		case !same(k, r.view.blocks[i]):
			contradicted = append(contradicted, k.first)
		}
	}
	for _, first := range contradicted { // nobody can tell which of the two is right
		delete(r.book.blocks[r.id], first)
		r.view.blocks = slices.DeleteFunc(r.view.blocks, func(k block) bool { return k.first == first })
	}
	r.restored = r.restored || len(r.added) > 0 || len(contradicted) > 0
	r.view.insert(r.added)
	if r.restored && (r.book.damaged > 0 || !r.book.exists && r.used || len(contradicted) > 0) {
		r.anew = true
	}
	r.raise()
	if r.anew {
		r.former = r.view.blocks
		r.id, r.added, r.view.blocks = newID(), nil, nil
	}
	r.view.floor = r.floor
}

// overlaps reports whether a block has handles of one in the view.
func (r *reunion) overlaps(k *block) bool {
	for h := uint64(k.first); h < k.end(); h++ {
		if r.view.find(uint32(h)) != nil {
			return true
		}
	}
	return false
}

// raise leaves out handles that may have been given out.
func (r *reunion) raise() {
	if !r.restored || !r.used {
		return
	}
	next := max(r.view.next(), r.book.most(), r.floor) + margin
	if r.anew { // drivers that outlived the old catalog may have any of its handles
		var b [4]byte
		_, _ = rand.Read(b[:])
		next += uint64(binary.BigEndian.Uint32(b[:])) % (16 * margin)
	}
	r.floor = min(next, math.MaxUint32)
}

// insert adds blocks to a view that has none of their handles.
func (v *view) insert(list []block) {
	for _, k := range list {
		if v.tables[k.namesHash] == nil {
			v.tables[k.namesHash] = k.table
		}
		if _, known := v.units[k.unitsHash]; !known {
			v.units[k.unitsHash] = k.units
		}
	}
	v.blocks = append(v.blocks, list...)
	slices.SortFunc(v.blocks, func(x, y block) int { return int(int64(x.first) - int64(y.first)) })
}

// store writes to both sides what each lacks: the names first.
func (r *reunion) store(c *Catalog) error {
	w := nameLines{have: c.names.have}
	for _, k := range slices.Concat(r.former, r.view.blocks) {
		id := r.id
		if r.anew {
			id = r.old
		}
		if in, ok := r.book.blocks[id][k.first]; !ok || in.unitsHash != k.unitsHash {
			w.block(id, &k)
		}
	}
	if r.id != r.book.last || r.legacy != r.book.legacy {
		w.header(r.id, r.legacy)
	}
	if err := c.names.append(&w); err != nil {
		return err
	}
	before := identity{}
	if err := c.db.View(func(tx *bolt.Tx) error { before = loadIdentity(tx); return nil }); err != nil {
		return err
	}
	if before == r.identity && len(r.added) == 0 && !r.anew {
		return nil
	}
	return c.db.Update(func(tx *bolt.Tx) error {
		root := tx.Bucket(rootBucket)
		if r.anew {
			if err := root.DeleteBucket(blocksBucket); err != nil {
				return err
			}
			if _, err := root.CreateBucket(blocksBucket); err != nil {
				return err
			}
		}
		for i := range r.added {
			if err := r.added[i].put(root); err != nil {
				return err
			}
		}
		return r.identity.store(root)
	})
}

// others are the catalogs of which only names are known.
func (r *reunion) others() map[ID]*Catalog {
	others := map[ID]*Catalog{}
	for id := range r.book.blocks {
		if id != r.id {
			others[id] = readOnly(r.book.of(id))
		}
	}
	if r.anew {
		others[r.old] = readOnly(r.former)
	}
	return others
}

func readOnly(list []block) *Catalog {
	c, v := &Catalog{}, &view{blocks: list}
	v.index()
	c.view.Store(v)
	return c
}

// Finding says what the names beside what is stored tell of the database; "" where that is
// nothing.
func (c *Catalog) Finding() string { return c.finding }

// ID tells whose handles States gives out: what is stored with them is bound to it.
func (c *Catalog) ID() ID { return c.identity.id }

// Of returns the catalog that has an ID; nothing can be looked up in one of which nothing
// is known. The zero ID is that of what was stored before catalogs had one.
func (c *Catalog) Of(id ID) *Catalog {
	if id == (ID{}) {
		id = c.identity.legacy
	}
	if id == c.identity.id {
		return c
	}
	if other := c.others[id]; other != nil {
		return other
	}
	return unknown
}

var unknown = readOnly(nil)
