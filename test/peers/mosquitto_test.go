//go:build peers

//nolint:misspell // Mosquitto is the name of the broker
package peers_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/fieldloom/fieldloom/test/plant"
)

// mosquitto is a broker that is restarted, with its sessions on disk.
type mosquitto struct {
	t    *testing.T
	dir  string
	port string
	*program
}

func newMosquitto(t *testing.T) *mosquitto {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	m := &mosquitto{t: t, dir: t.TempDir()}
	_, m.port, err = net.SplitHostPort(l.Addr().String())
	check(t, err)
	check(t, l.Close())
	conf := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location %s/\nmax_queued_messages 0\nlog_dest stderr\n", m.port, m.dir)
	if os.Geteuid() == 0 {
		conf += "user root\n" // another user cannot write in the test's folder
	}
	check(t, os.WriteFile(filepath.Join(m.dir, "mosquitto.conf"), []byte(conf), 0o600))
	m.start()
	return m
}

// start returns when the broker listens.
func (m *mosquitto) start() {
	m.t.Helper()
	m.program = startProgram(m.t, "mosquitto", "-v", "-c", filepath.Join(m.dir, "mosquitto.conf"))
	m.printed(" running")
}

// A publisher publishes numbers at QoS 1, each until it is acknowledged: where the
// broker went before it said so, a number comes twice.
type publisher struct {
	port  string
	again int // numbers published once more
}

// publish publishes first to end-1 and closes reached on its way, at middle.
func (p *publisher) publish(first, middle, end int, reached chan<- struct{}) error {
	o := paho.NewClientOptions().AddBroker("tcp://127.0.0.1:" + p.port).SetClientID("publisher").SetAutoReconnect(false)
	late := time.Now().Add(patience)
	for i := first; i < end; {
		c := paho.NewClient(o)
		t := c.Connect()
		if !t.WaitTimeout(patience) || t.Error() != nil {
			if time.Now().After(late) {
				return fmt.Errorf("connect the publisher: %w", t.Error())
			}
			time.Sleep(5 * time.Millisecond)
			continue
		}
		for ; i < end; i++ {
			if i == middle {
				close(reached)
				middle = -1
			}
			// A token of a lost connection may say that all is well.
			t := c.Publish("plant/number", 1, false, strconv.Itoa(i))
			if !t.WaitTimeout(patience) || t.Error() != nil || !c.IsConnectionOpen() {
				p.again++
				break
			}
		}
		c.Disconnect(250)
	}
	return nil
}

// A broker that is restarted while numbers come at QoS 1, and one that keeps a run
// of them while the gateway is away, loses none on the way to the gateway's store.
func TestPeerGatewayMosquitto(t *testing.T) {
	const n = 2000
	bins := plant.Build(t)
	broker := newMosquitto(t)
	dir := t.TempDir()
	bins.WriteConfig(t, dir, "gateway: peers\n", fmt.Sprintf(`links:
  broker:
    driver: mqtt
    broker: "tcp://127.0.0.1:%s"
    client_id: gateway
    devices:
      d:
        points:
          number: {address: "plant/number integer"}
`, broker.port))
	g := bins.Start(t, dir)
	broker.printed("Sending SUBACK to gateway")

	p := &publisher{port: broker.port}
	middle, published := make(chan struct{}), make(chan error, 1)
	go func() { published <- p.publish(0, n/2, n, middle) }()
	select {
	case <-middle:
	case err := <-published:
		t.Fatalf("published before the middle: %v", err)
	}
	broker.interrupt()
	broker.start()
	check(t, <-published)
	plant.Eventually(t, patience, func() error { return everyNumber(g, n) })

	g.Stop()
	check(t, p.publish(n, -1, 2*n, nil))
	g = bins.Start(t, dir)
	plant.Eventually(t, patience, func() error {
		_, err := g.Status()
		return err
	})
	plant.Eventually(t, patience, func() error { return everyNumber(g, 2*n) })
	t.Logf("%d numbers published, %d of them again; %d samples stored", 2*n, p.again, len(g.Stored("broker/d/number")))
}

// everyNumber says which of the numbers from 0 to n-1 are not stored.
func everyNumber(g *plant.Gateway, n int) error {
	seen := map[string]bool{}
	for _, s := range g.Stored("broker/d/number") {
		if s.Quality == "good" {
			seen[string(s.Value)] = true
		}
	}
	var missing []int
	for i := range n {
		if !seen[strconv.Itoa(i)] {
			missing = append(missing, i)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%d of %d numbers are not stored: %v", len(missing), n, missing[:min(len(missing), 10)])
	}
	return nil
}
