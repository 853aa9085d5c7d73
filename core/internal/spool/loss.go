package spool

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Cause tells why records cannot be read any more.
type Cause string

// The causes of a loss.
const (
	Retired Cause = "retired" // by MaxBytes or MaxAge
	Damaged Cause = "damaged" // on the disk, or by a foreign hand
)

// Loss is a range of positions that cannot be read any more.
type Loss struct {
	From, To Position // To is the first behind it
	Records  uint64
	Cause    Cause
	// Drivers tells how many of the records were whose, as far as the sequences
	// around the loss tell.
	Drivers map[string]uint64
	File    string // where the damage lies
	Found   time.Time
}

// LossError is what a reader gets in place of the records that were lost.
type LossError struct{ Loss }

func (l *LossError) Error() string {
	var who strings.Builder
	for _, d := range slices.Sorted(maps.Keys(l.Drivers)) {
		fmt.Fprintf(&who, ", %d of %s", l.Drivers[d], d)
	}
	return fmt.Sprintf("spool: read: %d records from position %d on are %s%s", l.Records, l.From, l.Cause, who.String())
}

// maxLosses bounds what is kept of losses; all are counted, and told to readers.
const maxLosses = 1024

// damage finds what is missing in files, and keeps what was found. mu guards the losses;
// nothing else is locked or read while it is held.
type damage struct {
	index *index
	log   *slog.Logger

	mu     sync.Mutex
	losses []Loss // the latest
	lost   uint64 // records since the opening
}

// list gives the latest losses, and how many records were lost in all.
func (d *damage) list() (losses []Loss, lost uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.losses), d.lost
}

// note records damage once, whoever finds it first. A loss that has grown
// takes the place of what was known of it.
func (d *damage) note(l Loss) {
	l.Found = time.Now()
	d.mu.Lock()
	var known uint64
	overlaps := func(k Loss) bool { return l.From < k.To && k.From < l.To }
	for _, k := range d.losses {
		if overlaps(k) {
			known += k.Records
		}
	}
	if known >= l.Records {
		d.mu.Unlock()
		return
	}
	d.losses = append(slices.DeleteFunc(d.losses, overlaps), l)
	if len(d.losses) > maxLosses {
		d.losses = slices.Delete(d.losses, 0, 1)
	}
	d.lost += l.Records - known
	d.mu.Unlock()
}

// at gives what is known of the loss in [from, to). Damage that nobody has
// noted yet is looked into first.
func (d *damage) at(f *file, from, to Position) Loss {
	l, ok := d.known(from, to)
	if !ok && f != nil && !d.isFull() { // not the same file for each of thousands
		d.verify(context.Background(), f)
		l, ok = d.known(from, to)
	}
	if !ok {
		l = Loss{Cause: Damaged, Found: time.Now()}
	}
	if l.From != from || l.To != to {
		l.Drivers = nil // they were counted for the whole
	}
	l.From, l.To, l.Records = from, to, uint64(to-from)
	return l
}

func (d *damage) known(from, to Position) (Loss, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range d.losses {
		if k.From <= from && to <= k.To {
			return k, true
		}
	}
	return Loss{}, false
}

// isFull reports whether so much is damaged that not all of it is kept.
func (d *damage) isFull() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.losses) >= maxLosses
}

// verify reads a whole file, up to the position at which the next one begins, and
// notes what is missing in it.
func (d *damage) verify(ctx context.Context, f *file) {
	size, follower, end, after := d.index.extentAndMarks(f)
	v := verifier{file: f, expected: f.first, seen: map[seriesKey]series{}, names: names{}}
	sc := f.scan(size)
	sc.reuse = true
	for e, ok := sc.next(); ok && ctx.Err() == nil; e, ok = sc.next() {
		switch e.kind {
		case kindMarks:
			v.begin(e.data)
		case kindRecord:
			v.record(&e)
		case kindRetired:
			v.retired(&e)
		}
	}
	if ctx.Err() != nil {
		return
	}
	if follower != nil {
		end = follower.first
		size, _, _ = d.index.extent(follower)
		after, _, _ = follower.head(size)
	}
	if !d.index.holds(f) {
		return // and cut short or gone by that, not by damage
	}
	v.finish(end, after)
	d.report(&v, sc.skipped)
}

