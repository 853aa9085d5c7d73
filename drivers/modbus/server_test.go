package modbus_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/modbus"
)

// A server is a small Modbus TCP server written from the specification, with
// nothing of the driver's in it.
type server struct {
	mu        sync.Mutex
	bits      [2][65536]bool   // coils, discrete inputs
	registers [2][65536]uint16 // input, holding
	illegal   map[uint16]bool  // in all tables
	without   map[byte]bool    // functions that it does not have
	pdus      [][]byte         // requests so far

	// answer, where set, makes the bytes to send for a request frame, nil for
	// silence; send is called for each part with what goes between.
	answer func(adu []byte) [][]byte
	pause  time.Duration // before each part of an answer but the first
}

func newServer() *server {
	return &server{illegal: map[uint16]bool{}, without: map[byte]bool{}}
}

func (s *server) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pdus)
}

func (s *server) lastPDU() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pdus[len(s.pdus)-1]
}

// serve answers one connection until it ends. It reads on while it answers, as
// TCP does for it.
func (s *server) serve(conn net.Conn) {
	frames := make(chan []byte, 1000)
	var answering sync.WaitGroup
	answering.Go(func() {
		for adu := range frames {
			s.send(conn, adu)
		}
	})
	for {
		adu, err := readFrame(conn)
		if err != nil {
			break
		}
		s.mu.Lock()
		s.pdus = append(s.pdus, adu[7:])
		s.mu.Unlock()
		frames <- adu
	}
	_ = conn.Close() // what is still to be sent has nowhere to go
	close(frames)
	answering.Wait()
}

func readFrame(r io.Reader) ([]byte, error) {
	adu := make([]byte, 7, 260)
	if _, err := io.ReadFull(r, adu); err != nil {
		return nil, err
	}
	adu = adu[:6+int(binary.BigEndian.Uint16(adu[4:]))]
	_, err := io.ReadFull(r, adu[7:])
	return adu, err
}

func (s *server) send(conn net.Conn, adu []byte) {
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	parts := [][]byte{s.reply(adu)}
	if answer != nil {
		parts = answer(adu)
	}
	for i, part := range parts {
		if i > 0 {
			time.Sleep(s.pause) // inside a synctest bubble, or zero
		}
		if len(part) > 0 {
			_, _ = conn.Write(part) // fails when the other side has gone
		}
	}
}

// frame puts a PDU behind the header of a request.
func frame(adu, pdu []byte) []byte {
	f := append(slices.Clone(adu[:7]), pdu...)
	binary.BigEndian.PutUint16(f[4:], uint16(len(pdu)+1))
	return f
}

func (s *server) reply(adu []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	pdu := adu[7:]
	if s.without[pdu[0]] {
		return frame(adu, []byte{pdu[0] | 0x80, 1})
	}
	answer, code := s.execute(pdu)
	if code != 0 {
		return frame(adu, []byte{pdu[0] | 0x80, code})
	}
	return frame(adu, append([]byte{pdu[0]}, answer...))
}

func (s *server) execute(pdu []byte) ([]byte, byte) {
	if len(pdu) < 5 {
		return nil, 3
	}
	start, n := binary.BigEndian.Uint16(pdu[1:]), binary.BigEndian.Uint16(pdu[3:])
	data := pdu[5:]
	switch pdu[0] {
	case 1, 2:
		return s.readBits(&s.bits[pdu[0]-1], start, n)
	case 3, 4:
		return s.readRegisters(&s.registers[4-pdu[0]], start, n)
	case 5:
		if n != 0 && n != 0xFF00 {
			return nil, 3
		}
		s.bits[0][start] = n == 0xFF00
		return pdu[1:5], s.check(start, 1)
	case 6:
		s.registers[1][start] = n
		return pdu[1:5], s.check(start, 1)
	case 15:
		if n < 1 || n > 1968 || len(data) != 1+int(n+7)/8 || int(data[0]) != len(data)-1 {
			return nil, 3
		}
		for i := range n {
			s.bits[0][start+i] = data[1+i/8]>>(i%8)&1 == 1
		}
		return pdu[1:5], s.check(start, n)
	case 16:
		if n < 1 || n > 123 || len(data) != 1+int(n)*2 || int(data[0]) != len(data)-1 {
			return nil, 3
		}
		for i := range n {
			s.registers[1][start+i] = binary.BigEndian.Uint16(data[1+2*i:])
		}
		return pdu[1:5], s.check(start, n)
	case 22:
		and, or := n, binary.BigEndian.Uint16(data)
		s.registers[1][start] = s.registers[1][start]&and | or&^and
		return pdu[1:7], s.check(start, 1)
	default:
		return nil, 1
	}
}

