package supervise_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/engine"
	"github.com/fieldloom/fieldloom/core/internal/supervise"
	"github.com/fieldloom/fieldloom/core/plugin"
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
				block := engine.Block{Runs: []uint32{1, 1}, Time: came.Add(-c.late).UnixNano(), Kind: driver.KindBool, Bools: []bool{true}}
				if c.onTop > 0 {
					block.Deltas = []int64{int64(c.onTop)}
				}
				a.to.Frame(1, plugin.AppendFrame(nil, 1, &engine.Batch{Blocks: []engine.Block{block}}, nil))
				time.Sleep(time.Second)
				p.die("killed")
				next := <-r.starts
				next.attachment().frame(1)
				synctest.Wait()
				if since := next.sinces(); !p.sinces()[0].IsZero() || len(since) != 1 || !since[0].Equal(came.Add(-c.begins)) {
					t.Errorf("the next process makes up for what fell due since %v, the first since %v", since, p.sinces())
				}
				_, _, g, err := plugin.DecodeFrame(r.spool.records[1].Data)
				if err != nil || g == nil || !g.From.Equal(came.Add(-c.begins)) || !g.To.Equal(time.Now()) {
					t.Errorf("gap %+v (%v), want it from %v", g, err, came.Add(-c.begins))
				}
			})
		})
	}
}
