//go:build peers

//nolint:misspell // Mosquitto is the name of the broker
package mqtt_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/mqtt"
)

// mosquitto is a running broker of Debian's package.
type mosquitto struct {
	t    *testing.T
	dir  string
	addr string
	cmd  *exec.Cmd
}

func newMosquitto(t *testing.T) *mosquitto {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	m := &mosquitto{t: t, dir: t.TempDir(), addr: l.Addr().String()}
	check(t, l.Close())
	_, port, err := net.SplitHostPort(m.addr)
	check(t, err)
	conf := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location %s/\n"+
		"max_queued_messages 0\nlog_dest stderr\n", port, m.dir)
	if os.Geteuid() == 0 {
		conf += "user root\n" // another user can't write in the test's directory
	}
	check(t, os.WriteFile(filepath.Join(m.dir, "m.conf"), []byte(conf), 0o644))
	m.start()
	t.Cleanup(m.stop)
	return m
}

// start returns when the broker listens.
func (m *mosquitto) start() {
	m.cmd = exec.Command("mosquitto", "-v", "-c", filepath.Join(m.dir, "m.conf"))
	out, err := m.cmd.StderrPipe()
	check(m.t, err)
	check(m.t, m.cmd.Start())
	ready := make(chan struct{})
	go func() {
		var once sync.Once
		for s := bufio.NewScanner(out); s.Scan(); {
			if strings.Contains(s.Text(), "running") {
				once.Do(func() { close(ready) })
			}
		}
	}()
	select {
	case <-ready:
	case <-time.After(patience):
		m.t.Fatal("mosquitto does not run")
	}
}

// stop lets it write its sessions to disk.
func (m *mosquitto) stop() {
	_ = m.cmd.Process.Signal(os.Interrupt)
	_ = m.cmd.Wait()
}

// publisher publishes 0, 1, 2 ... at QoS 1 until each is acknowledged, across
// restarts of the broker, and returns when n are.
func (m *mosquitto) publisher(n int, progress func(int)) {
	o := paho.NewClientOptions().AddBroker("tcp://" + m.addr).SetClientID("publisher").SetCleanSession(false)
	o.SetAutoReconnect(false)
	for i := 0; i < n; {
		c := paho.NewClient(o)
		if t := c.Connect(); !t.WaitTimeout(patience) || t.Error() != nil {
			<-time.After(10 * time.Millisecond)
			continue
		}
		for i < n {
			t := c.Publish("plant/slot", 1, false, fmt.Sprint(i))
			if !t.WaitTimeout(2*time.Second) || t.Error() != nil || !c.IsConnectionOpen() {
				break // whether it arrived is not known: it is published again
			}
			i++
			progress(i)
		}
		c.Disconnect(100)
	}
}

// TestPeerMosquittoRestart restarts Mosquitto in the middle: nothing may be lost at QoS 1.
func TestPeerMosquittoRestart(t *testing.T) {
	const n = 5000
	m := newMosquitto(t)
	received := make(chan int64, n)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { keepSubscribed(ctx, t, m.addr, received) })
	defer wg.Wait()
	defer cancel()
	seen, total := map[int64]bool{}, 0
	<-received // the first one says that the subscription is there
	published := make(chan struct{})
	go func() {
		defer close(published)
		m.publisher(n, func(i int) {
			if i == n/3 || i == 2*n/3 {
				m.stop()
				m.start()
			}
		})
	}()
	limit := time.After(3 * patience)
	for len(seen) < n {
		select {
		case v := <-received:
			if v >= 0 {
				seen[v] = true
				total++
			}
		case <-limit:
			missing := []int64{}
			for i := range int64(n) {
				if !seen[i] {
					missing = append(missing, i)
				}
			}
			t.Fatalf("%d of %d came, missing: %v", len(seen), n, missing)
		}
	}
	<-published
	t.Logf("%d published, %d samples: %d came twice", n, total, total-n)
}