func (s *server) check(start, n uint16) byte {
	for i := range n {
		if s.illegal[start+i] {
			return 2
		}
	}
	if int(start)+int(n) > 65536 {
		return 2
	}
	return 0
}

func (s *server) readBits(table *[65536]bool, start, n uint16) ([]byte, byte) {
	if n < 1 || n > 2000 {
		return nil, 3
	}
	if code := s.check(start, n); code != 0 {
		return nil, code
	}
	answer := make([]byte, 1+(n+7)/8)
	answer[0] = byte(len(answer) - 1)
	for i := range n {
		if table[start+i] {
			answer[1+i/8] |= 1 << (i % 8)
		}
	}
	return answer, 0
}

func (s *server) readRegisters(table *[65536]uint16, start, n uint16) ([]byte, byte) {
	if n < 1 || n > 125 {
		return nil, 3
	}
	if code := s.check(start, n); code != 0 {
		return nil, code
	}
	answer := []byte{byte(2 * n)}
	for i := range n {
		answer = binary.BigEndian.AppendUint16(answer, table[start+i])
	}
	return answer, 0
}

// A rig is a link to a server, over a pipe, so that time can be synctest's.
type rig struct {
	t      testing.TB
	server *server
	link   driver.Link
}

const timeout = time.Second

func newRig(t testing.TB, s *server, linkSettings string) *rig {
	t.Helper()
	var served sync.WaitGroup
	dial := func(context.Context, string) (net.Conn, error) {
		near, far := net.Pipe()
		served.Go(func() { s.serve(far) })
		return near, nil
	}
	if linkSettings == "" {
		linkSettings = `{"url":"tcp://device"}`
	}
	l, err := modbus.NewOver(dial).Open(t.Context(), driver.LinkConfig{
		Name: "line", Timeout: timeout, Settings: json.RawMessage(linkSettings),
	}, driver.Env{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(context.Background()); err != nil {
			t.Error(err)
		}
		served.Wait()
	})
	return &rig{t, s, l}
}

// unit makes a device with the points at addresses.
func (r *rig) unit(settings string, addresses ...string) (*unit, error) {
	u := &unit{t: r.t}
	for i, a := range addresses {
		u.points = append(u.points, driver.Point{Index: i, Name: a, Address: a})
	}
	d, err := r.link.Device(r.t.Context(), driver.DeviceConfig{Name: "unit", Settings: json.RawMessage(settings), Points: u.points})
	u.device = d
	return u, err
}

func (r *rig) mustUnit(settings string, addresses ...string) *unit {
	r.t.Helper()
	u, err := r.unit(settings, addresses...)
	if err != nil {
		r.t.Fatal(err)
	}
	return u
}

// A unit is a device and its points.
type unit struct {
	t      testing.TB
	device driver.Device
	points []driver.Point
	reader driver.Reader
}

// poll reads all points by a prepared reader.
func (u *unit) poll() ([]driver.Sample, error) {
	u.t.Helper()
	if u.reader == nil {
		reader, err := u.device.(driver.Preparer).Prepare(u.points)
		if err != nil {
			u.t.Fatal(err)
		}
		u.reader = reader
	}
	out := make([]driver.Sample, len(u.points))
	err := u.reader.Read(u.t.Context(), u.points, out)
	return out, err
}

func (u *unit) mustPoll() []driver.Sample {
	u.t.Helper()
	out, err := u.poll()
	if err != nil {
		u.t.Fatal(err)
	}
	return out
}

func (u *unit) read(i int) (driver.Sample, error) {
	u.t.Helper()
	out := make([]driver.Sample, 1)
	err := u.device.(driver.Reader).Read(u.t.Context(), u.points[i:i+1], out)
	return out[0], err
}

func (u *unit) write(i int, v driver.Value) error {
	return u.device.(driver.Writer).Write(u.t.Context(), u.points[i], v)
}

// mustFail checks the code and the text of an error.
func mustFail(t testing.TB, err error, code driver.Code, text string) {
	t.Helper()
	var e *driver.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want %v", err, code)
	}
	if e.Code != code || !contains(err.Error(), text) {
		t.Errorf("error %v: %q, want %v with %q", e.Code, err, code, text)
	}
}
