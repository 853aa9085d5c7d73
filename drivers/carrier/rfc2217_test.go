package carrier_test

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/carrier"
)

type rawConn = syscall.RawConn

// A comPort is the server's side of RFC 2217, as a test sees it.
type comPort struct {
	mu     sync.Mutex
	set    map[byte][]byte // values by their command
	refuse bool            // the option
	change func(command byte, value []byte) []byte
}

// telnet serves one connection: it takes the port's settings, and sends data back.
func telnet(p *comPort) func(net.Conn) {
	if p == nil {
		p = &comPort{}
	}
	return func(c net.Conn) {
		in := bufio.NewReader(c)
		for {
			b, err := in.ReadByte()
			if err != nil {
				return
			}
			if b != 255 {
				_, _ = c.Write([]byte{b})
				continue
			}
			verb, err := in.ReadByte()
			switch {
			case err != nil:
				return
			case verb == 255:
				_, _ = c.Write([]byte{255, 255})
			case verb == 250:
				p.subnegotiation(c, in)
			default:
				option, _ := in.ReadByte()
				p.option(c, verb, option)
			}
		}
	}
}

func (p *comPort) option(c net.Conn, verb, option byte) {
	answers := map[byte]byte{251: 253, 253: 251} // WILL: DO, DO: WILL
	answer, asks := answers[verb]
	if !asks {
		return
	}
	if option == 44 && p.refuse {
		answer = 254
	}
	_, _ = c.Write([]byte{255, 253, 1, 255, answer, option}) // and another option, which it does not have
}

func (p *comPort) subnegotiation(c net.Conn, in *bufio.Reader) {
	var sub []byte
	for {
		b, err := in.ReadByte()
		if err != nil {
			return
		}
		if b == 255 {
			if b, _ = in.ReadByte(); b == 240 {
				break
			}
		}
		sub = append(sub, b)
	}
	if len(sub) < 3 || sub[0] != 44 {
		return
	}
	value := sub[2:]
	if p.change != nil {
		value = p.change(sub[1], value)
	}
	p.mu.Lock()
	if p.set == nil {
		p.set = make(map[byte][]byte)
	}
	p.set[sub[1]] = value
	p.mu.Unlock()
	answer := append([]byte{255, 250, 44, sub[1] + 100}, bytes.ReplaceAll(value, []byte{255}, []byte{255, 255})...)
	_, _ = c.Write(append(answer, 255, 240))
}

// The server is told the port's settings, and has set them when the port is open.
func TestRFC2217SetsThePortUp(t *testing.T) {
	p := &comPort{}
	open(t, "rfc2217://"+listen(t, telnet(p)), `{"baud": 65535, "data_bits": 7, "parity": "even", "stop_bits": 2, "dtr": "off"}`)
	p.mu.Lock()
	defer p.mu.Unlock()
	for command, want := range map[byte][]byte{1: {0, 0, 255, 255}, 2: {7}, 3: {3}, 4: {2}, 5: {9}} {
		if got := p.set[command]; !bytes.Equal(got, want) {
			t.Errorf("command %d: %v, want %v", command, got, want)
		}
	}
}

// A server that does not do as it is told, or speaks no RFC 2217, is a fault that says so.
func TestRFC2217Refused(t *testing.T) {
	for name, c := range map[string]struct {
		serve func(net.Conn)
		text  string
		code  driver.Code
	}{
		"option": {telnet(&comPort{refuse: true}), "does not let its port be set up", driver.InvalidConfig},
		"rate":   {telnet(&comPort{change: func(command byte, v []byte) []byte { return append([]byte(nil), make([]byte, len(v))...) }}), "the server set baud to 0 where 9600 was asked", driver.InvalidConfig},
		"silence": {func(c net.Conn) {
			var b [64]byte
			for {
				if _, err := c.Read(b[:]); err != nil {
					return
				}
			}
		}, "is it RFC 2217?", driver.NotConnected},
		"ends": {func(net.Conn) {}, "while the port is set up", driver.NotConnected},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := carrier.Parse("rfc2217://"+listen(t, c.serve), settings(t, ""), carrier.Options{Key: "url"})
			check(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			_, err = carrier.Open(ctx, a, driver.Env{})
			if driver.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v (%v), want %q (%v)", err, driver.CodeOf(err), c.text, c.code)
			}
		})
	}
}
