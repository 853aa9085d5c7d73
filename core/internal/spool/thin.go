package spool

import (
	"bufio"
	"context"
	"encoding/binary"
	"os"
	"slices"
)

// Retention by MaxBytes is by driver. A driver that holds less than its share loses
// nothing: the share of each is the same, and what some do not use the others may. Who
// holds more loses its oldest records: the file that has them is rewritten without them,
// and an entry in their place says whose they were. A file of which nothing would stay is
// removed whole, so a spool of one driver, or of several that store alike, is not
// rewritten at all.

// level is how much each may have so that all have no more than capacity together, where
// who has less has only that.
func level(uses map[string]uint64, capacity int64) uint64 {
	list := make([]uint64, 0, len(uses))
	for _, n := range uses {
		list = append(list, n)
	}
	slices.Sort(list)
	rest := uint64(max(0, capacity))
	for i, n := range list {
		share := rest / uint64(len(list)-i)
		if n > share {
			return share
		}
		rest -= n
	}
	return 1 << 63
}

// plan is which files are rewritten into one, and without what.
type plan struct {
	files    []*file
	sums     []*summary
	sizes    []int64 // of the files; the last one grows meanwhile
	uses     map[string]uint64
	level    uint64
	most     int64            // of one file
	from, to int              // the files that become one
	budget   map[string]int64 // bytes of a driver that go, the oldest first
	empty    bool             // nothing stays of files from to to
}

func newPlan(files []*file, sums []*summary, sizes []int64, capacity int64) *plan {
	p := &plan{files: files, sums: sums, sizes: sizes, uses: map[string]uint64{}, budget: map[string]int64{}}
	for i := range files {
		for _, u := range sums[i].uses {
			p.uses[u.driver] += u.bytes
		}
		capacity -= sizes[i] - int64(sums[i].bytes()) // heads, and entries of what is gone
	}
	p.level = level(p.uses, capacity)
	return p
}

// find looks for the oldest file that has records of a driver which is over its share. The
// last file is never rewritten.
func (p *plan) find() bool {
	for i := range len(p.files) - 1 {
		stays := int64(0)
		for _, u := range p.sums[i].uses {
			goes := int64(0)
			if p.uses[u.driver] > p.level {
				// Not much more than is too much, unless it is little.
				most := p.uses[u.driver] - p.level/4*3
				goes = int64(min(u.bytes, most))
			}
			if goes > 0 {
				p.budget[u.driver] = goes
			}
			stays += int64(u.bytes) - goes
		}
		if len(p.budget) > 0 {
			p.from, p.to, p.empty = i, i, stays == 0
			p.merge(stays)
			return true
		}
	}
	return false
}

// merge takes the files before it with it that are not much larger than what stays, so
// that there are never many small ones.
func (p *plan) merge(stays int64) {
	if p.empty && p.from == 0 {
		return
	}
	size := stays + 2*headSize
	for p.from > 0 {
		before := p.sizes[p.from-1]
		if before > 2*size+pageSize || p.files[p.from-1].names != p.files[p.to].names || before+size > p.most {
			return
		}
		p.from--
		size += before
		p.empty = p.empty && p.sums[p.from].bytes() == 0
	}
}

// thinner writes the file that takes the place of others.
type thinner struct {
	damage   *damage
	plan     *plan
	file     *file
	out      *bufio.Writer
	expected Position // one behind what was read last
	gap      retired  // ends at expected
	gapEnds  int64    // when the last record of it was stored
	gone     uint64
	names    names
}

func (w *thinner) write(h *os.File, old []*file) error {
	w.out = bufio.NewWriterSize(h, 1<<20)
	if err := w.head(old); err != nil {
		return err
	}
	head := w.file.size
	for _, f := range old {
		if err := w.take(f); err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.out.Flush(); err != nil {
		return err
	}
	b := w.about()
	if _, err := h.WriteAt(b, head-int64(len(b))); err != nil {
		return err
	}
	return dataSync(h)
}

// head writes the marks of the first file, and a place for the summary.
func (w *thinner) head(old []*file) error {
	if m, _, ok := old[0].head(old[0].size); ok {
		b := appendEntry(nil, kindMarks, w.file.first, &Record{Stored: w.file.since, Data: m.encode()})
		seal(b, w.file.tag, 0)
		if err := w.put(b); err != nil {
			return err
		}
	}
	for i := w.plan.from; i <= w.plan.to; i++ { // all that may be in it: the width is fixed by this
		for _, u := range w.plan.sums[i].uses {
			if w.file.sum.of(u.driver) == nil {
				w.file.sum.uses = append(w.file.sum.uses, use{driver: u.driver})
			}
		}
	}
	return w.put(w.about())
}

func (w *thinner) about() []byte {
	a := about{names: w.file.names, lived: w.file.lived, of: w.file.tag, sum: w.file.sum}
	b := appendEntry(nil, kindAbout, w.file.first, &Record{Stored: w.file.since, Data: a.encode()})
	seal(b, w.file.tag, 0)
	return b
}

func (w *thinner) put(b []byte) error {
	w.file.size += int64(len(b))
	_, err := w.out.Write(b)
	return err
}

// take copies what stays of one file.
func (w *thinner) take(f *file) error {
	sc := f.scan(f.size)
	sc.reuse = true
	for e, ok := sc.next(); ok; e, ok = sc.next() {
		var err error
		switch {
		case e.position < w.expected:
		case e.kind == kindRecord:
			err = w.record(sc, &e)
		case e.kind == kindRetired:
			err = w.retired(&e)
		}
		if err != nil {
			return err
		}
	}
	if sc.skipped > 0 { // while its neighbours are there: they tell whose it was
		w.damage.verify(context.Background(), f)
	}
	return nil
}

func (w *thinner) record(sc *scanner, e *entry) error {
	if err := w.reach(e.position); err != nil {
		return err
	}
	driver := w.names.of(e.name)
	size := e.end - e.start
	if left := w.plan.budget[driver]; left > 0 {
		w.plan.budget[driver] = left - size
		w.gap.add(driver, 1)
		w.gone++
		w.gapEnds = e.stored
		w.expected++
		return nil
	}
	if err := w.flush(); err != nil {
		return err
	}
	b := sc.at(e)
	seal(b, w.file.tag, int(e.position-e.group))
	w.file.sum.add(driver, len(b), e.stored)
	w.expected++
	return w.put(b)
}

func (w *thinner) retired(e *entry) error {
	r, ok := decodeRetired(e.data)
	if !ok {
		return nil // the readers report it as a loss
	}
	if err := w.reach(e.position); err != nil {
		return err
	}
	for _, u := range r.uses {
		w.gap.add(u.driver, u.records)
	}
	w.gapEnds = e.stored
	w.expected += Position(r.count)
	return nil
}

// reach goes on at a position. What is missing before it is damage and stays a hole.
func (w *thinner) reach(p Position) error {
	if p == w.expected {
		return nil
	}
	err := w.flush()
	w.expected = p
	return err
}

// flush writes what is gone up to the present position: twice, so that no single damage
// makes a loss of it.
func (w *thinner) flush() error {
	if w.gap.count == 0 {
		return nil
	}
	w.file.sum.retired += w.gap.count
	b := appendEntry(nil, kindRetired, w.expected-Position(w.gap.count), &Record{Data: w.gap.encode()})
	binary.LittleEndian.PutUint64(b[40:], uint64(w.gapEnds))
	seal(b, w.file.tag, 0)
	w.gap = retired{}
	if err := w.put(b); err != nil {
		return err
	}
	return w.put(b)
}
