package mqtt_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/mqtt"
)

func TestDeniedSubscription(t *testing.T) {
	b := startBroker(t, &rules{topic: func(name string, write bool) bool { return write || name != "secret" }})
	g := startGateway(t, settings(t, "broker", b.url()), device("d", "secret number", "open number"))
	got := g.take()
	if got.point != "secret number" || got.Quality != driver.Bad || got.Fault.Code != driver.Denied {
		t.Errorf("got %s", got)
	}
	b.awaitSubscribed("open")
	b.publish("open", "1", false)
	if got := g.take().String(); got != "open number 1 float64 good" {
		t.Errorf("got %s", got)
	}
}

func TestDeniedLogin(t *testing.T) {
	b := startBroker(t, &rules{login: func(user, password string) bool { return user == "u" && password == "p" }})
	openLink(t, settings(t, "broker", b.url(), "username", "u", "password", "p"))
	_, err := mqtt.New().Open(t.Context(), driver.LinkConfig{Name: "l", Timeout: time.Second,
		Settings: settings(t, "broker", b.url(), "username", "u", "password", "geheim")}, driver.Env{})
	if driver.CodeOf(err) != driver.Denied || strings.Contains(err.Error(), "geheim") {
		t.Errorf("Open: %v", err)
	}
}

// vault is a gateway's secrets.
type vault map[string]string

func (v vault) Secret(_ context.Context, name string) ([]byte, error) {
	if value, ok := v[name]; ok {
		return []byte(value), nil
	}
	return nil, driver.Errorf(driver.NotFound, "secret %q: there is no such secret", name)
}

func TestLoginFromSecrets(t *testing.T) {
	b := startBroker(t, &rules{login: func(user, password string) bool { return user == "u" && password == "p" }})
	for name, tc := range map[string]struct {
		env  driver.Env
		code driver.Code
	}{
		"known":   {driver.Env{Secrets: vault{"user": "u", "broker": "p"}}, driver.OK},
		"wrong":   {driver.Env{Secrets: vault{"user": "u", "broker": "geheim"}}, driver.Denied},
		"missing": {driver.Env{Secrets: vault{"user": "u"}}, driver.NotFound},
		"nowhere": {driver.Env{}, driver.Unsupported},
	} {
		link, err := mqtt.New().Open(t.Context(), driver.LinkConfig{Name: "l", Timeout: time.Second,
			Settings: settings(t, "broker", b.url(), "username", "secret:user", "password", "secret:broker")}, tc.env)
		if driver.CodeOf(err) != tc.code || err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			check(t, link.Close(t.Context()))
		}
	}
}

func TestNoBroker(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	url := "tcp://" + l.Addr().String()
	open := func(timeout time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		_, err := mqtt.New().Open(ctx, driver.LinkConfig{Name: "l", Timeout: time.Second, Settings: settings(t, "broker", url)}, driver.Env{})
		return err
	}
	if err := open(50 * time.Millisecond); driver.CodeOf(err) != driver.Timeout { // accepted by the kernel, never answered
		t.Errorf("silent broker: %v", err)
	}
	check(t, l.Close())
	if err := open(patience); driver.CodeOf(err) != driver.NotConnected {
		t.Errorf("no broker: %v", err)
	}
}

// published subscribes to everything at the broker itself.
func (b *testBroker) published() <-chan packets.Packet {
	b.t.Helper()
	all := make(chan packets.Packet, 100)
	check(b.t, b.Subscribe("#", 1, func(_ *brokerClient, _ packets.Subscription, pk packets.Packet) { all <- pk }))
	return all
}

