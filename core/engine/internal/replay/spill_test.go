package replay_test

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fieldloom/fieldloom/core/engine/internal/replay"
	"github.com/fieldloom/fieldloom/core/frame"
)

// told is what a frame of the tests' encoding says.
type told struct {
	Seq     uint64
	Samples uint64
	Gap     bool
	First   uint64
	Cause   string
	Filler  string `json:",omitempty"`
}

func encodeTold(dst []byte, seq uint64, b *frame.Batch, g *frame.Gap) []byte {
	t := told{Seq: seq}
	if g != nil {
		t.Gap, t.Samples, t.First, t.Cause = true, g.Samples, g.FirstSeq, g.Cause.Text
	} else {
		t.Samples = uint64(len(b.Blocks[0].Floats))
		t.Filler = strings.Repeat("x", 5*int(t.Samples))
	}
	data, err := json.Marshal(t)
	if err != nil {
		panic(err)
	}
	return append(dst, data...)
}

func decodeTold(t interface{ Fatalf(string, ...any) }, f frame.Frame) (v told) {
	if err := json.Unmarshal(f.Data, &v); err != nil || v.Seq != f.Sequence {
		t.Fatalf("frame %d holds %q: %v", f.Sequence, f.Data, err)
	}
	return v
}

func TestSpillHoldsWhatMemoryCannot(t *testing.T) {
	dir := t.TempDir()
	r := replay.NewEncodedRing(20_000, encodeTold)
	defer r.Spill(dir, 1<<20)()
	const frames = 1500
	for range frames {
		r.PushSome(20, true)
	}
	r.Settled()
	if bytes, chunks := r.OnDisk(); bytes < 100_000 || chunks < 2 {
		t.Errorf("%d bytes in %d chunks on disk", bytes, chunks)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("the directory shows %v, %v", left, err)
	}
	for range 2 { // once for nothing, and again after a reattach
		next := r.Attach(0)
		if next != 1 {
			t.Errorf("goes on with %d", next)
		}
		for want := uint64(1); want <= frames; want++ {
			f, ok := r.TryNext()
			if !ok || f.Sequence != want || f.Samples != 20 {
				t.Fatalf("frame %+v, want %d", f, want)
			}
			decodeTold(t, f)
		}
		if f, ok := r.TryNext(); ok {
			t.Fatalf("a frame too many: %+v", f)
		}
	}
	r.Ack(frames)
	if bytes, chunks := r.OnDisk(); bytes != 0 || chunks != 0 {
		t.Errorf("%d bytes in %d chunks on disk after everything was acknowledged", bytes, chunks)
	}
	if s := r.String(); !strings.Contains(s, "0 of 20000 bytes") || !strings.Contains(s, " 0 dropped") {
		t.Error(s)
	}
}

// TestSpillModel is TestRingModel with a part on disk, and a consumer that comes
// and goes.
func TestSpillModel(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		h := replay.NewEncodedRing(rapid.IntRange(1500, 8000).Draw(t, "bytes"), encodeTold)
		defer h.Spill(dir, int64(rapid.IntRange(2_000, 200_000).Draw(t, "disk")))()
		made, stored := uint64(0), map[uint64]told{}
		last, acked := uint64(0), uint64(0)
		take := func(t *rapid.T) bool {
			f, ok := h.TryNext()
			if !ok {
				return false
			}
			v := decodeTold(t, f)
			if f.Sequence <= last {
				t.Fatalf("sequence %d after %d", f.Sequence, last)
			}
			if f.Sequence != last+1 && (!v.Gap || v.First > last+1) {
				t.Fatalf("sequence %d after %d without a gap: %+v", f.Sequence, last, v)
			}
			last = f.Sequence
			if _, twice := stored[last]; !twice {
				stored[last] = v
			}
			return true
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				for range rapid.IntRange(1, 20).Draw(t, "frames") {
					n := rapid.IntRange(1, 60).Draw(t, "samples")
					h.PushSome(n, rapid.Bool().Draw(t, "droppable"))
					made += uint64(n)
				}
			},
			"settle": func(*rapid.T) { h.Settled() },
			"take": func(t *rapid.T) {
				for range rapid.IntRange(1, 30).Draw(t, "frames") {
					if !take(t) {
						return
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
				mark := rapid.Uint64Range(acked, max(last, acked)).Draw(t, "mark")
				for seq := range stored {
					if seq > mark {
						delete(stored, seq)
					}
				}
				if next := h.Attach(mark); next <= mark {
					t.Fatalf("attach after %d goes on with %d", mark, next)
				}
				last, acked = mark, mark
			},
		})
		for take(t) {
		}
		sum, lost := uint64(0), uint64(0)
		for _, v := range stored {
			sum += v.Samples
			if v.Gap {
				lost += v.Samples
			}
		}
		if sum != made {
			t.Fatalf("%d samples made, %d stored or told as lost; %v", made, sum, h)
		}
		h.Ack(last) // what was dropped after it was taken counts as dropped until then
		if s := h.Status(); s.Dropped != lost {
			t.Fatalf("%d counted as dropped, %d told as lost", s.Dropped, lost)
		}
	})
}

