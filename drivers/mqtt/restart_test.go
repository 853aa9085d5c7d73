package mqtt_test

import (
	"fmt"
	"io"
	"log/slog"
	"testing"

	broker "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"

	"github.com/fieldloom/fieldloom/core/driver"
)

// TestBrokerRestart restarts a broker that forgets its sessions: the driver subscribes
// anew. (The embedded broker can't keep sessions; the peers' test has one that does.)
func TestBrokerRestart(t *testing.T) {
	addr := "127.0.0.1:0"
	start := func() *testBroker {
		s := broker.New(&broker.Options{InlineClient: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		check(t, s.AddHook(&rules{}, nil))
		tcp := listeners.NewTCP(listeners.Config{ID: "tcp", Address: addr})
		check(t, s.AddListener(tcp))
		check(t, s.Serve())
		addr = tcp.Address()
		return &testBroker{Server: s, t: t}
	}
	for i := range 3 {
		b := start()
		g := startGateway(t, settings(t, "broker", "tcp://"+addr, "client_id", "c"), device("d", "m integer"))
		b.awaitSubscribed("m")
		b.publish("m", fmt.Sprint(i), false)
		if got := g.take().Value.Int64(); got != int64(i) {
			t.Errorf("sample %d after %d restarts", got, i)
		}
		check(t, b.Close())
		if err := g.ended(); driver.CodeOf(err) != driver.NotConnected {
			t.Errorf("Subscribe ended with %v", err)
		}
		check(t, g.link.Close(t.Context()))
	}
}
