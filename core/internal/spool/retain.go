package spool

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"github.com/fieldloom/fieldloom/core/internal/durable"
)

// retention takes away what is too old or too much: whole files, or by rewriting them
// (thin.go).
//
// mu is held by whoever takes files off the index's list or rewrites them, and taken after
// the committer's lock and before the index's. The file to which the appender writes is never
// touched.
type retention struct {
	dir     string
	o       *Options
	index   *index
	damage  *damage
	uptime  *uptime
	log     *slog.Logger
	crowded chan struct{} // room is to be made before it is needed
	mu      sync.Mutex
}

// loop makes room before it is needed, so that a commit need not wait for it.
func (t *retention) loop(ctx context.Context) {
	for {
		select {
		case <-t.crowded:
			t.makeRoom(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// makeRoom takes as many steps as lead below the low water mark.
func (t *retention) makeRoom(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ctx.Err() == nil && t.index.total() > t.o.lowWater() && t.step(t.o.lowWater()) {
		continue // the next
	}
}

// reserve makes room for need more bytes within MaxBytes and removes what is older than
// MaxAge. It is the committer's, to whom the last keep files belong.
func (t *retention) reserve(need int64, keep int) {
	t.unlink(t.retireAged(keep))
	total := t.index.total() + need
	if total > t.o.lowWater() {
		select {
		case t.crowded <- struct{}{}:
		default:
		}
	}
	if total <= t.o.highWater() {
		return
	}
	t.mu.Lock()
	for t.index.total()+need > t.o.highWater() && t.step(t.o.highWater()-need) {
		continue // the next
	}
	gone := t.index.retireOver(t.o.MaxBytes-need, keep) // of whichever driver: no other way is left
	t.mu.Unlock()
	t.unlink(gone)
}

// retireAged takes the files off the list of which all records are older than MaxAge: the
// oldest first.
func (t *retention) retireAged(keep int) []*file {
	if t.o.MaxAge <= 0 {
		return nil
	}
	now := t.uptime.now()
	if !t.mu.TryLock() {
		return nil // there is no hurry
	}
	defer t.mu.Unlock()
	return t.index.retireAged(now-t.o.MaxAge, keep)
}

// unlink removes files that are off the list.
func (t *retention) unlink(files []*file) {
	for _, f := range files {
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.log.Warn("spool cannot remove an old file", "file", f.path, "err", err)
		}
	}
}

// step takes one step towards no more than capacity bytes; it is false where there is
// none. mu is held.
func (t *retention) step(capacity int64) bool {
	files := t.index.list()
	if len(files) < 2 {
		return false
	}
	sums, sizes := make([]*summary, len(files)), make([]int64, len(files))
	for i, f := range files {
		sums[i], sizes[i] = t.index.measure(f)
	}
	p := newPlan(files, sums, sizes, capacity)
	p.most = t.o.FileBytes
	if !p.find() {
		return false
	}
	if p.empty && p.from == 0 {
		t.unlink(t.index.retire(p.to + 1))
		return true
	}
	if err := t.rewrite(p); err != nil {
		t.log.Warn("spool cannot rewrite an old file; where room is short the oldest goes whole", "file", p.files[p.to].path, "err", err)
		return false
	}
	return true
}

// rewrite makes one file of the plan's files, in which what is over budget is replaced by
// entries that say so. The old files go once the new one is durable: where both are there
// after a crash, the new one's name says what it stands for.
func (t *retention) rewrite(p *plan) error {
	old := p.files[p.from : p.to+1]
	w := &thinner{damage: t.damage, plan: p, expected: old[0].first, names: names{}}
	w.file = newFile(t.dir, old[0].first, p.files[p.to+1].first, old[0].since)
	w.file.names, w.file.lived, w.file.sum = old[0].names, old[0].lived, &summary{}
	temporary := w.file.path + newSuffix
	if err := t.o.inject("thin"); err != nil {
		return err
	}
	h, err := os.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = w.write(h, old)
	if e := h.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(temporary, w.file.path)
	}
	if err == nil {
		err = durable.SyncDir(t.dir)
	}
	if err != nil {
		_ = os.Remove(temporary)   // nothing refers to it
		_ = os.Remove(w.file.path) // nor to this
		return err
	}
	t.index.replace(old, w.file, w.gone)
	t.unlink(old)
	return nil
}
