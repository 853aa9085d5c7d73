package replay_test

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/fieldloom/fieldloom/core/engine/internal/replay"
	"github.com/fieldloom/fieldloom/core/frame"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRingModel drives a ring with batches, consumers that come and go, and acks, and
// holds it against what was made: nothing twice out of order, nothing lost in silence.
func TestRingModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := replay.NewTestRing(rapid.IntRange(500, 5000).Draw(t, "bytes"))
		made, stored := uint64(0), map[uint64]frame.Frame{}
		last, acked := uint64(0), uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				n := rapid.IntRange(1, 60).Draw(t, "samples")
				h.PushSome(n, rapid.Bool().Draw(t, "droppable"))
				made += uint64(n)
			},
			"take": func(t *rapid.T) {
				for range rapid.IntRange(1, 5).Draw(t, "frames") {
					f, ok := h.TryNext()
					if !ok {
						return
					}
					if f.Sequence <= last {
						t.Fatalf("sequence %d after %d", f.Sequence, last)
					}
					if f.Sequence != last+1 && (f.Gap == nil || f.Gap.FirstSeq > last+1) {
						t.Fatalf("sequence %d after %d without a gap: %+v", f.Sequence, last, f.Gap)
					}
					last = f.Sequence
					if _, twice := stored[f.Sequence]; !twice { // as the core's high-water mark does
						stored[f.Sequence] = f
					}
				}
			},
			"ack": func(t *rapid.T) {
				if last > acked {
					acked = rapid.Uint64Range(acked, last).Draw(t, "sequence")
					h.Ack(acked)
				}
			},
			"attach": func(t *rapid.T) {
				// The core has stored up to any frame that it was given.
				mark := rapid.Uint64Range(acked, max(last, acked)).Draw(t, "mark")
				for seq := range stored {
					if seq > mark {
						delete(stored, seq)
					}
				}
				next := h.Attach(mark)
				if next <= mark {
					t.Fatalf("attach after %d goes on with %d", mark, next)
				}
				last, acked = mark, mark
			},
		})
		for {
			f, ok := h.TryNext()
			if !ok {
				break
			}
			stored[f.Sequence] = f
		}
		told := uint64(0)
		for _, seq := range slices.Sorted(maps(stored)) {
			if f := stored[seq]; f.Gap != nil {
				told += f.Gap.Samples
			} else {
				told += uint64(f.Samples)
			}
		}
		if told != made {
			t.Fatalf("%d samples made, %d stored or told as lost; %v", made, told, h)
		}
	})
}

func maps(m map[uint64]frame.Frame) func(func(uint64) bool) {
	return func(yield func(uint64) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// encode is about the cheapest that a wire could be.
func encode(dst []byte, seq uint64, b *frame.Batch, _ *frame.Gap) []byte {
	dst = binary.AppendUvarint(dst, seq)
	if b == nil {
		return dst
	}
	for i := range b.Blocks {
		for _, v := range b.Blocks[i].Ints {
			dst = binary.AppendVarint(dst, v)
		}
		for _, v := range b.Blocks[i].Floats {
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
		}
	}
	return dst
}

// BenchmarkRing is a frame of 100 samples through the ring.
func BenchmarkRing(b *testing.B) {
	r := replay.NewEncodedRing(0, encode)
	b.ReportAllocs()
	for b.Loop() {
		r.PushSome(100, true)
		f, ok := r.TryNext()
		if !ok {
			b.Fatal("no frame")
		}
		r.Ack(f.Sequence)
	}
}
