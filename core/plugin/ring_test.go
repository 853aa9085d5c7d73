package plugin_test

import (
	"context"
	"sync"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// batchPoints is the size of the batches of fakeRing.
const batchPoints = 100

// fakeRing has frames of 100 points without end, or up to a last one. It makes one
// when it is asked, and keeps it encoded until it is acknowledged, in memory that
// is used again, as the engine's ring does.
type fakeRing struct {
	last   uint64 // 0: no end
	encode func(dst []byte, seq uint64, b *frame.Batch, g *frame.Gap) []byte

	mu     sync.Mutex
	frames []frame.Frame // not acknowledged
	free   [][]byte
	read   int    // index into frames
	made   uint64 // the last sequence
	batch  frame.Batch
}

func newFakeRing(last uint64) *fakeRing {
	floats := make([]float64, batchPoints)
	for i := range floats {
		floats[i] = 20 + float64(i)*0.37
	}
	return &fakeRing{
		last: last, encode: wire.FrameEncoder(),
		batch: frame.Batch{Blocks: []frame.Block{{
			Runs: []uint32{1000, batchPoints}, Kind: driver.KindFloat64, Floats: floats, Time: 1,
		}}},
	}
}

func (r *fakeRing) Status() control.RingStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return control.RingStatus{NextSequence: r.made + 1, Samples: r.made * batchPoints}
}

func (r *fakeRing) Attach(resumeAfter uint64) uint64 {
	r.Ack(resumeAfter)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read = 0
	return r.made + 1 - uint64(len(r.frames))
}

func (r *fakeRing) Next(ctx context.Context) (frame.Frame, error) {
	if f, ok := r.TryNext(); ok {
		return f, nil
	}
	<-ctx.Done()
	return frame.Frame{}, ctx.Err()
}

func (r *fakeRing) TryNext() (frame.Frame, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.read == len(r.frames) {
		if r.last != 0 && r.made == r.last {
			return frame.Frame{}, false
		}
		r.made++
		r.frames = append(r.frames, frame.Frame{Sequence: r.made, Data: r.make(), Samples: batchPoints})
	}
	r.read++
	return r.frames[r.read-1], true
}

func (r *fakeRing) make() []byte {
	var dst []byte
	if n := len(r.free); n > 0 {
		dst, r.free = r.free[n-1], r.free[:n-1]
	}
	b := &r.batch.Blocks[0]
	b.Time++
	b.Floats[0] = float64(r.made)
	return r.encode(dst, r.made, &r.batch, nil)
}

func (r *fakeRing) Ack(sequence uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(r.frames) && r.frames[n].Sequence <= sequence {
		data := r.frames[n].Data
		clear(data) // whoever still uses it will notice
		r.free = append(r.free, data[:0])
		n++
	}
	r.frames = append(r.frames[:0], r.frames[n:]...)
	r.read = max(0, r.read-n)
}
