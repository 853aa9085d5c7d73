package simulator

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// newCarrier makes the endpoint that a Modbus server listens on.
func (m *modbusServer) newCarrier(c *ServerConfig) (endpoint, error) {
	switch c.Over {
	case "", overTCP:
		return m.port, nil
	case overTLS:
		cfg, text, err := newIdentity()
		if err != nil {
			return nil, err
		}
		m.authority = text
		m.handle = func(conn net.Conn) { m.serve(tls.Server(conn, cfg)) }
		return m.port, nil
	case overUDP:
		return &datagrams{server: m, listen: c.Listen}, nil
	case overTTY:
		if c.Line.Baud < 0 {
			return nil, fmt.Errorf("baud rate %d is negative", c.Line.Baud)
		}
		return &modbusTTY{server: m, line: c.Line}, nil
	}
	return nil, fmt.Errorf("over %q is unknown: it is tcp, udp, tls or tty", c.Over)
}

// newIdentity makes a certificate for the loopback, and its text in PEM, with which a client
// finds that it is the right one.
func newIdentity() (*tls.Config, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "fieldloom simulator"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return cfg, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// datagrams is a UDP port: each datagram is a request.
type datagrams struct {
	server *modbusServer
	listen string

	mu      sync.Mutex
	conn    net.PacketConn // nil while refusing
	address string
	closed  bool
	done    sync.WaitGroup
	seen    atomic.Uint64
}

var _ endpoint = (*datagrams)(nil)

func (d *datagrams) open() error {
	d.address = d.listen
	if d.address == "" {
		d.address = "127.0.0.1:0"
	}
	return d.admit()
}

func (d *datagrams) admit() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil || d.closed {
		return nil
	}
	conn, err := net.ListenPacket("udp", d.address)
	if err != nil {
		return err
	}
	d.conn, d.address = conn, conn.LocalAddr().String()
	d.done.Go(func() { d.serve(conn) })
	return nil
}

func (d *datagrams) addr() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.address
}

func (d *datagrams) refuse() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil {
		return nil
	}
	err := d.conn.Close()
	d.conn = nil
	return err
}

func (d *datagrams) cut() {}

func (d *datagrams) close() error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	close(d.server.done)
	err := d.refuse()
	d.done.Wait()
	return err
}

func (d *datagrams) counts(c *ServerCounts) { c.Connections = d.seen.Load() }

func (d *datagrams) serve(conn net.PacketConn) {
	var buf [2048]byte
	for {
		n, from, err := conn.ReadFrom(buf[:])
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // of an answer before, to somebody who has gone
		}
		d.seen.Add(1)
		c := &modbusConn{modbusServer: d.server, net: answerTo{conn, from}, began: time.Now()}
		c.answerAll(buf[:n], time.Now())
	}
}

// answerTo writes datagrams to one who asked.
type answerTo struct {
	net.PacketConn
	to net.Addr
}

func (a answerTo) Write(b []byte) (int, error) { return a.WriteTo(b, a.to) }

// modbusTTY is a PTY with units on it.
type modbusTTY struct {
	server *modbusServer
	line   Line
	ctx    context.Context
	stop   context.CancelFunc
	opened atomic.Uint64
	done   sync.WaitGroup

	sending sync.Mutex // one unit speaks at a time

	mu     sync.Mutex
	pty    *pseudo // nil while refusing
	closed bool
}

var _ endpoint = (*modbusTTY)(nil)

func (t *modbusTTY) open() error {
	t.ctx, t.stop = context.WithCancel(context.Background())
	return t.admit()
}

func (t *modbusTTY) addr() string {
	if t.line.Link != "" {
		return t.line.Link
	}
	if p := t.present(); p != nil {
		return p.path
	}
	return ""
}

func (t *modbusTTY) present() *pseudo {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pty
}

func (t *modbusTTY) admit() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pty != nil || t.closed {
		return nil
	}
	p, err := openPseudo(t.line.Link)
	if err != nil {
		return err
	}
	t.pty = p
	t.done.Go(func() { t.serve(p) })
	return nil
}

func (t *modbusTTY) refuse() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pty == nil {
		return nil
	}
	err := t.pty.close()
	t.pty = nil
	return err
}

func (t *modbusTTY) cut() {
	if t.refuse() == nil {
		_ = t.admit() // the next admit reports it
	}
}

func (t *modbusTTY) close() error {
	if t.stop != nil {
		t.stop()
	}
	close(t.server.done)
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	err := t.refuse()
	t.done.Wait()
	return err
}

func (t *modbusTTY) counts(c *ServerCounts) {
	c.Connections = t.opened.Load()
	if p := t.present(); p != nil && p.isOpen() {
		c.Open = 1
	}
}

// brokenOff is how long a request may stop half-way: then it is none, MSL 2.5.1.1.
const brokenOff = 50 * time.Millisecond

// serve answers requests until the tty is closed.
func (t *modbusTTY) serve(p *pseudo) {
	conn := &modbusConn{modbusServer: t.server, net: pacedWriter{t, p}, began: time.Now()}
	buf := make([]byte, 0, readBuffer)
	chunk := make([]byte, 512)
	open := false
	for {
		var wait time.Time
		if len(buf) > 0 {
			wait = time.Now().Add(brokenOff)
		}
		_ = p.master.SetReadDeadline(wait) // fails only when closed; so does the read
		n, err := p.master.Read(chunk)
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			t.server.stray.Add(1)
			buf = buf[:0]
			continue
		case err != nil: // nobody has the tty open
			open, buf = false, buf[:0]
			if !pause(t.ctx, reopenPeriod) {
				return
			}
			continue
		}
		if !open {
			open = true
			conn.began = time.Now()
			t.opened.Add(1)
		}
		// A PTY passes on at once what takes its time on a line.
		if gap := t.gap(); gap > 0 && !pause(t.ctx, time.Duration(n)*gap) {
			return
		}
		buf = append(buf, chunk[:n]...)
		used := conn.answerAll(buf, time.Now())
		buf = append(buf[:0], buf[used:]...)
		if conn.dead {
			conn.dead = false // of this answer; a line has no connection to lose
		}
	}
}

// gap is the time that a character takes, of eleven bits (MSL 2.5.1); 0: none.
func (t *modbusTTY) gap() time.Duration {
	if t.line.Baud == 0 {
		return 0
	}
	return 11 * time.Second / time.Duration(t.line.Baud)
}

// silence is what is between two frames: 3.5 characters, or 1.75 ms above 19200 bit/s (MSL
// 2.5.1.1).
func silence(gap time.Duration) time.Duration {
	if gap < 11*time.Second/19200 {
		return 1750 * time.Microsecond
	}
	return 7 * gap / 2
}

// pacedWriter writes with the pace of the baud rate.
type pacedWriter struct {
	tty *modbusTTY
	pty *pseudo
}

var _ io.Writer = pacedWriter{}

func (w pacedWriter) Write(b []byte) (int, error) {
	gap := w.tty.gap()
	if gap > 0 && !pause(w.tty.ctx, silence(gap)) {
		return 0, io.ErrClosedPipe
	}
	w.tty.sending.Lock()
	defer w.tty.sending.Unlock()
	if err := w.pty.write(w.tty.ctx.Done(), b, gap, func() {}); err != nil {
		return 0, err
	}
	return len(b), nil
}
