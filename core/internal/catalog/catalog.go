package catalog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"
)

// The buckets, all within one of the gateway's state.db.
var (
	rootBucket    = []byte("catalog")
	blocksBucket  = []byte("blocks")  // first handle, big-endian -> block record
	stringsBucket = []byte("strings") // hash -> names or units
	ownersBucket  = []byte("owners")  // first handle, big-endian -> driver
)

// A Store is the database that a catalog is kept in; *bbolt.DB is one.
type Store interface {
	View(func(*bolt.Tx) error) error
	Update(func(*bolt.Tx) error) error
}

// A Catalog may be used concurrently.
type Catalog struct {
	db       Store
	names    *nameFile // nil: names are kept in db alone
	identity identity
	finding  string
	others   map[ID]*Catalog // of which what is stored has handles too
	mu       sync.Mutex      // held by whoever assigns
	view     atomic.Pointer[view]
}

// A Path names a point, and the unit to show its values in.
type Path struct{ Link, Device, Point, Unit string }

// Open reads the catalog that is stored in db. The caller keeps db open as long
// as the catalog is used, and closes it.
func Open(db Store) (*Catalog, error) {
	c, v, err := load(db)
	if err != nil {
		return nil, err
	}
	c.identity.id = c.identity.legacy // nothing is stored under another ID
	v.index()
	c.view.Store(v)
	return c, nil
}

