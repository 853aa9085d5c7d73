package mqtt_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/mqtt"
)

const benchDevices = 1000

// publishAll publishes n messages over the devices' topics, at most window of them
// unacknowledged, and returns when all are sampled.
func publishAll(b *testing.B, br *testBroker, sampled <-chan struct{}, n int) {
	const window = 500
	var wg sync.WaitGroup
	room := make(chan struct{}, window)
	wg.Go(func() {
		for range n {
			<-sampled
			<-room
		}
	})
	for i := range n {
		room <- struct{}{}
		if err := br.Publish(fmt.Sprintf("plant/d%d/slot", i%benchDevices), []byte("12345"), false, 1); err != nil {
			b.Fatal(err)
		}
	}
	wg.Wait()
}

// BenchmarkDriver is a message of one of 1,000 devices at QoS 1, from the broker to
// the acknowledgement.
func BenchmarkDriver(b *testing.B) {
	br := startBroker(b)
	l, err := mqtt.New().Open(b.Context(), driver.LinkConfig{Name: "l", Timeout: patience, Settings: settings(b, "broker", "tcp://"+br.addr)}, driver.Env{})
	check(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	sampled := make(chan struct{}, 1000)
	emit := func(_ context.Context, _ []driver.PointSample, stored func()) error {
		sampled <- struct{}{}
		stored()
		return nil
	}
	for i := range benchDevices {
		cfg := device(fmt.Sprint("d", i), fmt.Sprintf("plant/d%d/slot integer", i))
		d, err := l.Device(ctx, cfg)
		check(b, err)
		wg.Go(func() { _ = d.(driver.Subscriber).Subscribe(ctx, cfg.Points, emit) })
	}
	for i := range benchDevices {
		br.awaitSubscribed(fmt.Sprintf("plant/d%d/slot", i))
	}
	b.ReportAllocs()
	b.ResetTimer()
	publishAll(b, br, sampled, b.N)
	b.StopTimer()
	cancel()
	wg.Wait()
	check(b, l.Close(context.Background()))
}

// BenchmarkBareClient is the limit: the client library with a callback that
// acknowledges and does nothing else.
func BenchmarkBareClient(b *testing.B) {
	br := startBroker(b)
	sampled := make(chan struct{}, 1000)
	o := paho.NewClientOptions().AddBroker("tcp://" + br.addr).SetClientID("bare").SetAutoAckDisabled(true)
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) {
		m.Ack()
		sampled <- struct{}{}
	})
	c := paho.NewClient(o)
	c.Connect().Wait()
	c.Subscribe("plant/#", 1, nil).Wait()
	b.ReportAllocs()
	b.ResetTimer()
	publishAll(b, br, sampled, b.N)
	b.StopTimer()
	c.Disconnect(1000)
}
