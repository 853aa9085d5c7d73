package samples

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/internal/spool"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// storeSample stores one sample of u (0) or i (1), n seconds after the epoch.
func (b *bench) storeSample(point uint32, n int, quality driver.Quality) {
	blk := frame.Block{Runs: []uint32{b.first + point, 1}, Time: int64(n) * int64(time.Second), Kind: driver.KindInt64, Ints: []int64{int64(n)}}
	if quality != driver.Good {
		blk.Exceptions = []frame.Exception{{Count: 1, Quality: quality, Fault: driver.Errorf(driver.Timeout, "silent")}}
	}
	b.append(func(seq uint64) []byte {
		return wire.AppendFrame(nil, seq, &frame.Batch{Blocks: []frame.Block{blk}}, nil)
	})
}

// found is what find tells of u and i, as text.
func (b *bench) found(v *storedValues, good bool, limit time.Duration) (list []string, complete bool) {
	b.t.Helper()
	found, complete, err := v.find(b.t.Context(), map[uint32]bool{b.first: good, b.first + 1: good}, time.Now().Add(limit))
	if err != nil {
		b.t.Fatal(err)
	}
	for point := range uint32(2) {
		if s, ok := found[b.first+point]; ok {
			list = append(list, fmt.Sprintf("%d: %v %v, good %v at %d", point, s.sample.Value, s.sample.Quality, s.good, s.goodTime.Unix()))
		}
	}
	return list, complete
}

func TestStoredValuesAreTheLastHoweverFarBack(t *testing.T) {
	b := newBench(t)
	v := &storedValues{spool: b.spool, catalog: b.catalog}
	t.Cleanup(v.close)
	if got, complete := b.found(v, true, time.Minute); got != nil || !complete {
		t.Errorf("of nothing: %v, %v", got, complete)
	}
	b.storeSample(1, 1, driver.Good)
	b.storeSample(1, 2, driver.Bad)
	for n := range 3*firstStep - 1 {
		b.seq++
		batch := &frame.Batch{Blocks: []frame.Block{{Runs: []uint32{b.first, 1}, Kind: driver.KindInt64, Ints: []int64{int64(n)}}}}
		b.spool.Append(spool.Record{Driver: "modbus", Epoch: 1, Sequence: b.seq, Stored: time.Now(), Data: wire.AppendFrame(nil, b.seq, batch, nil)}, func(error) {})
	}
	b.storeSample(0, 9+3*firstStep, driver.Good)
	last := 9 + 3*firstStep
	// i lies in the third step back; without the last good one, the search ends there.
	want := []string{fmt.Sprintf("0: %d good, good %d at %d", last, last, last), "1: 2 bad, good 1 at 1"}
	if got, complete := b.found(v, true, time.Minute); cmp.Diff(want, got) != "" || !complete {
		t.Errorf("%v, %v, want %v", got, complete, want)
	}
	if len(v.searched) != 1 || v.searched[0] != (span{1, b.spool.End()}) {
		t.Errorf("searched %v", v.searched)
	}
	// What came since is found, and what was found is not searched again: there is no time for it.
	b.storeSample(0, 99_999, driver.Bad)
	want = []string{fmt.Sprintf("0: 99999 bad, good %d at %d", last, last), "1: 2 bad, good 1 at 1"}
	if got, complete := b.found(v, true, time.Minute); cmp.Diff(want, got) != "" || !complete {
		t.Errorf("%v, %v, want %v", got, complete, want)
	}
	if got, complete := b.found(v, true, -time.Second); cmp.Diff(want, got) != "" || !complete {
		t.Errorf("without time: %v, %v, want %v", got, complete, want)
	}
	// Without time for what is new, what is known may not be the last: it is not told.
	b.storeSample(1, 100_000, driver.Good)
	if got, complete := b.found(v, true, -time.Second); got != nil || complete {
		t.Errorf("without time: %v, %v", got, complete)
	}
	v.close()
	if got, _ := b.found(v, false, time.Minute); len(got) != 2 || got[0] != fmt.Sprintf("0: 99999 bad, good %d at %d", last, last) {
		t.Errorf("after all was forgotten: %v", got)
	}
}