func load(db Store) (*Catalog, *view, error) {
	err := db.Update(func(tx *bolt.Tx) error {
		root, err := tx.CreateBucketIfNotExists(rootBucket)
		if err != nil {
			return err
		}
		for _, name := range [][]byte{blocksBucket, stringsBucket, ownersBucket} {
			if _, err = root.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("catalog: create buckets: %w", err)
	}
	c := &Catalog{db: db}
	v := &view{}
	if err := db.View(v.load); err != nil {
		return nil, nil, fmt.Errorf("catalog: %w: restore state.db from a copy, or move the data directory away to begin anew", err)
	}
	_ = db.View(func(tx *bolt.Tx) error { c.identity = loadIdentity(tx); return nil })
	v.floor = c.identity.floor
	return c, v, nil
}

// A view is the whole catalog at one time. It is never changed.
type view struct {
	blocks  []block // by first
	floor   uint64  // the lowest handle to give out next
	tables  map[hash]*table
	units   map[hash][]string
	current map[device]int // the index of the block that a device has
	owned   map[string]*Handles
}

type device struct{ link, name string }

type block struct {
	device
	first      uint32
	table      *table
	units      []string // as the table's names; nil: none has a unit
	namesHash  hash
	unitsHash  hash
	configured bool // by the newest configuration
	owner      string
	former     *former // nil: none, as far as this gateway knows
}

// A table is the points of blocks, and the same sorted by name.
type table struct {
	names  []string
	sorted []uint32
}

func newTable(names []string) *table {
	t := &table{names: names, sorted: make([]uint32, len(names))}
	for i := range t.sorted {
		t.sorted[i] = uint32(i)
	}
	slices.SortFunc(t.sorted, func(a, b uint32) int { return strings.Compare(names[a], names[b]) })
	return t
}

func (t *table) find(name string) (int, bool) {
	i, ok := slices.BinarySearchFunc(t.sorted, name, func(i uint32, name string) int {
		return strings.Compare(t.names[i], name)
	})
	if !ok {
		return 0, false
	}
	return int(t.sorted[i]), true
}

// end is the handle after the block's last; it may be one more than fits.
func (b *block) end() uint64 { return uint64(b.first) + uint64(len(b.table.names)) }

func (v *view) next() uint64 {
	if len(v.blocks) == 0 {
		return max(1, v.floor) // 0 is no handle
	}
	return max(v.floor, v.blocks[len(v.blocks)-1].end())
}

func (v *view) load(tx *bolt.Tx) error {
	root := tx.Bucket(rootBucket)
	v.tables, v.units = map[hash]*table{}, map[hash][]string{}
	err := root.Bucket(blocksBucket).ForEach(func(key, record []byte) error {
		if len(key) != 4 {
			return fmt.Errorf("block with a key of %d bytes", len(key))
		}
		first := binary.BigEndian.Uint32(key)
		b, err := v.decode(root.Bucket(stringsBucket), record)
		if err != nil {
			return fmt.Errorf("block of handle %d: %w", first, err)
		}
		b.first = first
		if n := len(v.blocks); first == 0 || n > 0 && uint64(first) < v.blocks[n-1].end() || b.end() > math.MaxUint32+1 {
			return fmt.Errorf("block of handle %d: overlaps another", first)
		}
		v.blocks = append(v.blocks, *b)
		return nil
	})
	if err == nil {
		v.loadOwners(root)
	}
	return err
}

func (v *view) decode(stored *bolt.Bucket, record []byte) (*block, error) {
	r, err := decodeBlock(record)
	if err != nil {
		return nil, err
	}
	t := v.tables[r.names]
	if t == nil {
		names, err := loadStrings(stored, r.names)
		if err != nil {
			return nil, fmt.Errorf("names: %w", err)
		}
		t = newTable(names)
		v.tables[r.names] = t
	}
	units, known := v.units[r.units]
	if !known {
		if units, err = loadStrings(stored, r.units); err != nil {
			return nil, fmt.Errorf("units: %w", err)
		}
		v.units[r.units] = units
	}
	if len(t.names) != int(r.count) || len(units) != int(r.count) && len(units) != 0 {
		return nil, fmt.Errorf("%d handles for %d names and %d units", r.count, len(t.names), len(units))
	}
	return &block{device: device{r.link, r.device}, table: t, units: units, namesHash: r.names, unitsHash: r.units}, nil
}

func loadStrings(stored *bolt.Bucket, h hash) ([]string, error) {
	record := stored.Get(h[:])
	if record == nil {
		return nil, errors.New("missing")
	}
	if hashOf(record) != h {
		return nil, errors.New("stored under the hash of others")
	}
	return decodeStrings(record)
}

// index finds every device's block: the configured one, otherwise the newest.
func (v *view) index() {
	v.current = make(map[device]int, len(v.blocks))
	for i := range v.blocks {
		b := &v.blocks[i]
		if old, ok := v.current[b.device]; !ok || b.configured || !v.blocks[old].configured {
			v.current[b.device] = i
		}
	}
	v.indexOwners()
}

// find returns the block that a handle is in, or nil.
func (v *view) find(handle uint32) *block {
	i := sort.Search(len(v.blocks), func(i int) bool { return v.blocks[i].end() > uint64(handle) })
	if i == len(v.blocks) || v.blocks[i].first > handle {
		return nil
	}
	return &v.blocks[i]
}

// A Block is the names of a device's points, which have consecutive handles. The zero
// Block has none.
type Block struct{ of *block }

// Holds reports whether a handle is one of the block's.
func (b Block) Holds(handle uint32) bool {
	return b.of != nil && handle >= b.of.first && uint64(handle) < b.of.end()
}

// Path names the point of a handle; it is zero where the block does not hold it.
func (b Block) Path(handle uint32) Path {
	if !b.Holds(handle) {
		return Path{}
	}
	i := handle - b.of.first
	p := Path{Link: b.of.link, Device: b.of.name, Point: b.of.table.names[i]}
	if len(b.of.units) > 0 {
		p.Unit = b.of.units[i]
	}
	return p
}

// Block returns the block that a handle is in. Devices and points that are no longer
// configured have theirs too.
func (c *Catalog) Block(handle uint32) Block { return Block{c.view.Load().find(handle)} }

// Lookup names the point that a handle belongs to, or belonged to.
func (c *Catalog) Lookup(handle uint32) (Path, bool) {
	b := c.Block(handle)
	return b.Path(handle), b.of != nil
}

// Find returns the handle of a point: by the newest configuration that had its device.
func (c *Catalog) Find(link, name, point string) (handle uint32, ok bool) {
	v := c.view.Load()
	i, ok := v.current[device{link, name}]
	if !ok {
		return 0, false
	}
	at, ok := v.blocks[i].table.find(point)
	return v.blocks[i].first + uint32(at), ok
}
