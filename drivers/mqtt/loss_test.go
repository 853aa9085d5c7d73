package mqtt_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/core/driver/drivertest"
	"github.com/fieldloom/fieldloom/drivers/mqtt"
)

// TestLossesAtQoS0AreCounted has a broker send more at QoS 0 than the gateway takes: what it
// has sent is what came, and what is told as lost. The gateway goes on, or never takes another.
func TestLossesAtQoS0AreCounted(t *testing.T) {
	const messages = 500
	for _, goesOn := range []bool{true, false} {
		t.Run(fmt.Sprint("goes on ", goesOn), func(t *testing.T) {
			b := startBroker(t)
			var lost drivertest.Losses
			l, err := mqtt.New().Open(t.Context(), driver.LinkConfig{Name: "l", Timeout: 5 * time.Second,
				Settings: settings(t, "broker", b.url(), "client_id", "c", "max_inflight", 10)},
				driver.Env{Log: slog.New(slog.DiscardHandler), Losses: &lost})
			check(t, err)
			cfg := device("d", "t/+", "t/a text")
			cfg.Settings = settings(t, "qos", 0)
			d, err := l.Device(t.Context(), cfg)
			check(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var came atomic.Uint64
			gate, ended := make(chan struct{}), make(chan error, 1)
			go func() {
				ended <- d.(driver.Subscriber).Subscribe(ctx, cfg.Points, func(ctx context.Context, list []driver.PointSample, _ func()) error {
					select {
					case <-gate:
					case <-ctx.Done():
						return ctx.Err()
					}
					came.Add(uint64(len(list)))
					return nil
				})
			}()
			b.awaitSubscribed("t/+")
			b.awaitSubscribed("t/a")
			for i := range messages {
				check(t, b.Publish("t/a", []byte("1"), false, 0))
				if i > 20 { // the broker drops what a client does not take from the socket
					await(t, func() bool { return lost.Samples("d") >= uint64(i-15)*2 })
				}
			}
			await(t, func() bool { return lost.Samples("d") == 2*(messages-10) }) // the others are in flight
			if goesOn {
				close(gate)
				await(t, func() bool { return came.Load()+lost.Samples("d") == 2*messages })
			}
			cancel()
			<-ended
			check(t, l.Close(context.Background()))
			if n := came.Load() + lost.Samples("d"); n != 2*messages {
				t.Errorf("%d samples came and %d were told to be lost, of %d", came.Load(), lost.Samples("d"), 2*messages)
			}
			for _, loss := range lost.All() {
				if loss.Device != "d" || loss.Cause == "" || time.Since(loss.From) > time.Hour {
					t.Fatalf("loss %+v", loss)
				}
			}
		})
	}
}