// Parts that were searched at different times, in any order, are never taken for one.
func TestSearchedPartsOfTheSpool(t *testing.T) {
	v := &storedValues{}
	for _, s := range []span{{10, 20}, {40, 50}, {30, 40}, {70, 80}} {
		v.cover(s)
	}
	if diff := cmp.Diff([]span{{70, 80}, {30, 50}, {10, 20}}, v.searched, cmp.AllowUnexported(span{})); diff != "" {
		t.Error(diff)
	}
	for front, want := range map[spool.Position][2]spool.Position{80: {70, 50}, 75: {70, 50}, 81: {81, 80}, 70: {70, 50}, 50: {30, 20}, 20: {10, 0}, 15: {10, 0}, 5: {5, 0}} {
		if to, floor := v.skip(front); to != want[0] || floor != want[1] {
			t.Errorf("before %d: %d, %d, want %v", front, to, floor, want)
		}
	}
	v.cover(span{50, 70})
	v.cover(span{20, 30})
	if diff := cmp.Diff([]span{{10, 80}}, v.searched, cmp.AllowUnexported(span{})); diff != "" {
		t.Error(diff)
	}
}

// told is a driver that knows last values.
type told struct {
	control.Plane
	values []control.LastValue
	err    error
	asked  int
}

func (d *told) Values(_ context.Context, _, _ string, _ int) ([]control.LastValue, int, error) {
	d.asked++
	return d.values, 0, d.err
}

func TestLastValuesOfDriverAndSpool(t *testing.T) {
	at := time.Unix(100, 0).UTC()
	good := control.LastValue{Point: "u", Sample: driver.Sample{Value: driver.Int64Value(7), Quality: driver.Good, Time: at}, Since: at.Add(-time.Hour)}
	bad := control.LastValue{Point: "u", Sample: driver.Sample{Time: at, Fault: driver.Errorf(driver.Timeout, "silent")}}
	badKnown := bad
	badKnown.Good, badKnown.GoodTime = driver.Int64Value(6), at.Add(-time.Minute)
	for name, test := range map[string]struct {
		driver told
		stored bool // a sample of u, 5 at 5 s after the epoch
		want   string
	}{
		"the driver knows best":         {told{values: []control.LastValue{good}}, true, `7 good at 100, since -3500`},
		"bad, good is stored":           {told{values: []control.LastValue{bad}}, true, `null bad at 100, good 5 at 5: timeout: silent`},
		"bad, good is known":            {told{values: []control.LastValue{badKnown}}, true, `null bad at 100, good 6 at 40: timeout: silent`},
		"bad, and never was good":       {told{values: []control.LastValue{bad}}, false, `null bad at 100: timeout: silent`},
		"the driver knows nothing":      {told{}, true, `5 good at 5`},
		"nobody knows anything":         {told{}, false, `null bad at -: not-found: no value of it is known: none has come yet`},
		"an older driver":               {told{err: driver.Errorf(driver.Unsupported, "what?")}, true, `5 good at 5`},
		"a driver without the device":   {told{err: driver.Errorf(driver.NotFound, "what?")}, true, `5 good at 5`},
		"a driver that does not answer": {told{err: driver.Errorf(driver.Timeout, "no answer")}, true, `null bad at now, good 5 at 5: timeout: no answer`},
		"a foreign point":               {told{values: []control.LastValue{{Point: "x", Sample: good.Sample}}}, true, `5 good at 5`},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if test.stored {
				b.storeSample(0, 5, driver.Good)
			}
			v := &storedValues{spool: b.spool, catalog: b.catalog}
			t.Cleanup(v.close)
			d := test.driver
			q := &valuesQuery{controlOf: func(string, string) (control.Plane, error) { return &d, nil }, catalog: b.catalog, stored: v,
				deadline: time.Now().Add(time.Minute), silent: make(map[control.Plane]error)}
			link := &config.Link{Name: "line1", Driver: "modbus"}
			part := func() *lastPart {
				return &lastPart{link: link, device: "m1", samples: []client.Sample{{Link: "line1", Device: "m1", Point: "u", Last: &client.Last{}}}}
			}
			p := part()
			if err := q.fill(t.Context(), []*lastPart{p}); err != nil {
				t.Fatal(err)
			}
			if got := lastLine(&p.samples[0]); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if driver.CodeOf(d.err) == driver.Timeout {
				if err := q.fill(t.Context(), []*lastPart{part(), part()}); err != nil || d.asked != 1 {
					t.Errorf("a driver that does not answer was asked %d times, %v", d.asked, err)
				}
			}
		})
	}
}

func lastLine(s *client.Sample) string {
	when := func(at time.Time) string {
		switch {
		case at.IsZero():
			return "-"
		case time.Since(at) < time.Hour:
			return "now"
		}
		return fmt.Sprint(at.Unix())
	}
	text := fmt.Sprintf("%v %v at %s", s.Value, s.Quality, when(s.Time))
	if !s.Last.Since.IsZero() {
		text += ", since " + when(s.Last.Since)
	}
	if !s.Last.GoodTime.IsZero() {
		text += fmt.Sprintf(", good %v at %s", s.Last.Good, when(s.Last.GoodTime))
	}
	if s.Fault != nil {
		text += ": " + s.Fault.String()
	}
	return text
}
