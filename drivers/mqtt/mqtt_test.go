package mqtt_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/driver"
)

func TestValues(t *testing.T) {
	b := startBroker(t)
	cases := []struct{ address, payload, want string }{
		{"v", "21.5", "21.5 float64 good"},
		{"v", " -3e2\n", "-300 float64 good"},
		{"v", "open", "open string good"},
		{"v", "", " string good"},
		{"v", "nan", "nan string good"},
		{"v", "0x10", "0x10 string good"},
		{"v", "\xff", "null null bad protocol"},
		{"v number", "7", "7 float64 good"},
		{"v number", "seven", "null null bad protocol"},
		{"v number", "", "null null bad protocol"},
		{"v number", "1e999", "null null bad protocol"},
		{"v number", "Inf", "null null bad protocol"},
		{"v integer", "9007199254740993", "9007199254740993 int64 good"},
		{"v integer", "18446744073709551615", "18446744073709551615 uint64 good"},
		{"v integer", "2.0", "2 int64 good"},
		{"v integer", "2.5", "null null bad protocol"},
		{"v bool", "ON", "true bool good"},
		{"v bool", "0", "false bool good"},
		{"v bool", "maybe", "null null bad protocol"},
		{"v text", "21.5", "21.5 string good"},
		{"v bytes", "\x00\xff", "00ff bytes good"},
		{`v json $.a.b[0]["c d"]`, `{"a":{"b":[{"c d":1.25}]}}`, "1.25 float64 good"},
		{`v $.a`, `{"a":"x"}`, "x string good"},
		{`v $.a`, `{"a":true}`, "true bool good"},
		{`v $.a`, `{"a":null}`, "null null bad protocol"},
		{`v $.a`, `{"a":{}}`, "null null bad protocol"},
		{`v $.a`, `{"b":1}`, "null null bad not-found"},
		{`v $.a[3]`, `{"a":[1,2,3]}`, "null null bad not-found"},
		{`v $`, `17`, "17 float64 good"},
		{`v $.a integer`, `{"a":9007199254740993}`, "9007199254740993 int64 good"},
		{`v $.a number`, `{"a":"4.5"}`, "4.5 float64 good"},
		{`v $.a bool`, `{"a":1}`, "true bool good"},
		{`v $.a text`, `{"a":12.50}`, "12.50 string good"},
		{`v $.a`, `{"a":1`, "null null bad protocol"},
		{`v $.a`, `{"a":1} x`, "null null bad protocol"},
		{`v $.a`, strings.Repeat("[", 20000), "null null bad protocol"},
	}
	var devices []driver.DeviceConfig
	for i, tc := range cases {
		devices = append(devices, device(fmt.Sprint(i), fmt.Sprintf("v%d%s", i, tc.address[1:])))
	}
	g := startGateway(t, settings(t, "broker", b.url()), devices...)
	for i, tc := range cases {
		topic := fmt.Sprint("v", i)
		b.awaitSubscribed(topic)
		b.publish(topic, tc.payload, false)
		got := g.take()
		want := fmt.Sprintf("%s%s %s", topic, tc.address[1:], tc.want)
		if diff := cmp.Diff(want, got.String()); diff != "" {
			t.Errorf("payload %.20q: %s", tc.payload, diff)
		}
		if (got.Quality == driver.Good) != (got.Fault == nil) {
			t.Errorf("quality %v with fault %v", got.Quality, got.Fault)
		}
	}
}

