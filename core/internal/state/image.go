package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
)

// The format of the database file, as go.etcd.io/bbolt documents it: pages, of which the
// first two each hold a head. The head with the higher transaction is in force.
const (
	magic       = 0xED0CDAED
	fileVersion = 2
	headerSize  = 16 // of a page: id, flags, count, overflow
	elementSize = 16
	headSize    = 64
	bucketSize  = 16

	branchFlag = 1
	leafFlag   = 2
	listFlag   = 16

	bucketElement = 1
	noFreelist    = ^uint64(0)

	maxDepth = 64 // of pages and buckets below each other
)

// An image is the content of a database file. It is read without trust: every number is
// checked before it is used, and no page is visited twice.
type image struct {
	b        []byte
	pageSize uint64
	pages    uint64 // in use or free; the rest of the file is not
	root     uint64
	freelist uint64
	txid     uint64
	half     bool // one of the two heads is damaged, or is not the one of the change before
	seen     map[uint64]bool
}

// visitor is called for every pair of a bucket, in order; nested tells that the key is
// that of a bucket in it.
type visitor func(path [][]byte, key, value []byte, nested bool)

var errHeads = errors.New("both heads are damaged")

// readImage finds the head in force.
func readImage(b []byte) (*image, error) {
	im := &image{b: b, seen: map[uint64]bool{0: true, 1: true}}
	size := pageSizeOf(b)
	if size == 0 {
		return nil, errHeads
	}
	for i := range uint64(2) {
		if !im.head(i*size, size) || im.txidAt(i*size)%2 != i {
			im.half = true
			continue
		}
		im.take(b[i*size+headerSize:], size)
	}
	if im.pageSize == 0 {
		return nil, errHeads
	}
	// Each change writes the head that the one before did not.
	if !im.half && im.txidAt(0)+im.txidAt(size)+1 != 2*im.txid {
		im.half = true
	}
	return im, im.bounds()
}

// txidAt is the transaction of the head at an offset. Even ones stand in the first.
func (im *image) txidAt(at uint64) uint64 { return binary.NativeEndian.Uint64(im.b[at+headerSize+48:]) }

// pageSizeOf is the page size that a whole head tells, 0 where none does.
func pageSizeOf(b []byte) uint64 {
	im := &image{b: b}
	if len(b) >= headerSize+headSize {
		if size := uint64(binary.NativeEndian.Uint32(b[headerSize+8:])); im.head(0, size) {
			return size
		}
	}
	for size := uint64(1 << 10); size <= 1<<16; size <<= 1 {
		if im.head(size, size) {
			return size
		}
	}
	return 0
}

// head reports whether a whole head of a file with this page size stands at an offset.
func (im *image) head(at, pageSize uint64) bool {
	if pageSize < 1<<10 || pageSize > 1<<16 || uint64(len(im.b)) < at+pageSize {
		return false
	}
	h := im.b[at+headerSize : at+headerSize+headSize]
	sum := fnv.New64a()
	_, _ = sum.Write(h[:headSize-8])
	return binary.NativeEndian.Uint32(h) == magic && binary.NativeEndian.Uint32(h[4:]) == fileVersion &&
		uint64(binary.NativeEndian.Uint32(h[8:])) == pageSize && binary.NativeEndian.Uint64(h[56:]) == sum.Sum64()
}

func (im *image) take(h []byte, pageSize uint64) {
	txid := binary.NativeEndian.Uint64(h[48:])
	if im.pageSize != 0 && txid <= im.txid {
		return
	}
	im.pageSize, im.txid = pageSize, txid
	im.root = binary.NativeEndian.Uint64(h[16:])
	im.freelist = binary.NativeEndian.Uint64(h[32:])
	im.pages = binary.NativeEndian.Uint64(h[40:])
}

// settle puts the heads of a copy that the database wrote in their places.
func settle(b []byte) {
	im := &image{b: b}
	size := pageSizeOf(b)
	if size == 0 || uint64(len(b)) < 2*size || im.txidAt(0)%2 == 0 {
		return
	}
	first := bytes.Clone(b[:size])
	copy(b[:size], b[size:2*size])
	copy(b[size:2*size], first)
	binary.NativeEndian.PutUint64(b, 0)
	binary.NativeEndian.PutUint64(b[size:], 1)
}

// bounds checks the numbers of the head against the file.
func (im *image) bounds() error {
	have := uint64(len(im.b)) / im.pageSize
	if im.pages < 3 || im.pages > have {
		return fmt.Errorf("the file has %d pages, its head tells of %d: it was cut", have, im.pages)
	}
	if im.freelist == noFreelist {
		return nil
	}
	p, err := im.page(im.freelist)
	if err != nil {
		return fmt.Errorf("list of free pages: %w", err)
	}
	if p.flags != listFlag || p.count == 0xffff || headerSize+8*p.count > len(p.b) {
		return errors.New("the list of free pages is damaged")
	}
	for i := range p.count {
		if id := binary.NativeEndian.Uint64(p.b[headerSize+8*i:]); id < 2 || id >= im.pages {
			return errors.New("the list of free pages is damaged")
		}
	}
	return nil
}

// page is one page, with those that it flows over into.
type page struct {
	id    uint64
	flags uint16
	count int
	b     []byte
}