// keepSubscribed stands for the engine: it opens the link again whenever it is lost.
// Once the subscription is there, -1 arrives.
func keepSubscribed(ctx context.Context, t *testing.T, addr string, received chan<- int64) {
	cfg := device("d", "plant/slot integer")
	for ctx.Err() == nil {
		opening, cancel := context.WithTimeout(ctx, time.Second)
		l, err := mqtt.New().Open(opening, driver.LinkConfig{Name: "l", Timeout: time.Second,
			Settings: settings(t, "broker", "tcp://"+addr, "client_id", "gateway")}, driver.Env{})
		cancel()
		if err != nil {
			<-time.After(20 * time.Millisecond)
			continue
		}
		d, err := l.Device(ctx, cfg)
		check(t, err)
		probe := make(chan struct{})
		go announce(ctx, addr, probe)
		_ = d.(driver.Subscriber).Subscribe(ctx, cfg.Points, func(ctx context.Context, samples []driver.PointSample, stored func()) error {
			for _, s := range samples {
				select {
				case received <- s.Value.Int64():
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			if stored != nil {
				go stored() // as the gateway does: later, from another goroutine
			}
			return nil
		})
		close(probe)
		check(t, l.Close(context.WithoutCancel(ctx)))
	}
}

// announce publishes -1 until the subscription has ended, or once it was acknowledged.
func announce(ctx context.Context, addr string, done <-chan struct{}) {
	o := paho.NewClientOptions().AddBroker("tcp://" + addr).SetAutoReconnect(false)
	c := paho.NewClient(o)
	if t := c.Connect(); !t.WaitTimeout(time.Second) || t.Error() != nil {
		return
	}
	defer c.Disconnect(100)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 20 {
		c.Publish("plant/slot", 0, false, "-1").WaitTimeout(time.Second)
		select {
		case <-tick.C:
		case <-done:
			return
		case <-ctx.Done():
			return
		}
	}
}

// TestPeerMosquittoAcknowledges counts the PUBACKs on the wire: one for each message, in order.
func TestPeerMosquittoAcknowledges(t *testing.T) {
	m := newMosquitto(t)
	acks, subscribed := make(chan uint16, 200), make(chan struct{}, 10)
	proxy := spy(t, m.addr, acks, subscribed)
	g := startGateway(t, settings(t, "broker", "tcp://"+proxy), device("d", "plant/slot integer", "plant/#"))
	<-subscribed
	_, port, err := net.SplitHostPort(m.addr)
	check(t, err)
	pub := exec.Command("mosquitto_pub", "-l", "-q", "1", "-t", "plant/slot", "-h", "127.0.0.1", "-p", port)
	pub.Stdin = strings.NewReader(strings.Repeat("7\n", 100))
	if out, err := pub.CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub: %v: %s", err, out)
	}
	for range 200 {
		g.take()
	}
	last := uint16(0) // the broker skips identifiers where filters overlap
	for range 100 {
		id := <-acks
		if id <= last {
			t.Fatalf("message %d is acknowledged after %d", id, last)
		}
		last = id
	}
}

// spy forwards one connection and tells of the client's PUBACKs and the broker's SUBACKs.
func spy(t *testing.T, to string, acks chan<- uint16, subscribed chan<- struct{}) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", to)
		if err != nil {
			_ = in.Close()
			return
		}
		forward := func(from, to net.Conn, tell func(packets.ControlPacket)) {
			defer func() { _ = to.Close() }()
			for {
				pk, err := packets.ReadPacket(from)
				if err != nil || pk.Write(to) != nil {
					return
				}
				tell(pk)
			}
		}
		wg.Go(func() {
			forward(out, in, func(pk packets.ControlPacket) {
				if _, ok := pk.(*packets.SubackPacket); ok {
					subscribed <- struct{}{}
				}
			})
		})
		forward(in, out, func(pk packets.ControlPacket) {
			if ack, ok := pk.(*packets.PubackPacket); ok {
				acks <- ack.MessageID
			}
		})
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}
