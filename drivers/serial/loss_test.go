package serial_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/driver/drivertest"
	"github.com/fieldloom/fieldloom/drivers/serial"
)

// TestFloodIsCounted has an instrument say more than the gateway takes: what it has said is
// what came, and what is told as lost. The gateway goes on, or never takes another line.
func TestFloodIsCounted(t *testing.T) {
	const lines = 3000
	for _, goesOn := range []bool{true, false} {
		t.Run(fmt.Sprint("goes on ", goesOn), func(t *testing.T) {
			i := newInstrument(t, nil)
			var lost drivertest.Losses
			l, err := serial.New().Open(t.Context(), driver.LinkConfig{Name: "line", Timeout: patience,
				Settings: settings(t, `{"port": "`+i.path+`"}`)}, driver.Env{Losses: &lost})
			check(t, err)
			cfg := config(t, `{"lines": {"w": {"expect": "^W (\\d+)$"}}}`, "w:1", "w:0:text")
			d, err := l.Device(t.Context(), cfg)
			check(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var came atomic.Uint64
			var ready atomic.Bool
			gate, ended := make(chan struct{}), make(chan error, 1)
			go func() {
				ended <- d.(driver.Subscriber).Subscribe(ctx, cfg.Points, func(ctx context.Context, list []driver.PointSample, _ func()) error {
					if ready.CompareAndSwap(false, true) {
						return nil
					}
					select {
					case <-gate:
					case <-ctx.Done():
						return ctx.Err()
					}
					came.Add(uint64(len(list)))
					return nil
				})
			}()
			for !ready.Load() { // whether Subscribe has begun is only seen by what it does
				i.say("W 0\r\n")
				time.Sleep(time.Millisecond)
			}
			first := lost.Samples("dev") // none, with some of the lines before
			before := came.Load()
			i.say(strings.Repeat("W 1\r\n", lines) + strings.Repeat("x", 70_000) + "\r\n")
			await(t, func() bool {
				all := lost.All()
				return len(all) > 0 && all[len(all)-1].Samples == 0 // of the long line
			})
			if goesOn {
				close(gate)
				await(t, func() bool { return came.Load()-before+lost.Samples("dev")-first >= 2*lines })
			}
			cancel()
			<-ended
			check(t, l.Close(context.Background()))
			if n := came.Load() - before + lost.Samples("dev") - first; n < 2*lines || n > 2*lines+2000 || lost.Samples("dev") == 0 {
				t.Errorf("%d samples came and %d were told to be lost, of %d", came.Load(), lost.Samples("dev"), 2*lines)
			}
			for _, loss := range lost.All() {
				if loss.Device != "dev" || loss.Cause == "" || time.Since(loss.From) > time.Hour {
					t.Fatalf("loss %+v", loss)
				}
			}
		})
	}
}

func await(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
	}
}