func TestWrite(t *testing.T) {
	b := startBroker(t)
	all := b.published()
	l := openLink(t, settings(t, "broker", b.url()))
	for i, tc := range []struct {
		address string
		value   driver.Value
		topic   string
		payload string
		code    driver.Code
	}{
		{"a", driver.Float64Value(1e6), "a", "1000000", driver.OK},
		{"a", driver.StringValue("on"), "a", "on", driver.OK},
		{"a", driver.BytesValue([]byte{0, 1}), "a", "\x00\x01", driver.OK},
		{"a number", driver.Int64Value(-3), "a", "-3", driver.OK},
		{"a number", driver.StringValue("x"), "", "", driver.BadValue},
		{"a number", driver.Float64Value(nan()), "", "", driver.BadValue},
		{"a integer", driver.Float64Value(3), "a", "3", driver.OK},
		{"a integer", driver.Uint64Value(1 << 63), "a", "9223372036854775808", driver.OK},
		{"a integer", driver.Float64Value(3.5), "", "", driver.BadValue},
		{"a bool", driver.Int64Value(1), "a", "true", driver.OK},
		{"a bool", driver.Int64Value(2), "", "", driver.BadValue},
		{"a text", driver.Int64Value(5), "a", "5", driver.OK},
		{"a text", driver.Value{}, "", "", driver.BadValue},
		{"a bytes", driver.StringValue("x"), "a", "x", driver.OK},
		{"a/+ text set=a/set", driver.StringValue("x"), "a/set", "x", driver.OK},
		{"a $.x.y text set=b", driver.StringValue(`"`), "b", `{"x":{"y":"\""}}`, driver.OK},
		{"a/#", driver.StringValue("x"), "", "", driver.Denied},
		{"a $[0]", driver.StringValue("x"), "", "", driver.Denied},
		{"a", driver.StringValue(strings.Repeat("x", 300_000)), "", "", driver.BadValue},
	} {
		cfg := device(fmt.Sprint(i), tc.address)
		cfg.Settings = settings(t, "retain", i%2 == 0)
		d, err := l.Device(t.Context(), cfg)
		check(t, err)
		err = d.(driver.Writer).Write(t.Context(), cfg.Points[0], tc.value)
		if driver.CodeOf(err) != tc.code {
			t.Errorf("write %s to %q: %v", tc.value.Kind(), tc.address, err)
			continue
		}
		if tc.code != driver.OK {
			continue
		}
		pk := <-all
		if pk.TopicName != tc.topic || string(pk.Payload) != tc.payload || pk.FixedHeader.Retain != (i%2 == 0) {
			t.Errorf("write %s to %q published %q on %q, retain %v", tc.value.Kind(), tc.address, pk.Payload, pk.TopicName, pk.FixedHeader.Retain)
		}
	}
}

func nan() float64 { return driver.ParseValue("nan").Float64() }

func TestCloseInFlight(t *testing.T) {
	b := startBroker(t)
	g := startGateway(t, settings(t, "broker", b.url()), device("d", "m"))
	b.awaitSubscribed("m")
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { check(t, g.link.Close(t.Context())) })
	}
	wg.Wait()
	if err := g.ended(); driver.CodeOf(err) != driver.NotConnected {
		t.Errorf("Subscribe ended with %v", err)
	}
	_, err := g.link.Device(t.Context(), device("e", "m"))
	if driver.CodeOf(err) != driver.NotConnected {
		t.Errorf("Device on a closed link: %v", err)
	}
}

func TestSubscribeEndsWithItsContext(t *testing.T) {
	b := startBroker(t)
	l := openLink(t, settings(t, "broker", b.url()))
	cfg := device("d", "m")
	d, err := l.Device(t.Context(), cfg)
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	entered, ended := make(chan struct{}), make(chan error)
	go func() {
		ended <- d.(driver.Subscriber).Subscribe(ctx, cfg.Points, func(ctx context.Context, _ []driver.PointSample, _ func()) error {
			close(entered)
			<-ctx.Done() // the gateway is full
			return ctx.Err()
		})
	}()
	b.awaitSubscribed("m")
	b.publish("m", "1", false)
	<-entered
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Subscribe: %v", err)
	}
}

