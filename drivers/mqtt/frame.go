package mqtt

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

// frameConn stands between the client library and the wire. The library allocates
// whatever length a packet claims (up to 256 MiB), trusts the number of codes in
// a SUBACK, and writes most packets without a deadline; frameConn bounds all three.
//
// A PUBLISH with an oversized payload is cut to one byte more than the limit: so
// it still arrives, is recognised by its length, and can be acknowledged.
//
// It also mirrors the packet identifiers that the client chooses, n to 65536-n.
// The two directions' identifiers are independent (clause 2.3.1), but there are brokers
// (mochi-mqtt 2.7.9) that keep one table for both: a SUBSCRIBE or PUBLISH with the
// identifier of a message on its way to the client is refused, or deletes that
// message. Brokers count up from 1, so the client counts down from 65535.
type frameConn struct {
	net.Conn
	in           *bufio.Reader
	maxPayload   int
	writeTimeout time.Duration
	granted      atomic.Int32 // codes that the SUBACK to come must have

	head []byte // of the present packet, not read yet
	pass int    // bytes of the present packet to hand on
	skip int    // bytes after them to throw away
	err  error
}

func newFrameConn(c net.Conn, maxPayload int, writeTimeout time.Duration) *frameConn {
	return &frameConn{Conn: c, in: bufio.NewReader(c), maxPayload: maxPayload, writeTimeout: writeTimeout}
}

// Packet types (MQTT 3.1.1, table 2.1).
const (
	typeConnack   = 2
	typePublish   = 3
	typePuback    = 4
	typePubrec    = 5
	typePubrel    = 6
	typePubcomp   = 7
	typeSubscribe = 8
	typeSuback    = 9
	typeUnsuback  = 11
	typePingresp  = 13
)

// Read hands on the bytes of checked packets.
func (c *frameConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for c.err == nil {
		switch {
		case len(c.head) > 0:
			n := copy(p, c.head)
			c.head = c.head[n:]
			return n, nil
		case c.pass > 0:
			n, err := c.in.Read(p[:min(len(p), c.pass)])
			c.pass -= n
			if n > 0 {
				return n, nil
			}
			c.err = err
		case c.skip > 0:
			_, c.err = c.in.Discard(c.skip)
			c.skip = 0
		default:
			c.err = c.next()
		}
	}
	return 0, c.err
}

// next reads and checks the fixed header of the next packet (clause 2.2).
func (c *frameConn) next() error {
	first, err := c.in.ReadByte()
	if err != nil {
		return err
	}
	length, err := readLength(c.in)
	if err != nil {
		return err
	}
	if first>>4 == typePublish {
		return c.nextPublish(first, length)
	}
	want := -1
	switch first >> 4 {
	case typeConnack, typePuback, typePubrec, typePubrel, typePubcomp, typeUnsuback:
		want = 2
	case typeSuback:
		want = 2 + int(c.granted.Load())
	case typePingresp:
		want = 0
	}
	if length != want {
		return driver.Errorf(driver.Protocol, "broker sent a packet of type %d and length %d", first>>4, length)
	}
	c.head, c.pass = appendHeader(nil, first, length), length
	switch first >> 4 {
	case typePuback, typePubrec, typePubcomp, typeSuback, typeUnsuback:
		return c.mirrorNext()
	}
	return nil
}

// mirrorNext takes the identifier of a packet that answers one of the client's.
func (c *frameConn) mirrorNext() error {
	id, err := c.in.Peek(2)
	if err != nil {
		return unexpected(err)
	}
	c.head, c.pass = append(c.head, id...), c.pass-2
	mirror(c.head[len(c.head)-2:])
	_, err = c.in.Discard(2)
	return err
}

// mirror replaces an identifier n by 65536-n. Done twice it gives n again; 0, which
// is no identifier, stays.
func mirror(id []byte) { binary.BigEndian.PutUint16(id, -binary.BigEndian.Uint16(id)) }

// mirrorOut returns a packet of the client with its identifier mirrored, if it has
// one of its own choice. The library writes one whole packet at a time.
func mirrorOut(p []byte) []byte {
	at := 1 // of the identifier: after the fixed header, whose length ends below 0x80
	for at < len(p) && p[at] >= 0x80 {
		at++
	}
	at++
	switch {
	case len(p) == 0:
		return p
	case p[0]>>4 == typePublish && p[0]&6 != 0 && at+2 <= len(p):
		at += 2 + int(binary.BigEndian.Uint16(p[at:]))
	case p[0]>>4 != typeSubscribe && p[0]>>4 != typePubrel:
		return p
	}
	if at+2 > len(p) {
		return p
	}
	p = bytes.Clone(p)
	mirror(p[at : at+2])
	return p
}

// nextPublish cuts a payload that is too long (clause 3.3).
func (c *frameConn) nextPublish(first byte, length int) error {
	qos := first >> 1 & 3
	size, err := c.in.Peek(2)
	if err != nil {
		return unexpected(err)
	}
	before := 2 + int(binary.BigEndian.Uint16(size))
	if qos > 0 {
		before += 2
	}
	if qos > 2 || before > length {
		return driver.Errorf(driver.Protocol, "broker sent a malformed message: qos %d, length %d", qos, length)
	}
	c.pass = min(length, before+c.maxPayload+1)
	c.skip = length - c.pass
	c.head = appendHeader(nil, first, c.pass)
	return nil
}

// readLength reads a remaining length (clause 2.2.3): at most four bytes, seven
// bits each, the lowest first.
func readLength(r io.ByteReader) (int, error) {
	length := 0
	for shift := 0; shift < 28; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		length |= int(b&0x7f) << shift
		if b < 0x80 {
			return length, nil
		}
	}
	return 0, driver.Errorf(driver.Protocol, "broker sent a packet whose length has more than four bytes")
}

func appendHeader(dst []byte, first byte, length int) []byte {
	dst = append(dst, first)
	for length >= 0x80 {
		dst = append(dst, byte(length)|0x80)
		length >>= 7
	}
	return append(dst, byte(length))
}

func unexpected(err error) error {
	if err == io.EOF { //nolint:errorlint // bufio returns it bare
		return io.ErrUnexpectedEOF
	}
	return err
}

// Write writes with a deadline, so that a peer that does not read can't hold the
// library for ever.
func (c *frameConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.writeTimeout)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(mirrorOut(p))
	if err != nil {
		return n, fmt.Errorf("write to broker: %w", err)
	}
	return n, nil
}
