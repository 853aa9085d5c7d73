package spool

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// A NamesID tells whose names the data of records refers to: the handles in one record
// may mean other points than the same handles in another.
type NamesID [16]byte

// use is what one driver has in a file.
type use struct {
	driver         string
	bytes, records uint64
	first          int64 // when the oldest of its records was stored; Unix nanoseconds
}

// summary is what is known of a file without reading it: it is written into the head of
// the file that follows, or into its own where retention has rewritten it.
type summary struct {
	newest  int64 // the highest time of a record in it; not of the last where a clock was set back
	retired uint64
	uses    []use
}

// of gives what a driver has; it is nil where that is nothing.
func (m *summary) of(driver string) *use {
	for i := range m.uses {
		if m.uses[i].driver == driver {
			return &m.uses[i]
		}
	}
	return nil
}

func (m *summary) add(driver string, size int, stored int64) {
	u := m.of(driver)
	if u == nil {
		m.uses = append(m.uses, use{driver: driver, first: stored})
		u = &m.uses[len(m.uses)-1]
	}
	if u.records == 0 {
		u.first = stored
	}
	u.bytes += uint64(size)
	u.records++
	m.newest = max(m.newest, stored)
}

func (m *summary) clone() *summary {
	c := *m
	c.uses = slices.Clone(m.uses)
	return &c
}

// bytes is what records take.
func (m *summary) bytes() (n uint64) {
	for i := range m.uses {
		n += m.uses[i].bytes
	}
	return n
}

// about is the content of the entry that follows the marks of a file: whose names its
// records use, how long the spool had run when it was begun, and a summary with the tag of
// the file that it is of. Its numbers have a fixed width, so that one can be written in
// the place of another.
type about struct {
	names NamesID
	lived time.Duration
	of    tag
	sum   *summary // nil: none
}

func (a *about) encode() []byte {
	b := append([]byte(nil), a.names[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(a.lived))
	b = append(b, a.of[:]...)
	if a.sum == nil {
		return b
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(a.sum.newest))
	b = binary.LittleEndian.AppendUint64(b, a.sum.retired)
	uses := slices.Clone(a.sum.uses)
	slices.SortFunc(uses, func(x, y use) int { return strings.Compare(x.driver, y.driver) })
	for _, u := range uses {
		b = append(b, byte(len(u.driver)))
		b = append(b, u.driver...)
		b = binary.LittleEndian.AppendUint64(b, u.bytes)
		b = binary.LittleEndian.AppendUint64(b, u.records)
		b = binary.LittleEndian.AppendUint64(b, uint64(u.first))
	}
	return b
}

func decodeAbout(b []byte) (a about, ok bool) {
	const fixed = 16 + 8 + 8
	if len(b) < fixed {
		return a, false
	}
	copy(a.names[:], b)
	a.lived = time.Duration(binary.LittleEndian.Uint64(b[16:]))
	copy(a.of[:], b[24:])
	if b = b[fixed:]; len(b) == 0 {
		return a, true
	}
	if len(b) < 16 {
		return a, false
	}
	a.sum = &summary{newest: int64(binary.LittleEndian.Uint64(b)), retired: binary.LittleEndian.Uint64(b[8:])}
	for b = b[16:]; len(b) > 0; {
		n := int(b[0])
		if len(b) < 1+n+24 {
			return a, false
		}
		v := b[1+n:]
		a.sum.uses = append(a.sum.uses, use{driver: string(b[1 : 1+n]), bytes: binary.LittleEndian.Uint64(v),
			records: binary.LittleEndian.Uint64(v[8:]), first: int64(binary.LittleEndian.Uint64(v[16:]))})
		b = v[24:]
	}
	return a, true
}

// retired is the content of an entry that stands where records were: retention removed
// count of them, from its own position on.
type retired struct {
	count uint64
	uses  []use // bytes is not kept
}

func (r *retired) add(driver string, records uint64) {
	r.count += records
	for i := range r.uses {
		if r.uses[i].driver == driver {
			r.uses[i].records += records
			return
		}
	}
	r.uses = append(r.uses, use{driver: driver, records: records})
}

func (r *retired) encode() []byte {
	b := binary.AppendUvarint(nil, r.count)
	for _, u := range r.uses {
		b = append(b, byte(len(u.driver)))
		b = append(b, u.driver...)
		b = binary.AppendUvarint(b, u.records)
	}
	return b
}

func decodeRetired(b []byte) (r retired, ok bool) {
	var n int
	if r.count, n = binary.Uvarint(b); n <= 0 || r.count == 0 || r.count > 1<<56 {
		return r, false
	}
	for b = b[n:]; len(b) > 0; {
		size := int(b[0])
		if len(b) < 1+size {
			return r, false
		}
		u := use{driver: string(b[1 : 1+size])}
		b = b[1+size:]
		if u.records, n = binary.Uvarint(b); n <= 0 {
			return r, false
		}
		b = b[n:]
		r.uses = append(r.uses, u)
	}
	return r, true
}

// drivers is what a loss tells of it.
func (r *retired) drivers() map[string]uint64 {
	m := make(map[string]uint64, len(r.uses))
	for _, u := range r.uses {
		m[u.driver] = u.records
	}
	return m
}

// summarize reads the first size bytes of a file to tell what is in it.
func (f *file) summarize(size int64) *summary {
	sum := &summary{}
	names := names{}
	sc := f.scan(size)
	sc.reuse = true
	next := f.first
	for e, ok := sc.next(); ok; e, ok = sc.next() {
		if e.position < next {
			continue
		}
		switch e.kind {
		case kindRecord:
			sum.add(names.of(e.name), int(e.end-e.start), e.stored)
			next = e.position + 1
		case kindRetired:
			if r, ok := decodeRetired(e.data); ok {
				sum.retired += r.count
				next = e.position + Position(r.count)
			}
		}
	}
	return sum
}