func TestFieldsOfOneMessageComeTogether(t *testing.T) {
	b := startBroker(t)
	d := device("d", "m $.a", "m $.b optional", "m $.c optional", "m/# $.a", "other")
	g := startGateway(t, settings(t, "broker", b.url()), d)
	b.awaitSubscribed("m/#")
	b.awaitSubscribed("other")
	b.publish("m", `{"a":1,"b":2}`, false)
	got := []string{g.take().String(), g.take().String(), g.take().String()}
	slices.Sort(got)
	want := []string{"m $.a 1 float64 good", "m $.b optional 2 float64 good", "m/# $.a 1 float64 good"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	await(t, func() bool { return b.inflight() == 0 })
}

func TestSourceTime(t *testing.T) {
	b := startBroker(t)
	d := device("d", "m $.v")
	d.Settings = settings(t, "time", "$.ts", "time_format", "ms")
	g := startGateway(t, settings(t, "broker", b.url()), d)
	b.awaitSubscribed("m")
	b.publish("m", `{"v":1,"ts":1700000000123}`, false)
	if got, want := g.take().Time, time.UnixMilli(1700000000123); !got.Equal(want) {
		t.Errorf("time %v, want %v", got, want)
	}
	b.publish("m", `{"v":2}`, false)
	got := g.take()
	if got.Quality != driver.Uncertain || got.Value.Float64() != 2 || got.Time.IsZero() || got.Fault.Code != driver.Protocol {
		t.Errorf("a message without its time gave %v at %v", got, got.Time)
	}
}

func TestWildcards(t *testing.T) {
	b := startBroker(t)
	g := startGateway(t, settings(t, "broker", b.url()), device("d", "a/+/t", "a/#", "+/1/t", "#"))
	for _, f := range []string{"a/+/t", "a/#", "+/1/t", "#"} {
		b.awaitSubscribed(f)
	}
	for topic, want := range map[string][]string{
		"a/1/t": {"#", "+/1/t", "a/#", "a/+/t"},
		"a":     {"#", "a/#"},
		"b/1/t": {"#", "+/1/t"},
		"a/1":   {"#", "a/#"},
		"a//t":  {"#", "a/#", "a/+/t"},
	} {
		b.publish(topic, "1", false)
		var got []string
		for range want {
			got = append(got, g.take().point)
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("topic %s: %s", topic, diff)
		}
	}
}

func TestRetainedIsGood(t *testing.T) {
	b := startBroker(t)
	b.publish("r", "5", true)
	g := startGateway(t, settings(t, "broker", b.url()), device("one", "r"), device("two", "r"))
	got := []string{g.take().device, g.take().device}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"one", "two"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAcknowledgedOnlyWhenStored(t *testing.T) {
	b := startBroker(t)
	set := settings(t, "broker", b.url(), "client_id", "c")
	dev := device("d", "m integer")
	g := startGateway(t, set, dev)
	b.awaitSubscribed("m")
	for i := range 5 {
		b.publish("m", fmt.Sprint(i), false)
	}
	var got []arrival
	for range 5 {
		got = append(got, g.next())
	}
	got[0].stored()
	got[1].stored()
	await(t, func() bool { return b.inflight() == 3 })
	got[3].stored() // acknowledged after 2, which is not stored
	b.cut()
	if err := g.ended(); driver.CodeOf(err) != driver.NotConnected {
		t.Errorf("Subscribe ended with %v", err)
	}
	got[2].stored() // too late: the connection is gone
	check(t, g.link.Close(t.Context()))

	g = startGateway(t, set, dev)
	var again []int64
	for range 3 {
		again = append(again, g.take().Value.Int64())
	}
	slices.Sort(again) // the broker's order, not ours
	if diff := cmp.Diff([]int64{2, 3, 4}, again); diff != "" {
		t.Error(diff)
	}
	await(t, func() bool { return b.inflight() == 0 })
}

func TestSharedMessageIsAcknowledgedOnce(t *testing.T) {
	b := startBroker(t)
	g := startGateway(t, settings(t, "broker", b.url()), device("one", "m"), device("two", "m"))
	b.awaitSubscribed("m")
	b.publish("m", "1", false)
	first, second := g.next(), g.next()
	first.stored()
	if n := b.inflight(); n != 1 {
		t.Errorf("%d in flight after one of two devices is stored", n)
	}
	second.stored()
	await(t, func() bool { return b.inflight() == 0 })
}

func TestCloseWaitsForStores(t *testing.T) {
	b := startBroker(t)
	g := startGateway(t, settings(t, "broker", b.url()), device("d", "m"))
	b.awaitSubscribed("m")
	b.publish("m", "1", false)
	a := g.next()
	g.stop()
	closed := make(chan error)
	go func() { closed <- g.link.Close(context.Background()) }()
	a.stored()
	check(t, <-closed)
	await(t, func() bool { return b.inflight() == 0 })
}

func TestMessagesOfEndedSubscriptionsStay(t *testing.T) {
	b := startBroker(t)
	set := settings(t, "broker", b.url(), "client_id", "c")
	g := startGateway(t, set, device("d", "m"))
	b.awaitSubscribed("m")
	g.stop() // as when the gateway drains: the link is still open
	b.publish("m", "7", false)
	await(t, func() bool { return b.inflight() == 1 })
	check(t, g.link.Close(context.Background()))
	g = startGateway(t, set, device("d", "m"))
	if got := g.take().String(); got != "m 7 float64 good" {
		t.Errorf("got %s", got)
	}
	await(t, func() bool { return b.inflight() == 0 })
}

func TestUnwantedMessagesAreAcknowledged(t *testing.T) {
	b := startBroker(t)
	set := settings(t, "broker", b.url(), "client_id", "c")
	g := startGateway(t, set, device("d", "old", "m"))
	b.awaitSubscribed("old")
	b.awaitSubscribed("m")
	g.stop()
	check(t, g.link.Close(context.Background()))
	b.publish("old", "1", false)
	g = startGateway(t, set, device("d", "m"))
	b.publish("m", "2", false)
	if got := g.take().String(); got != "m 2 float64 good" {
		t.Errorf("got %s", got)
	}
	await(t, func() bool { return b.inflight() == 0 })
}

func TestOversizedPayload(t *testing.T) {
	b := startBroker(t)
	g := startGateway(t, settings(t, "broker", b.url(), "max_payload", 100), device("d", "m text"))
	b.awaitSubscribed("m")
	b.publish("m", strings.Repeat("x", 100), false)
	b.publish("m", strings.Repeat("x", 101), false)
	b.publish("m", strings.Repeat("x", 5_000_000), false)
	b.publish("m", "y", false)
	var got []string
	for range 4 {
		a := g.take()
		got = append(got, fmt.Sprintf("%d %v", len(a.Value.Str()), a.Quality))
	}
	if diff := cmp.Diff([]string{"100 good", "0 bad", "0 bad", "1 good"}, got); diff != "" {
		t.Error(diff)
	}
	await(t, func() bool { return b.inflight() == 0 })
}

func TestBackPressureEndsTheConnection(t *testing.T) {
	b := startBroker(t)
	set := settings(t, "broker", b.url(), "max_inflight", 10, "client_id", "c")
	g := startGateway(t, set, device("d", "m integer"))
	b.awaitSubscribed("m")
	for i := range 11 {
		b.publish("m", fmt.Sprint(i), false)
	}
	err := g.ended()
	if driver.CodeOf(err) != driver.NotConnected || !strings.Contains(err.Error(), "max_inflight") {
		t.Errorf("Subscribe ended with %v", err)
	}
	check(t, g.link.Close(t.Context()))
	set = settings(t, "broker", b.url(), "client_id", "c")
	g = startGateway(t, set, device("d", "m integer"))
	seen := map[int64]bool{}
	for len(seen) < 11 {
		seen[g.take().Value.Int64()] = true
	}
}

func TestOrderIsKept(t *testing.T) {
	b := startBroker(t)
	g := startGateway(t, settings(t, "broker", b.url(), "qos", 2), device("d", "m integer"))
	b.awaitSubscribed("m")
	const n = 2000
	go func() {
		for i := range n {
			_ = b.Publish("m", []byte(fmt.Sprint(i)), false, 1)
		}
	}()
	for i := range int64(n) {
		if got := g.take().Value.Int64(); got != i {
			t.Fatalf("sample %d is %d", i, got)
		}
	}
}

func TestThousandDevices(t *testing.T) {
	b := startBroker(t)
	var devices []driver.DeviceConfig
	for i := range 1000 {
		devices = append(devices, device(fmt.Sprint("d", i), fmt.Sprintf("plant/d%d/slot integer", i), fmt.Sprintf("plant/d%d/+ text", i)))
	}
	g := startGateway(t, settings(t, "broker", b.url()), devices...)
	for i := range 1000 {
		b.awaitSubscribed(fmt.Sprintf("plant/d%d/slot", i))
		b.awaitSubscribed(fmt.Sprintf("plant/d%d/+", i))
	}
	go func() {
		for slot := range 3 {
			for i := range 1000 {
				_ = b.Publish(fmt.Sprintf("plant/d%d/slot", i), []byte(fmt.Sprint(slot)), false, 1)
			}
		}
	}()
	counts := map[string]int{}
	for range 3 * 2 * 1000 {
		a := g.take()
		if !strings.HasPrefix(a.point, "plant/"+a.device+"/") {
			t.Fatalf("%s got a sample of %s", a.device, a.point)
		}
		counts[a.point]++
	}
	for point, n := range counts {
		if n != 3 {
			t.Errorf("%s: %d samples", point, n)
		}
	}
	await(t, func() bool { return b.inflight() == 0 })
}
