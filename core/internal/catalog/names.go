package catalog

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fieldloom/fieldloom/core/internal/durable"
)

// The file of names lies beside what was stored and says whose handles are in it, so that
// the records can be named although state.db was lost, or came back older. It is a line
// for each table and each block, appended before any of its handles is given out; a line
// is a checksum and JSON. Lines are bound to the catalog's id: handles of another catalog
// may be the same numbers.
type nameLine struct {
	Catalog string   `json:"catalog,omitempty"` // whose the block is; without one: whose what follows is
	Legacy  string   `json:"legacy,omitempty"`  // whose what was stored without an id is
	Table   string   `json:"table,omitempty"`   // the hash of Strings
	Strings []string `json:"strings,omitempty"`
	First   uint32   `json:"first,omitempty"`
	Link    string   `json:"link,omitempty"`
	Device  string   `json:"device,omitempty"`
	Names   string   `json:"names,omitempty"` // hashes of tables
	Units   string   `json:"units,omitempty"`
}

// An ID tells a catalog's handles from those of all others.
type ID [16]byte

func (id ID) text() string {
	if id == (ID{}) {
		return ""
	}
	return hex.EncodeToString(id[:])
}

func parseID(text string) (id ID, ok bool) {
	n, err := hex.Decode(id[:], []byte(text[:min(len(text), 2*len(id))]))
	return id, err == nil && n == len(id) && len(text) == 2*len(id)
}

// nameBook is what a file of names holds.
type nameBook struct {
	path    string
	exists  bool
	size    int64 // up to the end of the last whole line
	damaged int   // lines
	last    ID    // the catalog that wrote last
	legacy  ID
	blocks  map[ID]map[uint32]block // by first handle
	tables  map[hash]*table
	strings map[hash][]string
}

// readNames reads a file of names; one that is not there is empty.
func readNames(path string) (*nameBook, error) {
	b := &nameBook{path: path, blocks: map[ID]map[uint32]block{}, tables: map[hash]*table{}, strings: map[hash][]string{}}
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the names of what is stored: %w", err)
	}
	b.exists = true
	for len(content) > 0 {
		text, rest, whole := bytes.Cut(content, []byte("\n"))
		if !whole {
			break // was being written when the power went: its handles were not given out
		}
		if !b.take(text) {
			b.damaged++
		}
		b.size += int64(len(text)) + 1
		content = rest
	}
	return b, nil
}

// take takes in one line; ok is false where it is damaged.
func (b *nameBook) take(text []byte) (ok bool) {
	sum, content, _ := bytes.Cut(text, []byte(" "))
	if string(sum) != fmt.Sprintf("%08x", crc32.Checksum(content, castagnoli)) {
		return false
	}
	var l nameLine
	if json.Unmarshal(content, &l) != nil {
		return false
	}
	if l.Table != "" {
		h, ok := parseID(l.Table)
		b.strings[hash(h)] = l.Strings
		return ok && hashOf(encodeStrings(l.Strings)) == hash(h)
	}
	id, ok := parseID(l.Catalog)
	if !ok {
		return false
	}
	if l.First == 0 {
		b.last = id
		b.legacy, _ = parseID(l.Legacy)
		return true
	}
	return b.takeBlock(id, &l)
}

func (b *nameBook) takeBlock(id ID, l *nameLine) bool {
	n, ok := parseID(l.Names)
	names, known := b.strings[hash(n)]
	if !ok || !known || len(names) == 0 {
		return false
	}
	u, ok := parseID(l.Units)
	units, known := b.strings[hash(u)]
	if l.Units != "" && (!ok || !known) || len(units) != 0 && len(units) != len(names) {
		return false
	}
	t := b.tables[hash(n)]
	if t == nil {
		t = newTable(names)
		b.tables[hash(n)] = t
	}
	if b.blocks[id] == nil {
		b.blocks[id] = map[uint32]block{}
	}
	if l.Units == "" {
		u = ID(hashOf(encodeStrings(nil)))
	}
	b.blocks[id][l.First] = block{device: device{l.Link, l.Device}, first: l.First, table: t, units: units, namesHash: hash(n), unitsHash: hash(u)}
	return true
}