func (im *image) page(id uint64) (*page, error) {
	if id < 2 || id >= im.pages {
		return nil, fmt.Errorf("page %d: there is none", id)
	}
	h := im.b[id*im.pageSize:]
	over := uint64(binary.NativeEndian.Uint32(h[12:]))
	switch {
	case binary.NativeEndian.Uint64(h) != id:
		return nil, fmt.Errorf("page %d: it is another", id)
	case over >= im.pages-id:
		return nil, fmt.Errorf("page %d: it is longer than the file", id)
	}
	for i := id; i <= id+over; i++ {
		if im.seen[i] {
			return nil, fmt.Errorf("page %d: it is referred to twice", i)
		}
		im.seen[i] = true
	}
	return newPage(id, h[:(over+1)*im.pageSize]), nil
}

func newPage(id uint64, b []byte) *page {
	return &page{id: id, flags: binary.NativeEndian.Uint16(b[8:]), count: int(binary.NativeEndian.Uint16(b[10:])), b: b}
}

// element gives the words of an element and the bytes that stand where its position says.
func (p *page) element(i int) (words [4]uint32, tail []byte, err error) {
	at := headerSize + i*elementSize
	if at+elementSize > len(p.b) {
		return words, nil, fmt.Errorf("page %d: %d elements do not fit in", p.id, p.count)
	}
	for w := range words {
		words[w] = binary.NativeEndian.Uint32(p.b[at+4*w:])
	}
	pos := words[0]
	if p.flags == leafFlag {
		pos = words[1]
	}
	if uint64(at)+uint64(pos) > uint64(len(p.b)) {
		return words, nil, fmt.Errorf("page %d: element %d lies outside of it", p.id, i)
	}
	return words, p.b[at+int(pos):], nil
}

// walk visits everything.
func (im *image) walk(visit visitor) error {
	w := walker{im: im, visit: visit}
	return w.tree(nil, im.root, nil, nil, 0)
}

type walker struct {
	im    *image
	visit visitor
}

// tree visits the pairs below a page; their keys are at least low and less than high,
// where they are not nil.
func (w *walker) tree(path [][]byte, id uint64, low, high []byte, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("page %d: too deep", id)
	}
	p, err := w.im.page(id)
	if err != nil {
		return err
	}
	switch {
	case p.flags == leafFlag:
		return w.leaf(path, p, low, high, depth)
	case p.flags == branchFlag && p.count > 0:
		return w.branch(path, p, low, high, depth)
	}
	return fmt.Errorf("page %d: it is damaged", id)
}

// branch checks the keys as the database does, which panics at the opening where one is out
// of order: also that of the first child, which no search looks at.
func (w *walker) branch(path [][]byte, p *page, low, high []byte, depth int) error {
	type child struct {
		key []byte
		id  uint64
	}
	children := make([]child, 0, p.count)
	for i := range p.count {
		words, tail, err := p.element(i)
		if err != nil {
			return err
		}
		if uint64(words[1]) > uint64(len(tail)) {
			return fmt.Errorf("page %d: key %d lies outside of it", p.id, i)
		}
		id := binary.NativeEndian.Uint64(p.b[headerSize+i*elementSize+8:])
		children = append(children, child{tail[:words[1]], id})
	}
	for i, c := range children {
		end := high
		if i+1 < len(children) {
			end = children[i+1].key
		}
		if !within(c.key, low, high) || end != nil && bytes.Compare(c.key, end) >= 0 {
			return fmt.Errorf("page %d: its keys are out of order", p.id)
		}
		if err := w.tree(path, c.id, c.key, end, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func within(key, low, high []byte) bool {
	return (low == nil || bytes.Compare(key, low) >= 0) && (high == nil || bytes.Compare(key, high) < 0)
}

func (w *walker) leaf(path [][]byte, p *page, low, high []byte, depth int) error {
	var last []byte
	for i := range p.count {
		words, tail, err := p.element(i)
		if err != nil {
			return err
		}
		k, v := uint64(words[2]), uint64(words[3])
		if k == 0 || k+v > uint64(len(tail)) || words[0] > bucketElement {
			return fmt.Errorf("page %d: pair %d is damaged", p.id, i)
		}
		key, value := tail[:k:k], tail[k:k+v:k+v]
		if !within(key, low, high) || last != nil && bytes.Compare(last, key) >= 0 {
			return fmt.Errorf("page %d: its keys are out of order", p.id)
		}
		last = key
		w.visit(path, key, value, words[0] == bucketElement)
		if words[0] != bucketElement {
			continue
		}
		if err := w.bucket(append(path[:len(path):len(path)], key), value, depth); err != nil {
			return err
		}
	}
	return nil
}

// bucket visits a bucket: of its own pages, or within the value where it is small.
func (w *walker) bucket(path [][]byte, value []byte, depth int) error {
	if len(value) < bucketSize {
		return fmt.Errorf("bucket %s: it is cut short", path[len(path)-1])
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return w.tree(path, root, nil, nil, depth+1)
	}
	if len(value) < bucketSize+headerSize {
		return fmt.Errorf("bucket %s: it is cut short", path[len(path)-1])
	}
	p := newPage(0, value[bucketSize:])
	if p.flags != leafFlag {
		return fmt.Errorf("bucket %s: it is damaged", path[len(path)-1])
	}
	if depth >= maxDepth {
		return fmt.Errorf("bucket %s: too deep", path[len(path)-1])
	}
	return w.leaf(path, p, nil, nil, depth+1)
}