// report notes what a verifier found and logs it as one line.
func (d *damage) report(v *verifier, damaged int64) {
	var records uint64
	for _, l := range v.losses {
		d.note(l)
		records += l.Records
	}
	switch {
	case records > 0:
		d.log.Error("spool lost records", "err", &LossError{v.losses[0]}, "file", v.file.path,
			"bytes", damaged, "losses", len(v.losses), "records", records)
	case damaged > 0:
		d.log.Warn("spool file is damaged, no record is lost", "file", v.file.path, "bytes", damaged)
	}
}

// scrubPause is the time between two files of the scrub, which shall not compete
// with the gateway for the disk.
const scrubPause = 50 * time.Millisecond

// scrub looks through the files that were there at the opening, so that damage is
// told before somebody misses what it hit.
func (d *damage) scrub(ctx context.Context, files []*file) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for _, f := range files {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
		if d.index.holds(f) {
			d.verify(ctx, f)
			d.index.measure(f)
		}
		pause.Reset(scrubPause)
	}
}

// verifier follows the sequences of one file to tell whose the missing records
// were.
type verifier struct {
	file     *file
	expected Position
	seen     map[seriesKey]series
	losses   []Loss
	names    names
}

type seriesKey struct {
	driver string
	epoch  uint64
}

type series struct {
	sequence uint64
	losses   int // how many had been found when it was last seen
}

func (v *verifier) begin(data []byte) {
	m, err := decodeMarks(data)
	if err != nil {
		return
	}
	for driver, list := range m {
		for _, k := range list {
			v.seen[seriesKey{driver, k.epoch}] = series{k.sequence, 0}
		}
	}
}

func (v *verifier) record(e *entry) {
	if e.position < v.expected {
		return
	}
	v.hole(e.position)
	v.expected = e.position + 1
	if e.sequence > 0 {
		v.count(seriesKey{v.names.of(e.name), e.epoch}, e.sequence-1)
		v.seen[seriesKey{v.names.of(e.name), e.epoch}] = series{e.sequence, len(v.losses)}
	}
}

// retired steps over what retention took out. Of whom it was the sequences tell nothing
// until the next record.
func (v *verifier) retired(e *entry) {
	gone, ok := decodeRetired(e.data)
	if !ok || e.position < v.expected {
		return
	}
	v.hole(e.position)
	v.expected = e.position + Position(gone.count)
	for k := range v.seen {
		if slices.ContainsFunc(gone.uses, func(u use) bool { return u.driver == k.driver }) {
			delete(v.seen, k)
		}
	}
}

// hole notes that everything before p is missing.
func (v *verifier) hole(p Position) {
	if p > v.expected {
		v.losses = append(v.losses, Loss{
			From: v.expected, To: p, Records: uint64(p - v.expected), Cause: Damaged, File: v.file.path,
		})
	}
}

// count ascribes the sequences missing up to and with last to the one loss since
// the series was last seen. Of several it cannot tell which.
func (v *verifier) count(k seriesKey, last uint64) {
	before, known := v.seen[k]
	if !known || last <= before.sequence || before.losses != len(v.losses)-1 {
		return
	}
	l := &v.losses[before.losses]
	if l.Drivers == nil {
		l.Drivers = map[string]uint64{}
	}
	l.Drivers[k.driver] += min(last-before.sequence, l.Records)
}

func (v *verifier) finish(end Position, after marks) {
	v.hole(end)
	for k := range v.seen {
		if last, ok := after.sequence(k.driver, k.epoch); ok {
			v.count(k, last)
		}
	}
}

// names gives one string for equal bytes.
type names map[string]string

func (n names) of(b []byte) string {
	if name, ok := n[string(b)]; ok {
		return name
	}
	if len(n) >= 4096 {
		clear(n)
	}
	name := string(b)
	n[name] = name
	return name
}
