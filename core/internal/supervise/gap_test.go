package supervise_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/frame"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// What a process read after it had filled its last frame is lost with it, although the
// frame came later: the gap begins with the newest sample that did not get lost.
func TestAGapBeginsWhereTheLastFrameEnded(t *testing.T) {
	for name, c := range map[string]struct {
		late, onTop, begins time.Duration // before the frame came, but for onTop
	}{
		"on the way":          {late: 80 * time.Millisecond, begins: 80 * time.Millisecond},
		"times of each":       {late: 80 * time.Millisecond, onTop: 30 * time.Millisecond, begins: 50 * time.Millisecond},
		"a source's own time": {late: time.Hour},
		"a time to come":      {late: -time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				defer r.s.Close(false)
				r.want(supervise.Desired{State: state(1, "line")})
				p := <-r.starts
				a := p.attachment()
				time.Sleep(time.Second)
				came := time.Now()
				block := frame.Block{Runs: []uint32{1, 1}, Time: came.Add(-c.late).UnixNano(), Kind: driver.KindBool, Bools: []bool{true}}
				if c.onTop > 0 {
					block.Deltas = []int64{int64(c.onTop)}
				}
				a.to.Frame(1, wire.AppendFrame(nil, 1, &frame.Batch{Blocks: []frame.Block{block}}, nil))
				time.Sleep(time.Second)
				p.die("killed")
				next := <-r.starts
				next.attachment().frame(1)
				synctest.Wait()
				if since := next.sinces(); !p.sinces()[0].IsZero() || len(since) != 1 || !since[0].Equal(came.Add(-c.begins)) {
					t.Errorf("the next process makes up for what fell due since %v, the first since %v", since, p.sinces())
				}
				_, _, g, err := wire.DecodeFrame(r.spool.records[1].Data)
				if err != nil || g == nil || !g.From.Equal(came.Add(-c.begins)) || !g.To.Equal(time.Now()) {
					t.Errorf("gap %+v (%v), want it from %v", g, err, came.Add(-c.begins))
				}
			})
		})
	}
}

// A gap after a death says how many polls of which of the process's links were due in it,
// and of which what was lost cannot be counted.
func TestAGapSaysWhatWasDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.s.Close(false)
		s := state(1, "fast", "off", "pushed", "slow")
		table := &control.Table{Points: []control.Point{{Name: "p", Readable: true}}}
		for i, period := range []time.Duration{100 * time.Millisecond, 100 * time.Millisecond, time.Second, 5 * time.Second} {
			s.Links[i].Classes = []control.Class{{Name: "default", Period: period}}
			s.Links[i].Devices = []control.Device{{Name: "d", Table: table}, {Name: "e", Table: table}}
		}
		s.Links[1].Offline = true
		r.want(supervise.Desired{State: s})
		p := <-r.starts
		a := p.attachment()
		a.to.Event(control.Event{Link: "pushed", Device: "d", Condition: control.Up, Pushes: true})
		a.to.Event(control.Event{Link: "fast", Device: "d", Condition: control.Up, Pushes: true})
		a.to.Event(control.Event{Link: "fast", Device: "d", Condition: control.Up})
		time.Sleep(time.Second)
		a.frame(1)
		time.Sleep(10 * time.Second)
		p.die("killed")
		next := <-r.starts
		next.attachment().frame(1)
		synctest.Wait()
		_, _, g, err := wire.DecodeFrame(r.spool.records[1].Data)
		want := []frame.GapLink{
			{Link: "fast", Polls: 200}, {Link: "pushed", Polls: 10, Uncounted: true}, {Link: "slow", Polls: 4},
		}
		if err != nil || g == nil || !slices.Equal(g.Links, want) {
			t.Fatalf("gap %+v (%v), want %+v", g, err, want)
		}
		if text := "driver fake: the samples of at most 214 polls, and an unknown number of samples that come unasked: "; !strings.HasPrefix(g.Cause.Text, text) {
			t.Errorf("the gap says %q", g.Cause.Text)
		}
	})
}

// A gap of a driver's own names its own links and devices; what else it names loses its name.
func TestAGapNamesTheDriversOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.s.Close(false)
		s := state(1, "line")
		s.Links[0].Devices = []control.Device{{Name: "d", Table: &control.Table{}}}
		r.want(supervise.Desired{State: s})
		a := (<-r.starts).attachment()
		time.Sleep(time.Second)
		now := time.Now()
		a.to.Frame(1, wire.AppendFrame(nil, 1, nil, &frame.Gap{
			Samples: 9, From: now, To: now, Cause: driver.Errorf(driver.Lost, "a queue was full"),
			Links: []frame.GapLink{{Link: "line", Device: "d"}, {Link: "line", Device: "x\x1b[31m"}, {Link: "another's", Device: "d"}},
		}))
		synctest.Wait()
		_, _, g, err := wire.DecodeFrame(r.spool.records[0].Data)
		want := []frame.GapLink{{Link: "line", Device: "d"}, {Link: "line"}, {}}
		if err != nil || g == nil || g.Samples != 9 || !slices.Equal(g.Links, want) {
			t.Errorf("stored: %+v (%v)", g, err)
		}
	})
}
