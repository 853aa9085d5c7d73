package simulator_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fieldloom/fieldloom/simulator"
)

// shouting is a protocol of an author: a line comes back in capitals.
type shouting struct{ stray atomic.Uint64 }

func (s *shouting) Stray() uint64 { return s.stray.Load() }

func (s *shouting) Serve(_ context.Context, c net.Conn) {
	for in := bufio.NewScanner(c); in.Scan(); {
		if in.Text() == "" {
			s.stray.Add(1)
		}
		fmt.Fprintln(c, strings.ToUpper(in.Text()))
	}
}

// A protocol that an author brings has a server as the others have: with a port, its counts, and
// the faults of a server.
func TestProtocolOfAnAuthor(t *testing.T) {
	sim := simulator.Start(t, simulator.Config{
		Protocols: map[simulator.Protocol]simulator.Maker{
			"shout": func(*simulator.ServerConfig) (simulator.Speaker, error) { return new(shouting), nil },
		},
		Servers: []simulator.ServerConfig{{Name: "hall", Protocol: "shout"}},
	})
	c, err := net.Dial("tcp", sim.Addr("hall"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprint(c, "\nhello\n"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(c)
	for in.Scan() && in.Text() == "" {
	}
	if in.Text() != "HELLO" {
		t.Errorf("%q came back", in.Text())
	}
	if n := sim.Server("hall").Counts(); n.Connections != 1 || n.Stray != 1 {
		t.Errorf("counts %+v", n)
	}
	if err := sim.Server("hall").Fault(simulator.Fault{Kind: simulator.Refused}); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", sim.Addr("hall")); err == nil {
		t.Error("it takes connections under refused")
	}
}