// of gives the blocks of a catalog in order, without those that overlap another.
func (b *nameBook) of(id ID) []block {
	list := make([]block, 0, len(b.blocks[id]))
	for _, k := range b.blocks[id] {
		list = append(list, k)
	}
	slices.SortFunc(list, func(x, y block) int { return int(int64(x.first) - int64(y.first)) })
	out := list[:0]
	for _, k := range list {
		if n := len(out); n == 0 || out[n-1].end() <= uint64(k.first) {
			out = append(out, k)
		}
	}
	return out
}

// most is the handle behind all that were ever given out, as far as the file tells.
func (b *nameBook) most() (next uint64) {
	for id := range b.blocks {
		for _, k := range b.blocks[id] {
			next = max(next, k.end())
		}
	}
	return next
}

// nameLines encodes lines.
type nameLines struct {
	b    bytes.Buffer
	have map[hash]bool // tables that are in the file
}

func (w *nameLines) add(l *nameLine) {
	content, err := json.Marshal(l)
	if err != nil {
		return // it is strings and numbers
	}
	fmt.Fprintf(&w.b, "%08x %s\n", crc32.Checksum(content, castagnoli), content)
}

func (w *nameLines) header(id, legacy ID) {
	w.add(&nameLine{Catalog: id.text(), Legacy: legacy.text()})
}

func (w *nameLines) table(h hash, list []string) string {
	text := ID(h).text()
	if !w.have[h] {
		w.have[h] = true
		w.add(&nameLine{Table: text, Strings: list})
	}
	return text
}

func (w *nameLines) block(id ID, k *block) {
	l := nameLine{Catalog: id.text(), First: k.first, Link: k.link, Device: k.name, Names: w.table(k.namesHash, k.table.names)}
	if len(k.units) > 0 {
		l.Units = w.table(k.unitsHash, k.units)
	}
	w.add(&l)
}

// nameFile is a file of names that is open for appending.
type nameFile struct {
	path string
	size int64
	have map[hash]bool
}

// append adds lines, durably. What an earlier try left half done is overwritten.
func (f *nameFile) append(w *nameLines) error {
	if w.b.Len() == 0 {
		return nil
	}
	h, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		err = h.Truncate(f.size)
		if err == nil {
			_, err = h.WriteAt(w.b.Bytes(), f.size)
		}
		if err == nil {
			err = h.Sync()
		}
		if e := h.Close(); err == nil {
			err = e
		}
		if err == nil && f.size == 0 {
			err = durable.SyncDir(filepath.Dir(f.path))
		}
	}
	if err != nil {
		return fmt.Errorf("keep the names of what is stored: %w", err)
	}
	f.size += int64(w.b.Len())
	return nil
}

// heal writes a damaged file of names anew and keeps the old one.
func (b *nameBook) heal() (aside string, err error) {
	w := nameLines{have: map[hash]bool{}}
	for _, id := range slices.SortedFunc(maps.Keys(b.blocks), func(x, y ID) int { return strings.Compare(x.text(), y.text()) }) {
		for _, k := range b.of(id) {
			w.block(id, &k)
		}
	}
	if b.last != (ID{}) {
		w.header(b.last, b.legacy)
	}
	aside = fmt.Sprintf("%s.aside-%s", b.path, time.Now().UTC().Format("20060102T150405.000000000"))
	fresh := nameFile{path: b.path + ".new"}
	_ = os.Remove(fresh.path) // a rest of an earlier try
	if err := fresh.append(&w); err != nil {
		return "", err
	}
	if err := errors.Join(os.Rename(b.path, aside), os.Rename(fresh.path, b.path), durable.SyncDir(filepath.Dir(b.path))); err != nil {
		return "", fmt.Errorf("keep the names of what is stored: %w", err)
	}
	b.size = fresh.size
	return filepath.Base(aside), nil
}
