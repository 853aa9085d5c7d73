package mqtt_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	broker "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/goleak"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/mqtt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of the tests; it is only reached when a test fails.
const patience = 20 * time.Second

// testBroker is an embedded broker, with a proxy before it whose connections can be cut.
type testBroker struct {
	*broker.Server
	t     testing.TB
	proxy net.Listener
	addr  string // of the broker itself

	mu    sync.Mutex
	conns []net.Conn
	wg    sync.WaitGroup
}

// rules decide who may connect and which topics may be used; nil allows all.
type rules struct {
	broker.HookBase
	login func(user, password string) bool
	topic func(name string, write bool) bool
}

// Provides says which of the hook's methods count.
func (*rules) Provides(b byte) bool {
	return b == broker.OnConnectAuthenticate || b == broker.OnACLCheck
}

// OnConnectAuthenticate judges a CONNECT.
func (r *rules) OnConnectAuthenticate(_ *broker.Client, pk packets.Packet) bool {
	return r.login == nil || r.login(string(pk.Connect.Username), string(pk.Connect.Password))
}

// OnACLCheck judges a topic or filter.
func (r *rules) OnACLCheck(_ *broker.Client, topic string, write bool) bool {
	return r.topic == nil || r.topic(topic, write)
}

func startBroker(t testing.TB, hooks ...broker.Hook) *testBroker {
	t.Helper()
	s := broker.New(&broker.Options{InlineClient: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if len(hooks) == 0 {
		hooks = []broker.Hook{&rules{}}
	}
	for _, h := range hooks {
		check(t, s.AddHook(h, nil))
	}
	tcp := listeners.NewTCP(listeners.Config{ID: "tcp", Address: "127.0.0.1:0"})
	check(t, s.AddListener(tcp))
	check(t, s.Serve())
	b := &testBroker{Server: s, t: t, addr: tcp.Address()}
	var err error
	b.proxy, err = net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	b.wg.Go(b.serveProxy)
	t.Cleanup(func() {
		_ = b.proxy.Close()
		b.cut()
		b.wg.Wait()
		check(t, s.Close())
	})
	return b
}

func (b *testBroker) serveProxy() {
	for {
		in, err := b.proxy.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", b.addr)
		if err != nil {
			_ = in.Close()
			continue
		}
		b.mu.Lock()
		b.conns = append(b.conns, in, out)
		b.mu.Unlock()
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			b.wg.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].Close()
				_ = pair[1].Close()
			})
		}
	}
}

// cut ends every connection through the proxy without a goodbye.
func (b *testBroker) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.conns {
		_ = c.Close()
	}
	b.conns = nil
}

func (b *testBroker) url() string { return "tcp://" + b.proxy.Addr().String() }

func (b *testBroker) publish(topic, payload string, retain bool) {
	b.t.Helper()
	check(b.t, b.Publish(topic, []byte(payload), retain, 1))
}

// settings writes JSON from key, value, key, value ...
func settings(t testing.TB, pairs ...any) json.RawMessage {
	t.Helper()
	m := make(map[string]any)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	b, err := json.Marshal(m)
	check(t, err)
	return b
}

// gateway stands for the engine: it opens a link and runs its devices.
type gateway struct {
	t       *testing.T
	link    driver.Link
	cancel  func()
	wg      sync.WaitGroup
	samples chan arrival
	errs    chan error
}

// arrival is one sample that a device emitted, with the stored callback of its emit.
type arrival struct {
	device, point string
	driver.Sample
	stored func()
}

func (a arrival) String() string {
	fault := ""
	if a.Fault != nil {
		fault = " " + a.Fault.Code.String()
	}
	return fmt.Sprintf("%s %s %s %s%s", a.point, a.Value, a.Value.Kind(), a.Quality, fault)
}

func openLink(t *testing.T, set json.RawMessage) driver.Link {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l, err := mqtt.New().Open(ctx, driver.LinkConfig{Name: strings.ReplaceAll(t.Name(), "/", "_"), Timeout: 5 * time.Second, Settings: set},
		driver.Env{Log: slog.New(slog.DiscardHandler)})
	check(t, err)
	t.Cleanup(func() { check(t, l.Close(context.Background())) })
	return l
}

func startGateway(t *testing.T, set json.RawMessage, devices ...driver.DeviceConfig) *gateway {
	t.Helper()
	g := &gateway{t: t, link: openLink(t, set), samples: make(chan arrival, 100_000), errs: make(chan error, len(devices))}
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	t.Cleanup(g.stop)
	prepared := make([]driver.Device, len(devices))
	for i, cfg := range devices {
		var err error
		prepared[i], err = g.link.Device(ctx, cfg)
		check(t, err)
	}
	for i, cfg := range devices {
		g.wg.Go(func() {
			g.errs <- prepared[i].(driver.Subscriber).Subscribe(ctx, cfg.Points, g.emit(cfg))
		})
	}
	return g
}

func (g *gateway) emit(cfg driver.DeviceConfig) driver.EmitFunc {
	return func(ctx context.Context, samples []driver.PointSample, stored func()) error {
		once := stored
		if stored != nil {
			left := len(samples)
			var mu sync.Mutex
			once = func() { // each sample of the emit is stored by itself; the last one counts
				mu.Lock()
				defer mu.Unlock()
				if left--; left == 0 {
					stored()
				}
			}
		}
		for _, s := range samples {
			select {
			case g.samples <- arrival{cfg.Name, cfg.Points[s.Point].Name, s.Sample, once}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}
}

func (g *gateway) stop() {
	g.cancel()
	g.wg.Wait()
}

// next returns the next sample, whose emit is not stored yet.
func (g *gateway) next() arrival {
	g.t.Helper()
	select {
	case a := <-g.samples:
		return a
	case <-time.After(patience):
		g.t.Fatal("no sample came")
		panic("unreachable")
	}
}

// take returns the next sample and stores it.
func (g *gateway) take() arrival {
	g.t.Helper()
	a := g.next()
	if a.stored != nil {
		a.stored()
	}
	return a
}

// ended returns why the next Subscribe ended.
func (g *gateway) ended() error {
	g.t.Helper()
	select {
	case err := <-g.errs:
		return err
	case <-time.After(patience):
		g.t.Fatal("Subscribe did not return")
		panic("unreachable")
	}
}

// device makes a configuration from addresses; each point's name is its address.
func device(name string, addresses ...string) driver.DeviceConfig {
	cfg := driver.DeviceConfig{Name: name}
	for i, a := range addresses {
		cfg.Points = append(cfg.Points, driver.Point{Index: i, Name: a, Address: a})
	}
	return cfg
}

// awaitSubscribed waits until the broker knows a filter.
func (b *testBroker) awaitSubscribed(filter string) {
	b.t.Helper()
	await(b.t, func() bool {
		for _, c := range b.Clients.GetAll() {
			if _, ok := c.State.Subscriptions.Get(filter); ok {
				return true
			}
		}
		return false
	})
}

// inflight counts what the broker has not been acknowledged.
func (b *testBroker) inflight() int {
	n := 0
	for _, c := range b.Clients.GetAll() {
		if !c.Net.Inline {
			n += c.State.Inflight.Len()
		}
	}
	return n
}

// await polls for what nothing tells of: the state inside of the broker.
func await(t testing.TB, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("what was awaited did not happen")
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// brokerClient is the client that the broker's own subscriptions are called with.
type brokerClient = broker.Client
