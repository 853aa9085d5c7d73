package ordeal

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/driver"
)

// A watcher notes what the gateway shows as stored: that was acknowledged, and must be
// in the spool ever after.
type watcher struct {
	mu    sync.Mutex
	shown map[string]map[uint64]bool // by link
	stop  context.CancelFunc
	done  chan struct{}
}

// watch watches until the gateway ends, or end is called.
func (f *Field) watch() *watcher {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{shown: make(map[string]map[uint64]bool), stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		// An error is the gateway's end, which is what the ordeal is about.
		for s, err := range f.API.Watch(ctx, client.WatchOptions{Patterns: []string{"*/*/slot"}, Since: time.Now()}) {
			if err != nil {
				return
			}
			w.note(&s)
		}
	}()
	f.t.Cleanup(w.end)
	return w
}

func (w *watcher) note(s *client.Sample) {
	if s.Quality != driver.Good {
		return
	}
	var slot uint64
	switch s.Value.Kind() {
	case driver.KindInt64:
		slot = uint64(s.Value.Int64())
	case driver.KindUint64:
		slot = s.Value.Uint64()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shown[s.Link] == nil {
		w.shown[s.Link] = make(map[uint64]bool)
	}
	w.shown[s.Link][slot] = true
}

func (w *watcher) end() {
	w.stop()
	<-w.done
}

// account ends the watching and fails the test where something that was acknowledged is not
// in the spool, or nothing was acknowledged. It counts both.
func (w *watcher) account(t testing.TB, e *evidence) (acknowledged, lost int) {
	t.Helper()
	w.end()
	acknowledged, lost = w.lost(e)
	if lost > 0 || acknowledged == 0 {
		t.Errorf("%d of %d slots that were acknowledged are not in the spool", lost, acknowledged)
	}
	return acknowledged, lost
}

// lost counts what was acknowledged, and what of it is not in the spool.
func (w *watcher) lost(e *evidence) (acknowledged, lost int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range e.slots {
		have := make(map[uint64]bool, len(e.slots[i]))
		for _, n := range e.slots[i] {
			have[n] = true
		}
		for n := range w.shown[linkName(i)] {
			acknowledged++
			if !have[n] {
				lost++
			}
		}
	}
	return acknowledged, lost
}