// TestCloseWhileTheGatewayIsFull closes a link while an emit waits.
func TestCloseWhileTheGatewayIsFull(t *testing.T) {
	b := startBroker(t)
	l := openLink(t, settings(t, "broker", b.url()))
	cfg := device("d", "m")
	d, err := l.Device(t.Context(), cfg)
	check(t, err)
	entered, ended := make(chan struct{}), make(chan error)
	go func() {
		ended <- d.(driver.Subscriber).Subscribe(t.Context(), cfg.Points, func(ctx context.Context, _ []driver.PointSample, _ func()) error {
			close(entered)
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	b.awaitSubscribed("m")
	b.publish("m", "1", false)
	<-entered
	check(t, l.Close(t.Context()))
	if err := <-ended; driver.CodeOf(err) != driver.NotConnected {
		t.Errorf("Subscribe: %v", err)
	}
	if b.inflight() != 1 {
		t.Error("a message that the gateway did not take was acknowledged")
	}
}

func TestCheckReportsEverything(t *testing.T) {
	cfg := driver.LinkConfig{Name: "l", Settings: settings(t, "broker", "http://x", "qos", 3, "keep_alive", "1ms", "password", "p",
		"max_payload", 0, "max_inflight", 0, "tls", map[string]any{"ca": "ca.pem", "cert": "/c"})}
	d := device("d", "", "a/#/b", "a+", "$share/g/a", "a $.", "a $.x[", "a json", "a frobnicate", "a optional",
		"a set=b/+", "a $[0] set=b", `"a`, `a"b"`, "a $.x bytes", "a number number")
	d.Settings = settings(t, "qos", 7, "time", "x")
	e := device("e", "fine")
	e.Settings = settings(t, "time_format", "ms")
	f := device("f")
	f.Settings = settings(t, "frequency", 1)
	err := mqtt.New().(driver.Checker).Check(cfg, []driver.DeviceConfig{d, e, f})
	var got []string
	for _, e := range driver.ConfigErrors(err) {
		got = append(got, strings.Trim(e.Device+" "+e.Point+" "+e.Key, " "))
		if e.Text == "" {
			t.Errorf("%+v has no text", e)
		}
	}
	want := []string{"broker", "username", "qos", "max_payload", "max_inflight", "keep_alive", "tls", "tls", "d  qos", "d  time"}
	for _, p := range d.Points {
		want = append(want, "d "+p.Name+" address")
	}
	want = append(want, "e  time", "f")
	want[slices.Index(want, "d  address")] = "d  address"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownLinkKey(t *testing.T) {
	err := mqtt.New().(driver.Checker).Check(driver.LinkConfig{Settings: settings(t, "borker", "x")}, []driver.DeviceConfig{device("d", "a+")})
	if got := len(driver.ConfigErrors(err)); got != 2 {
		t.Errorf("%d errors: %v", got, err)
	}
	if driver.CodeOf(err) != driver.InvalidConfig {
		t.Errorf("code %v", driver.CodeOf(err))
	}
}

// TestDeviceChangedOnOpenLink prepares a device anew while its link stays open, as a
// change of the configuration does.
func TestDeviceChangedOnOpenLink(t *testing.T) {
	b := startBroker(t)
	g := startGateway(t, settings(t, "broker", b.url()), device("d", "m", "old"), device("other", "m"))
	b.awaitSubscribed("m")
	b.awaitSubscribed("old")
	for i, oldEndsFirst := range []bool{true, false} {
		before := g.cancel
		if oldEndsFirst {
			g.stop()
		}
		ctx, cancel := context.WithCancel(context.Background())
		g.cancel = cancel
		added := fmt.Sprint("new", i)
		b.publish(added, "1", true)
		for _, cfg := range []driver.DeviceConfig{device("d", "m", added), device("other", "m", added)} {
			d, err := g.link.Device(ctx, cfg)
			check(t, err)
			g.wg.Go(func() { _ = d.(driver.Subscriber).Subscribe(ctx, cfg.Points, g.emit(cfg)) })
		}
		g.takeFromBoth(added) // both are there
		before()
		b.publish("m", fmt.Sprint(i), false)
		g.takeFromBoth("m")
		await(t, func() bool {
			for len(g.samples) > 0 { // retained ones come again
				g.take()
			}
			return b.inflight() == 0
		})
	}
}

// takeFromBoth takes samples until two devices have sent one of the point.
func (g *gateway) takeFromBoth(point string) {
	g.t.Helper()
	seen := map[string]bool{}
	for len(seen) < 2 {
		if a := g.take(); a.point == point {
			seen[a.device] = true
		}
	}
}
