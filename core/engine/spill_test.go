package engine_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/engine"
)

// TestEngineSpills has no core for an hour, with a ring for a minute: everything is
// there when one comes.
func TestEngineSpills(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, engine.Options{RingBytes: 20_000, Spill: dir, SpillBytes: 8 << 20, Encode: encode})
		d := r.set("l", "d1", 1)
		l := link("l", 1, table(1, func(_ int, p *control.Point) { p.Scale = ptr(1) }))
		r.apply(l)
		sleep(time.Hour)
		s, err := r.Status(t.Context())
		if err != nil || s.Ring.SpillBytes == 0 || s.Ring.Bytes > s.Ring.MaxBytes || s.Ring.Dropped != 0 {
			t.Errorf("ring is %+v, %v", s.Ring, err)
		}
		if _, err := r.Drain(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		frames := 0
		for {
			f, ok := r.Ring().TryNext()
			if !ok {
				break
			}
			if frames++; f.Sequence != uint64(frames) {
				t.Fatalf("frame %d has the sequence %d", frames, f.Sequence)
			}
			r.Ring().Ack(f.Sequence)
		}
		if polls := len(d.Polls()); frames != polls {
			t.Errorf("%d frames of %d polls", frames, polls)
		}
		if s, _ := r.Status(t.Context()); s.Ring.SpillBytes != 0 {
			t.Errorf("%d bytes left on disk", s.Ring.SpillBytes)
		}
	})
}