// TestDamagedSpill flips bits of what is on disk: the frames that they were in are
// told as lost, with their samples, and every other is there.
func TestDamagedSpill(t *testing.T) {
	for name, damage := range map[string]func(replay.TestRing){
		"a frame":       func(r replay.TestRing) { r.Damage(100, 1<<30) },
		"a header":      func(r replay.TestRing) { r.Damage(5, 1<<30) },
		"everything":    func(r replay.TestRing) { r.Damage(0, 7) },
		"some of each ": func(r replay.TestRing) { r.Damage(3, 333) },
	} {
		t.Run(name, func(t *testing.T) {
			r := replay.NewEncodedRing(20_000, encodeTold)
			defer r.Spill(t.TempDir(), 1<<20)()
			const frames = 500
			for range frames {
				r.PushSome(10, true)
			}
			r.Settled()
			damage(r)
			for range 2 {
				r.Attach(0)
				var sum, lost, last uint64
				for {
					f, ok := r.TryNext()
					if !ok {
						break
					}
					v := decodeTold(t, f)
					if f.Sequence != last+1 && (!v.Gap || v.First != last+1) {
						t.Fatalf("frame %+v after %d", v, last)
					}
					last = f.Sequence
					sum += v.Samples
					if v.Gap {
						lost += v.Samples
					}
				}
				if sum != frames*10 || last != frames || lost == 0 {
					t.Errorf("%d samples, %d of them lost, up to frame %d", sum, lost, last)
				}
				if s := r.Status(); s.Dropped != lost {
					t.Errorf("%d counted as dropped, %d told", s.Dropped, lost)
				}
			}
		})
	}
}

// TestRefusingDisk falls back to the policy.
func TestRefusingDisk(t *testing.T) {
	r := replay.NewEncodedRing(20_000, encodeTold)
	defer r.Spill(t.TempDir(), 1<<20)()
	for range 200 {
		r.PushSome(10, true)
	}
	r.Settled()
	r.RefuseDisk()
	for range 500 {
		r.PushSome(10, true)
	}
	var sum, lost uint64
	var order []uint64
	for {
		f, ok := r.TryNext()
		if !ok {
			break
		}
		v := decodeTold(t, f)
		order = append(order, f.Sequence)
		sum += v.Samples
		if v.Gap {
			lost += v.Samples
		}
	}
	s := r.Status()
	if sum != 7000 || lost == 0 || s.Dropped != lost || !slices.IsSorted(order) {
		t.Errorf("%d samples, %d told as lost, %d counted", sum, lost, s.Dropped)
	}
	if s.Bytes > 20_000 {
		t.Errorf("%d bytes in memory", s.Bytes)
	}
}

func TestSpillKeepsReceipts(t *testing.T) {
	r := replay.NewEncodedRing(20_000, encodeTold)
	defer r.Spill(t.TempDir(), 1<<20)()
	stored := 0
	for range 300 {
		r.PushWith(10, func() { stored++ })
	}
	r.Settled()
	r.Attach(0)
	for {
		f, ok := r.TryNext()
		if !ok {
			break
		}
		if was := stored; was != int(f.Sequence)-1 {
			t.Fatalf("%d stored before frame %d", was, f.Sequence)
		}
		r.Ack(f.Sequence)
	}
	if stored != 300 {
		t.Errorf("%d of 300 stored", stored)
	}
}

// FuzzSpillRecord gives the reader of the files on disk what may be there.
func FuzzSpillRecord(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add(replay.SpillRecord(7, []byte("frame")), []byte("tail"))
	f.Fuzz(func(t *testing.T, data, frame []byte) {
		replay.ReadSpillRecord(data)
		seq, got, size := replay.ReadSpillRecord(append(replay.SpillRecord(9, frame), data...))
		if seq != 9 || !bytes.Equal(got, frame) || size != len(replay.SpillRecord(9, frame)) {
			t.Errorf("record %d of %d bytes: %q", seq, size, got)
		}
	})
}
